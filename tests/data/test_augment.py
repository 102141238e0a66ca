from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ovgsr.data.augment import Augmentation, augment, generator_for

STILL = {"flip": 0.0, "scale": (1.0, 1.0), "translate": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
RED, BLUE = (255, 0, 0), (0, 0, 255)


def _drawn() -> tuple[Image.Image, torch.Tensor]:
    """A 100 x 60 picture with a red and a blue rectangle, and their boxes; the third role is not grounded."""
    image = Image.new("RGB", (100, 60), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 15, 39, 34), fill=RED)  # Pillow fills both ends: pixels 20..39 are the box 20..40
    draw.rectangle((55, 20, 84, 49), fill=BLUE)
    boxes = torch.tensor([[20, 15, 40, 35], [55, 20, 85, 50], [0, 0, 0, 0]]) / torch.tensor([100, 60, 100, 60])
    return image, boxes


def _extent(image: Image.Image, channel: int) -> list[float]:
    """The box of the pixels where this colour channel dominates, in pixels."""
    pixels = np.asarray(image).astype(int)
    others = np.delete(pixels, channel, axis=2).max(axis=2)
    rows, columns = np.nonzero(pixels[..., channel] > others + 60)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": 1.0},
        {"scale": (0.7, 0.9)},  # zooms in
        {"scale": (1.1, 1.5)},  # zooms out
        {"translate": 0.2},
        {"flip": 0.5, "scale": (0.7, 1.3), "translate": 0.2, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
    ],
)
@pytest.mark.parametrize("seed", range(10))
def test_boxes_stay_on_what_they_mark(changes: dict[str, object], seed: int) -> None:
    image, boxes = _drawn()
    moved, moved_boxes = augment(image, boxes, Augmentation(**(STILL | changes)), generator_for(seed, 0, 0))  # type: ignore[arg-type]
    width, height = moved.size
    pixels = (moved_boxes * torch.tensor([width, height, width, height])).tolist()
    assert pixels[0] == pytest.approx(_extent(moved, 0), abs=1e-3)
    assert pixels[1] == pytest.approx(_extent(moved, 2), abs=1e-3)
    assert pixels[2] == [0, 0, 0, 0]  # not grounded stays so, mirrored or not


def test_a_mirrored_picture() -> None:
    image, boxes = _drawn()
    moved, moved_boxes = augment(image, boxes, Augmentation(**(STILL | {"flip": 1.0})), generator_for(0, 0, 0))  # type: ignore[arg-type]
    assert moved.getpixel((61, 20)) == RED  # 100 - 1 - 38
    assert (moved_boxes[0] * 100).tolist() == pytest.approx([60, 25, 80, 35 / 0.6])


def test_no_setting_changes_nothing() -> None:
    image, boxes = _drawn()
    same, same_boxes = augment(image, boxes, Augmentation(**STILL), generator_for(1, 2, 3))  # type: ignore[arg-type]
    assert same.tobytes() == image.tobytes()
    assert torch.equal(same_boxes, boxes)


def test_what_is_annotated_stays_visible() -> None:
    """Wild windows; each box must keep half of its area, or the picture is left whole."""
    image, boxes = _drawn()
    settings = Augmentation(**(STILL | {"scale": (0.3, 0.9), "translate": 0.4, "min_visible": 0.5}))  # type: ignore[arg-type]
    changed = 0
    for seed in range(60):
        moved, moved_boxes = augment(image, boxes, settings, generator_for(seed, 0, 0))
        width, height = moved.size
        sides = (moved_boxes[:2, 2:] - moved_boxes[:2, :2]) * torch.tensor([width, height])
        area = sides.prod(dim=1)
        assert area[0] >= 200 - 1e-2  # of 20 x 20
        assert area[1] >= 450 - 1e-2  # of 30 x 30
        changed += moved.size != image.size
    assert changed > 10


def test_the_same_numbers_give_the_same_picture() -> None:
    image, boxes = _drawn()

    def once(seed: int, epoch: int, index: int) -> bytes:
        return augment(image, boxes, Augmentation(), generator_for(seed, epoch, index))[0].tobytes()

    assert once(3, 1, 7) == once(3, 1, 7)
    assert len({once(3, 1, 7), once(4, 1, 7), once(3, 2, 7), once(3, 1, 8)}) == 4


def test_colours_move_as_told() -> None:
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    grey, _ = augment(image, torch.zeros(0, 4), Augmentation(**(STILL | {"grey": 1.0})), generator_for(0, 0, 0))  # type: ignore[arg-type]
    # ITU-R 601 luma: .299 * 200 + .587 * 100 + .114 * 50 = 124.2
    assert grey.getpixel((0, 0)) == (124, 124, 124)
    seen = set()
    for seed in range(40):
        settings = Augmentation(**(STILL | {"brightness": 0.2}))  # type: ignore[arg-type]
        pixel = augment(image, torch.zeros(0, 4), settings, generator_for(seed, 0, 0))[0].getpixel((0, 0))
        assert isinstance(pixel, tuple)
        assert 160 <= pixel[0] <= 240  # 200 +- 20 %
        assert pixel[1] == pytest.approx(pixel[0] / 2, abs=1)
        seen.add(pixel)
    assert len(seen) > 20


@pytest.mark.parametrize(
    ("field", "value"), [("flip", 1.5), ("scale", (1.1, 0.9)), ("scale", (0.0, 1.0)), ("translate", -0.1)]
)
def test_bad_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"'{field}'"):
        Augmentation(**{field: value})  # type: ignore[arg-type]


def test_speed() -> None:
    image = Image.effect_noise((96, 96), 80).convert("RGB")
    boxes = torch.tensor([[0.2, 0.2, 0.6, 0.8]])
    start = time.perf_counter()
    for index in range(100):
        augment(image, boxes, Augmentation(), generator_for(0, 0, index))
    assert time.perf_counter() - start < 1.0  # 10 ms each; usually well under one
