"""The weights of the distilled readout, chosen from what the network said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from tests.recognizers.test_pair_recognizer import SpellingEncoder

from ovgsr.interactions import PairPrediction
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.recognizers.pairs import PairRecognizer
from ovgsr.training.pair_calibration import DISTILLED_WEIGHTS, choose_weights
from ovgsr.vocabulary import TEXT_TEMPLATES_VERSION, Verb, Vocabulary


@pytest.mark.parametrize("wanted", [(0.0, 16.0), (3.0, 0.0), (16.0, 3.0)])
@pytest.mark.parametrize("mean", ["map_harmonic", "map_full"])  # the second where dev has nothing unseen
def test_the_weights_whose_predictions_score_best_are_taken(
    make_pair_checkpoint: Callable[..., PairCheckpoint], wanted: tuple[float, float], mean: str
) -> None:
    """They are the predictions of a student that has the weights from the start; one of three verbs is new to it."""
    fingerprint = f"spelling;templates-{TEXT_TEMPLATES_VERSION}"
    checkpoint = make_pair_checkpoint(fingerprint=fingerprint, distilled=True, kept=99, nms=None)
    recognizer, trained = PairRecognizer(checkpoint, SpellingEncoder()), checkpoint.vocabulary
    words = Vocabulary((*trained.verbs, Verb("feed", ("human", "object"))), trained.nouns, "dev")
    pixels, sizes, names = torch.randn(4, 3, 32, 32), torch.full((4, 2), 40.0), ["a", "b", "c", "d"]
    checkpoint.distilled_weight, checkpoint.unmet_weight = wanted
    best = _scores(recognizer.predict_pixels(pixels, sizes, recognizer.offer(words), names))
    assert len(best) == 4 * 5 * 3 * 2
    checkpoint.distilled_weight = checkpoint.unmet_weight = 1.0
    offer, known = recognizer.offer(words), recognizer.offer()
    read, read_known = (
        [recognizer.read(pixels[k : k + 2], sizes[k : k + 2], offered, names[k : k + 2]) for k in (0, 2)]
        for offered in (offer, known)
    )

    def score(found: Iterable[PairPrediction]) -> dict[str, float]:
        told = _scores(list(found))
        return {mean: -round(sum(abs(told[key] - value) for key, value in best.items()), 5)}

    choose_weights(recognizer, read, offer, score)
    assert (checkpoint.distilled_weight, checkpoint.unmet_weight) == wanted
    choose_weights(recognizer, read, offer, lambda found: {"map_full": float(len(list(found)))})
    assert (checkpoint.distilled_weight, checkpoint.unmet_weight) == wanted, "dev does not say"
    checkpoint.unmet_weight = 7.0
    best = _scores([pair for one in read_known for pair in recognizer.decode(one, recognizer.offer())])
    checkpoint.distilled_weight = 1.0
    choose_weights(recognizer, read_known, known, score)
    assert (checkpoint.distilled_weight, checkpoint.unmet_weight) == (wanted[0], 7.0), "no verb in dev is new"
    ones = {weight: {mean: float(weight > 2)} for weight in DISTILLED_WEIGHTS}
    choose_weights(recognizer, read_known, known, lambda found: ones[checkpoint.distilled_weight])
    assert checkpoint.distilled_weight == 3, "of equals the smallest"
    assert sorted(DISTILLED_WEIGHTS) == list(DISTILLED_WEIGHTS)


def _scores(found: list[PairPrediction]) -> dict[tuple[object, ...], float]:
    return {
        (one.file_name, pair.verb, pair.object, pair.human_box_xyxy, pair.object_box_xyxy): pair.score
        for one in found
        for pair in one.pairs
    }
