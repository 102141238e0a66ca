"""Boxes in words: where in the picture a box is, how large, and how it lies to another one.

The words are few and plain, so that a place can be compared with another one (``wrong_places``) and no word of them is
a form of one of SWiG's verbs.
"""

from __future__ import annotations

from ovgsr.situation import BoxXyxy

OPPOSITES: dict[str, tuple[str, ...]] = {
    "upper left": ("lower right", "upper right", "lower left"),
    "upper right": ("lower left", "upper left", "lower right"),
    "lower left": ("upper right", "lower right", "upper left"),
    "lower right": ("upper left", "lower left", "upper right"),
    "top": ("bottom", "lower left", "lower right"),
    "bottom": ("top", "upper left", "upper right"),
    "left": ("right", "upper right", "lower right"),
    "right": ("left", "upper left", "lower left"),
    "middle": ("upper left", "upper right", "lower left", "lower right"),
}
"""Each part of a picture, and the parts that nobody could mean instead."""

_ROWS = ("upper", "", "lower")
_COLUMNS = ("left", "", "right")
_ALONE = {("upper", ""): "top", ("lower", ""): "bottom", ("", ""): "middle"}
_SIZES = ((0.01, "tiny"), (0.06, "small"), (0.25, "medium-sized"), (0.6, "large"))
_WHOLE = "as large as the picture"
_NEAR = 0.12
"""A gap below this part of the picture's diagonal is close."""

Relation = tuple[str, str]
"""How far (touching, close, far) and in which direction (above, below, left, right, or nothing)."""


def part_of_picture(box_xyxy: BoxXyxy, width: int, height: int) -> str:
    """Which ninth of a picture of ``width`` x ``height`` pixels a box has its centre in: ``upper left``, ``middle``."""
    left, top, right, bottom = box_xyxy
    column = _COLUMNS[_third((left + right) / 2 / width)]
    row = _ROWS[_third((top + bottom) / 2 / height)]
    return _ALONE.get((row, column)) or f"{row} {column}".strip()


def size_in_words(box_xyxy: BoxXyxy, width: int, height: int) -> str:
    """How much of the picture a box takes: tiny, small, medium-sized, large, as large as the picture."""
    left, top, right, bottom = box_xyxy
    share = max(0.0, right - left) * max(0.0, bottom - top) / (width * height)
    return next((word for limit, word in _SIZES if share < limit), _WHOLE)


def place_in_words(box_xyxy: BoxXyxy, width: int, height: int) -> str:
    """Part and size: ``upper left, small``."""
    return f"{part_of_picture(box_xyxy, width, height)}, {size_in_words(box_xyxy, width, height)}"


def in_part(part: str) -> str:
    """A part of the picture as it stands in a sentence: ``in the upper left``, ``at the top``, ``on the right``."""
    preposition = {"top": "at", "bottom": "at", "left": "on", "right": "on"}.get(part, "in")
    return f"{preposition} the {part}"


def wrong_parts(part: str) -> tuple[str, ...]:
    """The parts of the picture that contradict a part, the farthest first."""
    return OPPOSITES[part]


def relation(box_xyxy: BoxXyxy, other_xyxy: BoxXyxy, width: int, height: int) -> Relation:
    """How the first box lies to the second: how far, and in which direction from it.

    The direction is the one of the centres, where it is clear (half the sum of the two sizes in that direction, or
    more); boxes that lie in one another have none.
    """
    horizontal_gap = max(box_xyxy[0] - other_xyxy[2], other_xyxy[0] - box_xyxy[2], 0.0)
    vertical_gap = max(box_xyxy[1] - other_xyxy[3], other_xyxy[1] - box_xyxy[3], 0.0)
    gap = (horizontal_gap**2 + vertical_gap**2) ** 0.5 / (width**2 + height**2) ** 0.5
    distance = "touching" if gap == 0 else "close" if gap < _NEAR else "far"
    across = _offset(box_xyxy[0], box_xyxy[2], other_xyxy[0], other_xyxy[2])
    down = _offset(box_xyxy[1], box_xyxy[3], other_xyxy[1], other_xyxy[3])
    if max(abs(across), abs(down)) < 0.5:
        return distance, ""
    if abs(down) >= abs(across):
        return distance, "above" if down < 0 else "below"
    return distance, "left" if across < 0 else "right"


def _third(position: float) -> int:
    return min(2, max(0, int(position * 3)))


def _offset(low: float, high: float, other_low: float, other_high: float) -> float:
    """The distance of two intervals' centres, in sums of their half lengths: beyond 1 they do not overlap."""
    half_lengths = (high - low + other_high - other_low) / 2
    return ((low + high) - (other_low + other_high)) / 2 / max(half_lengths, 1e-9)
