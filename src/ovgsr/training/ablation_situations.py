"""Situations in an ablation: a cell's scores under the SWiG metrics, and what each test picture scored."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ovgsr.config import Config, load_config
from ovgsr.data.swig import (
    image_folder,
    read_annotations,
    read_split,
    read_vocabulary,
    require_known_verbs,
)
from ovgsr.evaluation.columns import BEYOND_FIVE, encode_annotations, encode_predictions
from ovgsr.evaluation.evaluate import DEFAULT_PROFILES, evaluate_predictions
from ovgsr.evaluation.open_vocabulary import SMALLEST_PROBABILITY, RankingRecord, are_probabilities
from ovgsr.evaluation.predictions import read_predictions, write_predictions
from ovgsr.evaluation.swig import profile_named, score_images
from ovgsr.files import write_text_atomically
from ovgsr.models.checkpoint import Calibration
from ovgsr.recognizers.annotated import predict_annotated
from ovgsr.recognizers.annotated_pictures import predict_annotated_pictures
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.report import PictureSection
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.training.ablation import Ablation, Cell, Progress
from ovgsr.training.ablation_plan import AblationError
from ovgsr.training.ablation_scoring import COST, SAMPLES, Column, Part, cost_of
from ovgsr.training.ablation_statistics import Interval, PictureRecords, bootstrap_ausuc, bootstrap_top1
from ovgsr.training.comparison import compare_pictures
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

PICTURES_FORMAT = "ovgsr-cell-pictures-1"
_RECORDED = ("rank", "calibrated_rank", "margin", "value", "grounded_value")
_GROUPS = ("seen", "rare", "unseen")
_AUSUC = Column("ausuc", "AUSUC", ("open_vocabulary", "ausuc"))
_CALIBRATED = Part(
    "Verbs, with the constants for unseen and rare verbs",
    (
        *(Column(f"top1_{g}_calibrated", f"top-1, {g}", (g, "verb_top1"), calibrated=True) for g in _GROUPS),
        Column("top5_unseen", "top-5, unseen", ("unseen", "verb_top5"), calibrated=True),
        Column("harmonic_mean", "harmonic mean", ("harmonic_mean_verb_top1",), calibrated=True),
    ),
    "The constants were chosen on dev pictures alone.",
)
PARTS = (
    Part(
        "Verbs, all of them competing",
        (
            *(Column(f"top1_{g}", f"top-1, {g}", (g, "verb_top1")) for g in _GROUPS),
            _AUSUC,
            Column("unseen_among_unseen", "unseen among unseen", ("open_vocabulary", "unseen_among_unseen_verb_top1")),
        ),
        "Without the constants. AUSUC and unseen among unseen owe nothing to one.",
    ),
    _CALIBRATED,
    Part(
        "Roles",
        (
            *(Column(f"value_{g}", f"value, {g}", (g, "ground_truth_verb", "value")) for g in _GROUPS),
            *(
                Column(f"grounded_{g}", f"grounded, {g}", (g, "ground_truth_verb", "grnd_value"))
                for g in ("seen", "unseen")
            ),
            Column("value_top1", "value behind the verb, all", ("all", "top1", "value"), calibrated=True),
        ),
        "Value and grounded value in the annotated verb's frame; the last column asks for the verb as well, with the "
        "constants.",
    ),
    COST,
)
"""Percent but for the costs; value and its kin under the official profile."""


class SituationScoring:
    """How cells are scored whose task is situations."""

    parts = PARTS
    summary = Part(_CALIBRATED.title, (*_CALIBRATED.columns, _AUSUC))
    note = (
        "Official profile. The constants for unseen and rare verbs were chosen on dev; a row without any (a closed "
        "vocabulary, the teacher) has the same numbers with and without."
    )
    drawn = "for verb top-1 and AUSUC: 95 % bootstrap interval, seeds and test pictures drawn anew"

    def score(self, ablation: Ablation, cell: Cell, config: Config, progress: Progress) -> dict[str, Any]:
        """The results file of a trained cell; its pictures' scores and samples are written on the way."""
        fold = read_fold(ablation.data, config.data.split, ablation.plan.fold)
        recognizer = SituationRecognizer.from_pretrained(cell.run.student, device=ablation.device)
        checkpoint, folder, size = recognizer.checkpoint, image_folder(ablation.data), config.evaluation.batch_size
        found = predict_annotated(
            recognizer,
            fold.images,
            folder,
            fold.vocabulary,
            batch_size=size,
            progress=lambda done, total: progress("predicting", done, total),
        )
        results = _scored(cell, found, fold, checkpoint.calibration)
        chosen = fold.images[:: max(1, math.ceil(len(fold.images) / SAMPLES))]
        best = predict_annotated(recognizer, chosen, folder, fold.vocabulary, batch_size=size, top_k=1, calibrated=True)
        write_predictions(cell.samples, map(_best_alone, best))
        return results | {"notices": list(recognizer.notices), "cost": cost_of(cell, checkpoint)}

    def score_teacher(self, ablation: Ablation, cell: Cell, progress: Progress) -> dict[str, Any]:
        """The results file of the prompted teacher, and its pictures' scores."""
        from ovgsr.recognizers.prompted import PromptedRecognizer
        from ovgsr.recognizers.prompted_settings import PromptSettings

        fold = read_fold(ablation.data, load_config(None, ablation.common).data.split, ablation.plan.fold)
        settings = PromptSettings(role_readout=cell.row.teacher_roles)
        recognizer = PromptedRecognizer.from_pretrained(ablation.teacher, device=ablation.device, settings=settings)
        found = predict_annotated_pictures(
            recognizer,
            fold.images,
            image_folder(ablation.data),
            fold.vocabulary,
            batch_size=settings.batch_pictures,
            progress=lambda done, total: progress("prompting", done, total),
        )
        return _scored(cell, found, fold, Calibration()) | {"notices": list(recognizer.notices)}

    def records(self, cell: Cell) -> PictureRecords | None:
        """What the test pictures scored. Raises AblationError for a file that is damaged."""
        return read_records(cell.pictures) if cell.pictures.is_file() else None

    def intervals(
        self, row: Mapping[int, PictureRecords], against: Mapping[int, PictureRecords], draws: int
    ) -> dict[str, Interval]:
        """Of verb top-1 and AUSUC, from seeds and pictures drawn anew."""
        found = {_AUSUC.key: bootstrap_ausuc(row, against, draws=draws)}
        for group in _GROUPS:
            for key, calibrated in ((f"top1_{group}", False), (f"top1_{group}_calibrated", True)):
                found[key] = bootstrap_top1(row, against, group, calibrated=calibrated, draws=draws)
        return {key: interval for key, interval in found.items() if interval is not None}

    def differing_pictures(
        self, ablation: Ablation, cells: tuple[Cell, Cell], titles: tuple[str, str], count: int
    ) -> list[PictureSection]:
        """Pictures on which one cell's verb is right and the other's wrong."""
        fold = read_fold(ablation.data, ablation.config(cells[1]).data.split, ablation.plan.fold)
        ours, theirs = (list(read_predictions(cell.samples)) for cell in cells)
        return compare_pictures(
            ablation.data, fold.vocabulary, fold.split, fold.images, ours, theirs, titles, count, fold=fold.name
        )


