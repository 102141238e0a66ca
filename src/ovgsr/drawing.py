"""A situation drawn on its picture: boxes and tags by role, and under the picture the sentence and every role.

Pillow only, and only the font that comes with it. The palette is Okabe and Ito's, told apart by colour-blind people
("Color Universal Design", 2008).
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from ovgsr.captions import caption as sentence_of
from ovgsr.noun_phrases import readable_word
from ovgsr.situation import BoxXyxy, GroundedNoun, Situation
from ovgsr.vocabulary import Vocabulary

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels of the drawing, right and bottom exclusive."""

AGENT_COLOUR: Colour = (230, 159, 0)
ROLE_COLOURS: tuple[Colour, ...] = (
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (0, 114, 178),
    (213, 94, 0),
)
INK: Colour = (28, 32, 38)
FAINT_INK: Colour = (101, 109, 118)
PAPER: Colour = (255, 255, 255)
MAX_SIDE = 1600
"""A larger picture is drawn on a reduced copy: a drawing is for looking at."""
MAX_WORDS = 120
"""No sentence under a picture is longer."""


@dataclass(frozen=True)
class Style:
    """Sizes in pixels that follow the drawing's width."""

    line: int
    text: int
    title: int
    small: int
    pad: int

    @classmethod
    def for_width(cls, width: int) -> Style:
        """The sizes for a drawing of so many pixels."""
        text = max(13, min(28, round(width / 42)))
        return cls(max(2, round(width / 250)), text, round(text * 1.3), max(11, round(text * 0.8)), round(text * 0.8))


@dataclass(frozen=True)
class _Entry:
    """One role as it is drawn."""

    role: str
    word: str
    noun: GroundedNoun
    colour: Colour
    box: Rectangle | None  # in the drawing's pixels

    @property
    def score(self) -> str:
        return "" if self.noun.score is None else f"{self.noun.score:.2f}"

    @property
    def tag(self) -> str:
        return f"{self.role}: {self.word} {self.score}".rstrip()


