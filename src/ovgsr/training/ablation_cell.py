"""One cell of an ablation: the teacher's stage, training, scoring, and what each test picture scored."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ovgsr.config import Config, SignalKind, load_config
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
from ovgsr.evaluation.predictions import write_predictions
from ovgsr.evaluation.swig import profile_named, score_images
from ovgsr.files import write_text_atomically
from ovgsr.models.checkpoint import Calibration
from ovgsr.recognizers.annotated import predict_annotated
from ovgsr.recognizers.annotated_pictures import predict_annotated_pictures
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.training.ablation import Ablation, Cell, Progress
from ovgsr.training.ablation_plan import AblationError
from ovgsr.training.ablation_statistics import PictureRecords
from ovgsr.training.loop import train
from ovgsr.training.run_dir import RunDir
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

PICTURES_FORMAT = "ovgsr-cell-pictures-1"
SAMPLES = 600
"""At most so many test pictures, evenly spread, have their best frame kept for showing."""
_COLUMNS = ("rank", "calibrated_rank", "margin", "value", "grounded_value")


class StageWatcher(Protocol):
    """Whoever watches the teacher's stage."""

    def stage(self, name: str) -> None:
        """A part of the stage is begun."""

    def progress(self, done: int, total: int) -> None:
        """``done`` of ``total`` pieces of it."""


class PrepareSignals(Protocol):
    """The teacher's stage: what it leaves for a kind of row, in the folder that it returns; resumable."""

    def __call__(
        self,
        kind: SignalKind,
        *,
        data: Path,
        work: Path,
        teacher: str,
        seed: int,
        overrides: Sequence[str],
        device: str | None = None,
        observer: StageWatcher | None = None,
    ) -> Path:
        """The folder for ``distill.signals``."""


class _Stage:
    """The teacher's stage and the training loop, told as progress of a cell."""

    def __init__(self, report: Progress) -> None:
        self.report = report
        self.name, self.steps = "teacher", 0

    def stage(self, name: str) -> None:
        self.name = name

    def progress(self, done: int, total: int) -> None:
        self.report(self.name, done, total)

    def started(self, step: int, steps: int) -> None:
        self.steps = steps
        self.report("training", step, steps)

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        self.report("training", step, self.steps)

    def validated(self, epoch: int, scores: dict[str, float]) -> None: ...


def run_cell(ablation: Ablation, cell: Cell, progress: Progress, *, prepare: PrepareSignals | None = None) -> None:
    """Carries a cell to its results file, going on where an earlier attempt stopped.

    ``prepare`` is the teacher's stage, by default that of ``training/teacher_stage.py``. Raises OvgsrError where the
    cell's settings, its data or its teacher cannot be used.
    """
    began = time.monotonic()
    ablation.open(cell)
    if cell.row.teacher_only:
        results = _score_teacher(ablation, cell, progress)
        seconds_per_step = None
    else:
        signals = prepared(ablation, cell, progress, prepare)
        config = ablation.config(cell, signals)
        if not (cell.run.student / "config.json").is_file():
            resume = (cell.run.path / "config.json").is_file()
            train(config, cell.run.path, resume=resume, observer=_Stage(progress))
        results = _score_student(ablation, cell, config, progress)
        seconds_per_step = step_seconds(cell.run, config)
    timing = {"seconds": round(time.monotonic() - began, 2), "seconds_per_step": seconds_per_step}
    write_text_atomically(cell.timing, json.dumps(timing))
    write_text_atomically(cell.results, json.dumps(results, indent=2))  # last: it is what a finished cell is known by


def prepared(ablation: Ablation, cell: Cell, progress: Progress, prepare: PrepareSignals | None = None) -> Path | None:
    """The folder of the signals that a cell's row learns from; None where it learns from none.

    The stage has a seed of its own, the plan's first: the rows' seeds share one teacher.
    """
    if cell.row.signals is None:
        return None
    if prepare is None:
        from ovgsr.training.teacher_stage import prepare_signals

        prepare = prepare_signals
    return prepare(
        cell.row.signals,
        data=ablation.data,
        work=ablation.work,
        teacher=ablation.teacher,
        seed=ablation.plan.seeds[0],
        overrides=ablation.common,
        device=ablation.device,
        observer=_Stage(progress),
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


def _score_student(ablation: Ablation, cell: Cell, config: Config, progress: Progress) -> dict[str, Any]:
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
    results["notices"] = list(recognizer.notices)
    results["cost"] = {
        "pictures": checkpoint.provenance.details.get("train_pictures"),
        "steps": max((record["step"] for record in cell.run.read_log()), default=0),
        "parameters": sum(weight.numel() for weight in checkpoint.model.parameters()),
    }
    return results


def _score_teacher(ablation: Ablation, cell: Cell, progress: Progress) -> dict[str, Any]:
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
    return report.to_json() | {"row": cell.row.name, "seed": cell.seed}


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
    columns = {name: getattr(records, name).tolist() for name in _COLUMNS}
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
        if len({len(found), len(found.groups), *(len(getattr(found, name)) for name in _COLUMNS)}) != 1:
            raise ValueError("the columns are of different lengths")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AblationError(f"{path}: damaged ({error}); delete the cell's folder {path.parent}") from None
    return found


def step_seconds(run: RunDir, config: Config) -> float | None:
    """The median time of an optimiser step over the run's log; None where it has no line of it.

    A line's ``pictures_per_second`` is that of its epoch so far; ``seconds_per_step`` is used where a line has it.
    """
    share = config.train.batch_size * config.train.accumulate
    found = []
    for record in run.read_log():
        if "seconds_per_step" in record:
            found.append(float(record["seconds_per_step"]))
        elif record.get("pictures_per_second"):
            found.append(share / float(record["pictures_per_second"]))
    return statistics.median(found) if found else None