@dataclass(frozen=True)
class ScoredFold:
    """The pictures of a fold whose verbs compete, and the words that do."""

    split: VerbSplit
    vocabulary: Vocabulary
    images: Sequence[AnnotatedImage]
    name: str

    @property
    def group_of(self) -> Mapping[str, str]:
        """Verb -> seen, rare or unseen."""
        return {verb: group for group, verbs in self.split.groups(self.name).items() for verb in verbs}


def read_fold(data: Path, split_file: str | None, fold: str) -> ScoredFold:
    """The fold as every cell is scored on it. Raises AblationError where the data set has no split."""
    split = read_split(data, split_file)
    if split is None:
        raise AblationError(f"{data}: has no split into seen, rare and unseen verbs; give one with data.split=FILE")
    vocabulary = read_vocabulary(data)
    require_known_verbs(split, vocabulary)
    vocabulary = vocabulary.with_verbs(split.candidates(fold))
    images = split.pictures(read_annotations(data, fold), fold)  # type: ignore[arg-type]
    return ScoredFold(split, vocabulary, images, fold)


def _best_alone(prediction: ImagePrediction) -> ImagePrediction:
    best = prediction.ranking[0][0]
    return replace(prediction, ranking=prediction.ranking[:5], situations={best: prediction.situations[best]})


def _scored(cell: Cell, found: Iterable[ImagePrediction], fold: ScoredFold, calibration: Calibration) -> dict[str, Any]:
    """The results file of the predictions, whose pictures' scores are written on the way."""
    notes = PictureNotes(fold)
    report = evaluate_predictions(
        notes.watch(found), fold.images, fold.split, fold.name, DEFAULT_PROFILES, **calibration.constants()
    )
    write_records(cell.pictures, notes.records(calibration.unseen_offset, calibration.rare_offset))
    return report.to_json()


