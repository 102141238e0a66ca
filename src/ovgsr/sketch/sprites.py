"""Sprites: simple vector drawings, one `<g id="...">` each in `sprites/*.svg`, rasterised by Pillow.

Each is drawn in a cell of 100 x 100 units, y down, facing right where it has a direction. Long-handled things
that touch the ground (broom, mop, rake, shovel, oar, vacuum cleaner, lawn mower) stand with the working end
down; tools held in a hand (hammer, axe, saw, knife, spoon, pencil, brush ...) have the grip below and the working
end above; what is pushed or driven has its handle or rear on the left.

Only a subset of SVG is read: rect, circle, ellipse, polygon, polyline, line, path (absolute M L Q C Z), nested g
with translate, and the attributes fill, stroke, stroke-width, stroke-linecap. Coordinates reach Pillow as
whole supersampled pixels, so rounding in curve points cannot change a picture.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from xml.etree import ElementTree

from PIL import Image, ImageDraw

EFFECTS = ("flame", "spark", "zzz", "note", "heart", "flash", "splash", "tear")
"""Sprites that are no noun."""

LONGEST_SIDE = 128
CELL = 100.0
_SUPERSAMPLE = 4
_NAMESPACE = "{http://www.w3.org/2000/svg}"
_STYLE_ATTRIBUTES = ("fill", "stroke", "stroke-width", "stroke-linecap")
_PATH_TOKEN = re.compile(r"[A-Za-z]|-?\d*\.?\d+")
_PATH_ARITY = {"M": 1, "L": 1, "Q": 2, "C": 3}
_CURVE_STEPS = 14

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A drawable outline in cell units: the corners of a line or area, or the two corners of an ellipse's box."""

    points: tuple[Point, ...]
    is_ellipse: bool
    is_closed: bool
    fill: str | None
    stroke: str | None
    stroke_width: float
    has_round_caps: bool


def sprite_id(name: str) -> str:
    """The id of a thing's sprite: "watering can" -> "watering-can"."""
    return name.replace(" ", "-")


def head_id(person: str) -> str:
    """The id of a person's head: "old man" -> "head-old-man"."""
    return "head-" + sprite_id(person)


@cache
def sprite(name: str) -> Image.Image:
    """The drawing of a thing, effect or head: RGBA, cropped, longest side 128 pixels.

    The image is shared: copy it before changing it.

    Args:
        name: a thing's name or sprite id ("spray can", "head-man", "zzz").

    Raises:
        KeyError: if no sheet has a group of that id.
    """
    shapes = sheets().get(sprite_id(name))
    if shapes is None:
        raise KeyError(f"No sprite '{name}': draw a group <g id=\"{sprite_id(name)}\"> in sketch/sprites/*.svg.")
    # A drawing may reach out of its cell by a fifth: strokes have a width.
    reach, probe_scale = CELL / 5, 4.0
    probe_side = int((CELL + 2 * reach) * probe_scale)
    probe = _raster(shapes, probe_scale, (-reach, -reach), (probe_side, probe_side))
    box_xyxy = probe.getbbox()
    if box_xyxy is None:
        raise ValueError(f"The sprite '{name}' in sketch/sprites/*.svg draws nothing; give it a fill or a stroke.")
    left, top, right, bottom = (edge / probe_scale - reach for edge in box_xyxy)
    width, height = right - left, bottom - top
    scale = LONGEST_SIDE / max(width, height)
    columns, rows = max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))
    large = _raster(shapes, scale * _SUPERSAMPLE, (left, top), (columns * _SUPERSAMPLE, rows * _SUPERSAMPLE))
    return large.resize((columns, rows), Image.Resampling.BOX)


@cache
def sheets() -> Mapping[str, tuple[Shape, ...]]:
    """The shapes of every sprite by id, from all sheets."""
    found: dict[str, tuple[Shape, ...]] = {}
    folder = resources.files(__package__).joinpath("sprites")
    for sheet in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not sheet.name.endswith(".svg"):
            continue
        for name, shapes in parse_sheet(sheet.read_text(encoding="utf-8"), sheet.name).items():
            if name in found:
                raise ValueError(f"{sheet.name}: another sheet has the id '{name}' too; rename one.")
            found[name] = shapes
    return MappingProxyType(found)


