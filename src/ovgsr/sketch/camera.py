"""From scene coordinates to pixels: how large the scene is drawn, where, and whether it is mirrored."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass

from ovgsr.sketch.cast import tall, wide
from ovgsr.sketch.people import HEAD_SIZE, body_of
from ovgsr.sketch.scene import Drawn, Effect, Person, Point, ThingAt

MARGIN = 6


def whole(value: float) -> int:
    """The nearest integer, after a coarser rounding so that the last bits of sin and cos cannot decide."""
    return math.floor(round(value * 8) / 8 + 0.5)


@dataclass(frozen=True, slots=True)
class Camera:
    """Pixel = origin + scale * (side * x, -y)."""

    scale: float
    left: float
    ground: float
    side: int

    def __call__(self, point: Point) -> tuple[int, int]:
        """Integer pixel of a point of the scene."""
        return whole(self.left + self.side * point[0] * self.scale), whole(self.ground - point[1] * self.scale)

    def length(self, value: float, least: int = 1) -> int:
        """Integer number of pixels of a length in the scene."""
        return max(least, whole(value * self.scale))


def half_extent(noun: str, size: float, turn: float) -> Point:
    """Half width and half height of a turned sprite."""
    width, height = wide(noun, size), tall(noun, size)
    cosine, sine = abs(math.cos(math.radians(turn))), abs(math.sin(math.radians(turn)))
    return (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2


def outline(element: Drawn) -> list[Point]:
    """Points of the scene that bound an element."""
    if isinstance(element, Person):
        body = body_of(element)
        half = HEAD_SIZE * 0.52
        head = [(body.head[0] + dx * half, body.head[1] + dy * half) for dx, dy in ((-1, -1), (1, 1))]
        return [*body.trunk, *body.near_arm, *body.far_arm, *body.near_leg, *body.far_leg, *head]
    if isinstance(element, ThingAt):
        dx, dy = half_extent(element.noun, element.size, element.turn)
        return [(element.x - dx, element.y - dy), (element.x + dx, element.y + dy)]
    if isinstance(element, Effect):
        half = element.size / 2
        return [(element.x - half, element.y - half), (element.x + half, element.y + half)]
    return list(element.points)


def fit(elements: Iterable[Drawn], rng: random.Random, canvas: int, horizon: int) -> Camera:
    """A camera that shows all elements on a square canvas, the ground below the horizon where there is room."""
    points = [point for element in elements for point in outline(element)]
    left, right = min(p[0] for p in points), max(p[0] for p in points)
    bottom, top = min(p[1] for p in points), max(p[1] for p in points)
    room = canvas - 2 * MARGIN
    scale = min(rng.uniform(108, 150) * canvas / 192, room / (right - left), room / (top - bottom))
    side = rng.choice((-1, 1))
    width = (right - left) * scale
    slack = room - width
    at = MARGIN + slack * rng.random()
    origin = at - left * scale if side == 1 else at + right * scale
    highest = MARGIN + top * scale
    lowest = canvas - MARGIN + bottom * scale
    wished = max(highest, min(lowest, horizon + 0.09 * canvas))
    return Camera(scale, origin, rng.uniform(wished, lowest), side)
