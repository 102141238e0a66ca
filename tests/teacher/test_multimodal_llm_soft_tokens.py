"""Learned vectors through the frozen LLM: what they compute, where gradients go, and what a bias does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ovgsr.teacher.multimodal_llm import MultimodalLLM, TeacherError, VisualTokens

from .conftest import FAMILIES, picture
from .test_multimodal_llm import PROMPTS, QUESTION, SHAPES, forward, processed

Load = Callable[[str], MultimodalLLM]


def shown(teacher: MultimodalLLM) -> list[VisualTokens]:
    return teacher.visual_tokens([picture(seed, *shape) for seed, shape in enumerate(SHAPES)])


def random_soft(teacher: MultimodalLLM, *shape: int) -> Tensor:
    return torch.randn(*shape, teacher.hidden_size, generator=torch.Generator().manual_seed(5)).requires_grad_()


@pytest.mark.parametrize("family", FAMILIES)
def test_soft_tokens_that_are_words_are_those_words(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    soft = teacher.embed_text(" carrying a box")
    for layer, entry in ((-1, 3), (0, 1)):
        states = teacher.soft_token_states(
            shown(teacher), soft, question=QUESTION, answer_start="someone is", layer=layer
        )
        for row, (seed, shape) in enumerate(enumerate(SHAPES)):
            answer = "someone is carrying a box"
            output, _ = forward(teacher, family, picture(seed, *shape), answer, output_hidden_states=True)
            expected = output.hidden_states[entry][0, -len(soft) :]
            torch.testing.assert_close(states[row], expected, rtol=1e-3, atol=1e-4)


def test_one_tensor_of_tokens_is_a_batch(tiny_teacher: Load) -> None:
    teacher = tiny_teacher("llava")
    visual = shown(teacher)
    stacked = torch.stack([row.tokens for row in visual])
    soft = random_soft(teacher, 2)
    listed = teacher.soft_token_states(visual, soft)
    torch.testing.assert_close(teacher.soft_token_states(stacked, soft), listed)
    torch.testing.assert_close(teacher.soft_token_states(stacked, soft.expand(3, -1, -1)), listed)
    # earlier soft tokens do not see later ones
    torch.testing.assert_close(teacher.soft_token_states(stacked, soft[:1]), listed[:, :1], rtol=1e-4, atol=1e-5)
    # one query needs no causal mask, so that the family makes none: the bias has to bring its own
    alone = teacher.soft_token_states(stacked, soft[:1], attention_bias=torch.zeros(1, 16))
    torch.testing.assert_close(alone, listed[:, :1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_soft_tokens_and_bias_only(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    visual = [
        VisualTokens(row.tokens.clone().requires_grad_(), row.grid, None if row.deep is None else row.deep.clone())
        for row in shown(teacher)
    ]
    most = max(len(row.tokens) for row in visual)
    soft, bias = random_soft(teacher, 2), torch.zeros(2, most, requires_grad=True)
    weights = torch.randn(3, 2, teacher.hidden_size, generator=torch.Generator().manual_seed(8))

    def loss(soft: Tensor, bias: Tensor, checkpointing: bool = False) -> Tensor:
        states = teacher.soft_token_states(visual, soft, attention_bias=bias, checkpointing=checkpointing)
        return (states * weights).sum()

    loss(soft, bias).backward()
    plain = teacher.soft_token_states(visual, soft)
    torch.testing.assert_close((plain * weights).sum(), loss(soft, bias), rtol=1e-4, atol=1e-3)  # zero is no bias
    assert soft.grad is not None and bias.grad is not None
    assert all(row.tokens.grad is None for row in visual)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.model.parameters())
    # by finite differences, along fixed directions
    along = torch.linspace(-1, 1, soft.numel()).view_as(soft)
    step = 1e-2
    with torch.no_grad():
        slope = (loss(soft + step * along, bias) - loss(soft - step * along, bias)) / (2 * step)
        assert slope.item() == pytest.approx((soft.grad * along).sum().item(), rel=0.05, abs=0.05)
        tilt = torch.linspace(-1, 1, bias.numel()).view_as(bias)
        slope = (loss(soft, bias + step * tilt) - loss(soft, bias - step * tilt)) / (2 * step)
    assert slope.item() == pytest.approx((bias.grad * tilt).sum().item(), rel=0.05, abs=0.02)
    assert bias.grad.abs().max() > 1e-3
    before = soft.grad.clone(), bias.grad.clone()
    soft.grad = bias.grad = None
    loss(soft, bias, checkpointing=True).backward()
    assert soft.grad is not None and bias.grad is not None
    torch.testing.assert_close(soft.grad, before[0])
    torch.testing.assert_close(bias.grad, before[1])


@pytest.mark.parametrize("family", ["llava", "qwen"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_bias_of_minus_ten_thousand_is_a_mask(tiny_teacher: Load, family: str, attention: str) -> None:
    teacher = tiny_teacher(family)
    soft = teacher.embed_text(" dog jumping")
    hidden = [(0, 1), (0, 4), (1, 0)]  # soft token, visual token
    inputs = processed(teacher, family, picture(0), " dog jumping".removeprefix(PROMPTS[family][1]))
    ids = inputs["input_ids"]
    at_picture = (ids[0] == teacher.model.config.image_token_id).nonzero()[:, 0]
    length = ids.shape[1]
    allowed = torch.ones(length, length).tril().bool()
    bias = torch.zeros(2, len(at_picture))
    for token, place in hidden:
        bias[token, place] = -1e4
        allowed[length - 2 + token, at_picture[place]] = False
    if family == "qwen":
        named = {name: inputs[name] for name in ("mm_token_type_ids", "image_grid_thw")}
        inputs["position_ids"] = teacher.model.model.get_rope_index(ids, **named)[0]
    mask = torch.zeros(1, 1, length, length).masked_fill(~allowed, torch.finfo(torch.float32).min)
    teacher.model.set_attn_implementation(attention)
    try:
        with torch.no_grad():
            inputs["attention_mask"] = mask
            expected = teacher.model(**inputs, output_hidden_states=True).hidden_states[-1][0, -2:]
        visual = teacher.visual_tokens([picture(0)])
        found = teacher.soft_token_states(visual, soft, question=QUESTION, attention_bias=bias)
        free = teacher.soft_token_states(visual, soft, question=QUESTION)
    finally:
        teacher.model.set_attn_implementation("sdpa")
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-4)
    assert (free[0] - expected).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["qwen", "llava_next", "gemma3"])
def test_a_bias_for_pictures_of_several_sizes(tiny_teacher: Load, family: str) -> None:
    """In a padded batch each picture's bias is the one that it has alone; what is beyond its tokens is ignored."""
    teacher = tiny_teacher(family)
    visual, soft = shown(teacher), random_soft(teacher, 2)
    most = max(len(row.tokens) for row in visual)
    bias = torch.randn(3, 2, most, generator=torch.Generator().manual_seed(3))
    together = teacher.soft_token_states(visual, soft, attention_bias=bias)
    for row, picture_tokens in enumerate(visual):
        own = bias[row, :, : len(picture_tokens.tokens)]
        alone = teacher.soft_token_states([picture_tokens], soft, attention_bias=own)
        torch.testing.assert_close(together[row], alone[0], rtol=1e-3, atol=1e-4)
    shared = teacher.soft_token_states(visual, soft, attention_bias=bias[0])
    torch.testing.assert_close(shared[0], together[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_where_soft_tokens_look_is_where_their_words_look(tiny_teacher: Load, family: str) -> None:
    """Soft tokens that are the embeddings of words look where the model looks after these words."""
    teacher = tiny_teacher(family)
    visual, soft = shown(teacher), teacher.embed_text(" carrying a box")
    looks = teacher.soft_token_attention(visual, soft, question=QUESTION, answer_start="someone is")
    counts = [len(row.tokens) for row in visual]
    assert looks.shape == (3, len(soft), max(counts))
    assert (looks.dtype, looks.device.type, looks.requires_grad) == (torch.float32, "cpu", False)
    for row, (count, (seed, shape)) in enumerate(zip(counts, enumerate(SHAPES), strict=True)):
        start = "someone is carrying a box"
        expected, _ = teacher.attention_to_picture(picture(seed, *shape), QUESTION, answer_start=start)
        torch.testing.assert_close(looks[row, -1, :count], expected, rtol=1e-3, atol=1e-5)
        assert not looks[row, :, count:].any()
    assert (looks[:, 0] - looks[:, -1]).abs().max() > 1e-5  # each token has a look of its own


def test_a_bias_turns_the_look(tiny_teacher: Load) -> None:
    teacher = tiny_teacher("qwen")
    visual, soft = shown(teacher), random_soft(teacher, 2)
    most = max(len(row.tokens) for row in visual)
    bias = torch.zeros(2, most)
    bias[0, 3], bias[1, 1] = -1e4, 20.0
    before = teacher.soft_token_states(visual, soft, attention_bias=bias)
    free = teacher.soft_token_attention(visual, soft)
    bent = teacher.soft_token_attention(visual, soft, attention_bias=bias)
    torch.testing.assert_close(teacher.soft_token_attention(visual, soft, attention_bias=torch.zeros(2, most)), free)
    assert bent[:, 0, 3].max() < 1e-6 < free[:, 0, 3].min()
    assert bent[:, 1, 1].min() > 0.99
    torch.testing.assert_close(bent[:, 0].sum(-1) < 1, torch.ones(3, dtype=torch.bool))  # the rest goes to text
    after = teacher.soft_token_states(visual, soft, attention_bias=bias)
    assert torch.equal(after, before)  # plain attention was for the look only
    assert teacher.model.model.get_decoder().config._attn_implementation == "sdpa"


def test_nothing_is_left_behind(tiny_teacher: Load) -> None:
    """A call, even one that fails, leaves no hook, no wrapped block and all blocks."""
    teacher = tiny_teacher("llava")
    decoder = teacher.model.model.get_decoder()
    visual, soft = shown(teacher), random_soft(teacher, 2)

    def state() -> list[Any]:
        blocks = list(decoder.layers)
        hooks = [len(block._forward_pre_hooks) + len(block._forward_hooks) for block in blocks]
        return [len(blocks), hooks, ["forward" in block.__dict__ for block in blocks], len(decoder._forward_pre_hooks)]

    before = state()
    teacher.soft_token_states(visual, soft, layer=0, checkpointing=True, attention_bias=torch.zeros(2, 16))
    with pytest.raises(RuntimeError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder.layers[2].mlp, "forward", lambda x: (_ for _ in ()).throw(RuntimeError("no memory")))
        teacher.soft_token_states(visual, soft, checkpointing=True)
    assert state() == before


def test_half_precision_keeps_the_type_of_the_soft_tokens(tiny_llava_folder: Any) -> None:
    teacher = MultimodalLLM.from_pretrained(tiny_llava_folder, device="cpu", precision="bf16")
    visual = shown(teacher)
    assert visual[0].tokens.dtype == torch.bfloat16
    soft, bias = random_soft(teacher, 2), torch.zeros(2, 16, requires_grad=True)
    states = teacher.soft_token_states(visual, soft, attention_bias=bias)
    assert states.dtype == torch.float32
    states.square().sum().backward()
    assert soft.grad is not None and soft.grad.dtype == torch.float32 and soft.grad.abs().sum() > 0
    assert bias.grad is not None and bias.grad.abs().sum() > 0
    assert teacher.vocabulary_logits(states).dtype == torch.float32


@pytest.mark.parametrize(
    ("soft", "bias", "message"),
    [
        ((2, 31), None, r"\(K, 32\) or \(3, K, 32\)"),  # another model's width
        ((2, 2, 32), None, r"\(3, K, 32\)"),  # two rows for three pictures
        ((2, 32), (2, 15), r"at most 16"),  # a bias for another grid
        ((2, 32), (3, 16), r"for 3 soft tokens, but there are 2"),
        ((2, 32), (2, 2, 16), r"\(3, soft tokens, 16\)"),
    ],
)
def test_shapes_that_do_not_fit(tiny_teacher: Load, soft: tuple[int, ...], bias: Any, message: str) -> None:
    teacher = tiny_teacher("llava")
    given = None if bias is None else torch.zeros(bias)
    with pytest.raises(TeacherError, match=message):
        teacher.soft_token_states(shown(teacher), torch.zeros(soft), attention_bias=given)
    with pytest.raises(TeacherError, match=r"\(tokens, 32\)"):
        teacher.soft_token_states([torch.zeros(4, 31)], torch.zeros(2, 32))
