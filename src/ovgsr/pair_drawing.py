"""Human-object interactions drawn on their picture: a line from each person to what they deal with, and a list.

Boxes, tags, font and palette are those of ``drawing``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from ovgsr.drawing import (
    AGENT_COLOUR,
    FAINT_INK,
    INK,
    PAPER,
    ROLE_COLOURS,
    Colour,
    Rectangle,
    Style,
    draw_tag,
    drawable,
    fitted,
    font_of,
    outline,
    resized,
    tag_spot,
    visible_box,
    wrapped,
)
from ovgsr.hoi_vocabulary import NO_INTERACTION
from ovgsr.interactions import ScoredPair
from ovgsr.noun_phrases import noun_phrase
from ovgsr.situation import BoxXyxy
from ovgsr.vocabulary import Vocabulary


@dataclass(frozen=True)
class FoundPair:
    """A person and an object with all that the one does to the other, best first."""

    human_box_xyxy: BoxXyxy
    object_box_xyxy: BoxXyxy
    object: str
    verbs: Mapping[str, float]  # verb -> score

    def phrase(self, vocabulary: Vocabulary) -> str:
        """In words: "riding and holding a bicycle (83, 71 %)"."""
        names = [vocabulary.verb(verb).gerund or verb if verb in vocabulary else verb for verb in self.verbs]
        percent = ", ".join(f"{100 * score:.0f}" for score in self.verbs.values())
        return f"{' and '.join(names)} {noun_phrase(vocabulary.word(self.object))} ({percent} %)".replace("_", " ")


def found_pairs(pairs: Iterable[ScoredPair], *, least: float = 0.3, most: int = 6) -> list[FoundPair]:
    """The pairs worth telling, best first: scores of ``least`` and more, ``most`` pairs of boxes, no "no interaction".

    Interactions of the same two boxes and object are one pair.
    """
    verbs: dict[tuple[BoxXyxy, BoxXyxy, str], dict[str, float]] = {}
    for pair in pairs:
        if pair.score >= least and pair.verb != NO_INTERACTION:
            verbs.setdefault((pair.human_box_xyxy, pair.object_box_xyxy, pair.object), {})[pair.verb] = pair.score
    return [FoundPair(*key, found) for key, found in list(verbs.items())[:most]]


def draw_pairs(
    image: Image.Image,
    pairs: Sequence[FoundPair],
    vocabulary: Vocabulary,
    *,
    notice: str | None = None,
    min_width: int = 640,
) -> Image.Image:
    """A new RGB picture: people and objects with a line between them, and under it what each line stands for.

    Boxes are in pixels of ``image``, which is enlarged or reduced as ``draw_situation`` does. A pair with
    a box outside the picture is listed only. ``notice`` is a line of small print.
    """
    picture, scale = resized(image, min_width)
    style = Style.for_width(max(picture.width, min_width))
    draw = ImageDraw.Draw(picture)
    colours = [ROLE_COLOURS[position % len(ROLE_COLOURS)] for position in range(len(pairs))]
    placed: list[tuple[int, Rectangle, Rectangle]] = []
    for position, pair in enumerate(pairs):
        human, thing = (visible_box(box, scale, picture.size) for box in (pair.human_box_xyxy, pair.object_box_xyxy))
        if human is not None and thing is not None:
            placed.append((position, human, thing))
    for position, human, thing in placed:
        outline(draw, human, AGENT_COLOUR, style.line)
        outline(draw, thing, colours[position], style.line)
    for position, human, thing in placed:
        _line(draw, human, thing, colours[position], style)
    boxes, taken = [box for _, *two in placed for box in two], list[Rectangle]()
    for position, _, thing in placed:
        spot = tag_spot(str(position + 1), thing, boxes, taken, picture.size, style)
        if spot is not None:
            taken.append(spot)
            draw_tag(draw, str(position + 1), spot, thing, colours[position], style)
    listed = [drawable(f"{position + 1}  {pair.phrase(vocabulary)}") for position, pair in enumerate(pairs)]
    strip = _strip(list(zip(listed, colours, strict=True)), notice, max(picture.width, min_width), style)
    drawing = Image.new("RGB", (strip.width, picture.height + strip.height), PAPER)
    drawing.paste(picture, ((strip.width - picture.width) // 2, 0))
    drawing.paste(strip, (0, picture.height))
    return drawing


def _line(draw: ImageDraw.ImageDraw, human: Rectangle, thing: Rectangle, colour: Colour, style: Style) -> None:
    """From the middle of the person to the middle of the object, with a dot at either end."""
    ends = [((box[0] + box[2]) // 2, (box[1] + box[3]) // 2) for box in (human, thing)]
    for ink, wider in ((INK, 2), (colour, 0)):
        draw.line(ends, fill=ink, width=style.line + wider)
        radius = style.line + 1 + wider // 2
        for x, y in ends:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)


def _strip(rows: Sequence[tuple[str, Colour]], notice: str | None, width: int, style: Style) -> Image.Image:
    """One row a pair, or the sentence that there is none, and small print."""
    inner = width - 2 * style.pad
    notes = wrapped(drawable(notice), style.small, inner) if notice else []
    row_step, note_step = round(style.text * 1.6), round(style.small * 1.4)
    height = 2 * style.pad + row_step * max(len(rows), 1) + note_step * len(notes)
    strip = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(strip)
    y = style.pad
    for text, colour in rows or [("no interaction found", PAPER)]:
        middle, side = y + row_step // 2, style.text
        draw.rectangle((style.pad, middle - side // 2, style.pad + side, middle + side // 2), fill=colour)
        start = style.pad + round(1.6 * side)
        draw.text((start, middle), fitted(text, side, inner - start), font=font_of(side), fill=INK, anchor="lm")
        y += row_step
    for note in notes:
        draw.text((style.pad, y + note_step // 2), note, font=font_of(style.small), fill=FAINT_INK, anchor="lm")
        y += note_step
    return strip
