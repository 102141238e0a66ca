"""What open-vocabulary systems are compared by: seen against unseen verbs when all of them compete.

Training-verb scores run ahead of unseen verbs' scores, so one constant added to the unseen verbs' log scores trades
the two accuracies (calibrated stacking). The area under that curve (AUSUC) needs no constant; a constant may be
chosen on development pictures of seen verbs. Both after Chao et al. 2016, arXiv 1605.04253.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from ovgsr.evaluation.columns import BEYOND_FIVE, EvaluationError
from ovgsr.evaluation.scores import number_or_null
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.verb_split import VerbSplit

Ranking = tuple[tuple[str, float], ...]
SMALLEST_PROBABILITY = 1e-300
"""Stands for a probability of 0, whose logarithm no constant could lift."""
ROUNDING = 1e-9
"""A chosen constant stays this much below its breakpoint, so that rounding costs no further picture."""


@dataclass(frozen=True, slots=True)
class SeenUnseenCurve:
    """Accuracies in 0..1 at every constant that makes a difference, from -infinity to +infinity."""

    seen: npt.NDArray[np.float64]
    unseen: npt.NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area under the curve in 0..1; its points are joined by straight lines."""
        heights = (self.seen[1:] + self.seen[:-1]) / 2
        return float((heights * np.diff(self.unseen)).sum())


@dataclass(frozen=True, slots=True)
class OpenVocabularyScores:
    """Percent; None with the reason where the rankings do not hold what a number needs."""

    ausuc: float | None
    unseen_among_unseen: float | None
    reasons: tuple[str, ...]
    chance_verb_top1: float
    """Guessing among all competing verbs."""
    chance_unseen_among_unseen: float

    def to_json(self) -> dict[str, Any]:
        """The block ``open_vocabulary`` of a results file."""
        return {
            "ausuc": self.ausuc,
            "unseen_among_unseen_verb_top1": self.unseen_among_unseen,
            "reasons": list(self.reasons),
            "chance_verb_top1": number_or_null(self.chance_verb_top1),
            "chance_unseen_among_unseen": number_or_null(self.chance_unseen_among_unseen),
        }


@dataclass(frozen=True, slots=True)
class _Sides:
    """One picture's best verbs on either side of the split, best first."""

    known: Ranking
    unseen: Ranking
    complete: bool
    rare: Ranking = ()
    """The best rare verbs, which are among ``known`` where they are good enough."""


