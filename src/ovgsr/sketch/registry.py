"""Where the verb functions put themselves: verb -> how it is drawn and in which places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ovgsr.sketch.cast import Cast
from ovgsr.sketch.scene import Element

OUTDOORS = ("park", "beach", "street", "garden", "forest", "field", "stadium", "snow", "river", "desert")
INDOORS = ("kitchen", "living room", "classroom", "bedroom", "garage", "market")
ANYWHERE = OUTDOORS + INDOORS

DrawVerb = Callable[[Cast], Sequence[Element]]


@dataclass(frozen=True, slots=True)
class VerbSketch:
    """The spatial grammar of a verb and the places it happens in."""

    verb: str
    places: tuple[str, ...]
    draw: DrawVerb


_SKETCHES: dict[str, VerbSketch] = {}


def sketches() -> dict[str, VerbSketch]:
    """Every registered verb, in the order of definition."""
    return _SKETCHES


def verb(name: str, places: tuple[str, ...] = ANYWHERE) -> Callable[[DrawVerb], DrawVerb]:
    """Decorator: the function draws this verb."""

    def register(draw: DrawVerb) -> DrawVerb:
        if name in _SKETCHES:
            raise ValueError(f"The verb '{name}' is drawn by two functions; keep one of them.")
        _SKETCHES[name] = VerbSketch(name, places, draw)
        return draw

    return register
