"""Joint augmentation of a picture and its boxes.

Stateless: what happens to a picture follows from (seed, epoch, position) alone, so a resumed run, another number of
workers or of processes sees the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ovgsr.boxes import area, flip_horizontally

_FILL = (124, 116, 104)
"""The mean colour of ImageNet, which normalises to about zero: what is shown beyond the picture's edge."""
_ATTEMPTS = 4
_LEAST_VISIBLE = 1e-3


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much a picture may change; all zeros (and scale 1 to 1) leaves it alone.

    ``scale`` is the range of the shown window's side relative to the picture's: below 1 zooms in, above 1 out.
    ``translate`` shifts that window by up to this part of the side. A window is only taken where every box keeps
    ``min_visible`` of its area, so that nothing annotated disappears. The colour amounts are the largest relative
    changes; ``grey`` is the probability of losing all colour.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.8, 1.1)
    translate: float = 0.1
    min_visible: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    grey: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"the field 'scale' must be two positive numbers, smaller first, not {self.scale}")
        for name in ("flip", "translate", "min_visible", "brightness", "contrast", "saturation", "grey"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"the field {name!r} must be between 0 and 1, not {value}")


@dataclass(frozen=True, slots=True)
class Shown:
    """Which part of a picture is shown and how: what a map over the picture needs to follow it."""

    left: float = 0.0  # of the shown window, as shares of the picture's width and height; may lie outside 0..1
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    mirrored: bool = False


def generator_for(seed: int, epoch: int, index: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of one picture in one epoch; ``stream`` 1 are those of the views that come with it."""
    return np.random.Generator(np.random.PCG64([seed, epoch, index, stream] if stream else [seed, epoch, index]))


def augment(
    image: Image.Image, boxes_xyxy: Tensor, settings: Augmentation, generator: np.random.Generator
) -> tuple[Image.Image, Tensor]:
    """A changed RGB picture (of another size, perhaps) and its boxes, normalised corners (R, 4).

    A box of zeros stands for "not grounded" and comes back as zeros.
    """
    image, boxes_xyxy, _ = augment_shown(image, boxes_xyxy, settings, generator)
    return image, boxes_xyxy


def augment_shown(
    image: Image.Image, boxes_xyxy: Tensor, settings: Augmentation, generator: np.random.Generator
) -> tuple[Image.Image, Tensor, Shown]:
    """As :func:`augment`, and which part of the picture is shown."""
    size, taken = image.size, (0, 0, *image.size)
    areas = area(boxes_xyxy)
    least = areas * max(settings.min_visible, _LEAST_VISIBLE)
    # A fixed number of draws, whatever the settings: one setting's change leaves the others' effects as they were.
    flip, brightness, contrast, saturation, grey = (float(number) for number in generator.random(5))
    windows = generator.random((_ATTEMPTS, 3)).tolist()
    for numbers in windows:
        window = _window(image.size, settings, numbers)
        moved = _into_window(boxes_xyxy, image.size, window)
        part = (window[2] - window[0]) * (window[3] - window[1]) / (image.width * image.height)
        if bool((area(moved) * part >= least).all()):
            if window != (0, 0, *image.size):
                image = _cut(image, window)
                boxes_xyxy = moved
                taken = window
            break
    if flip < settings.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        boxes_xyxy = flip_horizontally(boxes_xyxy)
    image = _recolour(
        image,
        brightness=1 + settings.brightness * (2 * brightness - 1),
        contrast=1 + settings.contrast * (2 * contrast - 1),
        saturation=0.0 if grey < settings.grey else 1 + settings.saturation * (2 * saturation - 1),
    )
    left, top, right, bottom = (edge / side for edge, side in zip(taken, (*size, *size), strict=True))
    shown = Shown(left, top, right, bottom, mirrored=flip < settings.flip)
    return image, boxes_xyxy * (areas > 0).unsqueeze(-1), shown


def token_map_shown(tokens: Tensor, grid: tuple[int, int], shown: Shown) -> Tensor:
    """Tokens (M, D) of the whole picture, M = rows * columns, as they lie over the part that is shown.

    Bilinear between the tokens' centres; beyond the picture's edge the nearest tokens go on.
    """
    rows, columns = grid
    y = (torch.arange(rows) + 0.5) / rows
    x = (torch.arange(columns) + 0.5) / columns
    x = x.flip(0) if shown.mirrored else x
    y = shown.top + y * (shown.bottom - shown.top)
    x = shown.left + x * (shown.right - shown.left)
    places = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], dim=-1) * 2 - 1
    plane = tokens.float().T.reshape(1, -1, rows, columns)
    moved = torch.nn.functional.grid_sample(plane, places[None], padding_mode="border", align_corners=False)
    return moved[0].flatten(1).T.to(tokens.dtype)


def _window(size: tuple[int, int], settings: Augmentation, numbers: list[float]) -> tuple[int, int, int, int]:
    """Whole pixels (left, top, right, bottom) of the shown part; may reach beyond the picture."""
    low, high = settings.scale
    scale = low + (high - low) * numbers[0]
    edges = []
    for side, number in zip(size, numbers[1:], strict=True):
        length = max(1, round(side * scale))
        start = round((side - length) / 2 + settings.translate * side * (2 * number - 1))
        edges.append((start, start + length))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def _into_window(boxes_xyxy: Tensor, size: tuple[int, int], window: tuple[int, int, int, int]) -> Tensor:
    """Boxes normalised to the picture as boxes normalised to a window of it, cut off at its edges."""
    (width, height), (left, top, right, bottom) = size, window
    start = torch.tensor([left / width, top / height] * 2)
    return ((boxes_xyxy - start) / torch.tensor([(right - left) / width, (bottom - top) / height] * 2)).clamp(0, 1)


def _cut(image: Image.Image, window: tuple[int, int, int, int]) -> Image.Image:
    left, top, right, bottom = window
    if left >= 0 and top >= 0 and right <= image.width and bottom <= image.height:
        return image.crop(window)
    canvas = Image.new("RGB", (right - left, bottom - top), _FILL)
    canvas.paste(image, (-left, -top))
    return canvas


def _recolour(image: Image.Image, *, brightness: float, contrast: float, saturation: float) -> Image.Image:
    if saturation != 1:
        image = Image.blend(ImageOps.grayscale(image).convert("RGB"), image, saturation)
    if brightness == contrast == 1:
        return image
    # Contrast around mid-grey, not around the picture's own mean: both changes are then one table.
    values = (np.arange(256) - 127.5) * contrast + 127.5
    table = np.clip(np.rint(values * brightness), 0, 255).astype(np.uint8).tolist()
    return image.point(table * 3)
