"""Any system's predictions against annotations: one call, one report (``docs/evaluation.md``)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from ovgsr.evaluation.columns import (
    AnnotationColumns,
    EvaluationError,
    Findings,
    PredictionColumns,
    encode_annotations,
    encode_predictions,
)
from ovgsr.evaluation.noun_groups import NounScores, score_nouns
from ovgsr.evaluation.open_vocabulary import OpenVocabularyScores, RankingRecord
from ovgsr.evaluation.predictions import read_predictions
from ovgsr.evaluation.scores import FourteenNumbers, SituationScores, scores_from_sums
from ovgsr.evaluation.swig import profile_named, sum_scores
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.verb_split import VerbSplit

DEFAULT_PROFILES = ("official", "coformer")
TABLE_HEADER = (
    *("profile", "pictures of", "average", "images", "verb top-1", "verb top-5"),
    *(f"{s} {m}" for s in ("top-1", "top-5", "gt") for m in ("value", "value-all", "grnd", "grnd-all")),
)
_SENTENCES = {
    "missing_image": "{n} annotated pictures have no prediction and score 0 ({example} first)",
    "missing_frame": "{n} predictions lack the annotated verb's frame, whose nouns and boxes score 0 ({example} first)",
    "missing_role": "{n} roles of annotated frames have no answer and score 0 ({example} first)",
    "unknown_role": "{n} answers name a role that the annotated frame does not have and are ignored ({example} first)",
    "duplicate": "{n} predictions are for a picture predicted before; the first counts ({example} first)",
    "not_in_data": "{n} predictions are for pictures that are not in the data and are ignored ({example} first)",
    "other_fold": "{n} annotated pictures have verbs that do not compete here and are left out ({example} first)",
    "dropped": "{n} annotated pictures are left out by the split ({example} first)",
    "short_ranking": "{n} rankings hold fewer than five verbs, so top-5 is among those ({example} first)",
    "partial_ranking": "{n} rankings lack competing verbs, which no offset can bring in ({example} first)",
    "foreign_verb": "{n} rankings hold verbs that do not compete here; they stay ranked ({example} first)",
}


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Results under each profile, and what was odd about the predictions."""

    profiles: Mapping[str, SituationScores]
    fold: str
    split: str | None
    open_vocabulary: OpenVocabularyScores | None
    warnings: tuple[str, ...]
    counts: Mapping[str, int]
    """How often each kind of warning occurred."""
    offset: float | None = None
    rare_offset: float = 0.0
    with_offset: Mapping[str, SituationScores] = field(default_factory=dict)
    """Results with the constants added to the unseen and to the rare verbs' log scores, where one was given."""
    nouns: Mapping[str, Mapping[str, NounScores]] = field(default_factory=dict)
    """Profile -> seen, rare and unseen nouns' results, where training's use of nouns was given."""

    def to_json(self, profile: str | None = None) -> dict[str, Any]:
        """The results file: the named (None: the first) profile's block; all others stand under ``profiles``."""
        first = next(iter(self.profiles)) if profile is None else profile
        if first not in self.profiles:
            raise EvaluationError(f"the profile {first!r} was not evaluated; choose from {', '.join(self.profiles)}")
        record = self._block(first)
        record |= {"fold": self.fold, "split": self.split, "warnings": list(self.warnings)}
        if self.open_vocabulary is not None:
            record["open_vocabulary"] = self.open_vocabulary.to_json()
        others = [name for name in self.profiles if name != first] if profile is None else []
        if others:
            record["profiles"] = {name: self._block(name) for name in others}
        return record

    def _block(self, profile: str) -> dict[str, Any]:
        block = self.profiles[profile].to_json()
        if profile in self.with_offset:
            constants = {"offset": self.offset, "rare_offset": self.rare_offset}
            block["with_offset"] = {**constants, **self.with_offset[profile].to_json()}
        if profile in self.nouns:
            block["nouns"] = {group: scores.to_json() for group, scores in self.nouns[profile].items()}
        return block

    def table_rows(self) -> list[tuple[str, ...]]:
        """Rows of text under TABLE_HEADER: every profile, all pictures and each subset, subsets in both averages."""
        rows: list[tuple[str, ...]] = []
        for name, scores in self.profiles.items():
            rows += _rows(name, scores)
            if name in self.with_offset:
                rows += _rows(f"{name}, offset {self.offset:.3f}", self.with_offset[name])
        return rows