class RankingRecord:
    """Notes, while predictions stream by, what the open-vocabulary numbers need of each picture's ranking."""

    def __init__(self, gold_verbs: Mapping[str, str], split: VerbSplit, fold: str, keep: int = 1) -> None:
        """``gold_verbs``: picture -> annotated verb. ``keep``: best verbs noted a side (5 to re-rank the top five)."""
        self.gold_verbs = gold_verbs
        self.seen = frozenset(split.seen)
        self.rare = frozenset(split.rare)
        self.unseen = frozenset(split.groups(fold)["unseen"])
        self.candidates = frozenset(split.candidates(fold))
        self.keep = keep
        self._sides: dict[str, _Sides] = {}
        self._probabilities = True

    def watch(self, predictions: Iterable[ImagePrediction]) -> Iterator[ImagePrediction]:
        """The same predictions, noted on the way; of a picture predicted twice the first counts."""
        for prediction in predictions:
            name = prediction.file_name
            if name in self.gold_verbs and name not in self._sides:
                self._note(name, prediction.ranking)
            yield prediction

    def _note(self, name: str, ranking: Ranking) -> None:
        # Rankings may hold hundreds of verbs: look no further than the best of either side, and compare names in C.
        unseen = islice((entry for entry in ranking if entry[0] in self.unseen), self.keep)
        known = islice((entry for entry in ranking if entry[0] not in self.unseen), self.keep)
        rare = islice((entry for entry in ranking if entry[0] in self.rare), self.keep if self.keep > 1 else 0)
        complete = len(ranking) >= len(self.candidates) and self.candidates <= dict(ranking).keys()
        self._sides[name] = _Sides(tuple(known), tuple(unseen), complete, tuple(rare))
        self._probabilities = self._probabilities and are_probabilities(ranking)

    @property
    def incomplete(self) -> list[str]:
        """The pictures whose ranking lacks a competing verb."""
        return [name for name, sides in self._sides.items() if not sides.complete]

    def ranks(self, offset: float, rare_offset: float = 0.0) -> dict[str, int]:
        """Each picture's rank of its annotated verb when constants are added to unseen and to rare verbs' log scores.

        Ranks are right up to ``keep`` and 5 beyond.
        """
        found = {}
        constants = dict.fromkeys(self.unseen, offset) | dict.fromkeys(self.rare, rare_offset)
        for name, sides in self._sides.items():
            best = tuple(dict.fromkeys((*sides.known, *sides.rare, *sides.unseen)))
            order = [verb for verb, _ in _shifted(best, constants, self.unseen, self._probabilities)]
            verb = self.gold_verbs[name]
            found[name] = order.index(verb) if verb in order[: self.keep] else BEYOND_FIVE
        return found

    def scores(self) -> OpenVocabularyScores:
        """The numbers over all pictures of ``gold_verbs``; a picture without a prediction is wrong."""
        reasons: list[str] = []
        return OpenVocabularyScores(
            ausuc=self._ausuc(reasons),
            unseen_among_unseen=self._unseen_among_unseen(reasons),
            reasons=tuple(reasons),
            chance_verb_top1=100 / len(self.candidates) if self.candidates else math.nan,
            chance_unseen_among_unseen=100 / len(self.unseen) if self.unseen else math.nan,
        )

    def _ausuc(self, reasons: list[str]) -> float | None:
        curve = self.curve(reasons)
        return None if curve is None else 100 * curve.area

    def curve(self, reasons: list[str] | None = None) -> SeenUnseenCurve | None:
        """The exact seen-unseen curve, one point between any two breakpoints.

        None (and a sentence in ``reasons``) where pictures of seen or unseen verbs are missing from the data, or a
        ranking lacks a competing verb.
        """
        reasons = [] if reasons is None else reasons
        of_seen = [name for name, verb in self.gold_verbs.items() if verb in self.seen]
        of_unseen = [name for name, verb in self.gold_verbs.items() if verb in self.unseen]
        if not of_seen or not of_unseen:
            reasons.append("AUSUC needs pictures of seen and of unseen verbs")
            return None
        partial = [name for name in (*of_seen, *of_unseen) if name in self._sides and not self._sides[name].complete]
        if partial:
            reasons.append(
                f"AUSUC needs the score of every competing verb ({len(self.candidates)}); "
                f"the rankings of {len(partial)} pictures lack some, {partial[0]} first"
            )
            return None
        seen = self._breakpoints(of_seen, own_side_unseen=False)
        unseen = self._breakpoints(of_unseen, own_side_unseen=True)
        return seen_unseen_curve(seen, len(of_seen), unseen, len(of_unseen))

    def largest_offset(self, cost: float) -> float:
        """The largest constant >= 0 that costs at most ``cost`` points of verb top-1 on the seen verbs' pictures."""
        names = [name for name, verb in self.gold_verbs.items() if verb in self.seen]
        partial = [name for name in names if name in self._sides and not self._sides[name].complete]
        if partial:
            message = f"choosing a constant needs the score of every competing verb ({len(self.candidates)})"
            raise EvaluationError(f"{message}; the ranking of {partial[0]} lacks some")
        breakpoints = np.sort(self._breakpoints(names, own_side_unseen=False))[::-1]
        right = int((breakpoints >= 0).sum())
        if right == 0:
            return 0.0  # no picture is right that a constant could cost
        allowed = math.floor(cost * len(names) / 100 + ROUNDING)
        return max(0.0, float(breakpoints[max(right - allowed, 1) - 1]) - ROUNDING)

    def _breakpoints(self, names: Sequence[str], own_side_unseen: bool) -> npt.NDArray[np.float64]:
        """Where the pictures whose verb leads its own side change sides: known minus unseen log score."""
        pairs = []
        for name in names:
            sides = self._sides.get(name)
            if sides is None:
                continue
            if self._leads((sides.unseen if own_side_unseen else sides.known)[0], name):
                pairs.append((sides.known[0][1], sides.unseen[0][1]))
        table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        if self._probabilities:
            table = np.log(np.maximum(table, SMALLEST_PROBABILITY))
        return table[:, 0] - table[:, 1]

    def _leads(self, best: tuple[str, float], name: str) -> bool:
        """Whether the best verb of a side is the picture's own.

        A probability of exactly 0 is no answer: a closed vocabulary gives it to every unseen verb, and whichever of
        them is named first would else be right by chance.
        """
        verb, score = best
        return verb == self.gold_verbs[name] and not (self._probabilities and score == 0)

    def _unseen_among_unseen(self, reasons: list[str]) -> float | None:
        names = [name for name, verb in self.gold_verbs.items() if verb in self.unseen]
        if not names:
            reasons.append("unseen among unseen needs pictures of unseen verbs")
            return None
        if not any(sides.unseen for sides in self._sides.values()):
            return 0.0  # a closed vocabulary: unseen verbs are never answered
        without = [name for name in names if name in self._sides and not self._sides[name].unseen]
        if without:
            reasons.append(
                "unseen among unseen needs an unseen verb in every ranking; "
                f"{len(without)} have none, {without[0]} first"
            )
            return None
        right = [n for n in names if n in self._sides and self._leads(self._sides[n].unseen[0], n)]
        return 100 * len(right) / len(names)


