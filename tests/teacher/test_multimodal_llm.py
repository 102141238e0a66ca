"""The frozen multimodal LLM against transformers' own full forward passes, for ten families of tiny models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ovgsr.teacher.multimodal_llm import MultimodalLLM, TeacherError, VisualTokens

from .conftest import FAMILIES, picture

Load = Callable[[str], MultimodalLLM]
QUESTION = "What is happening?"
LLAVA_PROMPT = "USER: <image>\nWhat is happening? ASSISTANT:"
QWEN_PROMPT = (
    "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is happening?<|im_end|>\n<|im_start|>assistant\n"
)
GEMMA_PROMPT = "<s><start_of_turn>user\n<start_of_image>What is happening?<end_of_turn>\n<start_of_turn>model\n"
# What a user of transformers would write by hand, and what the template puts before an answer.
PROMPTS = {
    "llava": (LLAVA_PROMPT, " "),
    "swin_llava": (LLAVA_PROMPT, " "),
    "llava_next": (LLAVA_PROMPT, " "),
    "onevision": (LLAVA_PROMPT, " "),
    "internvl": (LLAVA_PROMPT.replace("<image>", "<IMG_CONTEXT>"), " "),
    "idefics3": (LLAVA_PROMPT, " "),
    "qwen": (QWEN_PROMPT, ""),
    "qwen3": (QWEN_PROMPT, ""),
    "paligemma": ("<image>What is happening?", ""),
    "gemma3": (GEMMA_PROMPT, ""),
}
SHAPES = ((96, 96), (150, 84), (84, 150))


def processed(teacher: MultimodalLLM, family: str, image: Any, answer: str = "") -> dict[str, Tensor]:
    """The processor's inputs for the prompt above, with an answer's tokens after it."""
    prompt, joint = PROMPTS[family]
    special = {"add_special_tokens": False} if prompt.startswith("<s>") else {}
    inputs = dict(teacher.processor(text=[prompt], images=[[image]], return_tensors="pt", **special))
    inputs.pop("labels", None)
    if answer:
        ids = teacher.processor.tokenizer(joint + answer, add_special_tokens=False, return_tensors="pt")["input_ids"]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        for name, value in (("mm_token_type_ids", 0), ("token_type_ids", int(family == "paligemma"))):
            if name in inputs:
                inputs[name] = torch.cat([inputs[name], torch.full_like(ids, value)], 1)
    return inputs


def forward(teacher: MultimodalLLM, family: str, image: Any, answer: str = "", **options: bool) -> tuple[Any, Tensor]:
    """transformers' own forward pass over picture, prompt and answer; and the places of the picture's tokens."""
    inputs = processed(teacher, family, image, answer)
    with torch.no_grad():
        output = teacher.model(**inputs, return_dict=True, **options)
    return output, inputs["input_ids"][0] == teacher.model.config.image_token_id


@pytest.mark.parametrize("family", FAMILIES)
def test_projector_tokens_are_the_familys_own(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    images = [picture(seed, *shape) for seed, shape in enumerate(SHAPES)]
    found = teacher.visual_tokens(images)  # one batch
    for image, visual in zip(images, found, strict=True):
        inputs = processed(teacher, family, image)
        taken = {name: inputs[name] for name in ("pixel_values", "image_grid_thw", "image_sizes") if name in inputs}
        if family in ("llava", "swin_llava", "paligemma", "gemma3"):
            taken = {"pixel_values": inputs["pixel_values"]}
        with torch.no_grad():
            expected = teacher.model.get_image_features(**taken).pooler_output
        flat = torch.cat([tile.reshape(-1, teacher.hidden_size) for tile in expected])  # InternVL: a row a tile
        torch.testing.assert_close(visual.tokens, flat, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "grids", "counts"),
    [
        ("llava", [(4, 4)] * 3, [16] * 3),  # 56 pixels, patches of 14, class token dropped
        ("swin_llava", [(12, 12)] * 3, [144] * 3),  # 96 pixels, stride 8, no class token
        ("paligemma", [(4, 4)] * 3, [16] * 3),
        ("gemma3", [(2, 2)] * 3, [4] * 3),  # 4 x 4 patches averaged to 2 x 2
        ("qwen", [(3, 3), (3, 5), (5, 3)], [9, 15, 15]),  # squares of 28 pixels: 96 -> 3, 150 -> 5, 84 -> 3
        ("qwen3", [(3, 3), (3, 5), (5, 3)], [9, 15, 15]),  # squares of 32 pixels
        # A base view of 16 and tiles: 2 x 2 tiles of 16, a newline in each of 8 rows; 1 x 2 tiles, unpadded to
        # 4 x 8, and 4 newlines; 2 x 1 tiles, 8 x 4 and 8 newlines.
        ("llava_next", [None] * 3, [88, 16 + 32 + 4, 16 + 32 + 8]),
        ("onevision", [None] * 3, [88, 16 + 32 + 4, 16 + 32 + 8]),
        ("internvl", [None] * 3, [20, 12, 12]),  # 4 tokens a tile: 2 x 2, 1 x 2 and 2 x 1 tiles, and the whole
        ("idefics3", [None] * 3, [20, 20, 20]),  # 2 x 2 tiles and the whole, whatever the shape
    ],
)
def test_grids(tiny_teacher: Load, family: str, grids: list[Any], counts: list[int]) -> None:
    found = tiny_teacher(family).visual_tokens([picture(seed, *shape) for seed, shape in enumerate(SHAPES)])
    assert [visual.grid for visual in found] == grids
    assert [len(visual.tokens) for visual in found] == counts


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_those_of_the_full_forward(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    images = [picture(seed, *shape) for seed, shape in enumerate(SHAPES[:2])]
    plain = teacher.processor.apply_chat_template if teacher.processor.chat_template else None
    # entry 0 of transformers' hidden_states are the embeddings, the last is after the final norm
    for layer, entry in ((0, 1), (1, 2), (2, 3), (-1, 3), (-3, 1)):
        found = teacher.visual_tokens(images, layer=layer)
        for image, visual in zip(images, found, strict=True):
            turn = [{"role": "user", "content": [{"type": "image"}]}]
            prompt = plain(turn, add_generation_prompt=True) if plain else "<image>"
            special = {"add_special_tokens": False} if prompt.startswith("<s>") else {}
            inputs = dict(teacher.processor(text=[prompt], images=[[image]], return_tensors="pt", **special))
            inputs.pop("labels", None)
            at_picture = inputs["input_ids"][0] == teacher.model.config.image_token_id
            with torch.no_grad():
                states = teacher.model(**inputs, output_hidden_states=True).hidden_states[entry]
            torch.testing.assert_close(visual.tokens, states[0, at_picture], rtol=1e-3, atol=1e-4)
    with pytest.raises(TeacherError, match="layer 3 of 3"):
        teacher.visual_tokens(images, layer=3)


CANDIDATES = ("carrying", "cutting wood", "jumping over the dog", "zzz")


@pytest.mark.parametrize("family", FAMILIES)
def test_score_is_a_loop_of_full_forwards(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    images = [picture(seed, *shape) for seed, shape in enumerate(SHAPES)]
    tokenizer = teacher.processor.tokenizer
    joint = PROMPTS[family][1]
    start = len(tokenizer(joint + "someone is", add_special_tokens=False)["input_ids"])
    expected, lengths = torch.zeros(3, 4), torch.zeros(4)
    for row, image in enumerate(images):
        for column, candidate in enumerate(CANDIDATES):
            output, _ = forward(teacher, family, image, f"someone is {candidate}")
            ids = tokenizer(f"{joint}someone is {candidate}", add_special_tokens=False, return_tensors="pt")[
                "input_ids"
            ]
            spoken = ids[0, start:]
            log_p = output.logits[0, -len(spoken) - 1 : -1].log_softmax(-1)
            expected[row, column] = log_p.gather(1, spoken[:, None]).sum()
            lengths[column] = len(spoken)
    assert lengths.unique().numel() > 1  # padding is at work
    for batch in (64, 2):
        found = teacher.score(images, QUESTION, CANDIDATES, answer_start="someone is", batch=batch)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    spaced = teacher.score(images, QUESTION, [f" {text}" for text in CANDIDATES], answer_start="someone is")
    torch.testing.assert_close(spaced, expected, rtol=1e-3, atol=1e-3)
    mean = teacher.score(images, QUESTION, CANDIDATES, answer_start="someone is", score_per_token=True)
    torch.testing.assert_close(mean, expected / lengths, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_generate_is_greedy_generation(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    images = [picture(seed, *shape) for seed, shape in enumerate(SHAPES)]
    for answer in ("", "someone is"):
        found = teacher.generate(images, [QUESTION] * 3, max_new_tokens=6, answer_start=answer)
        for image, reply in zip(images, found, strict=True):
            inputs = processed(teacher, family, image, answer)
            length = inputs["input_ids"].shape[1]
            written = teacher.model.generate(**inputs, max_new_tokens=6, do_sample=False)[0]
            expected = teacher.processor.tokenizer.decode(written[length:], skip_special_tokens=True)
            assert reply == (expected.rstrip() if answer else expected.strip())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_unequal_prompts_is_as_one_by_one(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    images = [picture(seed, *shape) for seed, shape in enumerate(SHAPES)]
    questions = ["What?", "What is the man cutting, and where is the dog in the picture?", QUESTION]
    together = teacher.generate(images, questions, max_new_tokens=5)
    alone = [teacher.generate([i], [q], max_new_tokens=5)[0] for i, q in zip(images, questions, strict=True)]
    assert together == alone
    assert any(together)
    first = teacher.score(images, "What?", CANDIDATES)
    again = torch.cat([teacher.score([image], "What?", CANDIDATES) for image in images])
    torch.testing.assert_close(first, again, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_given_tokens_stand_for_the_picture(tiny_teacher: Load, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = tiny_teacher(family)
    images = [picture(seed, *shape) for seed, shape in enumerate(SHAPES)]
    visual = teacher.visual_tokens(images)
    scores = teacher.score(images, QUESTION, CANDIDATES)
    replies = teacher.generate(images, [QUESTION] * 3, max_new_tokens=5)
    assert (scores[0] - scores[1]).abs().max() > 1e-3  # pictures matter
    monkeypatch.setattr(teacher.model.model, "get_image_features", None)  # the vision tower is not run
    torch.testing.assert_close(teacher.score(None, QUESTION, CANDIDATES, visual=visual), scores, rtol=1e-3, atol=1e-3)
    assert teacher.generate(None, [QUESTION] * 3, max_new_tokens=5, visual=visual) == replies
    pooled = [picture.pooled(2, 2) for picture in visual]
    assert teacher.score(None, QUESTION, CANDIDATES, visual=pooled).isfinite().all()


def test_bare_tensors_have_the_grid_nearest_to_a_square(tiny_teacher: Load) -> None:
    teacher = tiny_teacher("qwen")
    visual = teacher.visual_tokens([picture(1, 150, 84)])[0]
    assert visual.grid == (3, 5)
    known = teacher.score(None, QUESTION, CANDIDATES, visual=[visual])
    bare = teacher.score(None, QUESTION, CANDIDATES, visual=[visual.tokens])  # 15 tokens: 3 x 5 as well
    other = teacher.score(None, QUESTION, CANDIDATES, visual=[VisualTokens(visual.tokens, (5, 3))])
    torch.testing.assert_close(known, bare)
    assert (known - other).abs().max() > 1e-4  # positions are those of rows and columns


@pytest.mark.parametrize("family", FAMILIES)
def test_vocabulary_and_head(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    output, _ = forward(teacher, family, picture(0), output_hidden_states=True)
    logits = teacher.vocabulary_logits(output.hidden_states[-1])
    torch.testing.assert_close(logits, output.logits, rtol=1e-4, atol=1e-4)
    assert len(teacher.vocabulary) == logits.shape[-1]
    token = teacher.processor.tokenizer(" dog", add_special_tokens=False)["input_ids"]
    assert [teacher.vocabulary[index] for index in token] == [" dog"]
    table = teacher.model.get_input_embeddings()
    torch.testing.assert_close(teacher.embed_text(" dog"), table(torch.tensor(token)))
    assert teacher.embed_text(" dog jumping").shape == (2, teacher.hidden_size)


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_to_the_picture(tiny_teacher: Load, family: str) -> None:
    teacher = tiny_teacher(family)
    before = teacher.model.model.get_decoder().config._attn_implementation
    weights, grid = teacher.attention_to_picture(picture(0), QUESTION)
    assert teacher.model.model.get_decoder().config._attn_implementation == before == "sdpa"
    teacher.model.set_attn_implementation("eager")
    output, at_picture = forward(teacher, family, picture(0), output_attentions=True)
    teacher.model.set_attn_implementation("sdpa")
    expected = output.attentions[2][0, :, -1].mean(0)[at_picture]  # the last of three blocks is the last third
    torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-6)
    assert grid == teacher.visual_tokens([picture(0)])[0].grid
    assert 0 < weights.sum() < 1


def test_pooling_by_hand() -> None:
    tokens = torch.arange(12.0)[:, None]  # 3 rows of 4: 0 1 2 3 / 4 5 6 7 / 8 9 10 11
    visual = VisualTokens(tokens, (3, 4), deep=tokens[None] + 100)
    cases = {
        (3, 4): tokens[:, 0].tolist(),
        (1, 2): [(0 + 1 + 4 + 5 + 8 + 9) / 6, (2 + 3 + 6 + 7 + 10 + 11) / 6],
        (3, 1): [1.5, 5.5, 9.5],
        (1, 1): [5.5],
    }
    for (rows, cols), expected in cases.items():
        pooled = visual.pooled(rows, cols)
        assert pooled.tokens[:, 0].tolist() == pytest.approx(expected)
        assert pooled.deep is not None
        assert pooled.deep[0, :, 0].tolist() == pytest.approx([value + 100 for value in expected])
        assert pooled.grid == (rows, cols)
    flat = VisualTokens(tokens).pooled(2, 3)  # no grid: pairs in reading order
    assert flat.tokens[:, 0].tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert flat.grid is None
    assert VisualTokens(tokens.half(), (3, 4)).pooled(1, 2).tokens.dtype == torch.float16
    with pytest.raises(TeacherError, match="0 x 2"):
        visual.pooled(0, 2)