def draw_situation(
    image: Image.Image,
    situation: Situation,
    vocabulary: Vocabulary,
    *,
    caption: bool = True,
    notice: str | None = None,
    min_width: int = 640,
) -> Image.Image:
    """A new RGB picture: the given one with its boxes, and a strip under it that lists every role.

    Boxes are in pixels of ``image``. A picture narrower than ``min_width`` is enlarged, one with a side over 1,600
    pixels reduced. A box outside the picture is not drawn, and the strip says so. ``caption`` adds the sentence;
    ``notice`` is a line of small print. Characters that Pillow's own font lacks are replaced.
    """
    picture, scale = resized(image, min_width)
    style = Style.for_width(max(picture.width, min_width))
    colours = role_colours(situation.roles)
    entries = [
        _Entry(
            role,
            drawable(readable_word(noun.noun, vocabulary)) or "nothing",
            noun,
            colours[role],
            None if noun.box_xyxy is None else visible_box(noun.box_xyxy, scale, picture.size),
        )
        for role, noun in situation.nouns.items()
    ]
    _draw_boxes(picture, entries, style)
    sentence = drawable(sentence_of(situation, vocabulary)) if caption else ""
    strip = _strip(situation, entries, sentence, notice, max(picture.width, min_width), style)
    drawing = Image.new("RGB", (strip.width, picture.height + strip.height), PAPER)
    drawing.paste(picture, ((strip.width - picture.width) // 2, 0))
    drawing.paste(strip, (0, picture.height))
    return drawing


def role_colours(roles: Sequence[str]) -> dict[str, Colour]:
    """A colour for each role: the agent's (or else the first role's) is always the same, the others' by position."""
    leading = "agent" if "agent" in roles else (roles[0] if roles else "")
    others = [role for role in roles if role != leading]
    colours = {role: ROLE_COLOURS[position % len(ROLE_COLOURS)] for position, role in enumerate(others)}
    return {role: colours.get(role, AGENT_COLOUR) for role in roles}


def drawable(text: str) -> str:
    """The text with what Pillow's own font lacks replaced: accents dropped where that helps, else a question mark."""
    result = []
    for character in " ".join(text.split()):
        if character == " " or _has_glyph(character):
            result.append(character)
            continue
        plain = [part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)]
        result.append("".join(part if _has_glyph(part) else "?" for part in plain))
    return "".join(result)


@cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font."""
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType, which drawing text needs; install Pillow's wheel")
    return font


@cache
def _has_glyph(character: str) -> bool:
    if not character.isprintable() or unicodedata.category(character) == "Co":
        return False
    mask, missing = font_of(20).getmask(character), font_of(20).getmask("\uffff")
    return mask.size != missing.size or bytes(mask) != bytes(missing)


def text_width(text: str, size: int) -> int:
    """Pixels that a text takes in a line."""
    return round(font_of(size).getlength(text))


def fitted(text: str, size: int, width: int) -> str:
    """The text, cut with an ellipsis where it is wider than ``width`` pixels."""
    if text_width(text, size) <= width:
        return text
    fits = bisect_right(range(1, len(text)), width, key=lambda length: text_width(f"{text[:length]}…", size))
    return f"{text[:fits].rstrip()}…"


def wrapped(text: str, size: int, width: int) -> list[str]:
    """The text in lines that are at most ``width`` pixels wide."""
    lines: list[str] = []
    for word in text.split()[:MAX_WORDS]:
        candidate = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(candidate, size) <= width:
            lines[-1] = candidate
        else:
            lines.append(fitted(word, size, width))
    return lines


def resized(image: Image.Image, min_width: int) -> tuple[Image.Image, float]:
    """An RGB copy of a size that is good to look at, and the factor from old to new pixels."""
    width, height = image.size
    scale = min(max(min_width / width, 1.0), MAX_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and "transparency" in image.info):
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, (*PAPER, 255))
        image.alpha_composite(layer)
    picture = image if image.mode == "RGB" else image.convert("RGB")
    picture = (
        picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0) if size != picture.size else picture.copy()
    )
    return picture, scale


def visible_box(box_xyxy: BoxXyxy, scale: float, size: tuple[int, int]) -> Rectangle | None:
    """The part of a box inside the picture, at least 2 x 2 pixels where the picture allows; None if there is none."""
    limit = float(4 * MAX_SIDE)
    x1, y1, x2, y2 = (min(max(coordinate * scale, -limit), limit) for coordinate in box_xyxy)
    left, right = sorted((x1, x2))
    top, bottom = sorted((y1, y2))
    width, height = size
    if right < 0 or bottom < 0 or left > width or top > height:
        return None
    left, top = min(max(left, 0), max(width - 2, 0)), min(max(top, 0), max(height - 2, 0))
    right, bottom = min(max(right, left + 2), width), min(max(bottom, top + 2), height)
    return round(left), round(top), round(right), round(bottom)


def _draw_boxes(picture: Image.Image, entries: Sequence[_Entry], style: Style) -> None:
    """Boxes, largest first so that small ones stay visible, then their tags."""
    draw = ImageDraw.Draw(picture)
    boxes: dict[str, Rectangle] = {}
    grounded = [entry for entry in entries if entry.box is not None]
    for entry in sorted(grounded, key=lambda entry: -_area(entry.box)):
        assert entry.box is not None
        box = entry.box
        while any(_nearly_same(box, other, style.line) for other in boxes.values()):
            inset = _inset(box, style.line + 1)
            if inset == box:
                break
            box = inset  # two roles in one place: one frame inside the other
        boxes[entry.role] = box
        outline(draw, box, entry.colour, style.line)
    for entry, text, spot in _place_tags(grounded, boxes, picture.size, style):
        draw_tag(draw, text, spot, boxes[entry.role], entry.colour, style)


def outline(draw: ImageDraw.ImageDraw, box: Rectangle, colour: Colour, line: int) -> None:
    """A coloured frame between two thin dark ones, so that it shows on any background."""
    left, top, right, bottom = box
    rim = max(1, line // 3)
    for shrink, width, ink in ((0, line + 2 * rim, INK), (rim, line, colour)):
        corners = (left + shrink, top + shrink, right - 1 - shrink, bottom - 1 - shrink)
        if corners[2] > corners[0] and corners[3] > corners[1]:
            draw.rectangle(corners, outline=ink, width=width)


def _place_tags(
    entries: Sequence[_Entry], boxes: Mapping[str, Rectangle], size: tuple[int, int], style: Style
) -> list[tuple[_Entry, str, Rectangle]]:
    """Each entry's tag as text and rectangle, in the entries' order, as far as there is room."""
    placed: list[tuple[_Entry, str, Rectangle]] = []
    for entry in entries:
        text = fitted(entry.tag, style.text, max(size[0] - style.text - 2, 1))
        taken = [spot for _, _, spot in placed]
        spot = tag_spot(text, boxes[entry.role], list(boxes.values()), taken, size, style)
        if spot is not None:
            placed.append((entry, text, spot))
    return placed


def tag_spot(
    text: str,
    box: Rectangle,
    boxes: Sequence[Rectangle],
    taken: Sequence[Rectangle],
    size: tuple[int, int],
    style: Style,
) -> Rectangle | None:
    """Where a tag covers no other tag, stays in the picture and hides as little of the boxes as can be.

    None where the picture has no room for it; the strip under the picture still lists the role.
    """
    width, height = text_width(text, style.text) + style.text, round(style.text * 1.5)
    left, top, right, bottom = box
    beside = [(x, y) for y in (top - height, bottom, top, bottom - height) for x in (left, right - width)]
    grid = [(x, y) for y in range(0, size[1], max(height // 2, 4)) for x in range(0, size[0], max(width // 3, 4))]
    best: tuple[float, Rectangle] | None = None
    for order, (x, y) in enumerate((*beside, *grid)):
        near = order < len(beside)
        if near:  # a tag beside its box may slide along it to stay in the picture
            x = min(max(x, 0), size[0] - width)
        spot = (x, y, x + width, y + height)
        if x < 0 or y < 0 or spot[2] > size[0] or spot[3] > size[1] or any(_overlap(spot, other) for other in taken):
            continue
        hidden = sum(_overlap(spot, other) / min(_area(other), 12 * _area(spot)) for other in boxes)
        away = abs(x - left) / size[0] + min(abs(y + height - top), abs(y - bottom), abs(y - top)) / size[1]
        cost = hidden + (0.01 * order if near else 0.6 + 2 * away)
        if best is None or cost < best[0]:
            best = (cost, spot)
    return best[1] if best else None


def draw_tag(
    draw: ImageDraw.ImageDraw, text: str, spot: Rectangle, box: Rectangle, colour: Colour, style: Style
) -> None:
    """A tag at ``spot``, with a leader to its box where it had to go elsewhere."""
    if not _touches(spot, box):
        start = ((spot[0] + spot[2]) // 2, (spot[1] + spot[3]) // 2)
        end = (min(max(start[0], box[0]), box[2] - 1), min(max(start[1], box[1]), box[3] - 1))
        draw.line((start, end), fill=INK, width=style.line + 2)
        draw.line((start, end), fill=colour, width=style.line)
    draw.rectangle((spot[0], spot[1], spot[2] - 1, spot[3] - 1), fill=colour, outline=INK)
    middle = (spot[0] + style.text // 2, (spot[1] + spot[3]) // 2)
    draw.text(middle, text, font=font_of(style.text), fill=_ink_on(colour), anchor="lm")


def _strip(
    situation: Situation, entries: Sequence[_Entry], sentence: str, notice: str | None, width: int, style: Style
) -> Image.Image:
    """What stands under the picture: sentence, verb and score, every role, small print."""
    inner = width - 2 * style.pad
    sentence_lines = wrapped(f"{sentence[:1].upper()}{sentence[1:]}.", style.title, inner) if sentence else []
    small_print = [drawable(notice)] if notice else []
    if situation.frame_borrowed_from:
        small_print.insert(0, drawable(f"The roles are borrowed from the verb {situation.frame_borrowed_from}."))
    notes = [line for text in small_print for line in wrapped(text, style.small, inner)]
    columns = 2 if inner >= 34 * style.text and len(entries) > 2 else 1
    rows = -(-len(entries) // columns)
    title_step, row_step, note_step = round(style.title * 1.35), round(style.text * 1.6), round(style.small * 1.4)
    height = 2 * style.pad + title_step * len(sentence_lines) + row_step * (1 + rows) + note_step * len(notes)
    height += style.pad // 2 * (1 + bool(notes))
    strip = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(strip)
    y = style.pad
    for line in sentence_lines:
        draw.text((style.pad, y + title_step // 2), line, font=font_of(style.title), fill=INK, anchor="lm")
        y += title_step
    score = "" if situation.score is None else f"   {situation.score:.2f}"
    verb = fitted(drawable(f"{situation.verb}{score}"), style.text, inner - text_width("verb  ", style.text))
    draw.text((style.pad, y + row_step // 2), "verb", font=font_of(style.text), fill=FAINT_INK, anchor="lm")
    beside = style.pad + text_width("verb  ", style.text)
    draw.text((beside, y + row_step // 2), verb, font=font_of(style.text), fill=INK, anchor="lm")
    y += row_step
    draw.line((style.pad, y + style.pad // 4, width - style.pad, y + style.pad // 4), fill=(216, 222, 228))
    y += style.pad // 2
    for position, entry in enumerate(entries):
        column, row = divmod(position, rows)
        _draw_legend_row(
            draw, entry, style.pad + column * inner // columns, y + row * row_step, inner // columns, style
        )
    y += row_step * rows + style.pad // 2 * bool(notes)
    for note in notes:
        draw.text((style.pad, y + note_step // 2), note, font=font_of(style.small), fill=FAINT_INK, anchor="lm")
        y += note_step
    return strip


def _draw_legend_row(draw: ImageDraw.ImageDraw, entry: _Entry, x: int, y: int, width: int, style: Style) -> None:
    """Swatch, role, noun, score; a hollow swatch and a word for a role without a box."""
    side, middle = style.text, y + round(style.text * 0.8)
    swatch = (x, middle - side // 2, x + side, middle + side // 2)
    draw.rectangle(
        swatch,
        fill=entry.colour if entry.box else None,
        outline=INK if entry.box else entry.colour,
        width=1 if entry.box else 2,
    )
    x += round(side * 1.6)
    role = f"{drawable(entry.role)}  "
    draw.text((x, middle), role, font=font_of(style.text), fill=FAINT_INK, anchor="lm")
    used = round(side * 1.6) + text_width(role, style.text)
    x += text_width(role, style.text)
    remark = "" if entry.box or not entry.noun.noun else "  (no box)"
    if entry.noun.box_xyxy is not None and entry.box is None:
        remark = "  (box outside)"
    tail = f"  {entry.score}" * bool(entry.score) + remark
    room = width - used - text_width(tail, style.text) - style.pad
    word = fitted(entry.word, style.text, max(room, style.text))
    draw.text((x, middle), word, font=font_of(style.text), fill=INK, anchor="lm")
    draw.text((x + text_width(word, style.text), middle), tail, font=font_of(style.text), fill=FAINT_INK, anchor="lm")


def _ink_on(colour: Colour) -> Colour:
    """Dark or light text, whichever contrasts more (relative luminance, WCAG 2 without the gamma's linear part)."""
    luminance = sum(
        weight * (channel / 255) ** 2.2 for weight, channel in zip((0.2126, 0.7152, 0.0722), colour, strict=True)
    )
    return INK if luminance > 0.18 else PAPER


def _area(box: Rectangle | None) -> int:
    return 0 if box is None else max(box[2] - box[0], 1) * max(box[3] - box[1], 1)


def _overlap(first: Rectangle, second: Rectangle) -> int:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def _touches(first: Rectangle, second: Rectangle) -> bool:
    return not (first[2] < second[0] or second[2] < first[0] or first[3] < second[1] or second[3] < first[1])


def _nearly_same(first: Rectangle, second: Rectangle, tolerance: int) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(first, second, strict=True))


def _inset(box: Rectangle, amount: int) -> Rectangle:
    left, top, right, bottom = box
    if right - left <= 4 * amount or bottom - top <= 4 * amount:
        return box
    return left + amount, top + amount, right - amount, bottom - amount
