from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovgsr.config import Config
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.situation import ImagePrediction
from ovgsr.training import validate as validation
from ovgsr.training.training_data import TrainingData, read_training_data
from ovgsr.training.validate import predict_dev, validate

Make = Callable[..., Config]


@pytest.fixture(scope="module")
def data(tiny_config: Make) -> TrainingData:
    return read_training_data(tiny_config().data)


def _told(data: TrainingData, lead: float) -> list[ImagePrediction]:
    """Each picture's own verb is ``lead`` times as probable as every unseen one, and the other seen ones hopeless."""
    unseen, predictions = data.split.dev_unseen, []
    for image in data.dev:
        gold = image.situation.verb
        weights = dict.fromkeys(data.split.candidates("dev"), 1e-09) | dict.fromkeys(unseen, 1.0) | {gold: lead}
        total = sum(weights.values())
        ranking = sorted(((verb, weight / total) for verb, weight in weights.items()), key=lambda pair: -pair[1])
        predictions.append(ImagePrediction(image.file_name, tuple(ranking), {}))
    return predictions


def test_dev_is_ranked_among_all_its_verbs_and_scores_are_named_by_group(
    trained_run: Path, tiny_config: Make, data: TrainingData
) -> None:
    recognizer = SituationRecognizer.from_pretrained(trained_run / "student")
    predictions = list(predict_dev(recognizer, data, tiny_config()))
    assert [prediction.file_name for prediction in predictions] == [image.file_name for image in data.dev]
    assert {verb for verb, _ in predictions[0].ranking} == set(data.split.candidates("dev"))
    scores = validate(recognizer, data, tiny_config())
    for group in ("all", "seen", "rare", "unseen"):
        for name in ("verb_top1", "verb_top5", "value", "grnd_value"):
            assert 0 <= scores[f"{group}.{name}"] <= 100
    assert validate(recognizer, replace(data, dev=()), tiny_config()) == {}


def test_a_score_of_zero_is_a_score(tiny_config: Make, data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every unseen picture is taken for another unseen verb: the numbers are 0, and are not left out."""
    wrong = []
    for prediction, image in zip(_told(data, 2.0), data.dev, strict=True):
        gold = image.situation.verb
        last = [pair for pair in prediction.ranking if pair[0] != gold]
        wrong.append(replace(prediction, ranking=(*last, (gold, 0.0))))
    monkeypatch.setattr(validation, "predict_dev", lambda *_: wrong)
    nobody: Any = None
    scores = validate(nobody, data, tiny_config())
    assert scores["unseen_among_unseen"] == scores["ausuc"] == scores["all.verb_top1"] == 0
