"""The HICO-DET benchmark: mean average precision of human-object interactions, as published code bases compute it.

One call scores predictions under each mode and in both settings (``docs/evaluation.md``). All numbers are percent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from ovgsr.evaluation.columns import EvaluationError, Findings
from ovgsr.evaluation.hoi_columns import (
    Flags,
    Floats,
    GoldPairs,
    Integers,
    ScoredPairs,
    encode_gold,
    encode_pairs,
    ordered,
)
from ovgsr.evaluation.hoi_matching import (
    average_precisions,
    best_of_each_picture,
    true_positives,
    without_near_copies,
)
from ovgsr.evaluation.scores import harmonic_mean, number_or_null
from ovgsr.hoi_vocabulary import Interaction
from ovgsr.interactions import OBJECT, PairPrediction
from ovgsr.situation import AnnotatedImage

TENTHS = (0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Recall bins as MATLAB's 0:0.1:1 and torch.linspace have them: a recall of 3/10 misses the fourth."""
NUMPY_TENTHS = tuple(np.arange(0, 1.1, 0.1).tolist())
"""The same bins as numpy makes them: 6/10 and 7/10 miss theirs too."""

SETTINGS = {"default": "Default", "known_object": "Known Object"}
UC_SETS = ("uc0", "uc1", "uc2", "uc3", "uc4")
"""The five random splits whose mean is reported as UC."""

_SENTENCES = {
    "missing_image": "{n} annotated pictures have no prediction ({example} first)",
    "duplicate": "{n} predictions are for a picture predicted before; the first counts ({example} first)",
    "not_in_data": "{n} predictions are for pictures that are not in the data and are ignored ({example} first)",
    "unlisted": "{n} predicted pairs are no listed interaction and are ignored ({example} first)",
    "no_row": "{n} interactions have no annotated row here; they count in no mean ({example} first)",
}


@dataclass(frozen=True, slots=True)
class Mode:
    """How one code base scores. Each field but the bins is off in the official script."""

    name: str
    recall_bins: tuple[float, ...] = TENTHS
    strict: bool = False
    """The overlap must exceed a half."""
    annotated_pictures_only: bool = False
    """Pictures without an annotated row are skipped, their false positives vanish."""
    added_pixel: float = 0.0
    """Predicted corners are taken for inclusive pixels: one is added to width and height."""
    most_per_picture: int | None = None
    near_copy: float | None = None
    """Near copies of a better pair of the same class go, above this product of overlaps."""

    def chosen(self, pairs: ScoredPairs, best_first: Integers, gold: GoldPairs) -> Integers:
        """The positions, of all in ``best_first``, that this code base looks at."""
        chosen = best_first
        if self.annotated_pictures_only:
            chosen = chosen[gold.annotated.take(pairs.image.take(chosen))]
        if self.most_per_picture is not None:
            chosen = best_of_each_picture(pairs, chosen, self.most_per_picture)
        if self.near_copy is not None:
            chosen = without_near_copies(pairs, chosen, self.near_copy, self.added_pixel)
        if chosen is best_first:
            return chosen
        keep = np.zeros(len(pairs), dtype=np.bool_)
        keep[chosen] = True
        return best_first[keep.take(best_first)]


MODES = {
    mode.name: mode
    for mode in (
        Mode("official"),
        Mode("upt", strict=True, annotated_pictures_only=True),
        Mode("gen-vlkt", NUMPY_TENTHS, added_pixel=1.0, most_per_picture=100, near_copy=0.7),
    )
}


