"""What a finished pair student owes to dev: how much its distilled verb readout counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ovgsr.data.hico_det import HicoDetFold
from ovgsr.evaluation.hico_det import evaluate_pairs
from ovgsr.hoi_vocabulary import HoiSplit
from ovgsr.interactions import PairPrediction
from ovgsr.recognizers.pairs import PairOffer, PairRecognizer, ReadPictures

DISTILLED_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


def dev_scores(found: Iterable[PairPrediction], dev: HicoDetFold, split: HoiSplit | None) -> dict[str, float]:
    """Mean average precision in percent (official, Default) by name, without the means over nothing."""
    unseen = {} if split is None or not split.dev_unseen else {"dev": split.dev_unseen}
    report = evaluate_pairs(found, dev.images, dev.interactions, dev.rare, unseen, modes=("official",), fold="dev")
    means = report.modes["official"]["default"]
    scores = {"map_full": means.map_full, "map_rare": means.map_rare}
    for part in means.splits.values():
        scores |= {"map_seen": part.map_seen, "map_unseen": part.map_unseen, "map_harmonic": part.harmonic_mean}
    return {name: round(value, 3) for name, value in scores.items() if value == value}


def choose_weight(
    recognizer: PairRecognizer,
    read: Sequence[ReadPictures],
    offer: PairOffer,
    score: Callable[[Iterable[PairPrediction]], dict[str, float]],
) -> float:
    """The weight of the distilled readout's cosine that makes the harmonic mean of seen and unseen on dev largest.

    Without unseen interactions there, the mean over all. ``read`` is what the network said of the dev pictures, once
    for all weights. Of equals the smallest is taken.
    """

    def value(weight: float) -> float:
        weights = recognizer.checkpoint.distilled_weights(offer.vocabulary, weight).to(recognizer.device)
        tried = replace(offer, distilled_weight=weights)
        scores = score(pair for pictures in read for pair in recognizer.decode(pictures, tried))
        return scores.get("map_harmonic", scores.get("map_full", 0.0))

    return max(DISTILLED_WEIGHTS, key=value)
