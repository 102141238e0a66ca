"""Visual tokens of a picture: the vectors that a multimodal LLM reads where the picture stands in its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ovgsr.teacher.loading import TeacherError, argument_names

_TEXT_OUTPUTS = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "labels"}


@dataclass(frozen=True)
class VisualTokens:
    """One picture's tokens, in the model's precision and on its device.

    ``grid`` is rows and columns where tokens are one row-major grid, None where a family gives several tiles, newline
    tokens or a class token. ``deep`` holds what some families (Qwen3-VL: DeepStack, arXiv 2406.04334) add at the
    picture's positions after the first blocks.
    """

    tokens: Tensor  # (M, D)
    grid: tuple[int, int] | None = None
    deep: Tensor | None = None  # (blocks, M, D)

    def pooled(self, rows: int, cols: int) -> VisualTokens:
        """Adaptive average pooling to ``rows`` x ``cols`` tokens; plain averages of blocks where the sizes divide.

        Without a grid the sequence is pooled as it is, to ``rows * cols`` tokens in reading order, and the result has
        no grid either. Raises TeacherError for sizes below 1.
        """
        if rows < 1 or cols < 1:
            raise TeacherError(f"visual tokens cannot be pooled to {rows} x {cols}: give rows and columns of 1 or more")
        pool = _pool_grid if self.grid else _pool_sequence
        deep = self.deep
        return VisualTokens(
            tokens=pool(self.tokens, self.grid, rows, cols),
            grid=(rows, cols) if self.grid else None,
            deep=None if deep is None else torch.stack([pool(level, self.grid, rows, cols) for level in deep]),
        )


def _pool_grid(tokens: Tensor, grid: tuple[int, int] | None, rows: int, cols: int) -> Tensor:
    assert grid is not None
    plane = tokens.float().T.reshape(1, -1, *grid)  # averages in float32: half precision loses digits in sums
    return F.adaptive_avg_pool2d(plane, (rows, cols)).flatten(2)[0].T.to(tokens.dtype)


def _pool_sequence(tokens: Tensor, grid: tuple[int, int] | None, rows: int, cols: int) -> Tensor:
    return F.adaptive_avg_pool1d(tokens.float().T[None], rows * cols)[0].T.to(tokens.dtype)


@dataclass(frozen=True)
class Shown:
    """A prompt with its picture: token ids (L,), where the picture's tokens stand (L,), and those tokens."""

    ids: Tensor
    at_picture: Tensor
    visual: VisualTokens


def show(model: Any, inputs: Any, image_id: int, vision: bool = True) -> list[Shown]:
    """What a processor's padded batch ``inputs`` (one picture a row) becomes: one entry a row, without padding.

    The family's own ``get_image_features`` is called once for all pictures. With ``vision=False`` it is not called,
    and the tokens are empty (0, D).
    """
    ids, present = inputs["input_ids"], inputs["attention_mask"].bool()
    rows = [row[real].cpu() for row, real in zip(ids, present, strict=True)]
    places = [row == image_id for row in rows]
    counts = [int(place.sum()) for place in places]
    width = model.get_input_embeddings().weight.shape[1]
    if vision:
        features, deep = _features(model, inputs)
        if sum(counts) != len(features):
            raise TeacherError(
                f"{type(model).__name__} gives {len(features)} picture tokens where the processor made room for "
                f"{sum(counts)}; the processor's files do not belong to this model"
            )
        grids = _grids(model, inputs, counts)
        levels = [None] * len(rows) if deep is None else torch.split(deep, counts, dim=1)
        visual = [VisualTokens(*parts) for parts in zip(torch.split(features, counts), grids, levels, strict=True)]
    else:
        visual = [VisualTokens(torch.zeros(0, width, dtype=model.dtype))] * len(rows)
    return [Shown(*parts) for parts in zip(rows, places, visual, strict=True)]


def _features(model: Any, inputs: Any) -> tuple[Tensor, Tensor | None]:
    """All pictures' tokens (sum of M, D) in prompt order, and the tokens of deeper blocks (blocks, sum of M, D)."""
    encode = model.model.get_image_features
    taken = argument_names(encode)
    arguments: dict[str, Any] = {}
    for key in set(inputs) & set(taken) - _TEXT_OUTPUTS:
        value = inputs[key]
        if isinstance(value, Tensor):
            value = value.to(model.device)
            value = value.to(model.dtype) if value.is_floating_point() else value
        arguments[key] = value
    output = encode(**arguments, return_dict=True)
    deep = getattr(output, "deepstack_features", None)
    return (
        _flat(getattr(output, "pooler_output", output)),
        torch.stack([_flat(level) for level in deep]) if deep is not None and len(deep) else None,
    )


def _flat(features: Tensor | Sequence[Tensor]) -> Tensor:
    """Families return (B, M, D), (tiles, m, D), (sum of M, D) or a list of (M, D): always (sum of M, D) in order."""
    parts = [features] if isinstance(features, Tensor) else list(features)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def _grids(model: Any, inputs: Any, counts: Sequence[int]) -> list[tuple[int, int] | None]:
    if "image_grid_thw" in inputs:  # frames, rows and columns of patches, of which squares of patches are merged
        merge = int(getattr(model.config.vision_config, "spatial_merge_size", 1))
        sizes = [(frames, rows // merge, cols // merge) for frames, rows, cols in inputs["image_grid_thw"].tolist()]
        return [(rows, cols) if frames == 1 else None for frames, rows, cols in sizes]
    pixels = inputs["pixel_values"]
    if pixels.ndim == 5 and pixels.shape[1] > 1:
        return [None] * len(counts)
    if "image_sizes" in inputs and pixels.ndim == 4:
        sizes = inputs["image_sizes"].tolist()
        return [rows_and_columns(count, *size) for count, size in zip(counts, sizes, strict=True)]
    height, width = pixels.shape[-2:]
    views = sum(counts) / (pixels.shape[0] if pixels.ndim > 3 else len(counts))
    return [rows_and_columns(count, height, width) if count == views else None for count in counts]


def rows_and_columns(count: int, height: int, width: int) -> tuple[int, int] | None:
    """The grid of ``count`` square patches over ``height`` x ``width`` pixels, None where there is none."""
    patch = (height * width / max(count, 1)) ** 0.5
    rows, columns = round(height / patch), round(width / patch)
    return (rows, columns) if rows * columns == count else None


def nearest_to_square(count: int) -> tuple[int, int]:
    """The factors of ``count`` that are nearest to each other, the smaller one first: 12 gives 3 x 4."""
    rows = next(rows for rows in range(int(count**0.5), 0, -1) if count % rows == 0)
    return rows, count // rows
