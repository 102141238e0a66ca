"""What a teacher does with a picture, laid over the picture: where it looks, and which parts look alike to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ovgsr.situation import BoxXyxy
from ovgsr.teacher.loading import TeacherError

Floats = NDArray[np.float64]

HEAT: tuple[tuple[int, int, int], ...] = (
    (24, 15, 62),
    (114, 31, 129),
    (205, 64, 113),
    (253, 150, 104),
    (252, 253, 191),
)
"""Little to much: lightness grows evenly, so that it reads in print and to colour-blind people (after "magma" by
N. Smith and S. van der Walt, public domain)."""

MAP_WIDTH = 480
_LONGEST_SIDE = 960
_PROBE_SIDE = 1024
_OUTLIERS = 1.0
"""Percent of cells that may burn out: single tokens draw so much attention that all else would look alike."""


def seen_region(processor: Any, width: int, height: int) -> BoxXyxy:
    """The part of a picture of ``width`` x ``height`` pixels that the image processor hands to the vision tower.

    Families stretch the whole picture, cut its middle out (LLaVA-1.5's CLIP) or pad it, so that the region can be
    smaller or larger than the picture. Instead of reading settings, the processor is shown a picture whose colours
    say where they stand. A family whose pixels are not one plane a picture (patches, tiles) counts as stretching.
    """
    whole = (0.0, 0.0, float(width), float(height))
    scale = min(1.0, _PROBE_SIDE / max(width, height))
    columns, rows = max(2, round(width * scale)), max(2, round(height * scale))
    ramp = np.full((rows, columns, 3), 255, np.uint8)
    ramp[..., 0] = np.round((np.arange(columns) + 0.5) / columns * 255)[None, :]
    ramp[..., 1] = np.round((np.arange(rows) + 0.5) / rows * 255)[:, None]
    shown = [Image.new("RGB", (columns, rows), "black"), Image.new("RGB", (columns, rows), "white")]
    try:
        pixels = processor.image_processor(images=[*shown, Image.fromarray(ramp)], return_tensors="pt")["pixel_values"]
    except Exception:  # a fake, or a family that wants more than pictures: the map is then of the whole picture
        return whole
    if not isinstance(pixels, Tensor) or pixels.ndim != 4 or pixels.shape[:2] != (3, 3):
        return whole
    black, white, found = pixels.double().numpy()
    contrast = white - black
    inside = np.abs(contrast).min(0) > 0.5 * np.abs(contrast).max()  # padding has one colour, whatever the picture
    if inside.sum() < 4:
        return whole
    share = (found - black) / np.where(inside, contrast, 1.0)
    left, right = _ends(share[0], inside, axis=0)
    top, bottom = _ends(share[1], inside, axis=1)
    return left * width, top * height, right * width, bottom * height


def _ends(share: Floats, inside: NDArray[np.bool_], axis: int) -> tuple[float, float]:
    """Where a ramp from 0 to 1 stands at both ends of the plane, by a line through its values; whole ends exactly."""
    weight = inside.sum(axis)
    places = np.flatnonzero(weight >= max(1, weight.max() // 2))
    if len(places) < 4:
        return 0.0, 1.0
    places = places[len(places) // 10 : len(places) - len(places) // 10]  # resizing smooths the ends
    values = np.where(inside, share, 0.0).sum(axis)[places] / weight[places]
    slope, start = np.polyfit((places + 0.5) / inside.shape[1 - axis], values, 1)
    first, last = float(start), float(start + slope)
    return (0.0 if abs(first) < 0.01 else first), (1.0 if abs(last - 1) < 0.01 else last)


def attention_map(image: Image.Image, weights: Tensor, grid: tuple[int, int], region: BoxXyxy) -> Image.Image:
    """Attention ``weights`` (M,) of a grid of M = rows x columns over ``region`` of the picture, as heat on grey.

    The brightest is the 99th percentile. What lies outside the region is faded.
    """
    plane = _plane(weights, grid)
    top = float(np.percentile(plane, 100 - _OUTLIERS)) or float(plane.max()) or 1.0
    heat = Image.fromarray((np.clip(plane / top, 0, 1) * 255).round().astype(np.uint8), "L")
    canvas, place = _canvas(image, region)
    level = np.asarray(_spread(heat, canvas.size, place, Image.Resampling.BICUBIC), np.float64) / 255
    steps = np.linspace(0, 1, len(HEAT))
    colours = np.stack([np.interp(level, steps, channel) for channel in np.array(HEAT, float).T], -1)
    return _laid_over(canvas.convert("L"), colours, 0.45 + 0.35 * level, place)


def token_map(image: Image.Image, tokens: Tensor, grid: tuple[int, int], region: BoxXyxy) -> tuple[Image.Image, float]:
    """The first three principal components of ``tokens`` (M, D) as red, green and blue tiles over the picture.

    Like colours are like tokens; a colour means nothing by itself. Also the components' share of the variance, 0..1.
    Raises TeacherError where the tokens are no such grid or not finite.
    """
    rows, columns = grid
    if tokens.ndim != 2 or len(tokens) != rows * columns or not bool(tokens.isfinite().all()):
        raise TeacherError(f"{tuple(tokens.shape)} tokens are no {rows} x {columns} map of finite numbers")
    parts, share = _principal(tokens.detach().double().cpu())
    low, high = np.percentile(parts, [2, 98], axis=0)
    level = np.where(high > low, np.clip((parts - low) / np.where(high > low, high - low, 1.0), 0, 1), 0.5)
    tiles = Image.fromarray((level.reshape(rows, columns, 3) * 255).round().astype(np.uint8), "RGB")
    canvas, place = _canvas(image, region)
    colours = np.asarray(_spread(tiles, canvas.size, place, Image.Resampling.NEAREST), np.float64)
    return _laid_over(canvas.convert("L"), colours, np.full(colours.shape[:2], 0.62), place), share


def attention_shares(
    weights: Tensor, grid: tuple[int, int], region: BoxXyxy, boxes_xyxy: Mapping[str, BoxXyxy]
) -> dict[str, tuple[float, float]]:
    """For each box, in pixels of the picture: its share of the attention, and of the area that the teacher sees.

    A cell that a box covers in part counts in part.
    """
    plane = _plane(weights, grid)
    total = float(plane.sum()) or 1.0
    left, top, right, bottom = region
    found = {}
    for name, box in boxes_xyxy.items():
        across = _covered(box[0], box[2], left, right, grid[1])
        down = _covered(box[1], box[3], top, bottom, grid[0])
        found[name] = (float(down @ plane @ across) / total, float(down.mean() * across.mean()))
    return found


def _plane(weights: Tensor, grid: tuple[int, int]) -> Floats:
    rows, columns = grid
    if weights.numel() != rows * columns:
        raise TeacherError(f"{weights.numel()} weights are no {rows} x {columns} map")
    plane: Floats = weights.detach().double().cpu().reshape(rows, columns).numpy()
    if not np.isfinite(plane).all():
        raise TeacherError("the attention is not a finite number everywhere; try another precision (fp32)")
    return plane.clip(min=0)


def _covered(low: float, high: float, start: float, end: float, cells: int) -> Floats:
    """How much of each cell between ``start`` and ``end`` lies between ``low`` and ``high``, 0..1."""
    edges = np.linspace(start, end, cells + 1)
    overlap = np.minimum(edges[1:], max(low, high)) - np.maximum(edges[:-1], min(low, high))
    covered: Floats = np.clip(overlap, 0, None) / np.diff(edges)
    return covered


def _principal(tokens: Tensor) -> tuple[Floats, float]:
    """Coordinates (M, 3) on the first three principal axes and their share of the variance.

    The sign of an axis is chosen so that its third moment is positive: like pictures get like colours.
    """
    centred = tokens - tokens.mean(0)
    count, width = centred.shape
    gram = centred @ centred.T if count <= width else centred.T @ centred
    values, vectors = (found.flip(-1)[..., :3] for found in torch.linalg.eigh(gram))
    total = float(gram.trace())
    real = values > 1e-9 * total  # rounding errors must not become colours
    parts = (vectors * values.clamp(min=0).sqrt() if count <= width else centred @ vectors) * real
    share = float(values[real].sum()) / total if total > 0 else 1.0
    parts = parts * torch.where(parts.pow(3).sum(0) < 0, -1.0, 1.0)
    found: Floats = np.pad(parts.numpy(), ((0, 0), (0, 3 - parts.shape[1])))
    return found, share


def _canvas(image: Image.Image, region: BoxXyxy) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The picture in the size of a map, and where the region lies on it."""
    scale = min(MAP_WIDTH / image.width, _LONGEST_SIDE / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    left, top, right, bottom = (round(coordinate * scale) for coordinate in region)
    picture = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return picture, (left, top, max(right, left + 1), max(bottom, top + 1))


def _spread(
    cells: Image.Image, size: tuple[int, int], place: tuple[int, int, int, int], resampling: Image.Resampling
) -> Image.Image:
    """The cells over their place on an empty canvas; what hangs over the canvas is cut off."""
    spread = Image.new(cells.mode, size)
    spread.paste(cells.resize((place[2] - place[0], place[3] - place[1]), resampling), place[:2])
    return spread


def _laid_over(grey: Image.Image, colours: Floats, alpha: Floats, place: tuple[int, int, int, int]) -> Image.Image:
    below = np.repeat(np.asarray(grey, np.float64)[..., None], 3, -1)
    inside = np.zeros(below.shape[:2], dtype=bool)
    left, top, right, bottom = place
    inside[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    mixed = below + alpha[..., None] * (colours - below)
    faded = 0.35 * below + 0.65 * 255
    return Image.fromarray(np.where(inside[..., None], mixed, faded).round().astype(np.uint8), "RGB")
