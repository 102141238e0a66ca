"""Drawings: boxes where they belong, tags apart from each other and inside, and no picture that breaks it."""

from __future__ import annotations

import random

import pytest
from PIL import Image

from ovgsr import drawing
from ovgsr.drawing import AGENT_COLOUR, MAX_SIDE, ROLE_COLOURS, draw_situation, drawable, role_colours
from ovgsr.situation import BoxXyxy, GroundedNoun, Situation
from ovgsr.vocabulary import Vocabulary

NOBODY = Vocabulary(())


def situation_of(**roles: GroundedNoun) -> Situation:
    return Situation("feeding", roles, score=0.5)


def test_a_box_is_drawn_at_its_place_in_its_colour() -> None:
    picture = Image.new("RGB", (640, 480), "white")
    drawn = draw_situation(picture, situation_of(agent=GroundedNoun("man", (100, 200, 300, 400))), NOBODY)
    assert drawn.width == 640 and drawn.height > 480
    # half way down the left edge: a dark rim of one pixel, then three pixels of the agent's orange
    row = [drawn.getpixel((x, 300)) for x in range(98, 108)]
    assert row[:2] == [(255, 255, 255)] * 2  # outside the box nothing changed
    assert row[3:6] == [AGENT_COLOUR] * 3
    assert row[8:] == [(255, 255, 255)] * 2  # nor inside
    assert drawn.getpixel((297, 300)) == AGENT_COLOUR  # the right edge ends at 300
    assert drawn.getpixel((301, 300)) == (255, 255, 255)


def test_boxes_follow_the_enlargement_and_the_input_is_kept() -> None:
    picture = Image.new("RGB", (96, 96), "white")
    before = picture.tobytes()
    drawn = draw_situation(picture, situation_of(agent=GroundedNoun("man", (24, 24, 72, 72))), NOBODY, min_width=960)
    assert drawn.width == 960
    column = {drawn.getpixel((x, 500)) for x in range(236, 248)}
    assert AGENT_COLOUR in column  # 24 of 96 pixels are 240 of 960
    assert picture.tobytes() == before


def test_the_agent_keeps_its_colour_wherever_it_stands() -> None:
    assert role_colours(("agent", "item", "place"))["agent"] == AGENT_COLOUR
    assert role_colours(("tool", "agent"))["agent"] == AGENT_COLOUR
    assert role_colours(("teacher", "student"))["teacher"] == AGENT_COLOUR  # no agent: the first role
    colours = role_colours(("agent", "a", "b", "c", "d", "e"))
    assert [colours[role] for role in "abcde"] == list(ROLE_COLOURS[:5])  # by position, all different
    assert len(role_colours([f"role{i}" for i in range(20)])) == 20


@pytest.mark.parametrize("size", [(640, 480), (640, 90), (200, 640), (640, 24), (30, 30)])
def test_tags_do_not_cover_each_other_nor_leave_the_picture(size: tuple[int, int]) -> None:
    generator = random.Random(5)
    style = drawing.Style.for_width(size[0])
    seen = 0
    for _ in range(60):
        entries, boxes = [], {}
        for number in range(6):
            x, y = sorted(generator.sample(range(size[0]), 2)), sorted(generator.sample(range(size[1]), 2))
            noun = generator.choice(["man", "basketball player", "a very long noun that goes on and on and on and on"])
            box = (x[0], y[0], x[1], y[1])
            boxes[f"role{number}"] = box
            entries.append(drawing._Entry(f"role{number}", noun, GroundedNoun(noun, score=0.5), (0, 0, 0), box))
        spots = [spot for _, _, spot in drawing._place_tags(entries, boxes, size, style)]
        seen += len(spots)
        for position, (left, top, right, bottom) in enumerate(spots):
            assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
            for other in spots[:position]:
                assert min(right, other[2]) <= max(left, other[0]) or min(bottom, other[3]) <= max(top, other[1])
    # six tags fit a normal picture; a strip takes what it can
    assert seen == 360 if size[1] >= 480 and size[0] >= 640 else seen <= 360


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("RGB", (1, 1)),  # one pixel
        ("RGB", (1, 3000)),
        ("RGB", (3000, 1)),
        ("RGB", (2, 2)),
        ("L", (50, 40)),
        ("1", (50, 40)),
        ("P", (50, 40)),
        ("CMYK", (50, 40)),
        ("RGBA", (50, 40)),
        ("LA", (50, 40)),
        ("I;16", (50, 40)),
        ("RGB", (4000, 3000)),  # larger than the drawing
    ],
)
def test_every_picture_can_be_drawn_on(mode: str, size: tuple[int, int]) -> None:
    width, height = size
    boxes: list[BoxXyxy | None] = [
        (0, 0, width, height),
        (width * 0.2, height * 0.2, width * 0.8, height * 0.8),
        (-1e9, -5, 1e12, height + 7),  # far over the edges
        (width + 50, height + 50, width + 60, height + 60),  # outside
        (width * 0.8, height * 0.8, width * 0.2, height * 0.2),  # inverted
        (width / 2, height / 2, width / 2, height / 2),  # empty
        None,
    ]
    roles = {f"role{i}": GroundedNoun("dog", box, score=0.25) for i, box in enumerate(boxes)}
    drawn = draw_situation(Image.new(mode, size), situation_of(**roles), NOBODY, notice="drawn pictures only")
    assert drawn.mode == "RGB"
    assert drawn.width >= 640 and drawn.width <= max(640, MAX_SIDE)


def test_a_transparent_picture_is_drawn_on_white() -> None:
    drawn = draw_situation(
        Image.new("RGBA", (640, 400), (0, 0, 0, 0)), situation_of(place=GroundedNoun("park")), NOBODY
    )
    assert drawn.getpixel((320, 200)) == (255, 255, 255)


def test_what_stands_under_the_picture() -> None:
    picture = Image.new("RGB", (640, 100))
    few = situation_of(agent=GroundedNoun("man"), place=GroundedNoun("park"))
    many = situation_of(**{f"role{i}": GroundedNoun("dog") for i in range(8)})
    plain = draw_situation(picture, few, NOBODY, caption=False)
    assert draw_situation(picture, few, NOBODY).height > plain.height  # the sentence
    assert draw_situation(picture, few, NOBODY, caption=False, notice="small print").height > plain.height
    assert draw_situation(picture, many, NOBODY, caption=False).height > plain.height  # every role is listed
    borrowed = Situation("zumbaing", few.nouns, frame_borrowed_from="dancing")
    assert draw_situation(picture, borrowed, NOBODY, caption=False).height > plain.height


def test_no_role_no_minimum_width_long_words() -> None:
    assert draw_situation(Image.new("RGB", (20, 20)), Situation("raining", {}), NOBODY, min_width=1).width == 20
    long = situation_of(agent=GroundedNoun("x" * 3000, (0, 0, 9, 9)), place=GroundedNoun("word " * 300))
    assert draw_situation(Image.new("RGB", (20, 20)), long, NOBODY).width == 640


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("man", "man"),
        ("crêpe à la crème", "crepe a la creme"),  # accents the font lacks are dropped
        ("犬", "?"),  # nothing to fall back on
        ("half ½", "half 1\u20442"),  # as its parts, with the fraction slash
        ("two\nlines\tand  spaces", "two lines and spaces"),
        ("a\u200bb\x00c", "a?b?c"),  # invisible characters never reach the font
        ("", ""),
    ],
)
def test_drawable(text: str, shown: str) -> None:
    assert drawable(text) == shown