def parse_sheet(text: str, sheet_name: str) -> dict[str, tuple[Shape, ...]]:
    """The sprites of one SVG sheet by id, each in its cell's own coordinates.

    Raises:
        ValueError: for anything outside the subset, naming the sheet and the sprite.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{sheet_name}: remove the document type and entities; sprites need neither.")
    root = ElementTree.fromstring(text)
    style = _style(root, {})
    found: dict[str, tuple[Shape, ...]] = {}
    for group in root.iter(f"{_NAMESPACE}g"):
        name = group.get("id")
        if name is None:
            continue
        if name in found:
            raise ValueError(f"{sheet_name}: the id '{name}' is used twice; rename one.")
        where = f"{sheet_name}, sprite '{name}'"
        found[name] = tuple(_shapes(group, _style(group, style), (0.0, 0.0), where))
    return found


def _style(element: ElementTree.Element, inherited: Mapping[str, str]) -> dict[str, str]:
    own = {key: element.attrib[key] for key in _STYLE_ATTRIBUTES if key in element.attrib}
    return {**inherited, **own}


def _shapes(group: ElementTree.Element, style: Mapping[str, str], offset: Point, where: str) -> Iterator[Shape]:
    for element in group:
        tag = element.tag.removeprefix(_NAMESPACE)
        own_style = _style(element, style)
        if tag == "g":
            shift = _translation(element.get("transform", ""), where)
            yield from _shapes(element, own_style, (offset[0] + shift[0], offset[1] + shift[1]), where)
        elif tag == "path":
            for points, is_closed in _path(element.get("d", ""), where):
                yield _shape(points, own_style, offset, is_closed=is_closed)
        else:
            points, is_ellipse, is_closed = _primitive(tag, element, where)
            yield _shape(points, own_style, offset, is_ellipse=is_ellipse, is_closed=is_closed)


def _shape(
    points: list[Point], style: Mapping[str, str], offset: Point, *, is_closed: bool, is_ellipse: bool = False
) -> Shape:
    fill, stroke = style.get("fill", "#000000"), style.get("stroke", "none")
    return Shape(
        points=tuple((x + offset[0], y + offset[1]) for x, y in points),
        is_ellipse=is_ellipse,
        is_closed=is_closed,
        fill=None if fill == "none" else fill,
        stroke=None if stroke == "none" else stroke,
        stroke_width=float(style.get("stroke-width", "1")),
        has_round_caps=style.get("stroke-linecap", "butt") == "round",
    )


def _translation(transform: str, where: str) -> Point:
    if not transform:
        return 0.0, 0.0
    match = re.fullmatch(r"translate\(\s*(-?[\d.]+)[\s,]+(-?[\d.]+)\s*\)", transform)
    if match is None:
        raise ValueError(f"{where}: transform '{transform}' is not read; use translate(x, y).")
    return float(match[1]), float(match[2])


def _primitive(tag: str, element: ElementTree.Element, where: str) -> tuple[list[Point], bool, bool]:
    """Points, whether they span an ellipse, whether the outline is closed."""

    def number(key: str) -> float:
        return float(element.attrib.get(key, "0"))

    if tag == "rect":
        left, top = number("x"), number("y")
        right, bottom = left + number("width"), top + number("height")
        return [(left, top), (right, top), (right, bottom), (left, bottom)], False, True
    if tag in ("circle", "ellipse"):
        x, y = number("cx"), number("cy")
        radius_x, radius_y = (number("r"), number("r")) if tag == "circle" else (number("rx"), number("ry"))
        return [(x - radius_x, y - radius_y), (x + radius_x, y + radius_y)], True, True
    if tag == "line":
        return [(number("x1"), number("y1")), (number("x2"), number("y2"))], False, False
    if tag in ("polygon", "polyline"):
        numbers = [float(token) for token in re.findall(r"-?\d*\.?\d+", element.get("points", ""))]
        return list(zip(numbers[::2], numbers[1::2], strict=True)), False, tag == "polygon"
    raise ValueError(f"{where}: <{tag}> is not read; use rect, circle, ellipse, polygon, polyline, line or path.")


def _path(data: str, where: str) -> Iterator[tuple[list[Point], bool]]:
    """Sub-paths as points, with whether each is closed."""
    tokens = _PATH_TOKEN.findall(data)
    points: list[Point] = []
    position, command = 0, ""
    while position < len(tokens):
        if tokens[position].isalpha():
            command = tokens[position]
            position += 1
            if command == "Z":
                yield points, True
                points = []
                continue
        arity = _PATH_ARITY.get(command)
        if arity is None or (not points and command != "M"):
            raise ValueError(f"{where}: path command '{command}' is not read here; use absolute M L Q C Z.")
        numbers = [float(token) for token in tokens[position : position + 2 * arity]]
        position += 2 * arity
        controls = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command == "M" and points:
            yield points, False
            points = []
        if command == "M":
            command = "L"
        points.extend(controls if arity == 1 else _bezier([points[-1], *controls]))
    if points:
        yield points, False


def _bezier(controls: list[Point]) -> Iterator[Point]:
    """Points of a Bezier curve after its start, by de Casteljau's construction."""
    for step in range(1, _CURVE_STEPS + 1):
        share = step / _CURVE_STEPS
        level = controls
        while len(level) > 1:
            level = [(a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share) for a, b in itertools.pairwise(level)]
        yield level[0]


