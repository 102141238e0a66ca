"""A teacher whose tokens follow from the pixels by a formula, and pictures for it."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ovgsr.models.preprocess import decode_image
from ovgsr.teacher.tokens.cache import CacheKey
from ovgsr.teacher.tokens.making import WriteReport, write_tokens

Named = list[tuple[str, Path]]

WIDTH = 6
CELL = 8
"""One token a square of so many pixels."""


@dataclass(frozen=True)
class FakeTokens:
    tokens: Tensor
    grid: tuple[int, int] | None
    deep: Tensor | None = None

    def pooled(self, rows: int, cols: int) -> FakeTokens:
        plane = self.tokens.T.reshape(1, WIDTH, *(self.grid or (1, len(self.tokens))))
        return FakeTokens(torch.nn.functional.adaptive_avg_pool2d(plane, (rows, cols))[0].flatten(1).T, (rows, cols))


@dataclass
class FakeTeacher:
    """A picture of h x w pixels has (h // 8) * (w // 8) tokens: the mean colour of a cell times fixed numbers."""

    name: str = "fake"
    fingerprint: str = "f" * 64
    hidden_size: int = WIDTH
    layer_count: int = 4
    delay: float = 0.0
    gridless: bool = False
    deep: bool = False
    cell: int = CELL
    batches: list[int] = field(default_factory=list)
    layers: list[int | None] = field(default_factory=list)

    def visual_tokens(self, images: Sequence[Image.Image], *, layer: int | None = None) -> list[FakeTokens]:
        if any(max(image.size) > 20 * min(image.size) for image in images):
            raise ValueError("absolute aspect ratio must be smaller than 20")
        time.sleep(self.delay)
        self.batches.append(len(images))
        self.layers.append(layer)
        return [self._tokens(image) for image in images]

    def _tokens(self, image: Image.Image) -> FakeTokens:
        cell = self.cell
        rows, columns = image.height // cell, image.width // cell
        pixels = torch.from_numpy(np.array(image)).double()[: rows * cell, : columns * cell]
        means = pixels.reshape(rows, cell, columns, cell, 3).mean((1, 3)).reshape(-1, 3)
        weights = torch.linspace(-0.02, 0.03, 3 * WIDTH, dtype=torch.float64).reshape(3, WIDTH)
        tokens = (means @ weights).float()
        deep = torch.stack([tokens.flip(0), 100 * tokens]) if self.deep else None
        return FakeTokens(tokens, None if self.gridless else (rows, columns), deep)


def decode(data: bytes, name: str) -> Image.Image:
    return decode_image(io.BytesIO(data), name)


def draw_pictures(folder: Path, count: int, *, seed: int = 0, largest: int = 5) -> Named:
    """Noise of 16 to 40 pixels a side (``largest`` cells), so that pictures differ in their number of tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    named = []
    for number in range(count):
        height, width = random.integers(2, largest + 1, 2) * CELL
        picture = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        path = folder / f"picture_{number:03d}.png"
        picture.save(path)
        named.append((path.name, path))
    return named


def fill(out: Path, pictures: Named, teacher: Any = None, **options: object) -> WriteReport:
    teacher = teacher or FakeTeacher()
    key = CacheKey.of(teacher, **{k: options.pop(k) for k in ("layer", "grid", "dtype") if k in options})  # type: ignore[arg-type]
    return write_tokens(out, key, teacher, pictures, decode, **{"shard_pictures": 5, "batch": 3, **options})  # type: ignore[arg-type]


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-300] ^= 1  # among the tokens; the digests of five pictures follow them
    path.write_bytes(data)