@dataclass(frozen=True, slots=True)
class KnownObjects:
    """Which pictures count for an object in the Known-Object setting.

    The official definition is HICO's positive image-level labels (``anno.mat``); where a user lacks them, a picture
    "has" the objects of its annotated rows, a subset. ``definition`` says which one made a number.
    """

    definition: str
    objects_of: Mapping[str, Collection[str]]
    """File name -> objects; a picture that is not named has none."""

    @classmethod
    def of_rows(cls, annotated: Sequence[AnnotatedImage]) -> KnownObjects:
        """The objects of each picture's annotated rows."""
        found = {i.file_name: frozenset(s.nouns[OBJECT].noun for s in i.situations) for i in annotated}
        return cls("a picture has the objects of its annotated rows", found)

    def flags(self, gold: GoldPairs) -> Flags:
        """Whether a picture has an object, shape (I, objects)."""
        sets = (self.objects_of.get(name, ()) for name in gold.file_names)
        return np.array([[name in objects for name in gold.objects] for objects in sets], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class SplitScores:
    """A zero-shot split's means over unseen, seen and both; ``weight`` is the share of unseen classes."""

    map_unseen: float
    map_seen: float
    map_both: float
    weight: float

    @property
    def harmonic_mean(self) -> float:
        """2US / (U + S)."""
        return harmonic_mean(self.map_unseen, self.map_seen)

    @property
    def map_full(self) -> float:
        """w U + (1 - w) S, which must be the mean over both: a free check of every published row."""
        return self.weight * self.map_unseen + (1 - self.weight) * self.map_seen

    def to_json(self) -> dict[str, Any]:
        """The split's block of a results file."""
        names = ("map_unseen", "map_seen", "harmonic_mean", "map_full")
        return {name: number_or_null(getattr(self, name)) for name in names}


@dataclass(frozen=True, slots=True)
class MeanPrecisions:
    """One mode's numbers in one setting, percent; nan for a mean over no class."""

    average_precision: Mapping[Interaction, float]
    """Of every listed interaction; nan where it has no annotated row."""
    map_full: float
    map_rare: float
    map_non_rare: float
    splits: Mapping[str, SplitScores]

    @property
    def largest_disagreement(self) -> float:
        """Over the splits, how far w U + (1 - w) S is from the mean: rounding only, or something is wrong."""
        apart = (abs(split.map_full - split.map_both) for name, split in self.splits.items() if name != "uc")
        return max((difference for difference in apart if not math.isnan(difference)), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """The setting's block of a results file."""
        means = {name: number_or_null(getattr(self, name)) for name in ("map_full", "map_rare", "map_non_rare")}
        return means | {name: split.to_json() for name, split in self.splits.items()}


@dataclass(frozen=True, slots=True)
class InteractionReport:
    """Results of every mode asked for in both settings, and what was odd about the predictions."""

    modes: Mapping[str, Mapping[str, MeanPrecisions]]
    """Mode -> setting ("default", "known_object") -> numbers."""
    known_objects: str
    fold: str
    classes: Mapping[str, int]
    """How many interactions with an annotated row stand behind each mean."""
    warnings: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """How often each kind of warning occurred."""

    def to_json(self) -> dict[str, Any]:
        """The results file: the first mode's block; all others stand under ``modes``."""
        first, *others = self.modes
        about = {"fold": self.fold, "known_objects": self.known_objects, "classes": dict(self.classes)}
        record = self._block(first) | about | {"warnings": list(self.warnings)}
        if others:
            record["modes"] = {name: self._block(name) for name in others}
        return record

    def _block(self, mode: str) -> dict[str, Any]:
        return {"mode": mode} | {setting: means.to_json() for setting, means in self.modes[mode].items()}


def mode_named(name: str) -> Mode:
    """Raises EvaluationError for an unknown name."""
    if name not in MODES:
        raise EvaluationError(f"there is no mode {name!r}; choose from {', '.join(MODES)}")
    return MODES[name]


def evaluate_pairs(
    predictions: Iterable[PairPrediction],
    annotated: Sequence[AnnotatedImage],
    interactions: Sequence[Interaction],
    rare: Collection[Interaction] = (),
    splits: Mapping[str, Collection[Interaction]] | None = None,
    known_objects: KnownObjects | None = None,
    modes: Sequence[str] = tuple(MODES),
    fold: str = "test",
    left_out: Mapping[str, Collection[Interaction]] | None = None,
) -> InteractionReport:
    """Scores predictions, in any order, in one pass over them.

    ``interactions`` are the classes (600 in HICO-DET), ``splits`` maps a zero-shot split's name to its unseen ones;
    those it leaves out, which training does not meet but which another fold tests, are neither seen nor unseen.
    Predicted interactions outside the classes are ignored and counted, as is a class without an annotated row.

    Raises EvaluationError for annotations that cannot be scored, an unknown mode, and a rare or unseen interaction
    that is not listed.
    """
    gold, findings = encode_gold(annotated, interactions), Findings()
    pairs = encode_pairs(predictions, gold, findings)
    known_objects = known_objects or KnownObjects.of_rows(annotated)
    return evaluate_columns(
        pairs, gold, known_objects, rare, splits or {}, modes, fold, findings, left_out=left_out or {}
    )


def evaluate_columns(
    pairs: ScoredPairs,
    gold: GoldPairs,
    known_objects: KnownObjects,
    rare: Collection[Interaction],
    splits: Mapping[str, Collection[Interaction]],
    modes: Sequence[str],
    fold: str,
    findings: Findings,
    *,
    left_out: Mapping[str, Collection[Interaction]] = MappingProxyType({}),
) -> InteractionReport:
    """:func:`evaluate_pairs` of predictions that are columns already, e.g. read from a file."""
    if not modes:
        raise EvaluationError("no mode is named; give at least one")
    groups = _groups(gold, rare, splits, left_out)
    empty = np.flatnonzero(gold.totals == 0)
    if len(empty):
        findings.add("no_row", " ".join(gold.interactions[empty[0]]), len(empty))
    known = known_objects.flags(gold)
    precisions = score(pairs, gold, known, [mode_named(name) for name in modes])
    return InteractionReport(
        modes={
            name: {setting: _means(gold, values, groups, splits) for setting, values in settings.items()}
            for name, settings in precisions.items()
        },
        known_objects=known_objects.definition,
        fold=fold,
        classes={name: int((gold.totals[flags] > 0).sum()) for name, flags in groups.items()},
        warnings=tuple(
            sentence.format(n=findings.counts[kind], example=findings.examples[kind])
            for kind, sentence in _SENTENCES.items()
            if findings.counts[kind]
        ),
        counts=dict(findings.counts),
    )


def score(pairs: ScoredPairs, gold: GoldPairs, known: Flags, modes: Sequence[Mode]) -> dict[str, dict[str, Floats]]:
    """Mode -> setting -> average precision in 0..1 of each class, shape (C,)."""
    best_first, result = pairs.best_first(), {}
    for mode in modes:
        rows = ordered(mode.chosen(pairs, best_first, gold), pairs.interaction)
        right = true_positives(pairs, rows, gold, strict=mode.strict, added_pixel=mode.added_pixel)
        interaction = pairs.interaction.take(rows)
        has_object = known[pairs.image.take(rows), gold.object_of_class.take(interaction)]
        result[mode.name] = {
            setting: average_precisions(interaction[counted], right[counted], gold.totals, mode.recall_bins)
            for setting, counted in (("default", slice(None)), ("known_object", has_object))
        }
    return result


def _groups(
    gold: GoldPairs,
    rare: Collection[Interaction],
    splits: Mapping[str, Collection[Interaction]],
    left_out: Mapping[str, Collection[Interaction]],
) -> dict[str, Flags]:
    """Which classes each mean is over, shape (C,): full, rare and non-rare, and every split's unseen and seen ones."""

    def flags(name: str, chosen: Collection[Interaction]) -> Flags:
        stranger = next((interaction for interaction in chosen if interaction not in gold.class_of), None)
        if stranger is not None:
            raise EvaluationError(f"{name}: {' '.join(stranger)!r} is not among the listed interactions")
        return np.isin(np.arange(len(gold.interactions)), [gold.class_of[interaction] for interaction in chosen])

    few = flags("the rare interactions", rare)
    groups = {"full": np.ones_like(few), "rare": few, "non_rare": ~few if few.any() else few}
    for name, unseen in splits.items():
        groups[f"{name}_unseen"] = flags(f"the split {name!r}", unseen)
        groups[f"{name}_seen"] = ~groups[f"{name}_unseen"] & ~flags(f"the split {name!r}", left_out.get(name, ()))
    return groups


def _means(gold: GoldPairs, precision: Floats, groups: Mapping[str, Flags], splits: Collection[str]) -> MeanPrecisions:
    percent = 100 * precision
    scored = gold.totals > 0

    def mean(group: Flags) -> float:
        chosen = percent[group & scored]
        return float(chosen.mean()) if len(chosen) else math.nan

    of_split = {}
    for name in splits:
        unseen, seen = (groups[f"{name}_{part}"] for part in ("unseen", "seen"))
        share = float((unseen & scored).sum() / max((scored & (unseen | seen)).sum(), 1))
        of_split[name] = SplitScores(mean(unseen), mean(seen), mean(unseen | seen), share)
    return MeanPrecisions(
        dict(zip(gold.interactions, percent.tolist(), strict=True)),
        mean(groups["full"]),
        mean(groups["rare"]),
        mean(groups["non_rare"]),
        of_split | _mean_of_uc(of_split),
    )


def _mean_of_uc(splits: Mapping[str, SplitScores]) -> dict[str, SplitScores]:
    if not set(UC_SETS) <= splits.keys():
        return {}
    five = [splits[name] for name in UC_SETS]
    return {"uc": SplitScores(*(math.fsum(getattr(s, f.name) for s in five) / 5 for f in fields(SplitScores)))}
