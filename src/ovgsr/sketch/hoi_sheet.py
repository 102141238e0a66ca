"""A page of pictures of SketchHOI with the boxes of who does what with what, for people to look at."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from ovgsr.sketch.hoi_acts import NO_INTERACTION
from ovgsr.sketch.hoi_picture import PICTURE_SIZE, HoiPicture, draw_hoi_picture

SCALE = 2
COLUMNS = 4
GAP = 6
LABEL_SIZE = 12
LINE = LABEL_SIZE + 2
MOST_LINES = 5
HUMAN, OBJECT, LINK = (214, 60, 20), (0, 96, 180), (250, 240, 60)


def hoi_sheet(pictures: int = 16, fold: str = "test", seed: int = 0) -> Image.Image:
    """An RGB page of the first pictures of a fold: humans red, objects blue, a line for each pair, rows in words."""
    side = PICTURE_SIZE * SCALE
    width, height = side + GAP, side + MOST_LINES * LINE + GAP
    page = Image.new("RGB", (COLUMNS * width, -(-pictures // COLUMNS) * height), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(LABEL_SIZE)
    for index in range(pictures):
        left, top = index % COLUMNS * width, index // COLUMNS * height
        picture = draw_hoi_picture(seed, fold, index)
        page.paste(with_boxes(picture, SCALE), (left, top))
        for line, words in enumerate(_lines(picture)[:MOST_LINES]):
            draw.text((left + 2, top + side + 2 + line * LINE), words, fill="black", font=font)
    return page


def with_boxes(picture: HoiPicture, scale: int) -> Image.Image:
    """The picture `scale` times as large, with boxes and a line between the centres of each pair."""
    side = PICTURE_SIZE * scale
    image = picture.image.resize((side, side), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    for row in picture.interactions:
        ends = []
        for role, colour in ((row.human, HUMAN), (row.role, OBJECT)):
            x1, y1, x2, y2 = (edge * scale for edge in picture.boxes_xyxy[role])
            draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour)
            ends.append(((x1 + x2) / 2, (y1 + y2) / 2))
        if row.verb != NO_INTERACTION:
            draw.line(ends, fill=LINK, width=1)
    return image


def _lines(picture: HoiPicture) -> list[str]:
    """One line a pair: its verbs and the object."""
    pairs: dict[tuple[str, str], list[str]] = {}
    names = {row.role: row.object for row in picture.interactions}
    for row in picture.interactions:
        pairs.setdefault((row.human, row.role), []).append(row.verb)
    return [f"{' + '.join(verbs)}: {names[role]}" for (_, role), verbs in pairs.items()]
