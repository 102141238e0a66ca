"""A teacher looking at a picture: every family ends in a view, with a note where it cannot give something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from PIL import Image
from tests.teacher.conftest import picture
from torch import Tensor

from ovgsr.teacher.picture_view import TeacherView, look
from ovgsr.teacher.visual_tokens import VisualTokens

BOXES = {"agent": (0.0, 0.0, 48.0, 96.0)}


class Looking:
    """Attention on the left column of 2 x 2 tokens."""

    name = "looking"

    def __init__(self, grid: tuple[int, int] | None = (2, 2), weights: Tensor | Exception | None = None) -> None:
        self.grid = grid
        self.weights = torch.tensor([0.2, 0.0, 0.2, 0.0]) if weights is None else weights
        self.asked: list[Any] = []

    def generate(self, images: Sequence[Image.Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        self.asked.append((questions[0], max_new_tokens))
        return [" someone is throwing a ball \n"]

    def attention_to_picture(
        self, image: Image.Image, question: str, *, answer_start: str
    ) -> tuple[Tensor, tuple[int, int] | None]:
        self.asked.append((question, answer_start))
        if isinstance(self.weights, Exception):
            raise self.weights
        return self.weights, self.grid

    def visual_tokens(self, images: Sequence[Image.Image]) -> list[VisualTokens]:
        return [VisualTokens(torch.eye(4), self.grid)]


def seen(teacher: Any) -> TeacherView:
    return look(teacher, picture(0), BOXES, question="what?", answer_start="someone is")


def test_caption_and_two_maps() -> None:
    teacher = Looking()
    view = seen(teacher)
    assert view.caption == "someone is throwing a ball"
    assert teacher.asked == [("what?", 40), ("what?", "someone is")]
    attention, tokens = view.maps
    assert attention.is_heat
    assert not tokens.is_heat
    assert "agent: 100 % on 50 % of the area" in attention.note
    assert "2 × 2 tokens, which get 40 % of all attention" in attention.note
    assert "someone is" in attention.title
    assert "2 × 2 visual tokens" in tokens.note
    assert "100 % of the tokens' variance" in tokens.note  # three axes hold four centred unit vectors
    assert view.notes == ()


# What a family cannot give; the maps that are left; words of the notes.
LACKING: list[tuple[str, Looking, int, list[str]]] = [
    ("no grid", Looking(grid=None), 0, ["no attention map: this family", "no token map: this family"]),
    ("no eager attention", Looking(weights=ValueError("no eager attention\nhere")), 1, ["no attention map: no eager"]),
    ("an error without words", Looking(weights=KeyError()), 1, ["no attention map: KeyError"]),
    ("numbers that are none", Looking(weights=torch.full((4,), float("nan"))), 1, ["not a finite number"]),
]


@pytest.mark.parametrize(("teacher", "maps", "words"), [case[1:] for case in LACKING], ids=[c[0] for c in LACKING])
def test_what_a_family_cannot_give_is_a_note(teacher: Looking, maps: int, words: list[str]) -> None:
    view = seen(teacher)
    assert view.caption
    assert len(view.maps) == maps
    assert len(view.notes) == len(words)
    assert all(word in note for word, note in zip(words, view.notes, strict=True))


@pytest.mark.parametrize("family", ["llava", "qwen", "paligemma", "llava_next"])
def test_real_families(tiny_teacher: Callable[[str], Any], family: str) -> None:
    teacher = tiny_teacher(family)
    wide = picture(0, 128, 96)
    view = look(teacher, wide, BOXES, question="what is happening?", answer_start="someone is", caption_tokens=4)
    if family == "llava_next":
        assert not view.maps
        assert len(view.notes) == 2
        return
    assert [found.is_heat for found in view.maps] == [True, False]
    assert all(found.image.size == (480, 360) for found in view.maps)
    cut = "only the part of the picture that is not faded"
    assert any(cut in note for note in view.notes) == (family == "llava")  # CLIP takes the middle
    if family == "llava":
        edge, middle = view.maps[0].image.getpixel((2, 180)), view.maps[0].image.getpixel((240, 180))
        assert min(edge) > 165  # type: ignore[arg-type]  # faded: 0.65 of it is white
        assert edge != middle