def seen_unseen_curve(
    seen_breakpoints: npt.NDArray[np.float64],
    seen_images: int,
    unseen_breakpoints: npt.NDArray[np.float64],
    unseen_images: int,
) -> SeenUnseenCurve:
    """Accuracies between all breakpoints.

    A seen picture is right while the constant is below its breakpoint, an unseen one while it is above; pictures that
    are never right have none but count in ``*_images``.
    """
    seen, unseen = np.sort(seen_breakpoints), np.sort(unseen_breakpoints)
    edges = np.unique(np.concatenate([seen, unseen]))
    # The point after edge e: seen pictures with a breakpoint > e are still right, unseen ones with <= e are by now.
    still_seen = np.concatenate([[len(seen)], len(seen) - np.searchsorted(seen, edges, side="right")])
    now_unseen = np.concatenate([[0], np.searchsorted(unseen, edges, side="right")])
    return SeenUnseenCurve(still_seen / seen_images, now_unseen / unseen_images)


def are_probabilities(ranking: Ranking) -> bool:
    """Whether scores (best first) lie in 0..1; others are taken as logits, to which a constant is simply added."""
    return not ranking or (ranking[0][1] <= 1.0 and ranking[-1][1] >= 0.0)


def _shifted(
    ranking: Ranking, constants: Mapping[str, float], unseen: Collection[str], probabilities: bool
) -> list[tuple[str, float]]:
    """Log scores after the constants, best first; at equal scores a known verb stays ahead of an unseen one."""
    scored = []
    for verb, score in ranking:
        logarithm = math.log(max(score, SMALLEST_PROBABILITY)) if probabilities else score
        scored.append((verb, logarithm + constants.get(verb, 0.0)))
    return sorted(scored, key=lambda entry: (-entry[1], entry[0] in unseen))


def apply_offset(
    predictions: Sequence[ImagePrediction], offset: float, unseen: Collection[str]
) -> list[ImagePrediction]:
    """The predictions with ``offset`` added to the unseen verbs' log scores and ranked anew.

    Where all scores lie in 0..1 they stay probabilities with the sum they had; other scores are shifted as they are.
    """
    unseen = frozenset(unseen)
    probabilities = all(are_probabilities(prediction.ranking) for prediction in predictions)
    return [
        replace(prediction, ranking=_reranked(prediction.ranking, offset, unseen, probabilities))
        for prediction in predictions
    ]


def _reranked(ranking: Ranking, offset: float, unseen: frozenset[str], probabilities: bool) -> Ranking:
    shifted = _shifted(ranking, dict.fromkeys(unseen, offset), unseen, probabilities)
    if not probabilities or not shifted:
        return tuple(shifted)
    top = shifted[0][1]
    weights = [math.exp(score - top) for _, score in shifted]
    scale = sum(score for _, score in ranking) / sum(weights)
    return tuple((verb, weight * scale) for (verb, _), weight in zip(shifted, weights, strict=True))


def choose_offset(
    predictions: Iterable[ImagePrediction],
    annotated: Sequence[AnnotatedImage],
    split: VerbSplit,
    *,
    fold: str = "dev",
    cost: float = 3.0,
) -> float:
    """The largest constant that costs at most ``cost`` points of verb top-1 on pictures of seen verbs.

    Only pictures of seen verbs are looked at, whatever else is given: the constant owes nothing to an unseen verb's
    picture. The fold's unseen verbs (``dev_unseen`` on dev) are what competes. Where even dropping every seen picture
    costs less than ``cost``, the largest breakpoint is returned.

    Raises EvaluationError where no picture of a seen verb is left, or a ranking lacks a competing verb.
    """
    if cost < 0:
        raise EvaluationError(f"the cost of a constant is at least 0 points, not {cost}")
    seen = frozenset(split.seen)
    gold_verbs = {image.file_name: image.situation.verb for image in annotated if image.situation.verb in seen}
    if not gold_verbs:
        raise EvaluationError("choosing a constant needs development pictures of seen verbs; none is given")
    record = RankingRecord(gold_verbs, split, fold)
    for _ in record.watch(predictions):
        pass
    if not record.unseen:
        raise EvaluationError(f"the split {split.name!r} has no unseen verb on {fold!r}; a constant would move nothing")
    return record.largest_offset(cost)
