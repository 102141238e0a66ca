"""A page of example pictures with the names of the verbs, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ovgsr.sketch.render import PICTURE_SIZE
from ovgsr.sketch.write import draw_picture

GAP = 4
LABEL_SIZE = 13
LABEL_HEIGHT = LABEL_SIZE + 6
COLUMNS = 4


def contact_sheet(verbs: Sequence[str], per_verb: int = 4, seed: int = 0, scale: int = 1) -> Image.Image:
    """An RGB page: `per_verb` test pictures of each verb, enlarged `scale` times, the verb's name underneath.

    Raises:
        KeyError: a verb that SketchSWiG does not draw.
    """
    side = PICTURE_SIZE * scale
    block_width = per_verb * (side + 1) + GAP
    block_height = side + LABEL_HEIGHT
    columns = min(COLUMNS, len(verbs))
    rows = -(-len(verbs) // columns)
    page = Image.new("RGB", (columns * block_width, rows * block_height), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(LABEL_SIZE)
    for place, verb in enumerate(verbs):
        left, top = place % columns * block_width, place // columns * block_height
        for index in range(per_verb):
            _, rendered, _ = draw_picture(seed, "test", verb, index)
            picture = rendered.image.resize((side, side), Image.Resampling.LANCZOS) if scale > 1 else rendered.image
            page.paste(picture, (left + index * (side + 1), top))
        draw.text((left + 2, top + side + 1), verb, fill="black", font=font)
    return page
