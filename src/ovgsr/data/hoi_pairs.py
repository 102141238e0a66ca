"""Rows to pairs: the several interactions of one human with one object, which HICO-DET annotates as separate rows.

Every interaction was annotated on its own, with boxes drawn anew, so rows of one physical pair never share a box
exactly. They are told by overlap: the smaller of the two IoUs, of the human boxes and of the object boxes, as in the
official evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ovgsr.interactions import HUMAN, OBJECT
from ovgsr.situation import AnnotatedImage, BoxXyxy, Situation

SAME_PAIR_IOU = 0.5
"""Rows whose ``min_iou`` is at least this can be one pair; also the overlap that the evaluation asks of a hit."""


@dataclass(frozen=True, slots=True)
class InteractionPair:
    """One human and one object with everything that the one does to the other.

    ``rows`` are positions in the picture's situations, ascending; ``verbs`` belong to them one by one and are
    different. The boxes are the means of the rows' boxes.
    """

    human_box_xyxy: BoxXyxy
    object_box_xyxy: BoxXyxy
    object: str
    verbs: tuple[str, ...]
    rows: tuple[int, ...]


def merge_rows(image: AnnotatedImage) -> tuple[InteractionPair, ...]:
    """The pairs of a picture, in the order of their first rows.

    Rows are taken interaction by interaction. Rows of the same one are different pairs, since that is how they were
    annotated. Each joins the pair of the same object whose first row it overlaps most, best overlaps first, or founds
    its own.
    """
    situations = image.situations
    pairs: list[list[int]] = []
    for rows in _rows_by_interaction(situations):
        candidates = sorted(
            (
                (-min_iou(situations[row], situations[pair[0]]), row, number)
                for row in rows
                for number, pair in enumerate(pairs)
                if object_of(situations[row]) == object_of(situations[pair[0]])
            )
        )
        home: dict[int, int] = {}
        taken: set[int] = set()
        for negative, row, number in candidates:
            if -negative >= SAME_PAIR_IOU and row not in home and number not in taken:
                home[row] = number
                taken.add(number)
        for row in rows:
            if row in home:
                pairs[home[row]].append(row)
            else:
                pairs.append([row])
    return tuple(_pair(situations, sorted(rows)) for rows in sorted(pairs, key=min))


def min_iou(first: Situation, second: Situation) -> float:
    """The smaller of the IoUs of two rows' human boxes and object boxes, whatever their objects are."""
    return min(_iou(box_of(first, HUMAN), box_of(second, HUMAN)), _iou(box_of(first, OBJECT), box_of(second, OBJECT)))


def object_of(row: Situation) -> str:
    """The name of a row's object."""
    return row.nouns[OBJECT].noun


def box_of(row: Situation, role: str) -> BoxXyxy:
    """A row's box; every role of an interaction has one."""
    box = row.nouns[role].box_xyxy
    assert box is not None
    return box


def _rows_by_interaction(situations: Sequence[Situation]) -> Iterable[list[int]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for row, situation in enumerate(situations):
        groups.setdefault((situation.verb, object_of(situation)), []).append(row)
    return groups.values()


def _pair(situations: Sequence[Situation], rows: Sequence[int]) -> InteractionPair:
    members = [situations[row] for row in rows]
    return InteractionPair(
        _mean([box_of(row, HUMAN) for row in members]),
        _mean([box_of(row, OBJECT) for row in members]),
        object_of(members[0]),
        tuple(row.verb for row in members),
        tuple(rows),
    )


def _mean(boxes: Sequence[BoxXyxy]) -> BoxXyxy:
    x1, y1, x2, y2 = (sum(side) / len(boxes) for side in zip(*boxes, strict=True))
    return (x1, y1, x2, y2)


def _iou(first: BoxXyxy, second: BoxXyxy) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return overlap / (areas - overlap)
