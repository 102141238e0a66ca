"""The report page: nothing on it comes from elsewhere or escapes its text, its numbers are right, its size is sane."""

from __future__ import annotations

import base64
import io
import math
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from ovgsr.report import (
    CurveSection,
    PictureItem,
    PictureSection,
    Report,
    TableSection,
    embed_picture,
    format_cell,
    lay_out,
    nice_ticks,
    render_report,
    write_report,
)

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"


def noise(width: int, height: int, seed: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(3 * width * height))


class Page(HTMLParser):
    """Collects tags and text, and complains about a tag that is closed out of turn."""

    VOID = frozenset({"meta", "img", "input", "line", "circle", "path", "polyline", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def full_report(text: str = "words") -> Report:
    return Report(
        title=text,
        paragraphs=(text, text),
        facts=((text, 12.345), ("images", 2000), ("nothing", None)),
        sections=(
            TableSection(text, (text, "value"), ((text, 1.5), ("other", None)), note=text),
            CurveSection(text, text, {text: [(1, 2.0), (2, 3.0)], "b": [(1, 1.0)]}, y_label=text, note=text),
            PictureSection(text, (PictureItem(noise(8, 8, 0), text, (text,), right=True),), note=text),
            PictureSection("rest", (PictureItem(noise(8, 8, 1), "w", right=False), PictureItem(noise(8, 8, 2), "n"))),
        ),
        command=text,
        config=text,
    )


def test_hostile_text_stays_text() -> None:
    page = Page(render_report(full_report(HOSTILE)))
    assert not page.named("script")
    assert all("onerror" not in attributes for _, attributes in page.tags)
    # title element, heading, 2 paragraphs, fact, table (4), curves (title, x, y, legend, note and 2 hover texts with
    # their titles), picture (title, headline, line, note), command, config
    assert page.words.count(HOSTILE) == 1 + 1 + 2 + 1 + 4 + 5 + 4 + 4 + 2


def test_nothing_comes_from_elsewhere() -> None:
    text = render_report(full_report())
    page = Page(text)
    assert not page.named("link") and not page.named("script") and not page.named("iframe")
    addresses = [
        value or "" for _, a in page.tags for name, value in a.items() if name in ("src", "href", "xlink:href")
    ]
    assert len(addresses) == 3 and all(address.startswith("data:image/") for address in addresses)
    assert "url(" not in text and "@import" not in text
    policies = [meta["content"] or "" for meta in page.named("meta") if "http-equiv" in meta]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert any(meta.get("name") == "viewport" for meta in page.named("meta"))
    assert "prefers-color-scheme: dark" in text


def test_pictures_are_whole_and_marked() -> None:
    text = render_report(full_report())
    pictures = [attributes["src"] or "" for attributes in Page(text).named("img")]
    for address in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
        assert image.size == (8, 8)
    assert text.count("✓ right") == 1 and text.count("✗ wrong") == 1


def test_twenty_four_pictures_stay_under_three_megabytes() -> None:
    # noise is the worst case for any codec
    items = tuple(PictureItem(noise(400, 400, seed), f"picture {seed}") for seed in range(24))
    assert len(render_report(Report("large", sections=(PictureSection("all", items),)))) < 3_000_000


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "LA"])
def test_pictures_of_every_mode(mode: str) -> None:
    picture = embed_picture(Image.new(mode, (2000, 10)), 50_000)
    assert (picture.width, picture.height) == (720, 4)
    assert embed_picture(Image.new(mode, (1, 1)), 50_000).width == 1


def test_table_rows_must_fit_their_columns() -> None:
    with pytest.raises(ValueError, match="'results', row 2: 1 cells for 2 columns"):
        TableSection("results", ("a", "b"), ((1, 2), (3,)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        ("12 ± 3", "12 ± 3"),  # text stays
        (0, "0"),
        (25200, "25,200"),
        (81.24, "81.2"),
        (1234.56, "1,234.6"),
        (3.14159, "3.14"),
        (0.0, "0.00"),
        (0.0123, "0.012"),
        (0.000012, "1.2e-05"),  # a learning rate
        (True, "yes"),
    ],
)
def test_format_cell(value: str | int | float | None, text: str) -> None:
    assert format_cell(value) == text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 100.0, [0, 20, 40, 60, 80, 100]),
        (1.0, 24.0, [0, 5, 10, 15, 20, 25]),
        (-3.0, 3.0, [-4, -2, 0, 2, 4]),
        (5.0, 5.0, [2, 3, 4, 5, 6, 7, 8]),  # one value: half of it either side, 2.5 to 7.5
        (0.0, 0.0, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_nice_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, 5) == pytest.approx(ticks)


def test_chart_points_are_where_their_values_are() -> None:
    chart = lay_out(CurveSection("c", "x", {"a": [(0, 0.0), (50, 50.0), (math.nan, 1.0), (100, 100.0)]}))
    assert chart is not None
    middle = ((chart.left + chart.right) / 2, (chart.top + chart.bottom) / 2)
    corners = f"{chart.left:.1f},{chart.bottom:.1f} {middle[0]},{middle[1]} {chart.right:.1f},{chart.top:.1f}"
    assert chart.lines[0].points == corners
    assert [text for _, text in chart.y_ticks] == ["0", "20", "40", "60", "80", "100"]
    assert [point.label for point in chart.lines[0].hover] == ["a: 0.00 at 0", "a: 50.0 at 50", "a: 100.0 at 100"]
    assert [point.anchor for point in chart.lines[0].hover] == ["start", "middle", "end"]


@pytest.mark.parametrize(
    "points",
    [
        [(3, 3.0)],  # one point
        [(1, 5.0), (2, 5.0)],  # a flat line
        [(1, -1e-9), (2, 1e-9)],
        [(1, 1e12), (2, -1e12)],
        [(step, math.sin(step)) for step in range(5000)],
    ],
)
def test_charts_stay_in_their_frame(points: list[tuple[float, float]]) -> None:
    chart = lay_out(CurveSection("c", "x", {"a": points}))
    assert chart is not None
    drawn = [tuple(map(float, pair.split(","))) for pair in chart.lines[0].points.split()]
    assert 1 <= len(drawn) <= 400 and len(chart.lines[0].hover) <= 80
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in drawn)
    assert 2 <= len(chart.x_ticks) <= 12 and 2 <= len(chart.y_ticks) <= 12


def test_a_chart_without_a_finite_value_says_so() -> None:
    section = CurveSection("loss", "step", {"train": [(1, math.nan)], "dev": []})
    assert lay_out(section) is None
    assert "No finite value was recorded." in render_report(Report("r", sections=(section,)))


def test_an_empty_report_and_empty_sections() -> None:
    assert "<h1>bare</h1>" in render_report(Report("bare"))
    sections = (TableSection("t", ("a",), ()), PictureSection("p", ()), CurveSection("c", "x", {}))
    Page(render_report(Report("r", sections=sections)))


def test_writing_is_atomic(tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.html"
    write_report(target, Report("first"))
    broken = Report("second", sections=(PictureSection("p", (PictureItem(None, "no picture"),)),))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        write_report(target, broken)
    assert "first" in target.read_text(encoding="utf-8")
    write_report(target, Report("surrogate \udce9"))  # a file name that is not UTF-8
    assert re.search(r"surrogate \?", target.read_text(encoding="utf-8"))
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]