def _rows(title: str, scores: SituationScores) -> Iterator[tuple[str, ...]]:
    own = profile_named(scores.profile).average
    for group, result in scores.groups.items():
        averages = {own: result.numbers}
        if group != "all":
            averages |= {"macro": result.macro, "per_image": result.per_image, own: result.numbers}
        for average, numbers in averages.items():
            yield (title, group, average.replace("_", " "), str(result.images), *_cells(numbers))


def _cells(numbers: FourteenNumbers) -> Iterator[str]:
    return ("-" if math.isnan(number) else f"{number:.2f}" for number in numbers.flat())


def evaluate_predictions(
    predictions: Iterable[ImagePrediction],
    annotated: Sequence[AnnotatedImage],
    split: VerbSplit | None = None,
    fold: str = "test",
    profiles: Sequence[str] = DEFAULT_PROFILES,
    nouns: Collection[str] | None = None,
    *,
    offset: float | None = None,
    rare_offset: float = 0.0,
    uses: Mapping[str, int] | None = None,
) -> EvaluationReport:
    """Scores predictions, in any order, in one pass over them.

    With a ``split``, results are also given for seen, rare and unseen verbs, and annotated pictures whose verb does
    not compete on ``fold`` are left out and counted. ``nouns`` is the noun vocabulary that "oov" refers to.
    ``offset`` and ``rare_offset`` are calibration constants for unseen and rare verbs (``choose_offset``, or a
    student's own): results with and without them are then both reported. ``uses`` is how often training shows each
    noun (``noun_uses``): results are then also given for seen, rare and unseen nouns.

    Raises EvaluationError for annotations that cannot be scored and for an unknown profile or fold.
    """
    if not [profile_named(name) for name in profiles]:
        raise EvaluationError("no profile is named; give at least one")
    if offset is not None and split is None:
        raise EvaluationError("an offset needs a split, which says what verbs are unseen")
    findings = Findings()
    scored = _of_fold(annotated, split, fold, findings)
    gold = encode_annotations(scored, nouns=nouns)
    record = None
    if split is not None:
        gold_verbs = dict(zip(gold.file_names, (verb for verb, _ in gold.frames), strict=True))
        record = RankingRecord(gold_verbs, split, fold, keep=1 if offset is None else 5)
    competing = None if split is None else frozenset(split.candidates(fold))
    left_out = frozenset(image.file_name for image in annotated) - frozenset(gold.file_names)
    stream = _checked(predictions, competing or frozenset(gold.verbs), split is not None, left_out, findings)
    predicted = encode_predictions(stream if record is None else record.watch(stream), gold, findings)
    groups = {} if split is None else split.groups(fold)
    shifted = {}
    if record is not None and offset is not None:
        for name in record.incomplete:
            findings.add("partial_ranking", name)
        shifted = evaluate_columns(
            gold, _with_ranks(gold, predicted, record.ranks(offset, rare_offset)), groups, profiles
        )
    return EvaluationReport(
        profiles=evaluate_columns(gold, predicted, groups, profiles),
        fold=fold,
        split=None if split is None else split.name,
        open_vocabulary=None if record is None else record.scores(),
        warnings=_warnings(findings),
        counts=dict(findings.counts),
        offset=offset,
        rare_offset=rare_offset,
        with_offset=shifted,
        nouns={} if uses is None else {n: score_nouns(gold, predicted, uses, profile_named(n)) for n in profiles},
    )


