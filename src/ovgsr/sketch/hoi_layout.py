"""Where the groups of a picture stand: next to and behind each other, hardly overlapping, smaller towards the back."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ovgsr.sketch.camera import MARGIN, Camera, outline
from ovgsr.sketch.figures import PixelBox
from ovgsr.sketch.scene import Drawn

TRIES = 16
SHRINK = 0.95
SLACK = 0.06
"""How much of its width and height a group may share with one in the other row, at each side."""
LIMB = 0.05
"""Half the width of a limb with its outline, in heights of a person."""
FloatBox = tuple[float, float, float, float]
Span = tuple[float, float]


def extent(elements: Sequence[Drawn]) -> FloatBox:
    """Left, bottom, right, top of a group in scene coordinates."""
    points = [point for element in elements for point in outline(element)]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs) - LIMB, min(ys) - LIMB, max(xs) + LIMB, max(ys) + LIMB


def _pixels(box: FloatBox, camera: Camera) -> PixelBox:
    (x1, y1), (x2, y2) = camera((box[0], box[3])), camera((box[2], box[1]))
    return min(x1, x2), y1, max(x1, x2), y2


def _clash(a: PixelBox, b: PixelBox) -> bool:
    slack_x = SLACK * min(a[2] - a[0], b[2] - b[0])
    slack_y = SLACK * min(a[3] - a[1], b[3] - b[1])
    apart = a[2] - slack_x <= b[0] or b[2] - slack_x <= a[0] or a[3] - slack_y <= b[1] or b[3] - slack_y <= a[1]
    return not apart


def _ground(box: FloatBox, scale: float, floor: Span, canvas: int, rng: random.Random) -> float | None:
    """A y for the feet of a group within the span, so that it is whole in the picture; None where it is too high."""
    highest, lowest = MARGIN + box[3] * scale, canvas - MARGIN + box[1] * scale
    start, end = max(floor[0], highest), min(floor[1], lowest)
    return rng.uniform(start, end) if start <= end else lowest if highest <= lowest else None


def _row(
    extents: Sequence[FloatBox], scale: float, floor: Span, canvas: int, horizon: int, rng: random.Random
) -> list[Camera] | None:
    """Cameras for groups from left to right with gaps of random width; None where the row is too long."""
    placed = []
    for box in extents:
        ground = _ground(box, scale, floor, canvas, rng)
        if ground is None:
            return None
        # What stands nearer is larger: from 0.85 at the horizon to 1 at the lower edge.
        placed.append((ground, scale * (0.85 + 0.15 * max(0.0, ground - horizon) / (canvas - horizon))))
    widths = [(box[2] - box[0]) * own for box, (_, own) in zip(extents, placed, strict=True)]
    room = canvas - 2 * MARGIN - sum(widths)
    if room < 0:
        return None
    before = float(MARGIN)
    cameras = []
    gaps = sorted(rng.uniform(0, room) for _ in extents)
    for box, (ground, own), width, gap in zip(extents, placed, widths, gaps, strict=True):
        side = rng.choice((-1, 1))
        at = before + gap
        cameras.append(Camera(own, at - box[0] * own if side == 1 else at + box[2] * own, ground, side))
        before += width
    return cameras


def arrange(extents: Sequence[FloatBox], rng: random.Random, canvas: int, horizon: int) -> list[Camera]:
    """A camera for each group, drawn as large as there is room for all of them.

    Args:
        extents: left, bottom, right, top of each group in scene coordinates.
        rng: source of the places.
        canvas: side of the picture in pixels.
        horizon: y of the horizon in pixels; groups stand below it where there is room.
    """
    scale = canvas * rng.uniform(0.5, 0.72)
    middle = (horizon + canvas) / 2
    while True:
        for _ in range(TRIES):
            order = rng.sample(range(len(extents)), len(extents))
            cut = rng.randint(0, len(extents) // 2)
            far, near = [extents[n] for n in order[:cut]], [extents[n] for n in order[cut:]]
            top = horizon + 0.05 * canvas
            behind = _row(far, scale, (top, middle), canvas, horizon, rng)
            before = _row(near, scale, (middle if far else top, canvas), canvas, horizon, rng)
            if behind is None or before is None:
                continue
            back_boxes = [_pixels(box, camera) for box, camera in zip(far, behind, strict=True)]
            front_boxes = [_pixels(box, camera) for box, camera in zip(near, before, strict=True)]
            if not any(_clash(a, b) for a in back_boxes for b in front_boxes):
                placed = dict(zip(order, [*behind, *before], strict=True))
                return [placed[number] for number in range(len(extents))]
        scale *= SHRINK
