"""Annotations and predictions as columns, so that scoring is arithmetic on whole tensors.

The one pass over Python objects is here; annotations are encoded once and serve every profile, setting, subset and
epoch. A model that has its answers as tensors builds :class:`PredictionColumns` directly and never loops.

Letters: B pictures, R roles of the longest frame, A annotators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovgsr.errors import OvgsrError
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage, GroundedNoun, ImagePrediction, SituationError

BEYOND_FIVE = 5
"""The rank of a verb that is not among the first five."""
NO_ANSWER, OUT_OF_VOCABULARY, PADDED_ROLE = -1, -2, -9
"""Noun ids that are no noun: a role without a (known) answer, the class "oov", a slot that is no role."""
MAX_ROLES = 22
"""The longest frame that keeps per-picture means exact (see ``scores.MEAN_UNIT``)."""
NO_BOX = (0.0, 0.0, 0.0, 0.0)


class EvaluationError(OvgsrError):
    """Annotations and predictions that cannot be scored together."""


@dataclass(frozen=True)
class AnnotationColumns:
    """What the annotators say, encoded once a data set. Padded slots have ``role_mask`` False."""

    identities: Tensor  # (B,) int64, a hash of the file name: the same in every process
    verb_index: Tensor  # (B,) int64, into ``verbs``
    role_mask: Tensor  # (B, R) bool
    noun_index: Tensor  # (B, R, A) int64, ids of ``noun_ids``
    outside: Tensor  # (B, R) bool: some annotator's noun is outside the noun vocabulary
    boxes_xyxy: Tensor  # (B, R, 4) float64, pixels as annotated; 0 where not grounded
    grounded: Tensor  # (B, R) bool
    sizes_wh: Tensor  # (B, 2) float64
    verbs: tuple[str, ...]
    noun_ids: Mapping[str, int]
    frames: tuple[tuple[str, tuple[str, ...]], ...]  # (verb, roles) of each picture
    file_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.file_names)

    def take(self, rows: Tensor) -> AnnotationColumns:
        """The pictures at these positions, shape (b,) int64."""
        chosen = rows.tolist()
        return replace(
            self,
            **_taken(self, rows),
            frames=tuple(self.frames[row] for row in chosen),
            file_names=tuple(self.file_names[row] for row in chosen),
        )


@dataclass(frozen=True)
class PredictionColumns:
    """Answers for the annotated verb's frame, role by role, beside the pictures of an :class:`AnnotationColumns`."""

    gold_rank: Tensor  # (B,) int64: 0 = the annotated verb is ranked first ... 4; 5 = beyond or not ranked
    noun_index: Tensor  # (B, R) int64, ids of ``AnnotationColumns.noun_ids``; NO_ANSWER, OUT_OF_VOCABULARY
    boxes_xyxy: Tensor  # (B, R, 4) float64, pixels of the annotated size; 0 where there is none
    boxed: Tensor  # (B, R) bool

    def __len__(self) -> int:
        return len(self.gold_rank)

    def take(self, rows: Tensor) -> PredictionColumns:
        """The pictures at these positions, shape (b,) int64."""
        return replace(self, **_taken(self, rows))


