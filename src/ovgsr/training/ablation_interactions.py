"""Interactions in an ablation: a cell's mean average precision, and what the intervals of a difference are drawn from.

Mean average precision is no mean over pictures, but it is one over interactions (classes). So the bootstrap draws
those anew: what would other interactions of the same kind give? Each class's average precision is measured on pictures
of its own, so that the differences between classes hold the chance of the pictures too, and for the listed classes
alone the interval is rather too wide than too narrow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ovgsr.config import Config
from ovgsr.data.hico_det import HicoDetFold, image_folder, read_hico_det
from ovgsr.data.hoi_splits import read_hoi_split, require_known_interactions
from ovgsr.data.swig import Fold
from ovgsr.evaluation.hico_det import MeanPrecisions, evaluate_pairs
from ovgsr.evaluation.hoi_columns import Flags, Floats
from ovgsr.evaluation.predictions import read_records as read_lines
from ovgsr.evaluation.predictions import write_predictions
from ovgsr.files import write_text_atomically
from ovgsr.hoi_vocabulary import HoiSplit, Interaction
from ovgsr.interactions import PairPrediction
from ovgsr.recognizers.pairs import PairRecognizer, predict_annotated_pairs
from ovgsr.report import PictureSection
from ovgsr.training.ablation import Ablation, Cell, Progress
from ovgsr.training.ablation_plan import AblationError
from ovgsr.training.ablation_scoring import COST, SAMPLES, Column, Part, cost_of
from ovgsr.training.ablation_statistics import DRAWS, Interval, drawn_means, interval_of
from ovgsr.training.pair_comparison import compare_pair_pictures

CLASSES_FORMAT = "ovgsr-cell-classes-1"
_SHOWN = 20
_MEANS = ("full", "rare", "non_rare", "seen", "unseen", "unmet")
MAP = Part(
    "Mean average precision",
    (
        *(
            Column(f"map_{g}", g.replace("_", "-"), ("default", f"map_{g}"), digits=2)
            for g in ("full", "rare", "non_rare")
        ),
        *(Column(f"map_{g}", g, ("split", f"map_{g}"), digits=2) for g in ("seen", "unseen")),
        Column("map_unmet", "unseen verbs", ("unmet", "map_unmet"), digits=2),
        Column("harmonic_mean", "harmonic mean", ("split", "harmonic_mean"), digits=2),
    ),
    "Means over interactions. Unseen verbs: the unseen interactions whose verb has no seen one among those annotated. "
    "The last column is the harmonic mean of seen and unseen.",
)


@dataclass(frozen=True)
class PairFold:
    """The fold as every cell is scored on it."""

    read: HicoDetFold
    split: HoiSplit | None
    name: Fold

    @property
    def unseen(self) -> frozenset[Interaction]:
        """The unseen interactions of this fold."""
        return frozenset() if self.split is None else self.split.unseen_on(self.name)

    @property
    def left_out(self) -> frozenset[Interaction]:
        """Those that training does not meet for another fold's sake: neither seen nor unseen here."""
        return frozenset() if self.split is None else self.split.held_out - self.unseen


def read_pair_fold(data: Path, split: str | None, fold: Fold) -> PairFold:
    """The fold with its split, if it has one. Raises DataError where one of them cannot be used."""
    read, held = read_hico_det(data, fold), read_hoi_split(data, split)
    if held is not None:
        require_known_interactions(held, read.interactions)
    return PairFold(read, held, fold)


@dataclass(frozen=True)
class ClassRecords:
    """One cell's interactions with an annotated row: what the bootstrap draws from. C interactions."""

    interactions: tuple[Interaction, ...]
    average_precision: Floats  # (C,) percent
    rare: Flags  # (C,)
    unseen: Flags  # (C,)
    seen: Flags  # (C,), those that training met

    def group(self, name: str) -> Flags:
        """The classes, shape (C,), of one of the means: full, rare, non_rare, seen, unseen, unmet."""
        if name == "full":
            return np.ones_like(self.rare)
        if name == "unmet":
            met = {verb for (verb, _), seen in zip(self.interactions, self.seen, strict=True) if seen}
            return self.unseen & np.array([verb not in met for verb, _ in self.interactions], dtype=np.bool_)
        if name == "non_rare":
            return ~self.rare if self.rare.any() else self.rare
        chosen: Flags = getattr(self, name)
        return chosen

    def is_alike(self, other: ClassRecords) -> bool:
        """Whether both score the same classes in the same groups."""
        flags = ((self.rare, other.rare), (self.unseen, other.unseen), (self.seen, other.seen))
        return self.interactions == other.interactions and all(np.array_equal(*pair) for pair in flags)


