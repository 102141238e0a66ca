"""Boxes in words."""

from __future__ import annotations

import pytest

from ovgsr.inflections import mentions
from ovgsr.situation import BoxXyxy
from ovgsr.teacher.jrg.facts import places_differ
from ovgsr.teacher.jrg.places_in_words import (
    OPPOSITES,
    in_part,
    part_of_picture,
    place_in_words,
    relation,
    size_in_words,
    wrong_parts,
)
from ovgsr.vocabulary import swig_vocabulary

PLACES = [
    ((0, 0, 20, 10), "upper left, small"),  # centre (10, 5) of 90 x 60; 200 of 5400 pixels
    ((35, 0, 55, 10), "top, small"),
    ((70, 25, 90, 35), "right, small"),
    ((0, 0, 90, 60), "middle, as large as the picture"),
    ((30, 40, 60, 60), "bottom, medium-sized"),  # 600 / 5400 = 11 %
    ((60, 45, 65, 50), "lower right, tiny"),  # 25 / 5400
    ((0, 10, 60, 60), "middle, large"),  # centre (30, 35): exactly on the border of two columns; 56 %
    ((-30, 20, -10, 40), "left, medium-sized"),  # beyond the border: the nearest part
]


@pytest.mark.parametrize(("box_xyxy", "place"), PLACES)
def test_place_in_words(box_xyxy: BoxXyxy, place: str) -> None:
    assert place_in_words(box_xyxy, 90, 60) == place
    assert place == f"{part_of_picture(box_xyxy, 90, 60)}, {size_in_words(box_xyxy, 90, 60)}"


def test_wrong_parts_contradict() -> None:
    for part in OPPOSITES:
        assert all(places_differ(wrong, part) for wrong in wrong_parts(part)), part
        assert set(wrong_parts(part)) <= set(OPPOSITES)


RELATIONS = [
    ((10, 10, 20, 20), ("far", "left")),  # 30 pixels to the left of the other
    ((38, 45, 49, 60), ("close", "left")),
    ((45, 20, 65, 40), ("close", "above")),  # a gap of 10 in a diagonal of 141
    ((45, 85, 65, 95), ("close", "below")),
    ((45, 0, 65, 10), ("far", "above")),
    ((55, 60, 65, 70), ("touching", "")),  # inside
    ((65, 50, 80, 60), ("touching", "right")),  # overlaps the right edge
    ((48, 40, 62, 55), ("touching", "above")),
]


@pytest.mark.parametrize(("box_xyxy", "expected"), RELATIONS)
def test_relation_to_a_box_in_the_middle(box_xyxy: BoxXyxy, expected: tuple[str, str]) -> None:
    assert relation(box_xyxy, (50, 50, 70, 80), 100, 100) == expected


def test_an_empty_box_has_a_relation() -> None:
    assert relation((5, 5, 5, 5), (5, 5, 5, 5), 10, 10) == ("touching", "")


def test_the_words_are_no_verbs() -> None:
    words = [in_part(part) for part in OPPOSITES] + ["tiny small medium-sized large as large as the picture"]
    assert mentions(" . ".join(words), swig_vocabulary().verb_names) == set()