@dataclass
class Findings:
    """What was odd about a set of predictions: how often, and the first example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, example: str, times: int = 1) -> None:
        """Counts a finding; the first example of its kind is kept."""
        self.counts[kind] += times
        self.examples.setdefault(kind, example)


def _taken(columns: AnnotationColumns | PredictionColumns, rows: Tensor) -> dict[str, Any]:
    values = {item.name: getattr(columns, item.name) for item in fields(columns)}
    return {name: value[rows] for name, value in values.items() if isinstance(value, Tensor)}


def identity_of(file_name: str) -> int:
    """A 64-bit number that stands for a picture in every process."""
    return int.from_bytes(
        blake2b(file_name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True
    )


def encode_annotations(
    annotated: Sequence[AnnotatedImage],
    verbs: Sequence[str] | None = None,
    nouns: Iterable[str] | None = None,
) -> AnnotationColumns:
    """One pass over the annotations.

    ``verbs`` fixes the verbs' order (None: the annotated ones, sorted). ``nouns`` is the noun vocabulary, in the index
    order of a model's answers ("" is put first where it is absent); it decides what "oov" means. None: any noun.

    Raises EvaluationError for a picture given twice, without a role, or with a verb outside ``verbs``.
    """
    noun_ids: dict[str, int] = {EMPTY_NOUN: 0}
    for noun in nouns or ():
        noun_ids.setdefault(noun, len(noun_ids))
    offered = None if nouns is None else len(noun_ids)
    frames: list[tuple[str, tuple[str, ...]]] = []
    slot_nouns: list[tuple[str, ...]] = []
    boxes: list[float] = []
    grounded: list[bool] = []
    for image in annotated:
        try:
            situation = image.situation
        except SituationError as error:
            raise EvaluationError(str(error)) from None
        answers = dict(situation.nouns)
        frames.append((situation.verb, tuple(answers)))
        for answer in answers.values():
            slot_nouns.append(answer.annotators or (answer.noun,))
            box_xyxy = answer.box_xyxy
            grounded.append(box_xyxy is not None)
            boxes.extend(NO_BOX if box_xyxy is None else box_xyxy)
    names = tuple(image.file_name for image in annotated)
    _check_annotations(names, frames)
    slots = _Slots([len(roles) for _, roles in frames])
    ids = _noun_ids(slot_nouns, noun_ids)
    # A noun entered after the vocabulary is outside it; without a vocabulary none is.
    outside = (ids >= (len(noun_ids) if offered is None else offered)).max(axis=1, initial=False)
    verbs = tuple(sorted({verb for verb, _ in frames})) if verbs is None else tuple(verbs)
    sizes = np.array([(image.width, image.height) for image in annotated], dtype=np.float64).reshape(-1, 2)
    return AnnotationColumns(
        identities=torch.tensor([identity_of(name) for name in names], dtype=torch.int64),
        verb_index=_verb_index(frames, verbs, names),
        role_mask=slots.padded(np.ones(len(ids), dtype=bool), False),
        noun_index=slots.padded(ids, PADDED_ROLE),
        outside=slots.padded(outside, False),
        boxes_xyxy=slots.padded(np.array(boxes, dtype=np.float64).reshape(-1, 4), 0.0),
        grounded=slots.padded(np.array(grounded, dtype=bool), False),
        sizes_wh=torch.from_numpy(sizes),
        verbs=verbs,
        noun_ids=noun_ids,
        frames=tuple(frames),
        file_names=names,
    )


def _check_annotations(names: Sequence[str], frames: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    if len(set(names)) != len(names):
        double = next(name for name, times in Counter(names).items() if times > 1)
        raise EvaluationError(f"{double} is annotated twice; give every picture once")
    for name, (verb, roles) in zip(names, frames, strict=True):
        if not 1 <= len(roles) <= MAX_ROLES:
            message = f"{name}: the frame of {verb!r} has {len(roles)} roles"
            raise EvaluationError(f"{message}; 1 to {MAX_ROLES} can be scored")


def _verb_index(frames: Sequence[tuple[str, tuple[str, ...]]], verbs: Sequence[str], names: Sequence[str]) -> Tensor:
    positions = {verb: position for position, verb in enumerate(verbs)}
    try:
        return torch.tensor([positions[verb] for verb, _ in frames], dtype=torch.int64)
    except KeyError:
        verb, name = next((v, n) for (v, _), n in zip(frames, names, strict=True) if v not in positions)
        raise EvaluationError(f"{name}: the verb {verb!r} is not among the verbs to score; add it") from None


def _noun_ids(slot_nouns: list[tuple[str, ...]], noun_ids: dict[str, int]) -> npt.NDArray[np.int64]:
    """(slots, A) ids; new nouns are entered, and fewer annotators than A repeat the first one's answer."""
    annotators = max(map(len, slot_nouns), default=1)
    if any(len(nouns) != annotators for nouns in slot_nouns):
        slot_nouns = [nouns + nouns[:1] * (annotators - len(nouns)) for nouns in slot_nouns]
    ids = [noun_ids.setdefault(noun, len(noun_ids)) for nouns in slot_nouns for noun in nouns]
    return np.array(ids, dtype=np.int64).reshape(-1, annotators)


class _Slots:
    """Where each role of a flat list stands in a padded (B, R) table."""

    def __init__(
        self, roles_of: Sequence[int], rows: Sequence[int] | None = None, shape: tuple[int, int] | None = None
    ):
        counts = np.array(roles_of, dtype=np.int64)
        self.rows = np.repeat(np.arange(len(counts)) if rows is None else np.array(rows, dtype=np.int64), counts)
        self.columns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        self.shape = shape or (len(counts), int(counts.max(initial=1)))

    def padded(self, flat: npt.NDArray[Any], fill: float) -> Tensor:
        table = np.full((*self.shape, *flat.shape[1:]), fill, dtype=flat.dtype)
        table[self.rows, self.columns] = flat
        return torch.from_numpy(table)


