"""Boxes as multimodal LLMs say them, turned into pixels of the picture that was asked about.

Every family has a convention of its own: absolute pixels of the picture as the model resized it, thousandths, 1024
location tokens, fractions. What a model says is hostile input: numbers that are not finite, far too large, inverted
or wholly outside give no box; what sticks out of the picture is cut off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from ovgsr.situation import BoxXyxy

BoxFormat = Literal["resized_pixels", "thousandths", "locations", "fractions"]
"""How a family counts: pixels of the resized picture (Qwen2.5-VL), 0 to 1000 (Qwen2-VL, Qwen3-VL, InternVL), location
tokens of 1024 bins with y first (PaliGemma), 0 to 1 (LLaVA, Shikra, and any family that is not known)."""

_FORMATS: tuple[tuple[str, BoxFormat], ...] = (
    ("qwen2_5", "resized_pixels"),
    ("qwen2_vl", "thousandths"),
    ("qwen3", "thousandths"),
    ("internvl", "thousandths"),
    ("paligemma", "locations"),
)

WORDING: Mapping[BoxFormat, str] = {
    "resized_pixels": "[x1, y1, x2, y2] in pixels",
    "thousandths": "[x1, y1, x2, y2] from 0 to 1000",
    "locations": "[x1, y1, x2, y2] as fractions of the picture, from 0 to 1",
    "fractions": "[x1, y1, x2, y2] as fractions of the picture, from 0 to 1",
}
"""How a question asks for a box. Text that a family with location tokens writes out is taken as fractions."""

LONGEST_TEXT = 4000
LARGEST_NUMBER = 1e6
_DEEPEST = 4
_KEYS = ("bbox_2d", "box_2d", "bbox", "box", "bounding_box", "coordinates")
# Every repetition is bounded and no two of them can share a character: hostile text costs linear time.
_NUMBER = r"\s{0,9}([-+]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][-+]?\d{1,4})?)\s{0,9}"
_LIST = rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]"
_CORNERS = rf"\({_NUMBER},{_NUMBER}\)(?:\s{{0,9}},)?\s{{0,9}}\({_NUMBER},{_NUMBER}\)"
_NOTATIONS: tuple[tuple[re.Pattern[str], Literal["thousandths", "locations", "family"]], ...] = (
    (re.compile(r"\s?".join([r"<loc(\d{4})>"] * 4)), "locations"),
    (re.compile(rf"<\|box_start\|>\s{{0,9}}{_CORNERS}\s{{0,9}}<\|box_end\|>"), "thousandths"),
    (re.compile(rf"<box>\s{{0,9}}(?:\[\s{{0,9}})?{_LIST}"), "thousandths"),
    (re.compile(_LIST), "family"),
    (re.compile(_CORNERS), "family"),
)


def box_format(model_type: str) -> BoxFormat:
    """The convention of a family by its ``config.model_type``; fractions where the family is not known."""
    return next((spoken for prefix, spoken in _FORMATS if model_type.startswith(prefix)), "fractions")


def spoken_box(
    said: object, spoken: BoxFormat, picture_wh: tuple[int, int], resized_wh: tuple[int, int] | None = None
) -> BoxXyxy | None:
    """The first box in what a model said, in pixels of the picture; None where there is none that makes sense.

    ``said`` is text, four numbers, a list that begins with a box, or an object with a field such as ``bbox_2d``.
    ``resized_wh`` is the size at which the model saw the picture; only ``resized_pixels`` needs it.

    Marked notations keep their own convention in every family: ``<loc....>`` is y1 x1 y2 x2 of 1024,
    ``<|box_start|>`` and ``<box>`` are thousandths. A bare list is ambiguous and read so: four numbers of at most 1
    are fractions in every family, for nobody means a box within one pixel; in a family of fractions, numbers up to 2
    are fractions that stick out and larger ones thousandths; else the family's own convention holds.
    """
    for _ in range(_DEEPEST):
        if isinstance(said, Mapping):
            said = next((said[key] for key in _KEYS if key in said), None)
        elif isinstance(said, list | tuple) and said and isinstance(said[0], Mapping | list | tuple):
            said = said[0]
    if isinstance(said, str):
        return next(iter(boxes_in_text(said, spoken, picture_wh, resized_wh)), None)
    return _from_numbers(said, spoken, picture_wh, resized_wh) if isinstance(said, list | tuple) else None


def boxes_in_text(
    text: str, spoken: BoxFormat, picture_wh: tuple[int, int], resized_wh: tuple[int, int] | None = None
) -> list[BoxXyxy]:
    """Every sensible box in the first ``LONGEST_TEXT`` characters, in the order said; see :func:`spoken_box`."""
    text = text[:LONGEST_TEXT]
    found: dict[int, BoxXyxy | None] = {}
    covered: list[tuple[int, int]] = []
    for pattern, notation in _NOTATIONS:  # marked notations first: what they cover is not read again as a bare list
        for match in pattern.finditer(text):
            if any(start < match.end() and match.start() < end for start, end in covered):
                continue
            covered.append(match.span())
            convention = spoken if notation == "family" else notation
            if notation == "locations":
                found[match.start()] = _location_box([int(bin_) for bin_ in match.groups()], picture_wh)
            elif notation == "thousandths":
                found[match.start()] = _scaled([float(n) for n in match.groups()], (1000, 1000), picture_wh)
            else:
                found[match.start()] = _from_numbers(match.groups(), convention, picture_wh, resized_wh)
    return [box for _, box in sorted(found.items()) if box is not None]


def resized_size(
    picture_wh: tuple[int, int], multiple: int, fewest_pixels: int, most_pixels: int
) -> tuple[int, int] | None:
    """The width and height at which the Qwen-VL families see a picture: multiples of ``multiple``, area within limits.

    The rule is that of their ``smart_resize``. None where it refuses the picture (sides more than 200 : 1).
    """
    width, height = picture_wh
    if min(width, height) < 1 or max(width, height) > 200 * min(width, height):
        return None
    wide, high = round(width / multiple) * multiple, round(height / multiple) * multiple
    if wide * high > most_pixels:
        shrink = math.sqrt(width * height / most_pixels)
        wide = max(multiple, math.floor(width / shrink / multiple) * multiple)
        high = max(multiple, math.floor(height / shrink / multiple) * multiple)
    elif wide * high < fewest_pixels:
        grow = math.sqrt(fewest_pixels / (width * height))
        wide = math.ceil(width * grow / multiple) * multiple
        high = math.ceil(height * grow / multiple) * multiple
    return wide, high


def _from_numbers(
    values: Sequence[object], spoken: BoxFormat, picture_wh: tuple[int, int], resized_wh: tuple[int, int] | None
) -> BoxXyxy | None:
    numbers = _four_numbers(values)
    if numbers is None:
        return None
    largest = max(abs(number) for number in numbers)
    loose = spoken in ("fractions", "locations")
    if largest <= 1 or (loose and largest <= 2):
        return _scaled(numbers, (1, 1), picture_wh)
    if spoken == "resized_pixels":
        return _scaled(numbers, resized_wh or picture_wh, picture_wh)
    return _scaled(numbers, (1000, 1000), picture_wh)


def _four_numbers(values: Sequence[object]) -> list[float] | None:
    if len(values) != 4:
        return None
    numbers = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            number = float(value[:40] if isinstance(value, str) else value)
        except (ValueError, OverflowError):
            return None
        if not math.isfinite(number) or abs(number) > LARGEST_NUMBER:
            return None
        numbers.append(number)
    return numbers


def _location_box(bins: Sequence[int], picture_wh: tuple[int, int]) -> BoxXyxy | None:
    top, left, bottom, right = bins
    return _scaled([left, top, right, bottom], (1024, 1024), picture_wh)


def _scaled(numbers: Sequence[float], full_wh: tuple[int, int], picture_wh: tuple[int, int]) -> BoxXyxy | None:
    """Corners of a plane of size ``full_wh`` in pixels of the picture, cut at its border; None without any area.

    Inverted corners are refused rather than swapped: they mostly are a width and a height, of which corners cannot be
    told apart.
    """
    if not all(math.isfinite(number) and abs(number) <= LARGEST_NUMBER for number in numbers):
        return None
    width, height = picture_wh
    x_scale, y_scale = width / full_wh[0], height / full_wh[1]
    left, right = (min(max(x * x_scale, 0.0), float(width)) for x in (numbers[0], numbers[2]))
    top, bottom = (min(max(y * y_scale, 0.0), float(height)) for y in (numbers[1], numbers[3]))
    box_xyxy = (round(left, 2), round(top, 2), round(right, 2), round(bottom, 2))
    return box_xyxy if box_xyxy[0] < box_xyxy[2] and box_xyxy[1] < box_xyxy[3] else None
