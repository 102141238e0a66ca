"""The choice among composite views, by hand: what is new, and some of the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from ovgsr.config import ViewSettings
from ovgsr.distillation.prompts import ACTION_START, SCENE_QUESTION
from ovgsr.distillation.word_space import WordSpace
from ovgsr.training.novelty import NovelPictures

VOCABULARY = (" throwing", " Cutting", " swimming", " dog", "ing")


class Teacher:
    """Says of a picture, whose red is r, "throwing" with odds r to 100, and "dog" far more likely than any action."""

    vocabulary = VOCABULARY
    fingerprint = "t:1"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.asked: set[tuple[str, str]] = set()
        self._text = ""

    def embed_text(self, text: str) -> Tensor:
        self._text = text
        return torch.zeros(2, 3)

    def visual_tokens(self, images: list[Image.Image]) -> list[int]:
        self.batches.append(len(images))
        return [int(image.getpixel((0, 0))[0]) for image in images]  # type: ignore[index]

    def soft_token_states(self, visual: list[int], soft: Tensor, *, question: str) -> Tensor:
        self.asked.add((self._text, question))
        states = torch.zeros(len(visual), len(soft), 1)
        states[:, -1, 0] = torch.tensor(visual, dtype=torch.float32)
        return states

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        red = states[:, 0].clamp(min=1e-6)
        logits = torch.zeros(len(red), 5)
        logits[:, 0], logits[:, 1], logits[:, 2] = red.log(), -50.0, torch.tensor(100.0).log()
        logits[:, 3] = 30.0
        return logits


def _words(gerunds: bool = True) -> WordSpace:
    words = torch.tensor([True, True, True, True, False])
    return WordSpace(torch.zeros(5, 2), words, torch.tensor([True, True, True, False, False]) & gerunds)


def _pictures(*reds: int) -> list[Image.Image]:
    return [Image.new("RGB", (2, 2), (red, 0, 0)) for red in reds]


def _novel(threshold: float = 0.5, *, verbs: tuple[str, ...] = ("throwing", "cutting"), gerunds: bool = True) -> Any:
    teacher: Any = Teacher()
    return NovelPictures(teacher, _words(gerunds), verbs, ViewSettings(novel=threshold, others=1)), teacher


def test_the_share_of_training_verbs_among_actions() -> None:
    novel, teacher = _novel()
    found = novel.known_share(_pictures(0, 100, 25))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 0.2]), atol=1e-5, rtol=0)
    assert teacher.asked == {(ACTION_START, SCENE_QUESTION)}
    both, _ = _novel(verbs=("throwing", "swimming"))
    torch.testing.assert_close(both.known_share(_pictures(25)), torch.ones(1))
    assert _novel(gerunds=False)[0].known_share(_pictures(100))[0] < 1e-6, "without gerunds every word races"


def test_many_pictures_are_shown_in_batches() -> None:
    novel, teacher = _novel()
    assert len(novel.known_share(_pictures(*range(120)))) == 120
    assert teacher.batches == [50, 50, 20]


CHOICES = [
    # reds of a batch (at 100 a view is known), what is kept: all that is new, and the first as many of the others
    ((0, 200, 200, 200), [True, True, False, False]),
    ((200, 0, 200, 0, 200), [True, True, True, True, False]),
    ((200, 200, 200), [True, False, False]),  # nothing new: one all the same
    ((0, 0, 0), [True, True, True]),
    ((100,), [True]),
]


@pytest.mark.parametrize(("reds", "kept"), CHOICES)
def test_what_is_kept_of_a_batch(reds: tuple[int, ...], kept: list[bool]) -> None:
    novel, _ = _novel()
    assert novel(_pictures(*reds)) == kept
    assert novel(_pictures(*reds)) == kept, "a batch says nothing about the next one"


def test_the_threshold_decides_and_is_named() -> None:
    strict, _ = _novel(0.1)
    lax, _ = _novel(0.9)
    pictures = _pictures(25, 25, 25)  # a fifth
    assert strict(pictures) == [True, False, False]
    assert lax(pictures) == [True, True, True]
    assert strict.fingerprint.startswith("t:1:novel-0.1-1:")
    assert _novel(0.1, verbs=("throwing",))[0].fingerprint != strict.fingerprint, "other verbs are known"
    assert lax.fingerprint != strict.fingerprint