class _Answers:
    """The predicted answers of some pictures, slot by slot, in flat lists: appending is the fast part of Python."""

    def __init__(self, gold: AnnotationColumns, findings: Findings) -> None:
        self.gold, self.findings = gold, findings
        self.noun_ids = {**gold.noun_ids, "oov": OUT_OF_VOCABULARY, "Pad": NO_ANSWER}
        self.rows: list[int] = []
        self.roles_of: list[int] = []
        self.ids: list[int] = []
        self.boxes: list[float] = []
        self.boxed: list[bool] = []

    def add(self, row: int, answers: Mapping[str, GroundedNoun]) -> None:
        verb, roles = self.gold.frames[row]
        self.rows.append(row)
        self.roles_of.append(len(roles))
        ids, boxes, boxed, noun_ids = self.ids, self.boxes, self.boxed, self.noun_ids
        known = 0
        for role in roles:
            answer = answers.get(role)
            box_xyxy = None
            if answer is None:
                self.findings.add("missing_role", f"{self.gold.file_names[row]}, {verb}.{role}")
                ids.append(NO_ANSWER)
            else:
                known += 1
                ids.append(noun_ids.get(answer.noun, NO_ANSWER))
                box_xyxy = answer.box_xyxy
            boxed.append(box_xyxy is not None)
            boxes.extend(NO_BOX if box_xyxy is None else box_xyxy)
        if known != len(answers):
            stranger = next(role for role in answers if role not in roles)
            self.findings.add("unknown_role", f"{self.gold.file_names[row]}, {verb}.{stranger}", len(answers) - known)

    def columns(self, gold_rank: npt.NDArray[np.int64]) -> PredictionColumns:
        slots = _Slots(self.roles_of, self.rows, (len(self.gold), self.gold.role_mask.shape[1]))
        return PredictionColumns(
            gold_rank=torch.from_numpy(gold_rank),
            noun_index=slots.padded(np.array(self.ids, dtype=np.int64), NO_ANSWER),
            boxes_xyxy=slots.padded(np.array(self.boxes, dtype=np.float64).reshape(-1, 4), 0.0),
            boxed=slots.padded(np.array(self.boxed, dtype=bool), False),
        )


def encode_predictions(
    predictions: Iterable[ImagePrediction], gold: AnnotationColumns, findings: Findings | None = None
) -> PredictionColumns:
    """One pass over the predictions, in any order; a row for every annotated picture.

    A picture without a prediction, or without the annotated verb's frame, gets empty answers, which score 0. Of a
    picture predicted twice the first counts. All of it is counted in ``findings``.
    """
    findings = Findings() if findings is None else findings
    row_of = {name: row for row, name in enumerate(gold.file_names)}
    gold_rank = np.full(len(gold), BEYOND_FIVE, dtype=np.int64)
    met = bytearray(len(gold))
    collected = _Answers(gold, findings)
    for prediction in predictions:
        name = prediction.file_name
        row = row_of.get(name)
        if row is None or met[row]:
            findings.add("not_in_data" if row is None else "duplicate", name)
            continue
        met[row] = 1
        verb = gold.frames[row][0]
        for rank, (candidate, _) in enumerate(prediction.ranking[:BEYOND_FIVE]):
            if candidate == verb:
                gold_rank[row] = rank
                break
        situation = prediction.situations.get(verb)
        if situation is None:
            findings.add("missing_frame", name)
        else:
            collected.add(row, situation.nouns)
    if not all(met):
        findings.add("missing_image", gold.file_names[met.index(0)], met.count(0))
    return collected.columns(gold_rank)


def ranks_of_gold(scores: Tensor, verb_index: Tensor) -> Tensor:
    """The annotated verbs' ranks, shape (B,), 5 = beyond five, from scores (B, V) and positions (B,); ties count
    against a verb that stands later, as a stable sort would have it. A score that is not a number is never ranked.
    """
    own = scores.gather(1, verb_index[:, None])
    before = torch.arange(scores.shape[1], device=scores.device) < verb_index[:, None]
    ahead = (scores > own) | ((scores == own) & before)
    rank = ahead.sum(dim=1).clamp(max=BEYOND_FIVE)
    return torch.where(own[:, 0].isnan(), torch.full_like(rank, BEYOND_FIVE), rank)
