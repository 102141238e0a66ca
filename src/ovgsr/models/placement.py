"""Where a picture lies on the student's input: padding, the cells it covers, and positions relative to the picture.

A letterboxed picture, or one whose sides are no multiple of what the backbone takes, lies in the upper left corner of a
larger canvas. ``covered`` (B, 2) are the shares of the canvas' width and height that it takes; None means all of it.
Positions are relative to the picture, so that boxes need no mapping there and back.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ovgsr.models.transformer import grid_positions

_EDGE = 1e-3
"""Of a cell: what a share of floating-point numbers may be off by."""


def place(pixels: Tensor, multiple: int) -> tuple[Tensor, Tensor | None]:
    """Colours (B, 3, H', W') with sides that are multiples of ``multiple``, and what of them the pictures cover.

    ``pixels`` are (B, 3, H, W), or (B, 4, H, W) where a fourth channel is 1 on the picture and 0 on the padding.
    """
    height, width = pixels.shape[-2:]
    below, right = -height % multiple, -width % multiple
    canvas = torch.tensor([width + right, height + below], dtype=torch.float32, device=pixels.device)
    covered = None
    if pixels.shape[1] == 4:
        shown = pixels[:, 3] > 0
        covered = torch.stack([shown.any(dim=1).sum(dim=-1), shown.any(dim=2).sum(dim=-1)], dim=-1) / canvas
        pixels = pixels[:, :3]
    elif below or right:
        covered = (torch.tensor([width, height], device=pixels.device) / canvas).expand(pixels.shape[0], 2)
    return (F.pad(pixels, (0, right, 0, below)) if below or right else pixels), covered


def cells_covered(grid: tuple[int, int], covered: Tensor) -> Tensor:
    """How many columns and rows (B, 2), long, of a grid show something of the picture."""
    cells = torch.tensor([grid[1], grid[0]], device=covered.device)
    return (covered * cells - _EDGE).ceil().long()


def cell_mask(grid: tuple[int, int], covered: Tensor | None) -> Tensor | None:
    """Which cells (B, T) of a grid show something of the picture, T = rows * columns; None where all do."""
    if covered is None:
        return None
    columns, rows = cells_covered(grid, covered).unbind(-1)
    down = torch.arange(grid[0], device=covered.device) < rows[:, None]
    across = torch.arange(grid[1], device=covered.device) < columns[:, None]
    return (down[:, :, None] & across[:, None, :]).flatten(1)


def cell_positions(grid: tuple[int, int], covered: Tensor | None, device: torch.device) -> Tensor:
    """Centres of a grid's cells as (x, y) in 0..1 of the picture: (T, 2), or (B, T, 2) where it is padded.

    Those of padded cells lie beyond 1.
    """
    positions = grid_positions(*grid, device)
    return positions if covered is None else positions / covered[:, None]


def over_picture(tokens: Tensor, grid: tuple[int, int], covered: Tensor | None) -> Tensor:
    """Tokens (B, T, C) as they lie over the picture alone, on a grid of as many cells; bilinear between centres.

    Beyond the centres of the outermost cells that show the picture these go on: padding has no part in it.
    """
    if covered is None:
        return tokens
    cells = torch.tensor([grid[1], grid[0]], device=covered.device)
    last = (cells_covered(grid, covered) - 0.5) / cells
    positions = torch.minimum(grid_positions(*grid, tokens.device) * covered[:, None], last[:, None])
    plane = tokens.mT.reshape(len(tokens), -1, *grid)
    places = (positions * 2 - 1).reshape(len(tokens), *grid, 2).to(plane.dtype)
    moved = F.grid_sample(plane, places, padding_mode="border", align_corners=False)
    return moved.flatten(2).mT
