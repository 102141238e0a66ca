"""The weight of the distilled readout, chosen from what the network said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from tests.recognizers.test_pair_recognizer import SpellingEncoder

from ovgsr.interactions import PairPrediction
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.recognizers.pairs import PairRecognizer
from ovgsr.training.pair_calibration import DISTILLED_WEIGHTS, choose_weight
from ovgsr.vocabulary import TEXT_TEMPLATES_VERSION

Found = list[PairPrediction]


@pytest.mark.parametrize("wanted", [0.0, 3.0, 16.0])
def test_the_weight_whose_predictions_score_best_is_taken(
    make_pair_checkpoint: Callable[..., PairCheckpoint], wanted: float
) -> None:
    """They are the predictions of a student that has the weight from the start."""
    fingerprint = f"spelling;templates-{TEXT_TEMPLATES_VERSION}"
    recognizer = PairRecognizer(make_pair_checkpoint(fingerprint=fingerprint, distilled=True), SpellingEncoder())
    pixels, sizes, names = torch.randn(4, 3, 32, 32), torch.full((4, 2), 40.0), ["a", "b", "c", "d"]
    recognizer.checkpoint.distilled_weight = wanted
    best = recognizer.predict_pixels(pixels, sizes, recognizer.offer(), names)
    recognizer.checkpoint.distilled_weight = 0.0
    offer = recognizer.offer()
    read = [recognizer.read(pixels[k : k + 2], sizes[k : k + 2], offer, names[k : k + 2]) for k in (0, 2)]
    for mean in ("map_harmonic", "map_full"):  # the second where dev has nothing unseen

        def score(found: Iterable[PairPrediction], mean: str = mean) -> dict[str, float]:
            told = list(found)
            assert [one.file_name for one in told] == names
            apart = sum(abs(p.score - q.score) for one, other in zip(told, best, strict=True)
                        for p, q in zip(one.pairs, other.pairs, strict=True))  # fmt: skip
            return {mean: -round(apart, 5)}

        assert choose_weight(recognizer, read, offer, score) == wanted
    assert choose_weight(recognizer, read, offer, lambda found: {"map_full": float(len(list(found)))}) == 0, "of equals"
    assert sorted(DISTILLED_WEIGHTS) == list(DISTILLED_WEIGHTS)
