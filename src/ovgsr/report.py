"""Results and examples as one HTML file that needs nothing else: no script, no font, no address on the network.

A :class:`Report` is plain data; the template escapes every text in it. Curves are inline SVG, pictures are embedded.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import jinja2
from PIL import Image, features

from ovgsr.files import write_bytes_atomically

Cell = str | int | float | None
Point = tuple[float, float]

PICTURE_BYTES = 2_000_000
"""What all the pictures of a report may take together, before base64 makes it a third more."""
PICTURE_SIDE = 720


@dataclass(frozen=True)
class TableSection:
    """A table. Text cells stand as they are, numbers are formatted, None is a dash."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    kind: Literal["table"] = field(default="table", init=False)

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r}, row {number}: {len(row)} cells for {len(self.columns)} columns; "
                    "give each row one cell a column"
                )


@dataclass(frozen=True)
class CurveSection:
    """Curves over one axis, by name. Points that are not finite are left out."""

    title: str
    x_label: str
    series: Mapping[str, Sequence[Point]]
    y_label: str = ""
    note: str = ""
    kind: Literal["curves"] = field(default="curves", init=False)


@dataclass(frozen=True)
class PictureItem:
    """A picture with a headline and lines of text; ``right`` marks it as right, wrong or neither."""

    image: Image.Image
    headline: str
    lines: Sequence[str] = ()
    right: bool | None = None


@dataclass(frozen=True)
class PictureSection:
    """Pictures side by side."""

    title: str
    items: Sequence[PictureItem]
    note: str = ""
    kind: Literal["pictures"] = field(default="pictures", init=False)


Section = TableSection | CurveSection | PictureSection


@dataclass(frozen=True)
class Report:
    """One page. ``facts`` are the few numbers to see first; ``command`` and ``config`` say what made the page."""

    title: str
    paragraphs: Sequence[str] = ()
    facts: Sequence[tuple[str, Cell]] = ()
    sections: Sequence[Section] = ()
    command: str = ""
    config: str = ""


def write_report(path: Path, report: Report) -> None:
    """Writes the page as UTF-8, atomically; the folder is made where it is missing."""
    write_bytes_atomically(path, render_report(report).encode("utf-8", errors="replace"))


def render_report(report: Report) -> str:
    """The page as text."""
    pictures = sum(len(section.items) for section in report.sections if isinstance(section, PictureSection))
    budget = PICTURE_BYTES // max(pictures, 1)

    def embedded(image: Image.Image) -> EmbeddedPicture:
        return embed_picture(image, budget)

    return _template().render(
        report=report, number=format_cell, numeric=_numeric_columns, chart=lay_out, embedded=embedded
    )


@cache
def _template() -> jinja2.Template:
    source = (resources.files("ovgsr") / "templates" / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)


def format_cell(value: Cell) -> str:
    """A number with the digits that matter, thousands apart; a dash for None and for what is not finite."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 10:
        return f"{value:,.1f}"
    if size >= 0.001 or value == 0:
        return f"{value:.2f}" if size >= 1 or value == 0 else f"{value:.3f}"
    return f"{value:.1e}"


def _numeric_columns(table: TableSection) -> list[bool]:
    """Which columns hold numbers only, and are set flush right."""
    columns = zip(*table.rows, strict=True) if table.rows else ([] for _ in table.columns)
    flags = []
    for column in columns:
        cells = [cell for cell in column if cell is not None]
        flags.append(bool(cells) and all(isinstance(cell, int | float) for cell in cells))
    return flags


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture as a data address, with the size that reserves its room on the page."""

    address: str
    width: int
    height: int


def embed_picture(image: Image.Image, budget: int) -> EmbeddedPicture:
    """WebP (else JPEG) of at most ``budget`` bytes where possible: quality is lowered first, then size."""
    kind = "webp" if features.check("webp") else "jpeg"
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and "transparency" in image.info):
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    picture = image if image.mode == "RGB" else image.convert("RGB")
    side = min(PICTURE_SIDE, max(picture.size))
    while True:
        scale = min(1.0, side / max(picture.size))
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        shown = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        for quality in (84, 72, 58):
            buffer = io.BytesIO()
            shown.save(buffer, kind, quality=quality)
            if buffer.tell() <= budget:
                break
        if buffer.tell() <= budget or side <= 160:
            data = base64.b64encode(buffer.getvalue()).decode("ascii")
            return EmbeddedPicture(f"data:image/{kind};base64,{data}", *size)
        side = round(side * max(0.4, min(0.85, 0.95 * math.sqrt(budget / buffer.tell()))))


