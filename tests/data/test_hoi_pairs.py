from __future__ import annotations

import itertools
import random

import pytest
import torch

from ovgsr.boxes import paired_iou
from ovgsr.data.hoi_pairs import box_of, merge_rows, min_iou, object_of
from ovgsr.data.hoi_rows import interaction_situation
from ovgsr.situation import AnnotatedImage, BoxXyxy, Situation

HUMAN: BoxXyxy = (0, 0, 20, 40)
THING: BoxXyxy = (30, 0, 50, 20)


def row(verb: str, human: BoxXyxy = HUMAN, other: BoxXyxy = THING, thing: str = "bicycle") -> Situation:
    return interaction_situation(verb, thing, human, other)


def shifted(box: BoxXyxy, pixels: float) -> BoxXyxy:
    return (box[0] + pixels, box[1], box[2] + pixels, box[3])


def merged(*rows: Situation) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    return [(p.object, p.verbs, p.rows) for p in merge_rows(AnnotatedImage("a.jpg", 100, 100, rows))]


# A box 20 wide moved by d overlaps itself by (20 - d) / (20 + d): 5 -> .6, 20/3 -> exactly .5, 7 -> .48.
CASES: list[tuple[str, list[Situation], list[tuple[str, tuple[str, ...], tuple[int, ...]]]]] = [
    ("no row", [], []),
    (
        "two verbs, boxes drawn anew",
        [row("ride"), row("hold", shifted(HUMAN, 2), shifted(THING, 1))],
        [("bicycle", ("ride", "hold"), (0, 1))],
    ),
    (
        "an overlap of .5 on one box is enough",
        [row("ride", other=(30, 0, 50, 20)), row("hold", other=(30, 0, 50, 10))],
        [("bicycle", ("ride", "hold"), (0, 1))],
    ),
    (
        "the smaller overlap counts: .6 and .48",
        [row("ride"), row("hold", shifted(HUMAN, 5), shifted(THING, 7))],
        [("bicycle", ("ride",), (0,)), ("bicycle", ("hold",), (1,))],
    ),
    (
        "another object on the same boxes is another pair",
        [row("ride"), row("ride", thing="motorcycle")],
        [("bicycle", ("ride",), (0,)), ("motorcycle", ("ride",), (1,))],
    ),
    (
        "one verb twice is two pairs, however near",
        [row("ride"), row("ride", shifted(HUMAN, 1))],
        [("bicycle", ("ride",), (0,)), ("bicycle", ("ride",), (1,))],
    ),
    (
        "two riders side by side, each with the nearer holding row",
        [
            row("ride"),
            row("ride", shifted(HUMAN, 5)),
            row("hold", shifted(HUMAN, 4)),
            row("hold", shifted(HUMAN, 1)),
        ],
        [("bicycle", ("ride", "hold"), (0, 3)), ("bicycle", ("ride", "hold"), (1, 2))],
    ),
    (
        "the second choice is taken where the first is gone",
        [row("ride"), row("ride", shifted(HUMAN, 6)), row("hold"), row("hold", shifted(HUMAN, 1))],
        [("bicycle", ("ride", "hold"), (0, 2)), ("bicycle", ("ride", "hold"), (1, 3))],
    ),
]


@pytest.mark.parametrize(("rows", "pairs"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_rows_become_pairs(rows: list[Situation], pairs: list[tuple[str, tuple[str, ...], tuple[int, ...]]]) -> None:
    assert merged(*rows) == pairs


def test_a_pairs_boxes_are_the_means_of_its_rows() -> None:
    (pair,) = merge_rows(AnnotatedImage("a.jpg", 100, 100, (row("ride"), row("hold", shifted(HUMAN, 2)))))
    assert pair.human_box_xyxy == (1, 0, 21, 40)
    assert pair.object_box_xyxy == THING


def _columns(pairs: list[tuple[Situation, Situation]], role: str) -> list[torch.Tensor]:
    return [torch.tensor([box_of(row, role) for row in column]) for column in zip(*pairs, strict=True)]


def test_overlap_is_that_of_the_tensor_code_and_every_row_lands_in_one_pair() -> None:
    draw = random.Random(3)

    def box() -> BoxXyxy:
        x, y = draw.randint(0, 12), draw.randint(0, 12)
        return (x, y, x + draw.randint(4, 16), y + draw.randint(4, 16))

    for _ in range(60):
        rows = tuple(row(draw.choice("abc"), box(), box(), draw.choice("xy")) for _ in range(draw.randint(0, 14)))
        every = list(itertools.product(rows, rows))
        if every:
            both = [paired_iou(*_columns(every, role)) for role in ("human", "object")]
            assert [min_iou(*two) for two in every] == pytest.approx(torch.minimum(*both).tolist(), abs=1e-6)
        pairs = merge_rows(AnnotatedImage("a.jpg", 100, 100, rows))
        assert sorted(position for pair in pairs for position in pair.rows) == list(range(len(rows)))
        for pair in pairs:
            assert len(set(pair.verbs)) == len(pair.verbs)
            first, *others = (rows[position] for position in pair.rows)
            assert all(min_iou(first, other) >= 0.5 and object_of(other) == pair.object for other in others)
