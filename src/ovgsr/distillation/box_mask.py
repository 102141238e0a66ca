"""A role's box as a soft mask over a grid of visual tokens, any grid."""

from __future__ import annotations

import torch
from torch import Tensor


def box_coverage(boxes_cxcywh: Tensor, grid: tuple[int, int]) -> Tensor:
    """The share of each token's cell that a box covers, (..., rows * columns) in 0..1, row by row.

    ``boxes_cxcywh`` (..., 4) in 0..1 of the picture. A box thinner than a cell covers a part of it, never nothing.
    """
    rows, columns = grid
    centre_x, centre_y, width, height = boxes_cxcywh.unbind(-1)
    across = _overlap(centre_x - width / 2, centre_x + width / 2, columns)
    down = _overlap(centre_y - height / 2, centre_y + height / 2, rows)
    return (down[..., :, None] * across[..., None, :]).flatten(-2)


def _overlap(start: Tensor, end: Tensor, cells: int) -> Tensor:
    edges = torch.arange(cells + 1, device=start.device, dtype=start.dtype) / cells
    low = torch.maximum(start[..., None], edges[:-1])
    high = torch.minimum(end[..., None], edges[1:])
    return ((high - low).clamp(min=0) * cells).clamp(max=1)


def attention_bias(boxes_cxcywh: Tensor, grounded: Tensor, grid: tuple[int, int], strength: Tensor | float) -> Tensor:
    """What is added to attention logits toward the tokens, (..., M): 0 inside a box, down to -strength outside.

    A role that is not ``grounded`` (...) sees the whole picture, as does one whose box covers no token (a box beyond
    the picture's edge).
    """
    covered = box_coverage(boxes_cxcywh, grid)
    # Half a cell counts as inside: boxes of annotators do not follow the grid.
    inside = (covered * 2).clamp(max=1)
    masked = grounded & (inside.amax(dim=-1) > 0)
    inside = inside / inside.amax(dim=-1, keepdim=True).clamp(min=1e-6)
    return -strength * (1 - inside) * masked[..., None]
