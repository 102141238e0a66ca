"""A square canvas in fractions of its side, with the light of one place: what the place drawings share."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]


@cache
def _channels(hex_colour: str) -> Colour:
    return int(hex_colour[1:3], 16), int(hex_colour[3:5], 16), int(hex_colour[5:7], 16)


class PlaceCanvas:
    """Draws flat areas; coordinates are fractions of the side (x right, y down).

    Every colour is multiplied by one light, so that a picture is brighter, darker, warmer or cooler as a whole.
    """

    def __init__(self, rng: random.Random, size: int) -> None:
        self.rng = rng
        self.size = size
        self.image = Image.new("RGB", (size, size))
        self._draw = ImageDraw.Draw(self.image)
        brightness = rng.uniform(0.84, 1.08)
        warmth = rng.uniform(-0.07, 0.07)
        self._light = (brightness * (1 + warmth), brightness, brightness * (1 - warmth))

    def between(self, low: float, high: float) -> float:
        """A number drawn evenly from [low, high)."""
        return low + (high - low) * self.rng.random()

    def colour(self, hex_colour: str, spread: int = 0) -> Colour:
        """The colour in this picture's light, each channel moved by up to `spread` at random."""
        channels = _channels(hex_colour)
        if spread:
            shifted = [c + self.rng.randint(-spread, spread) for c in channels]
        else:
            shifted = list(channels)
        red, green, blue = (
            min(255, max(0, int(c * light + 0.5))) for c, light in zip(shifted, self._light, strict=True)
        )
        return red, green, blue

    def pixel(self, fraction: float) -> int:
        """Nearest pixel to a fraction of the side."""
        return math.floor(fraction * self.size + 0.5)

    def area(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle, both ends included as whole pixels."""
        if right > left and bottom > top:
            box = (self.pixel(left), self.pixel(top), self.pixel(right) - 1, self.pixel(bottom) - 1)
            self._draw.rectangle((box[0], box[1], max(box[0], box[2]), max(box[1], box[3])), fill=colour)

    def disc(self, x: float, y: float, radius_x: float, colour: Colour, radius_y: float = 0.0) -> None:
        """A filled ellipse; a circle if `radius_y` is 0."""
        radius_y = radius_y or radius_x
        self._draw.ellipse(
            (
                self.pixel(x - radius_x),
                self.pixel(y - radius_y),
                self.pixel(x + radius_x),
                self.pixel(y + radius_y),
            ),
            fill=colour,
        )

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon([(self.pixel(x), self.pixel(y)) for x, y in points], fill=colour)

    def stroke(self, points: Sequence[Point], colour: Colour, width: float = 0.01) -> None:
        """An open line, `width` as a fraction of the side and at least one pixel."""
        pixels = [(self.pixel(x), self.pixel(y)) for x, y in points]
        self._draw.line(pixels, fill=colour, width=max(1, self.pixel(width)))

    def dots(self, places: Sequence[Point], colour: Colour) -> None:
        """Small dots, two pixels wide on a side of 192."""
        width = max(1, self.size // 96)
        for x, y in places:
            left, top = self.pixel(x), self.pixel(y)
            self._draw.rectangle((left, top, left + width - 1, top + width - 1), fill=colour)

    def bands(self, top: float, bottom: float, first: str, last: str, count: int = 6) -> None:
        """A vertical gradient over the whole width in `count` bands."""
        start, end = self.colour(first), self.colour(last)
        for index in range(count):
            share = index / (count - 1)
            red, green, blue = (int(a + (b - a) * share + 0.5) for a, b in zip(start, end, strict=True))
            step = (bottom - top) / count
            self.area(0, top + index * step, 1, top + (index + 1) * step + 0.01, (red, green, blue))

    def clouds(self, count: int, lowest: float) -> None:
        """White clouds above `lowest`."""
        for _ in range(count):
            x, y, width = self.between(0.05, 0.95), self.between(0.06, lowest), self.between(0.05, 0.09)
            white = self.colour("#f6fafd")
            self.disc(x - width * 0.8, y, width * 0.7, white, width * 0.34)
            self.disc(x + width * 0.8, y, width * 0.8, white, width * 0.36)
            self.disc(x, y - width * 0.2, width * 0.8, white, width * 0.5)

    def sun(self, hex_colour: str = "#ffe98a", radius: float = 0.06) -> None:
        """A sun in the upper part of the sky."""
        self.disc(self.between(0.1, 0.9), self.between(0.09, 0.17), radius, self.colour(hex_colour))
