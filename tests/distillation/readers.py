"""What tests of readers share: a words' space of random vectors, tokens that no picture has, and roles by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ovgsr.distillation.prompts import RoleInputs
from ovgsr.distillation.word_space import WordSpace
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.visual_tokens import VisualTokens

WIDTH = 8
"""Of the words' space here: random vectors, so that no two words have one meaning."""
Box = tuple[float, float, float, float]
LEFT: Box = (0.2, 0.5, 0.3, 0.6)
MIDDLE: Box = (0.5, 0.5, 0.2, 0.9)
RIGHT: Box = (0.8, 0.4, 0.3, 0.3)


class Random:
    """An encoder without meaning."""

    width, fingerprint = WIDTH, "random"

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.randn(len(texts), WIDTH, generator=torch.Generator().manual_seed(len(texts)))


def random_words(teacher: MultimodalLLM) -> WordSpace:
    return WordSpace.of(teacher.vocabulary, Random())


def tokens(teacher: MultimodalLLM, *grids: tuple[int, int] | None, seed: int = 0) -> list[VisualTokens]:
    """Of the size that pictures' tokens have; a grid None has six."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for grid in grids:
        count = 6 if grid is None else grid[0] * grid[1]
        found.append(VisualTokens(torch.randn(count, teacher.hidden_size, generator=generator), grid))
    return found


def role_inputs(*frames: list[Box | None], pad: int = 0, seed: int = 0) -> RoleInputs:
    """A frame a picture: a box (cx, cy, w, h) a role, None where it is not grounded."""
    longest = max(len(frame) for frame in frames) + pad
    generator = torch.Generator().manual_seed(seed)
    texts = torch.zeros(len(frames), longest, WIDTH)
    mask, grounded = (torch.zeros(len(frames), longest, dtype=torch.bool) for _ in range(2))
    boxes = torch.zeros(len(frames), longest, 4)
    for row, frame in enumerate(frames):
        for place, box in enumerate(frame):
            texts[row, place] = torch.randn(WIDTH, generator=generator)
            mask[row, place] = True
            if box is not None:
                boxes[row, place], grounded[row, place] = torch.tensor(box), True
    return RoleInputs(texts, mask, boxes, grounded)
