"""Plain distillation: the caption's text, and the mean token inside a box."""

from __future__ import annotations

from typing import Any

import torch

from ovgsr.distillation.plain_embedding import CAPTION_QUESTION, PlainEmbedding, pooled_inside
from ovgsr.distillation.prompts import RoleInputs
from ovgsr.teacher.visual_tokens import VisualTokens

from .readers import Box, Random, role_inputs


def _numbered(rows: int, columns: int) -> VisualTokens:
    """Token number n holds (n, 1)."""
    count = rows * columns
    return VisualTokens(torch.stack([torch.arange(float(count)), torch.ones(count)], dim=-1), (rows, columns))


TOP_LEFT: Box = (0.25, 0.25, 0.5, 0.5)


def test_the_mean_token_inside_a_box_by_hand() -> None:
    right_half: Box = (0.75, 0.5, 0.5, 1.0)
    uneven: Box = (0.3125, 0.125, 0.375, 0.25)  # half of the first row's first cell and the whole of its second
    roles = role_inputs([TOP_LEFT, right_half, uneven, None])
    found = pooled_inside([_numbered(4, 4)], roles)
    # cells 0 1 4 5; 2 3 6 7 10 11 14 15; (0 * 0.5 + 1) / 1.5
    expected = torch.tensor([[[2.5, 1.0], [8.5, 1.0], [2 / 3, 1.0], [0.0, 0.0]]])
    torch.testing.assert_close(found, expected)


def test_grids_of_any_kind_in_one_batch() -> None:
    roles = role_inputs([TOP_LEFT], [TOP_LEFT], [TOP_LEFT], pad=1)
    visual = [_numbered(2, 2), VisualTokens(torch.ones(7, 2), None), _numbered(1, 1)]
    found = pooled_inside(visual, roles)
    assert found.tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]]


def test_half_precision_tokens_are_summed_in_full() -> None:
    picture = VisualTokens(torch.full((256, 2), 1000.0, dtype=torch.float16), (16, 16))
    found = pooled_inside([picture], role_inputs([(0.5, 0.5, 1.0, 1.0)]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.full((1, 1, 2), 1000.0))


class Captions:
    """A teacher that says the same of every picture but the second, of which it says nothing."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def generate(self, images: None, questions: list[str], *, visual: list[VisualTokens], max_new_tokens: int) -> Any:
        self.asked.append((images, questions, len(visual), max_new_tokens))
        return ["a dog barks", "", "a dog barks"][: len(visual)]


def test_the_scene_is_the_text_of_the_caption() -> None:
    told: list[list[str]] = []

    class Encoder(Random):
        def encode(self, texts: Any) -> torch.Tensor:
            told.append(list(texts))
            return super().encode(texts)

    teacher: Any = Captions()
    visual = [_numbered(2, 2)] * 3
    reader = PlainEmbedding(Encoder())
    found = reader(teacher, visual, None)
    assert told == [["a dog barks", "nothing", "a dog barks"]], "no caption is a word too, not an empty text"
    assert teacher.asked == [(None, [CAPTION_QUESTION] * 3, 3, 24)]
    assert found.roles is None
    assert list(reader.parameters()) == []
    assert reader.state_dict() == {}
    torch.testing.assert_close(found.scene, Random().encode(["", "", ""]))
    roles = role_inputs([TOP_LEFT], [None], [TOP_LEFT])
    read = reader(teacher, visual, roles)
    assert read.roles is not None
    assert read.roles.shape == (3, 1, 2), "as wide as a token"
    none = RoleInputs(*(value[:, :0] for value in vars(roles).values()))
    assert reader(teacher, visual, none).roles is None
