"""Annotated and predicted human-object interactions as columns, so that scoring is arithmetic on whole arrays.

Letters: G annotated rows, N predicted pairs, C classes (listed interactions), I pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ovgsr.evaluation.columns import EvaluationError, Findings
from ovgsr.hoi_vocabulary import Interaction
from ovgsr.interactions import HUMAN, OBJECT, PairPrediction
from ovgsr.situation import AnnotatedImage, BoxXyxy, Situation

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

UNLISTED = -1
"""The class of a predicted interaction that the data set does not list."""


@dataclass(frozen=True)
class GoldPairs:
    """The annotated rows of a fold, encoded once for every mode and setting; rows of a class in the file's order."""

    file_names: tuple[str, ...]
    interactions: tuple[Interaction, ...]
    image: Integers  # (G,) into ``file_names``
    interaction: Integers  # (G,) into ``interactions``
    boxes_xyxy: Floats  # (G, 2, 4): the human's and the object's

    @cached_property
    def class_of(self) -> dict[Interaction, int]:
        """Interaction -> its position, the class's number."""
        return {interaction: position for position, interaction in enumerate(self.interactions)}

    @cached_property
    def totals(self) -> Integers:
        """Annotated rows of each class, shape (C,)."""
        return np.bincount(self.interaction, minlength=len(self.interactions))

    @cached_property
    def annotated(self) -> Flags:
        """Whether a picture has a row, shape (I,)."""
        return np.bincount(self.image, minlength=len(self.file_names)) > 0

    @cached_property
    def objects(self) -> tuple[str, ...]:
        """Every object of the listed interactions once, in their order."""
        return tuple(dict.fromkeys(name for _, name in self.interactions))

    @cached_property
    def object_of_class(self) -> Integers:
        """Each class's object as a position in ``objects``, shape (C,)."""
        position = {name: i for i, name in enumerate(self.objects)}
        return np.array([position[name] for _, name in self.interactions], dtype=np.int64)

    def sort_key(self, image: Integers, interaction: Integers) -> Integers:
        """One number for (class, picture), ordered by class first."""
        return interaction * len(self.file_names) + image


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Predicted pairs of listed interactions in known pictures; pairs of one picture in the order they were given."""

    image: Integers  # (N,)
    interaction: Integers  # (N,)
    boxes_xyxy: Floats  # (N, 2, 4)
    score: Floats  # (N,)

    def __len__(self) -> int:
        return len(self.score)

    def best_first(self) -> Integers:
        """All positions by descending score, then picture, then the order they were given in, shape (N,)."""
        by_picture = ordered(np.arange(len(self)), self.image)
        return by_picture.take(np.argsort(-self.score.take(by_picture), kind="stable"))


def ordered(rows: Integers, key: Integers) -> Integers:
    """The positions in ascending order of ``key[rows]``; those of one key stay in the order they are in."""
    keys = key.take(rows)
    if len(keys) and keys.max() < 2**16:
        keys = keys.astype(np.uint16)  # numpy sorts these by radix, ten times faster
    return rows.take(np.argsort(keys, kind="stable"))


def boxes_at(boxes_xyxy: Floats, rows: Integers, part: int) -> Floats:
    """The human's (``part`` 0) or the object's (1) boxes (n, 4) of boxes (N, 2, 4)."""
    return boxes_xyxy.reshape(-1, 4).take(2 * rows + part, axis=0)  # several times faster than boxes_xyxy[rows, part]


def encode_gold(annotated: Sequence[AnnotatedImage], interactions: Sequence[Interaction]) -> GoldPairs:
    """The annotated rows as columns; ``interactions`` are the classes, in the data set's order.

    Raises EvaluationError for no picture, a picture listed twice, a class listed twice, and a row that is not a
    listed interaction of two boxes.
    """
    if not annotated or not interactions:
        raise EvaluationError("there is no annotated picture or no listed interaction to score; check the fold")
    if len(set(interactions)) != len(interactions):
        raise EvaluationError("an interaction is listed twice; list each verb and object once")
    class_of = {interaction: position for position, interaction in enumerate(interactions)}
    image, classes, boxes = [], [], []
    for position, picture in enumerate(annotated):
        for situation in picture.situations:
            where = f"{picture.file_name}, {situation.verb!r}"
            interaction, two = _row(situation, where)
            if interaction not in class_of:
                raise EvaluationError(f"{where}: {' '.join(interaction)!r} is not among the listed interactions")
            image.append(position)
            classes.append(class_of[interaction])
            boxes.append(two)
    file_names = tuple(picture.file_name for picture in annotated)
    if len(set(file_names)) != len(file_names):
        raise EvaluationError("a picture is annotated twice; give each picture once with all its situations")
    return GoldPairs(
        file_names,
        tuple(interactions),
        np.array(image, dtype=np.int64),
        np.array(classes, dtype=np.int64),
        np.array(boxes, dtype=np.float64).reshape(-1, 2, 4),
    )


def _row(situation: Situation, where: str) -> tuple[Interaction, tuple[BoxXyxy, BoxXyxy]]:
    human, thing = situation.nouns.get(HUMAN), situation.nouns.get(OBJECT)
    if human is None or thing is None or human.box_xyxy is None or thing.box_xyxy is None:
        raise EvaluationError(f"{where}: an interaction needs the roles {HUMAN!r} and {OBJECT!r}, each with a box")
    return (situation.verb, thing.noun), (human.box_xyxy, thing.box_xyxy)


class PairCollector:
    """Gathers predictions, picture by picture and in any order, into columns; counts what cannot be scored."""

    def __init__(self, gold: GoldPairs, findings: Findings) -> None:
        self.class_of = gold.class_of
        self.findings = findings
        self._image_of = {name: position for position, name in enumerate(gold.file_names)}
        self._met: set[int] = set()
        self._parts: list[tuple[int, Integers, Floats, Floats]] = []

    def add(self, file_name: str, interaction: Sequence[int], boxes_xyxy: Floats, score: Floats) -> None:
        """One picture's pairs: classes (n,) or UNLISTED, boxes (n, 8) human then object, scores (n,)."""
        image = self._image_of.get(file_name)
        if image is None:
            self.findings.add("not_in_data", file_name)
            return
        if image in self._met:
            self.findings.add("duplicate", file_name)
            return
        self._met.add(image)
        classes = np.array(interaction, dtype=np.int64)
        listed = classes != UNLISTED
        if not listed.all():
            self.findings.add("unlisted", file_name, int((~listed).sum()))
            classes, boxes_xyxy, score = classes[listed], boxes_xyxy[listed], score[listed]
        if len(classes):
            self._parts.append((image, classes, boxes_xyxy, score))

    def columns(self) -> ScoredPairs:
        """All pairs so far; pictures without a prediction are counted."""
        missing = [name for name, image in self._image_of.items() if image not in self._met]
        if missing:
            self.findings.add("missing_image", missing[0], len(missing))
        if not self._parts:
            nothing = np.zeros(0, dtype=np.int64)
            return ScoredPairs(nothing, nothing, np.zeros((0, 2, 4)), np.zeros(0))
        images, classes, boxes, scores = zip(*self._parts, strict=True)
        return ScoredPairs(
            np.repeat(np.array(images, dtype=np.int64), [len(part) for part in classes]),
            np.concatenate(classes),
            np.concatenate(boxes).reshape(-1, 2, 4),
            np.concatenate(scores),
        )


def encode_pairs(predictions: Iterable[PairPrediction], gold: GoldPairs, findings: Findings) -> ScoredPairs:
    """Predictions as columns, in one pass over them."""
    collector = PairCollector(gold, findings)
    for prediction in predictions:
        pairs = prediction.pairs
        boxes = [(*pair.human_box_xyxy, *pair.object_box_xyxy) for pair in pairs]
        collector.add(
            prediction.file_name,
            [collector.class_of.get((pair.verb, pair.object), UNLISTED) for pair in pairs],
            np.array(boxes, dtype=np.float64).reshape(-1, 8),
            np.array([pair.score for pair in pairs], dtype=np.float64),
        )
    return collector.columns()