def evaluate_file(
    path: str | Path,
    annotated: Sequence[AnnotatedImage],
    split: VerbSplit | None = None,
    fold: str = "test",
    profiles: Sequence[str] = DEFAULT_PROFILES,
    nouns: Collection[str] | None = None,
    *,
    offset: float | None = None,
    uses: Mapping[str, int] | None = None,
) -> EvaluationReport:
    """:func:`evaluate_predictions` of a predictions file, of which only the annotated verbs' frames are built.

    Raises PredictionsError for a file at fault, besides EvaluationError.
    """
    gold_verbs = {image.file_name: image.situation.verb for image in annotated}
    predictions = read_predictions(path, gold_verbs)
    return evaluate_predictions(predictions, annotated, split, fold, profiles, nouns, offset=offset, uses=uses)


def _warnings(findings: Findings) -> tuple[str, ...]:
    return tuple(
        sentence.format(n=findings.counts[kind], example=findings.examples[kind])
        for kind, sentence in _SENTENCES.items()
        if findings.counts[kind]
    )


def _of_fold(
    annotated: Sequence[AnnotatedImage], split: VerbSplit | None, fold: str, findings: Findings
) -> Sequence[AnnotatedImage]:
    if not annotated:
        raise EvaluationError("there is no annotated picture to score; check the fold")
    if split is None:
        return annotated
    try:
        competing = frozenset(split.candidates(fold))
    except KeyError:
        raise EvaluationError(f"the fold {fold!r} does not exist; choose train, dev or test") from None
    others = [image.file_name for image in annotated if image.situation.verb not in competing]
    if others:
        findings.add("other_fold", others[0], len(others))
    scored = split.pictures(annotated, fold)
    if len(scored) + len(others) < len(annotated):
        kept = {*others, *(image.file_name for image in scored)}
        dropped = [image.file_name for image in annotated if image.file_name not in kept]
        findings.add("dropped", dropped[0], len(dropped))
    if not scored:
        raise EvaluationError(f"no annotated picture has a verb of the split {split.name!r}; give the data's own split")
    return scored


def _checked(
    predictions: Iterable[ImagePrediction],
    competing: frozenset[str],
    all_known: bool,
    left_out: frozenset[str],
    findings: Findings,
) -> Iterator[ImagePrediction]:
    """The predictions to score; short rankings and, where the competing verbs are known, others are counted."""
    enough = min(5, len(competing))
    for prediction in predictions:
        if prediction.file_name in left_out:
            continue
        ranking = prediction.ranking
        if len(ranking) < enough:
            findings.add("short_ranking", prediction.file_name)
        if all_known and not competing.issuperset(map(itemgetter(0), ranking)):
            findings.add("foreign_verb", prediction.file_name)
        yield prediction


def _with_ranks(gold: AnnotationColumns, predicted: PredictionColumns, rank_of: Mapping[str, int]) -> PredictionColumns:
    ranks = [rank_of.get(name, rank) for name, rank in zip(gold.file_names, predicted.gold_rank.tolist(), strict=True)]
    return replace(predicted, gold_rank=torch.tensor(ranks, dtype=torch.int64))


def evaluate_columns(
    gold: AnnotationColumns,
    predicted: PredictionColumns,
    groups: Mapping[str, Sequence[str]],
    profiles: Sequence[str] = DEFAULT_PROFILES,
) -> dict[str, SituationScores]:
    """Scores answers that are columns already, e.g. straight from a model: no loop over pictures.

    ``groups``: subsets of verbs to report beside "all" (``VerbSplit.groups``).
    """
    scores = {}
    for rule in map(profile_named, profiles):
        sums = sum_scores(gold, predicted, rule)
        scores[rule.name] = scores_from_sums(sums, gold.verbs, groups, rule.name, rule.average)
    return scores