class PictureNotes:
    """Notes what each picture scores while predictions stream by to the evaluator."""

    def __init__(self, fold: ScoredFold) -> None:
        self.fold = fold
        self.gold_verbs = {image.file_name: image.situation.verb for image in fold.images}
        self._record = RankingRecord(self.gold_verbs, fold.split, fold.name, keep=5)
        self._unseen = frozenset(fold.split.groups(fold.name)["unseen"])
        self._sides: dict[str, tuple[tuple[str, float] | None, tuple[str, float] | None]] = {}
        self._kept: list[ImagePrediction] = []
        self._probabilities = True

    def watch(self, predictions: Iterable[ImagePrediction]) -> Iterator[ImagePrediction]:
        """The same predictions, noted on the way."""
        for prediction in self._record.watch(predictions):
            ranking = prediction.ranking
            known = next(islice((entry for entry in ranking if entry[0] not in self._unseen), 1), None)
            unseen = next(islice((entry for entry in ranking if entry[0] in self._unseen), 1), None)
            self._sides.setdefault(prediction.file_name, (known, unseen))
            self._probabilities = self._probabilities and are_probabilities(ranking)
            self._kept.append(replace(prediction, ranking=ranking[:5]))  # a whole ranking holds hundreds of verbs
            yield prediction

    def records(self, offset: float = 0.0, rare_offset: float = 0.0) -> PictureRecords:
        """What was noted, picture by picture in the fold's order; pictures without a prediction score 0."""
        gold = encode_annotations(self.fold.images)
        predicted = encode_predictions(self._kept, gold)
        scores = score_images(gold, predicted, profile_named(DEFAULT_PROFILES[0]))
        roles = gold.role_mask.sum(dim=1)
        shifted, groups = self._record.ranks(offset, rare_offset), self.fold.group_of
        return PictureRecords(
            names=gold.file_names,
            groups=tuple(groups[self.gold_verbs[name]] for name in gold.file_names),
            rank=predicted.gold_rank.numpy(),
            calibrated_rank=np.array([shifted.get(name, BEYOND_FIVE) for name in gold.file_names], dtype=np.int64),
            margin=np.array([self._margin(name) for name in gold.file_names], dtype=np.float64),
            value=(scores.hits.sum(dim=1) / roles).double().numpy(),
            grounded_value=(scores.grounded_hits.sum(dim=1) / roles).double().numpy(),
        )

    def _margin(self, name: str) -> float:
        known, unseen = self._sides.get(name, (None, None))
        if known is None or unseen is None:
            return math.nan
        verb = self.gold_verbs[name]
        best, score = unseen if verb in self._unseen else known
        if best != verb or (self._probabilities and score == 0):  # as the evaluator: 0 is no answer
            return math.nan
        if not self._probabilities:
            return known[1] - unseen[1]
        return math.log(max(known[1], SMALLEST_PROBABILITY)) - math.log(max(unseen[1], SMALLEST_PROBABILITY))


def write_records(path: Path, records: PictureRecords) -> None:
    """Writes what the pictures scored as JSON, a list a column."""
    columns = {name: getattr(records, name).tolist() for name in _RECORDED}
    columns["margin"] = [None if math.isnan(margin) else round(margin, 6) for margin in columns["margin"]]
    for name in ("value", "grounded_value"):
        columns[name] = [round(share, 6) for share in columns[name]]
    record = {"format": PICTURES_FORMAT, "names": records.names, "groups": records.groups, **columns}
    write_text_atomically(path, json.dumps(record, separators=(",", ":")))


def read_records(path: Path) -> PictureRecords:
    """The inverse of :func:`write_records`. Raises AblationError for a file that is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != PICTURES_FORMAT:
            raise ValueError(f"the format is {record['format']!r}, not {PICTURES_FORMAT!r}")
        margins = [math.nan if margin is None else margin for margin in record["margin"]]
        found = PictureRecords(
            tuple(record["names"]),
            tuple(record["groups"]),
            np.array(record["rank"], dtype=np.int64),
            np.array(record["calibrated_rank"], dtype=np.int64),
            np.array(margins, dtype=np.float64),
            np.array(record["value"], dtype=np.float64),
            np.array(record["grounded_value"], dtype=np.float64),
        )
        if len({len(found), len(found.groups), *(len(getattr(found, name)) for name in _RECORDED)}) != 1:
            raise ValueError("the columns are of different lengths")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AblationError(f"{path}: damaged ({error}); delete the cell's folder {path.parent}") from None
    return found
