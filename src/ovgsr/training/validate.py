"""A look at dev: the scores a run is watched by."""

from __future__ import annotations

import math

from ovgsr.config import Config
from ovgsr.evaluation.evaluate import EvaluationReport, evaluate_predictions
from ovgsr.recognizers.annotated import predict_annotated
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.situation import ImagePrediction
from ovgsr.training.training_data import TrainingData


def predict_dev(recognizer: SituationRecognizer, data: TrainingData, config: Config) -> list[ImagePrediction]:
    """Uncalibrated predictions on dev, its own unseen verbs competing."""
    vocabulary = data.whole.with_verbs(data.split.candidates("dev"))
    return list(
        predict_annotated(
            recognizer,
            data.dev,
            data.pictures,
            vocabulary,
            batch_size=config.evaluation.batch_size,
            workers=config.data.workers,
            skipped=data.skipped,
        )
    )


def validate(recognizer: SituationRecognizer, data: TrainingData, config: Config) -> dict[str, float]:
    """Dev scores in percent by name, uncalibrated, under the first profile of the settings; empty where dev is."""
    if not data.dev:
        return {}
    predictions = predict_dev(recognizer, data, config)
    profile = config.evaluation.profiles[0]
    report = evaluate_predictions(predictions, data.dev, data.split, "dev", profiles=(profile,))
    return flat_scores(report, profile)


def flat_scores(report: EvaluationReport, profile: str) -> dict[str, float]:
    """The few numbers worth a curve: verb, value and grounded value by subset, AUSUC and the harmonic mean."""
    scores = report.profiles[profile]
    flat: dict[str, float] = {}
    for group, result in scores.groups.items():
        numbers = result.numbers
        flat |= {
            f"{group}.verb_top1": numbers.verb_top1,
            f"{group}.verb_top5": numbers.verb_top5,
            f"{group}.value": numbers.ground_truth_verb.value,
            f"{group}.grnd_value": numbers.ground_truth_verb.grnd_value,
        }
    flat["harmonic_mean_verb_top1"] = scores.harmonic_mean_verb_top1
    if report.open_vocabulary is not None:
        told = report.open_vocabulary
        curve = {"ausuc": told.ausuc, "unseen_among_unseen": told.unseen_among_unseen}
        flat |= {name: value for name, value in curve.items() if value is not None}
    return {name: round(value, 3) for name, value in flat.items() if not math.isnan(value)}
