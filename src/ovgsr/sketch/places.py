"""Places: sixteen backgrounds, each with the details that name it, jittered in colour, light and layout."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from PIL import Image

from ovgsr.sketch import places_indoor, places_outdoor
from ovgsr.sketch.place_canvas import PlaceCanvas

PLACES: Mapping[str, Callable[[PlaceCanvas], float]] = MappingProxyType(
    {
        "park": places_outdoor.park,
        "beach": places_outdoor.beach,
        "street": places_outdoor.street,
        "kitchen": places_indoor.kitchen,
        "garden": places_outdoor.garden,
        "forest": places_outdoor.forest,
        "field": places_outdoor.field,
        "living room": places_indoor.living_room,
        "stadium": places_outdoor.stadium,
        "snow": places_outdoor.snow,
        "river": places_outdoor.river,
        "classroom": places_indoor.classroom,
        "bedroom": places_indoor.bedroom,
        "desert": places_outdoor.desert,
        "garage": places_indoor.garage,
        "market": places_outdoor.market,
    }
)
"""Name of a place -> the function that draws it and returns its horizon as a fraction of the side."""


def draw_place(name: str, rng: random.Random, size: int) -> tuple[Image.Image, int]:
    """Draw one place.

    Args:
        name: a name of the category "place" in `things.csv`.
        rng: source of the jitter; the same state gives the same picture.
        size: side of the square picture in pixels.

    Returns:
        The RGB picture, and the y of its horizon (the foot of the wall in a room) in pixels.

    Raises:
        KeyError: if there is no such place.
    """
    paint = PLACES.get(name)
    if paint is None:
        raise KeyError(f"No place '{name}'; the places are {', '.join(PLACES)}.")
    canvas = PlaceCanvas(rng, size)
    horizon = paint(canvas)
    return canvas.image, canvas.pixel(horizon)