def _raster(shapes: tuple[Shape, ...], scale: float, origin: Point, size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        points = [_pixel((x - origin[0]) * scale, (y - origin[1]) * scale) for x, y in shape.points]
        width = shape.stroke_width * scale if shape.stroke else 0.0
        if shape.is_ellipse:
            _draw_ellipse(draw, points, shape, width)
            continue
        if shape.fill and len(points) > 2:
            draw.polygon(points, fill=shape.fill)
        if shape.stroke:
            _draw_stroke(draw, points, shape, width)
    return image


def _pixel(x: float, y: float) -> tuple[int, int]:
    # Sixteenths first: two machines may differ in the last bit of a curve point, not in its sixteenth.
    return math.floor(round(x * 16) / 16 + 0.5), math.floor(round(y * 16) / 16 + 0.5)


def _draw_ellipse(draw: ImageDraw.ImageDraw, corners: list[tuple[int, int]], shape: Shape, width: float) -> None:
    (left, top), (right, bottom) = corners
    outer = round(width / 2)
    box_outer = (left - outer, top - outer, right + outer, bottom + outer)
    if shape.fill is None:
        draw.ellipse(box_outer, outline=shape.stroke, width=max(1, round(width)))
        return
    if shape.stroke:
        draw.ellipse(box_outer, fill=shape.stroke)
    if right - left > 2 * outer and bottom - top > 2 * outer:
        draw.ellipse((left + outer, top + outer, right - outer, bottom - outer), fill=shape.fill)


def _draw_stroke(draw: ImageDraw.ImageDraw, points: list[tuple[int, int]], shape: Shape, width: float) -> None:
    """A band a segment, and a disc a joint: joints are always round, ends are round on request."""
    half = width / 2
    radius = round(half)
    ends = [*points, points[0]] if shape.is_closed else points
    for (x1, y1), (x2, y2) in itertools.pairwise(ends):
        length = math.sqrt((x2 - x1) ** 2 + (y2 - y1) ** 2)
        if length == 0:
            continue
        across_x, across_y = (y1 - y2) / length * half, (x2 - x1) / length * half
        corners = ((x1, y1, 1), (x2, y2, 1), (x2, y2, -1), (x1, y1, -1))
        band = [_pixel(x + side * across_x, y + side * across_y) for x, y, side in corners]
        draw.polygon(band, fill=shape.stroke)
    joints = points if shape.is_closed or shape.has_round_caps else points[1:-1]
    for x, y in joints:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shape.stroke)