class InteractionScoring:
    """How cells are scored whose task is interactions."""

    parts = (MAP, COST)
    summary = MAP
    note = (
        "Mean average precision, official, Default. How much a taught student's second readout counts was chosen on "
        "dev."
    )
    drawn = (
        "95 % bootstrap interval, seeds and interactions drawn anew (pictures are not: the chance of those is in the "
        "interactions' differences; of few interactions it is too narrow)"
    )

    def score(self, ablation: Ablation, cell: Cell, config: Config, progress: Progress) -> dict[str, Any]:
        """The results file of a trained cell; its classes' precisions and samples are written on the way."""
        fold = read_pair_fold(ablation.data, config.data.split, ablation.plan.fold)
        recognizer, read = PairRecognizer.from_pretrained(cell.run.student, device=ablation.device), fold.read
        chosen = {image.file_name for image in read.images[:: math.ceil(len(read.images) / SAMPLES)]}
        samples: list[PairPrediction] = []

        def watched(predictions: Iterable[PairPrediction]) -> Iterator[PairPrediction]:
            for prediction in predictions:
                if prediction.file_name in chosen:
                    samples.append(replace(prediction, pairs=prediction.pairs[:_SHOWN]))
                yield prediction

        found = predict_annotated_pairs(
            recognizer,
            read.images,
            image_folder(ablation.data, fold.name),
            recognizer.offer(read.vocabulary, read.interactions),
            batch_size=config.evaluation.batch_size,
            workers=config.data.workers,
            progress=lambda done, total: progress("predicting", done, total),
        )
        splits = {fold.split.name or "own": fold.unseen} if fold.split is not None and fold.unseen else {}
        report = evaluate_pairs(
            watched(found),
            read.images,
            read.interactions,
            read.rare,
            splits,
            modes=("official",),
            fold=fold.name,
            left_out=dict.fromkeys(splits, fold.left_out),
        )
        means = report.modes["official"]["default"]
        records = class_records(means, fold)
        write_classes(cell.classes, records)
        write_predictions(cell.samples, samples)
        unmet = records.average_precision[records.group("unmet")]
        results = report.to_json() | {"notices": list(recognizer.notices), "cost": cost_of(cell, recognizer.checkpoint)}
        return results | {
            "split": {k: v for name in splits for k, v in means.splits[name].to_json().items()},
            "unmet": {"map_unmet": float(unmet.mean())} if len(unmet) else {},
        }

    def score_teacher(self, ablation: Ablation, cell: Cell, progress: Progress) -> dict[str, Any]:
        """There is none: raises AblationError."""
        raise AblationError(f"the row {cell.row.name!r}: no teacher is prompted for interactions; remove it")

    def records(self, cell: Cell) -> ClassRecords | None:
        """What the interactions scored. Raises AblationError for a file that is damaged."""
        return read_classes(cell.classes) if cell.classes.is_file() else None

    def intervals(
        self, row: Mapping[int, ClassRecords], against: Mapping[int, ClassRecords], draws: int = DRAWS
    ) -> dict[str, Interval]:
        """Of every mean that has a class, from seeds and interactions drawn anew, both rows on the same draws.

        Seen and unseen interactions are drawn apart for the harmonic mean. Empty where the rows have no seed in common
        or were scored on other interactions.
        """
        seeds = sorted(row.keys() & against.keys())
        cells = [of[seed] for of in (row, against) for seed in seeds]
        if not cells or not all(cells[0].is_alike(other) for other in cells):
            return {}
        ours, theirs = (np.stack([of[seed].average_precision for seed in seeds]) for of in (row, against))
        groups = {name: flags for name in _MEANS if (flags := cells[0].group(name)).any()}
        found = {
            f"map_{name}": interval_of(drawn_means((ours - theirs)[:, flags], draws, 0), 0)
            for name, flags in groups.items()
        }
        if {"seen", "unseen"} <= groups.keys():
            both = [
                _harmonic(*(drawn_means(of[:, groups[g]], draws, s) for s, g in enumerate(("seen", "unseen"))))
                for of in (ours, theirs)
            ]
            found["harmonic_mean"] = interval_of(both[0] - both[1], 0)
        return found

    def differing_pictures(
        self, ablation: Ablation, cells: tuple[Cell, Cell], titles: tuple[str, str], count: int
    ) -> list[PictureSection]:
        """Pictures in which one cell's best interaction is right and the other's wrong."""
        fold = read_pair_fold(ablation.data, ablation.config(cells[1]).data.split, ablation.plan.fold)
        ours, theirs = ([PairPrediction.from_json(line) for _, line in read_lines(cell.samples)] for cell in cells)
        read, folder = fold.read, image_folder(ablation.data, fold.name)
        return compare_pair_pictures(
            folder, read.vocabulary, read.images, ours, theirs, titles, count, unseen=fold.unseen
        )


def _harmonic(first: Floats, second: Floats) -> Floats:
    total = first + second
    return np.where(total > 0, 2 * first * second / np.where(total > 0, total, 1), 0.0)


def class_records(means: MeanPrecisions, fold: PairFold) -> ClassRecords:
    """The interactions with an annotated row, and what each scored."""
    kept = [interaction for interaction, value in means.average_precision.items() if not math.isnan(value)]
    unseen = np.array([interaction in fold.unseen for interaction in kept], dtype=np.bool_)
    left_out = np.array([interaction in fold.left_out for interaction in kept], dtype=np.bool_)
    return ClassRecords(
        tuple(kept),
        np.array([means.average_precision[interaction] for interaction in kept], dtype=np.float64),
        np.array([interaction in fold.read.rare for interaction in kept], dtype=np.bool_),
        unseen,
        ~unseen & ~left_out,
    )


def write_classes(path: Path, records: ClassRecords) -> None:
    """Writes what the interactions scored as JSON, a list a column."""
    columns = {name: getattr(records, name).tolist() for name in ("average_precision", "rare", "unseen", "seen")}
    record = {"format": CLASSES_FORMAT, "interactions": records.interactions, **columns}
    write_text_atomically(path, json.dumps(record, separators=(",", ":")))


def read_classes(path: Path) -> ClassRecords:
    """The inverse of :func:`write_classes`. Raises AblationError for a file that is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != CLASSES_FORMAT:
            raise ValueError(f"the format is {record['format']!r}, not {CLASSES_FORMAT!r}")
        flags = [np.array(record[name], dtype=np.bool_) for name in ("rare", "unseen", "seen")]
        precision = np.array(record["average_precision"], dtype=np.float64)
        found = ClassRecords(tuple((verb, thing) for verb, thing in record["interactions"]), precision, *flags)
        if {len(column) for column in (precision, *flags)} != {len(found.interactions)}:
            raise ValueError("the columns are of different lengths")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AblationError(f"{path}: damaged ({error}); delete the cell's folder {path.parent}") from None
    return found
