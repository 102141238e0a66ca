"""Prompts through a frozen LLM: what fresh ones say, what is learned, and who may colour whose reading."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ovgsr.distillation.box_mask import attention_bias
from ovgsr.distillation.prompts import (
    ACTION_START,
    INSTANCE_QUESTION,
    INSTANCE_SENTENCES,
    SCENE_QUESTION,
    SCENE_SENTENCE,
    InteractivePrompts,
    RoleInputs,
)
from ovgsr.distillation.word_space import PromptError, WordSpace
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.visual_tokens import VisualTokens

from .readers import LEFT, MIDDLE, RIGHT, Box, random_words, role_inputs, tokens


@pytest.fixture(scope="module")
def teacher() -> MultimodalLLM:
    return MultimodalLLM.from_pretrained("sketch", device="cpu")


@pytest.fixture(scope="module")
def words(teacher: MultimodalLLM) -> WordSpace:
    return random_words(teacher)


def _learned(teacher: MultimodalLLM, words: WordSpace, seed: int = 1) -> InteractivePrompts:
    """As after tuning: no weight is zero any more."""
    prompts = InteractivePrompts(teacher, words)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in prompts.named_parameters():
            size = 0.02 if name in ("scene", "instance") else 0.2
            parameter.add_(size * torch.randn_like(parameter))
    return prompts


def _next_word(teacher: MultimodalLLM, visual: list[VisualTokens], question: str, sentence: str) -> Tensor:
    """Logits (B, V) of what follows a sentence."""
    states = teacher.soft_token_states(visual, teacher.embed_text(sentence), question=question)
    return teacher.vocabulary_logits(states[:, -1])


@torch.no_grad()
def test_the_fixed_prompt_says_what_the_llm_would_say_next(teacher: MultimodalLLM, words: WordSpace) -> None:
    visual = tokens(teacher, (4, 4), (4, 4))
    found = InteractivePrompts(teacher, words, learn_scene=False, learn_instance=False)(teacher, visual, None)
    logits = _next_word(teacher, visual, SCENE_QUESTION, ACTION_START)
    logits[:, ~words.gerunds] = -torch.inf
    expected = logits.softmax(dim=-1) @ words.embeddings
    torch.testing.assert_close(found.scene, expected, rtol=1e-3, atol=1e-4)
    assert found.roles is None
    assert (expected[0] - expected[1]).norm() > 0.01


@torch.no_grad()
def test_fresh_prompts_read_every_word_of_the_sentence_and_most_of_all_the_action(
    teacher: MultimodalLLM, words: WordSpace
) -> None:
    """Gates: 3 for the word that comes after "someone is", 0 for the others; no word has learned anything."""
    visual = tokens(teacher, (4, 4))
    found = InteractivePrompts(teacher, words)(teacher, visual, None).scene[0]
    rows = teacher.embed_text(SCENE_SENTENCE)
    action = len(teacher.embed_text(ACTION_START)) - 1
    assert torch.equal(rows[: action + 1], teacher.embed_text(ACTION_START)), "the sentence begins so, token by token"
    logits = teacher.vocabulary_logits(teacher.soft_token_states(visual, rows, question=SCENE_QUESTION)[0])
    logits[action, ~words.gerunds] = -torch.inf
    gates = torch.zeros(len(rows))
    gates[action] = 3
    expected = gates.softmax(dim=0) @ (logits.softmax(dim=-1) @ words.embeddings)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_fresh_instance_prompts_begin_where_the_box_stands(teacher: MultimodalLLM, words: WordSpace) -> None:
    visual = tokens(teacher, (4, 4))
    roles = role_inputs([LEFT, MIDDLE, RIGHT, None])
    prompts = InteractivePrompts(teacher, words)
    found = prompts(teacher, visual, roles).roles
    assert found is not None
    length = max(len(teacher.embed_text(sentence)) for sentence in INSTANCE_SENTENCES)
    strength = torch.nn.functional.softplus(torch.tensor(4.0))
    for place, third in enumerate((0, 1, 2, 1)):  # without a box: the middle, and the whole picture
        rows = teacher.embed_text(INSTANCE_SENTENCES[third])
        rows = torch.cat([rows[:1].expand(length - len(rows), -1), rows])
        bias = attention_bias(roles.boxes_cxcywh[0, place], roles.grounded[0, place], (4, 4), strength)
        states = teacher.soft_token_states(
            visual, rows, question=INSTANCE_QUESTION, attention_bias=bias.expand(length, -1)
        )
        expected = teacher.vocabulary_logits(states[0, -1]).softmax(dim=-1) @ words.embeddings
        torch.testing.assert_close(found[0, place], expected, rtol=1e-3, atol=1e-4)
    fixed = InteractivePrompts(teacher, words, learn_scene=False, learn_instance=False)(teacher, visual, roles).roles
    assert fixed is not None
    torch.testing.assert_close(fixed[0, :3], found[0, :3], rtol=1e-4, atol=1e-5)
    assert not fixed[0, 3].any(), "hand-written words ask about nobody's place"


LEARNED = [
    # learn the scene, the roles; what has a gradient to expect
    (True, True, {"scene", "scene_gate", "instance", "role_text", "role_box", "strength", "interaction", "look"}),
    (True, False, {"scene", "scene_gate"}),
    (False, True, {"instance", "role_text", "role_box", "strength"}),
    (False, False, set()),
]


@pytest.mark.parametrize(("scene", "instance", "names"), LEARNED)
def test_what_is_learned_has_a_gradient_and_the_teacher_has_none(
    teacher: MultimodalLLM, words: WordSpace, scene: bool, instance: bool, names: set[str]
) -> None:
    prompts = InteractivePrompts(teacher, words, learn_scene=scene, learn_instance=instance)
    trainable = {name.partition(".")[0] for name, value in prompts.named_parameters() if value.requires_grad}
    heat = {name for part, name in ((scene, "scene_log_temperature"), (instance, "role_log_temperature")) if part}
    assert trainable == names | heat
    assert not any(name in dict(prompts.named_parameters()) for name in ("words.embeddings", "role_start"))
    if not names:
        return
    with torch.no_grad():  # at zero, as they start, they pass no gradient on to what lies before them
        prompts.interaction.output.weight.normal_(std=0.1)
    read = prompts(teacher, tokens(teacher, (4, 4), (2, 3)), role_inputs([LEFT, None], [RIGHT]))
    assert read.roles is not None
    # A sum would miss the words' softmax; squares do not.
    (read.scene.square().sum() + read.roles.square().sum()).backward()  # type: ignore[no-untyped-call]
    without = [n for n, p in prompts.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    # The constant added to every key changes no softmax.
    assert [name for name in without if name != "interaction.key_value.bias"] == []
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


@torch.no_grad()
def test_prompts_look_at_one_another_once_the_interaction_is_learned(teacher: MultimodalLLM, words: WordSpace) -> None:
    visual = tokens(teacher, (4, 4))
    roles, moved = role_inputs([LEFT, MIDDLE]), role_inputs([LEFT, RIGHT])
    fresh, learned = InteractivePrompts(teacher, words), _learned(teacher, words)
    apart = [fresh(teacher, visual, some).scene for some in (None, roles, moved)]
    torch.testing.assert_close(apart[1], apart[0])
    torch.testing.assert_close(apart[2], apart[0])
    before, after = learned(teacher, visual, roles), learned(teacher, visual, moved)
    assert (before.scene - after.scene).norm() > 1e-3, "instance -> scene"
    assert before.roles is not None
    assert after.roles is not None
    assert (before.roles[0, 0] - after.roles[0, 0]).norm() > 1e-4, "instance -> instance"
    learned.scene.add_(0.1 * torch.randn(learned.scene.shape, generator=torch.Generator().manual_seed(3)))
    changed = learned(teacher, visual, roles).roles
    assert changed is not None
    assert (before.roles - changed).norm() > 1e-4, "scene -> instance"


@torch.no_grad()
def test_tuned_prompts_read_the_scene_alone(teacher: MultimodalLLM, words: WordSpace) -> None:
    """Views and dev come without roles: once tuned, the scene is read without them everywhere; roles still see it."""
    prompts, visual = _learned(teacher, words), tokens(teacher, (4, 4))
    roles = role_inputs([LEFT, RIGHT])
    together, alone = prompts(teacher, visual, roles), prompts(teacher, visual, roles, alone=True)
    bare = prompts(teacher, visual, None).scene
    assert not torch.allclose(together.scene, bare, atol=1e-3)
    torch.testing.assert_close(alone.scene, bare)
    tuned = prompts.eval()(teacher, visual, roles)
    torch.testing.assert_close(tuned.scene, bare)
    assert tuned.roles is not None
    assert together.roles is not None
    torch.testing.assert_close(tuned.roles, together.roles)


@torch.no_grad()
def test_padding_never_changes_anything(teacher: MultimodalLLM, words: WordSpace) -> None:
    visual, prompts = tokens(teacher, (4, 4), (3, 5)), _learned(teacher, words)
    roles = role_inputs([LEFT, None], [RIGHT])
    padded = role_inputs([LEFT, None], [RIGHT], pad=2)
    for field in (padded.texts, padded.boxes_cxcywh):
        field[~padded.mask] = 7.0  # whatever stands there
    plain, other = prompts(teacher, visual, roles), prompts(teacher, visual, padded)
    assert plain.roles is not None
    assert other.roles is not None
    torch.testing.assert_close(other.scene, plain.scene)
    torch.testing.assert_close(other.roles[:, :2], plain.roles)
    assert not other.roles[~padded.mask].any()
    assert other.roles[padded.mask].any(dim=-1).all()


@torch.no_grad()
@pytest.mark.parametrize("learned", [True, False])
def test_a_batch_of_one_reads_as_its_row_in_a_larger_batch(
    teacher: MultimodalLLM, words: WordSpace, learned: bool
) -> None:
    """Pictures of different sizes, one of them a single token; frames of different lengths, one without a box."""
    visual = tokens(teacher, (4, 4), (1, 1), (3, 5), (2, 2))
    frames: list[list[Box | None]] = [[LEFT, MIDDLE], [RIGHT], [None, RIGHT], [None]]
    roles = role_inputs(*frames)
    prompts = _learned(teacher, words) if learned else InteractivePrompts(teacher, words)
    together = prompts(teacher, visual, roles)
    assert together.roles is not None
    assert together.scene.isfinite().all()
    for row, frame in enumerate(frames):
        one = slice(row, row + 1)
        own = RoleInputs(*(value[one, : len(frame)] for value in vars(roles).values()))
        alone = prompts(teacher, visual[one], own)
        assert alone.roles is not None
        torch.testing.assert_close(alone.scene[0], together.scene[row], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(alone.roles[0], together.roles[row, : len(frame)], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_the_box_is_a_mask_on_a_grid_and_none_without_one(teacher: MultimodalLLM, words: WordSpace) -> None:
    """Two boxes with one centre, and a role_box layer that is still zero: only the mask can tell them apart."""
    small, large = role_inputs([(0.5, 0.5, 0.2, 0.2)]), role_inputs([(0.5, 0.5, 0.9, 0.9)])
    prompts = InteractivePrompts(teacher, words)

    def apart(grid: tuple[int, int] | None) -> float:
        read = [prompts(teacher, tokens(teacher, grid), roles).roles for roles in (small, large)]
        return float((read[0] - read[1]).norm())  # type: ignore[operator]

    assert apart((4, 4)) > 1e-3
    assert apart((1, 1)) < 1e-5, "one token: there is nothing to choose"
    assert apart(None) < 1e-5
    mixed = tokens(teacher, (4, 4), None)
    both = prompts(teacher, mixed, role_inputs([LEFT], [RIGHT])).roles
    assert both is not None
    assert both.isfinite().all()


@torch.no_grad()
def test_no_role_at_all_is_the_scene_alone(teacher: MultimodalLLM, words: WordSpace) -> None:
    visual, prompts = tokens(teacher, (4, 4), (4, 4)), _learned(teacher, words)
    alone = prompts(teacher, visual, None)
    none = RoleInputs(*(value[:, :0] for value in vars(role_inputs([LEFT], [LEFT])).values()))
    found = prompts(teacher, visual, none)
    assert found.roles is None
    torch.testing.assert_close(found.scene, alone.scene)
    with pytest.raises(PromptError, match="no picture to read"):
        prompts(teacher, [], None)


@torch.no_grad()
def test_a_batch_of_frames_withoutrole_inputs(teacher: MultimodalLLM, words: WordSpace) -> None:
    """R is 1 because tensors want it so; every place is padding."""
    roles = role_inputs([LEFT], [LEFT])
    empty = replace(roles, mask=torch.zeros_like(roles.mask))
    visual, prompts = tokens(teacher, (4, 4), (4, 4)), _learned(teacher, words)
    found = prompts(teacher, visual, empty)
    torch.testing.assert_close(found.scene, prompts(teacher, visual, None).scene)
    assert found.roles is None or not found.roles.any()


def test_prompts_come_back_from_their_weights(teacher: MultimodalLLM, words: WordSpace) -> None:
    """Neither the teacher nor its words are among them: a few thousand numbers."""
    learned = _learned(teacher, words)
    state = learned.state_dict()
    assert not [name for name in state if name.startswith(("words", "role_start", "teacher"))]
    again = InteractivePrompts(teacher, words)
    again.load_state_dict(state)
    visual, roles = tokens(teacher, (4, 4)), role_inputs([LEFT, None])
    with torch.no_grad():
        first, second = learned(teacher, visual, roles), again(teacher, visual, roles)
    assert first.roles is not None
    assert second.roles is not None
    assert torch.equal(first.scene, second.scene)
    assert torch.equal(first.roles, second.roles)
