"""What a refined split drops, by hand."""

from __future__ import annotations

import pytest

from ovgsr.data.flaws import REASONS, flaws
from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, Situation

SAME, TWO, NONE = ("a", "a", "a"), ("a", "b", "b"), ("a", "b", "c")


def picture(*answers: tuple[str, ...], box: BoxXyxy | None = None) -> AnnotatedImage:
    nouns = {f"role{n}": GroundedNoun(given[0], box, annotators=given) for n, given in enumerate(answers)}
    return AnnotatedImage("p.jpg", 100, 50, (Situation("jumping", nouns),))


def reasons(image: AnnotatedImage) -> list[str]:
    found = flaws([image])
    assert found.keys() == REASONS.keys()
    return [reason for reason, names in found.items() if names == ("p.jpg",)]


@pytest.mark.parametrize(
    ("answers", "dropped"),
    [
        ((SAME, TWO), False),
        ((NONE, TWO), False),  # half of the roles
        ((NONE, NONE, TWO), True),
        ((NONE,), True),
        ((("", "", "a"), NONE, SAME), False),  # "nothing" is an answer like another
        ((("a",),), False),  # one annotator disagrees with nobody
    ],
)
def test_annotators_who_disagree(answers: tuple[tuple[str, ...], ...], dropped: bool) -> None:
    assert reasons(picture(*answers)) == (["annotators_disagree"] if dropped else [])


@pytest.mark.parametrize(
    ("box_xyxy", "reason"),
    [
        ((0.0, 0.0, 100.0, 50.0), None),
        ((0.0, 0.0, 0.5, 50.0), None),
        ((10.0, -1.0, 20.0, 20.0), "box_incomplete"),
        ((20.0, 5.0, 10.0, 20.0), "box_empty"),
        ((10.0, 5.0, 20.0, 5.0), "box_empty"),
        ((0.0, 0.0, 110.0, 50.0), None),  # 1000 of 11000 / 11 / 10: a tenth outside is not more than a tenth
        ((0.0, 0.0, 112.0, 50.0), "box_outside"),
        ((120.0, 0.0, 140.0, 50.0), "box_outside"),
        ((-20.0, -20.0, -2.0, -2.0), "box_outside"),
    ],
)
def test_broken_boxes(box_xyxy: BoxXyxy, reason: str | None) -> None:
    assert reasons(picture(SAME, SAME, box=box_xyxy)) == ([] if reason is None else [reason])


def test_a_picture_may_have_several_flaws_and_is_named_once_a_reason() -> None:
    assert reasons(picture(NONE, NONE, box=(20.0, 5.0, 10.0, 20.0))) == ["annotators_disagree", "box_empty"]
