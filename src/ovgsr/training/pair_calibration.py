"""What a finished pair student owes to dev: how much its distilled verb readout counts, for which verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ovgsr.data.hico_det import HicoDetFold
from ovgsr.evaluation.hico_det import evaluate_pairs
from ovgsr.hoi_vocabulary import HoiSplit
from ovgsr.interactions import PairPrediction
from ovgsr.recognizers.pairs import PairOffer, PairRecognizer, ReadPictures

DISTILLED_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)


def dev_scores(found: Iterable[PairPrediction], dev: HicoDetFold, split: HoiSplit | None) -> dict[str, float]:
    """Mean average precision in percent (official, Default) by name, without the means over nothing."""
    unseen = {} if split is None or not split.dev_unseen else {"dev": split.dev_unseen}
    report = evaluate_pairs(found, dev.images, dev.interactions, dev.rare, unseen, modes=("official",), fold="dev")
    means = report.modes["official"]["default"]
    scores = {"map_full": means.map_full, "map_rare": means.map_rare}
    for part in means.splits.values():
        scores |= {"map_seen": part.map_seen, "map_unseen": part.map_unseen, "map_harmonic": part.harmonic_mean}
    return {name: round(value, 3) for name, value in scores.items() if value == value}


def choose_weights(
    recognizer: PairRecognizer,
    read: Sequence[ReadPictures],
    offer: PairOffer,
    score: Callable[[Iterable[PairPrediction]], dict[str, float]],
) -> None:
    """Gives the checkpoint the two weights of the distilled readout's cosine that dev likes best.

    Best is the largest harmonic mean of seen and unseen, without unseen interactions there the mean over all. The
    weight of the verbs that training met is chosen first, then that of the others. ``read`` is what the network said of
    the dev pictures, once for all weights. Of equals the smallest is taken; where all are equal, dev does not say, and
    the checkpoint keeps what it has.
    """
    checkpoint = recognizer.checkpoint

    def value(known: float, unmet: float) -> float:
        checkpoint.distilled_weight, checkpoint.unmet_weight = known, unmet
        tried = replace(offer, distilled_weight=checkpoint.distilled_weights(offer.vocabulary).to(recognizer.device))
        scores = score(pair for pictures in read for pair in recognizer.decode(pictures, tried))
        return scores.get("map_harmonic", scores.get("map_full", 0.0))

    known, unmet = checkpoint.distilled_weight, checkpoint.unmet_weight
    known = _best(known, lambda weight: value(weight, unmet))
    if not all(map(checkpoint.is_met, offer.vocabulary.verb_names)):
        unmet = _best(unmet, lambda weight: value(known, weight))
    checkpoint.distilled_weight, checkpoint.unmet_weight = known, unmet


def _best(present: float, value: Callable[[float], float]) -> float:
    values = {weight: value(weight) for weight in DISTILLED_WEIGHTS}
    return present if len(set(values.values())) == 1 else max(values, key=values.__getitem__)
