"""The light block over cached tokens: its readings lie in the frozen head's words, whoever else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ovgsr.distillation.prompts import RoleInputs
from ovgsr.distillation.token_block import TokenBlock
from ovgsr.distillation.word_space import WordSpace
from ovgsr.teacher.multimodal_llm import MultimodalLLM

from .readers import LEFT, MIDDLE, RIGHT, WIDTH, Box, random_words, role_inputs, tokens


@pytest.fixture(scope="module")
def teacher() -> MultimodalLLM:
    return MultimodalLLM.from_pretrained("sketch", device="cpu")


@pytest.fixture(scope="module")
def words(teacher: MultimodalLLM) -> WordSpace:
    return random_words(teacher)


@pytest.fixture(scope="module")
def block(teacher: MultimodalLLM, words: WordSpace) -> Iterator[TokenBlock]:
    torch.manual_seed(0)
    yield TokenBlock(teacher, words)


@torch.no_grad()
def test_a_batch_of_one_reads_as_its_row_in_a_larger_batch(teacher: MultimodalLLM, block: TokenBlock) -> None:
    visual = tokens(teacher, (4, 4), (1, 1), (3, 5), None)
    frames: list[list[Box | None]] = [[LEFT, MIDDLE], [RIGHT], [None, RIGHT], [None]]
    roles = role_inputs(*frames)
    together = block(teacher, visual, roles)
    assert together.scene.shape == (4, WIDTH)
    assert together.roles is not None
    assert together.roles.shape == (4, 2, WIDTH)
    assert not together.roles[~roles.mask].any()
    for row, frame in enumerate(frames):
        one = slice(row, row + 1)
        alone = block(teacher, visual[one], RoleInputs(*(value[one, : len(frame)] for value in vars(roles).values())))
        assert alone.roles is not None
        torch.testing.assert_close(alone.scene[0], together.scene[row], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(alone.roles[0], together.roles[row, : len(frame)], rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_the_scene_is_an_expected_action_and_pictures_differ(
    teacher: MultimodalLLM, block: TokenBlock, words: WordSpace
) -> None:
    found = block(teacher, tokens(teacher, (4, 4), (4, 4)), None)
    assert found.roles is None
    gerunds = words.embeddings[words.gerunds]
    # An expectation of vectors is longer than none of them.
    assert float(found.scene.norm(dim=-1).max()) <= float(gerunds.norm(dim=-1).max())
    assert (found.scene[0] - found.scene[1]).norm() > 1e-4
    none = RoleInputs(*(value[:, :0] for value in vars(role_inputs([LEFT], [LEFT])).values()))
    torch.testing.assert_close(block(teacher, tokens(teacher, (4, 4), (4, 4)), none).scene, found.scene)


@torch.no_grad()
def test_a_role_depends_on_its_box_and_text_and_the_scene_on_the_roles(
    teacher: MultimodalLLM, block: TokenBlock
) -> None:
    visual = tokens(teacher, (4, 4))
    first = block(teacher, visual, role_inputs([LEFT, RIGHT]))
    moved = block(teacher, visual, role_inputs([LEFT, MIDDLE]))
    renamed = block(teacher, visual, role_inputs([LEFT, RIGHT], seed=1))
    for other in (moved, renamed):
        assert first.roles is not None
        assert other.roles is not None
        assert (first.roles[0, 1] - other.roles[0, 1]).norm() > 1e-4
        assert (first.scene - other.scene).norm() > 1e-5


def test_gradients_reach_the_block_and_nothing_of_the_teacher(teacher: MultimodalLLM, block: TokenBlock) -> None:
    read = block(teacher, tokens(teacher, (4, 4), (2, 3)), role_inputs([LEFT, None], [RIGHT]))
    assert read.roles is not None
    (read.scene.square().sum() + read.roles.square().sum()).backward()  # type: ignore[no-untyped-call]
    without = [name for name, value in block.named_parameters() if value.grad is None or not value.grad.any()]
    assert [name for name in without if not name.endswith("key_value.bias")] == []
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    block.zero_grad(set_to_none=True)