CHART_WIDTH, CHART_HEIGHT = 480, 274
PLOT_LEFT, PLOT_RIGHT, PLOT_TOP, PLOT_BOTTOM = 48, 468, 28, 228
MAX_LINE_POINTS, MAX_HOVER_POINTS = 400, 80


@dataclass(frozen=True)
class HoverPoint:
    """A point that shows its values: where it is on the chart, what it says, and on which side."""

    x: float
    y: float
    label: str
    anchor: Literal["start", "middle", "end"]


@dataclass(frozen=True)
class ChartLine:
    """One series on the chart, in the chart's units."""

    name: str
    points: str  # the points attribute of an SVG polyline
    hover: tuple[HoverPoint, ...]


@dataclass(frozen=True)
class Chart:
    """A curve section laid out: ticks as (position, text) and lines."""

    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[ChartLine, ...]
    width: int = CHART_WIDTH
    height: int = CHART_HEIGHT
    left: int = PLOT_LEFT
    right: int = PLOT_RIGHT
    top: int = PLOT_TOP
    bottom: int = PLOT_BOTTOM


def lay_out(section: CurveSection) -> Chart | None:
    """Axes and lines of a curve section; None where no point is finite."""
    series = {name: _finite(points) for name, points in section.series.items()}
    every = [point for points in series.values() for point in points]
    if not every:
        return None
    x_ticks = nice_ticks(min(x for x, _ in every), max(x for x, _ in every), 6)
    y_ticks = nice_ticks(min(y for _, y in every), max(y for _, y in every), 5)
    x_low, x_high = min(x_ticks[0], *(x for x, _ in every)), max(x_ticks[-1], *(x for x, _ in every))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def across(x: float) -> float:
        return round(PLOT_LEFT + (x - x_low) / (x_high - x_low) * (PLOT_RIGHT - PLOT_LEFT), 1)

    def down(y: float) -> float:
        return round(PLOT_BOTTOM - (y - y_low) / (y_high - y_low) * (PLOT_BOTTOM - PLOT_TOP), 1)

    def hover_point(name: str, x: float, y: float) -> HoverPoint:
        share = (x - x_low) / (x_high - x_low)
        label = f"{name}: {format_cell(y)} at {_tick_text(x, 0.0)}"
        return HoverPoint(across(x), down(y), label, "start" if share < 0.3 else "end" if share > 0.7 else "middle")

    lines = tuple(
        ChartLine(
            name,
            " ".join(f"{across(x)},{down(y)}" for x, y in _thinned(points, MAX_LINE_POINTS)),
            tuple(hover_point(name, x, y) for x, y in _thinned(points, MAX_HOVER_POINTS)),
        )
        for name, points in series.items()
    )
    return Chart(
        tuple((across(x), _tick_text(x, x_ticks[1] - x_ticks[0])) for x in x_ticks),
        tuple((down(y), _tick_text(y, y_ticks[1] - y_ticks[0])) for y in y_ticks),
        lines,
    )


def nice_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that enclose ``low`` to ``high``; at least two."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        margin = abs(low) * 0.5 or 1.0
        low, high = low - margin, high + margin
    raw = high / wanted - low / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _tick_text(value: float, step: float) -> str:
    """A tick with no more digits than its step needs; without a step, as many as a reader wants."""
    if step >= 1e-4 and abs(value) < 1e6:
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value + 0.0:,.{digits}f}".replace("-0.0", "0.0") if digits else f"{round(value):,}"
    return f"{value:.4g}"


def _finite(points: Iterable[Point]) -> list[Point]:
    return [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _thinned(points: Sequence[Point], limit: int) -> Sequence[Point]:
    """At most ``limit`` points, evenly chosen, the first and the last among them."""
    if len(points) <= limit:
        return points
    return [points[round(number * (len(points) - 1) / (limit - 1))] for number in range(limit)]
