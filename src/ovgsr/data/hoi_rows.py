"""One annotated row of human-object interaction: a situation, or the reason why the row cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ovgsr.interactions import HUMAN, OBJECT, PERSON
from ovgsr.situation import BoxXyxy, GroundedNoun, Situation

_FARTHEST = 1e9
"""No picture has so many pixels on a side; false for infinity, for what is not a number, for endless integers."""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that was left out: where it is, and why. ``row`` counts from 0; None for all rows of the picture."""

    file: str
    picture: str
    row: int | None
    field: str
    message: str

    @property
    def place(self) -> str:
        """Picture, row and field, as a problem's place in the file."""
        return ": ".join([self.picture, *([] if self.row is None else [f"row {self.row}"]), self.field])

    def __str__(self) -> str:
        return f"{self.file}: {self.place}: {self.message}"


class RowFault(Exception):
    """What is wrong with one row; never leaves the readers."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def interaction_situation(verb: str, thing: str, human_box_xyxy: BoxXyxy, object_box_xyxy: BoxXyxy) -> Situation:
    """The situation of one row."""
    return Situation(verb, {HUMAN: GroundedNoun(PERSON, human_box_xyxy), OBJECT: GroundedNoun(thing, object_box_xyxy)})


def continuous_corners(box: Any, field: str, origin: int = 1) -> BoxXyxy:
    """A box of inclusive pixels, of which the first is ``origin``, as 0-based continuous corners.

    Raises RowFault for anything but four finite numbers with x2 >= x1 and y2 >= y1 (equal: one pixel wide).
    """
    if not isinstance(box, list) or len(box) != 4 or not all(_is_finite(number) for number in box):
        raise RowFault(field, f"must be four finite numbers (x1, y1, x2, y2), not {box!r}")
    x1, y1, x2, y2 = box
    if x2 < x1 or y2 < y1:
        raise RowFault(field, f"{box} is inverted; x2 must not be below x1, nor y2 below y1")
    return (float(x1 - origin), float(y1 - origin), float(x2 - origin + 1), float(y2 - origin + 1))


def index_in(value: Any, field: str, count: int, origin: int = 0) -> int:
    """A number from ``origin`` on as a position from 0. Raises RowFault where it is none of ``count``."""
    if type(value) is not int or not 0 <= value - origin < count:
        raise RowFault(field, f"must be a whole number from {origin} to {count - 1 + origin}, not {value!r}")
    return value - origin


def _is_finite(number: Any) -> bool:
    return type(number) in (int, float) and abs(number) < _FARTHEST
