"""A multimodal LLM that says what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ovgsr.errors import OvgsrError

Picture = Image.Image
TOKENS = ("<pad>", " a", " an", " m", " man", " d", " dog", "Dog", " ball", " knife", " bread", " in", " is")


@dataclass
class FakeTeacher:
    """Answers by the picture's colour: a test keeps one number in the red channel of every pixel."""

    likelihood: Callable[[int, str, str], float] = lambda red, start, candidate: 0.0
    """(picture's red, answer_start, candidate) -> log-likelihood."""
    reply: Callable[[int, str, str], str] = lambda red, question, start: ""
    """(picture's red, question, answer_start) -> text."""
    next_token: Callable[[int, int], Sequence[float]] | None = None
    """(picture's red, length of the text so far in tokens) -> logits over TOKENS; None: no soft tokens."""
    model_type: str = "llava"
    name: str = "a fake"
    scored: list[tuple[int, str, str, tuple[str, ...]]] = field(default_factory=list)
    asked: list[tuple[int, str, str]] = field(default_factory=list)
    largest_batch: int = 0

    vocabulary = TOKENS

    def __post_init__(self) -> None:
        size = {"shortest_edge": 3136, "longest_edge": 1_003_520}
        self.processor = SimpleNamespace(image_processor=SimpleNamespace(size=size, patch_size=14, merge_size=2))

    def score(
        self,
        images: Sequence[Picture],
        question: str,
        candidates: Sequence[str],
        *,
        answer_start: str = "",
        batch: int = 64,
        score_per_token: bool = False,
    ) -> Tensor:
        self.largest_batch = max(self.largest_batch, len(images))
        self.scored += [(red_of(image), question, answer_start, tuple(candidates)) for image in images]
        rows = [[self.likelihood(red_of(image), answer_start, text) for text in candidates] for image in images]
        values = torch.tensor(rows, dtype=torch.float32)
        return values / torch.tensor([len(text.split()) for text in candidates]) if score_per_token else values

    def generate(
        self,
        images: Sequence[Picture],
        questions: Sequence[str],
        *,
        max_new_tokens: int = 128,
        answer_start: str = "",
    ) -> list[str]:
        self.largest_batch = max(self.largest_batch, len(images))
        found = []
        for image, question in zip(images, questions, strict=True):
            self.asked.append((red_of(image), question, answer_start))
            found.append(self.reply(red_of(image), question, answer_start))
        return found

    def visual_tokens(self, images: Sequence[Picture]) -> list[Any]:
        return [SimpleNamespace(tokens=torch.full((4, 2), float(red_of(image)))) for image in images]

    def embed_text(self, text: str) -> Tensor:
        return torch.ones(len(text.split()), 2)

    def soft_token_states(self, visual: Sequence[Any], soft: Tensor, *, question: str = "") -> Tensor:
        if self.next_token is None:
            raise OvgsrError("this family takes no soft tokens")
        lengths = torch.arange(1, len(soft) + 1)
        return torch.stack(
            [torch.stack([picture.tokens[0, :1].expand(len(soft)), lengths], dim=1) for picture in visual]
        )

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        assert self.next_token is not None
        return torch.tensor([self.next_token(int(red), int(length)) for red, length in states.tolist()])


def picture(red: int, width: int = 200, height: int = 100) -> Picture:
    return Image.new("RGB", (width, height), (red, 0, 0))


def red_of(image: Picture) -> int:
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return int(pixel[0])
