"""A look at dev: the scores a run is watched by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from ovgsr.config import Config
from ovgsr.evaluation.evaluate import EvaluationReport, evaluate_predictions
from ovgsr.recognizers.annotated import predict_annotated
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.situation import ImagePrediction
from ovgsr.training.training_data import TrainingData
from ovgsr.vocabulary import Vocabulary

_T = TypeVar("_T")


class Processes(Protocol):
    """What looking at dev together asks of the processes (``engine.Engine``)."""

    @property
    def process(self) -> int:
        """This one's number, from 0."""

    @property
    def processes(self) -> int:
        """How many there are."""

    def gather(self, value: _T) -> list[_T]:
        """Every process' value, in their order. All must call it."""


class Alone:
    """One process."""

    process, processes = 0, 1

    def gather(self, value: _T) -> list[_T]:
        """The value."""
        return [value]


def share(images: Sequence[_T], size: int, among: Processes) -> Sequence[_T]:
    """This process' pictures: every n-th batch of ``size``, so that a batch holds what it holds for one process."""
    if among.processes == 1:
        return images
    starts = range(among.process * size, len(images), among.processes * size)
    return [image for start in starts for image in images[start : start + size]]


def together(found: Iterator[_T], a_batch: int, batches: int, among: Processes) -> Iterator[_T]:
    """What all processes find of their :func:`share`, in the order of the pictures; each once.

    ``found`` gives ``a_batch`` values for each of this process' batches; there are ``batches`` in all. They are
    exchanged a batch at a time, so that memory stays small. Every process must use the result up.
    """
    for _ in range(-(-batches // among.processes)):
        for part in among.gather(list(islice(found, a_batch))):
            yield from part


def look_at_dev(
    look: Callable[..., Iterator[_T]],
    recognizer: SituationRecognizer,
    data: TrainingData,
    config: Config,
    among: Processes | None = None,
    *,
    a_batch: int | None = None,
) -> Iterator[_T]:
    """What ``look`` (of ``recognizers.annotated``) finds on dev, its own unseen verbs competing, by all processes.

    ``look`` gives ``a_batch`` values a batch, by default one a picture.
    """
    among, size = among or Alone(), config.evaluation.batch_size
    found = look(
        recognizer,
        share(data.dev, size, among),
        data.pictures,
        dev_vocabulary(data),
        batch_size=size,
        workers=config.data.workers,
        skipped=data.skipped,
    )
    return together(found, a_batch or size, -(-len(data.dev) // size), among)


def dev_vocabulary(data: TrainingData) -> Vocabulary:
    """The verbs that compete on dev, and all nouns."""
    return data.whole.with_verbs(data.split.candidates("dev"))


def predict_dev(
    recognizer: SituationRecognizer, data: TrainingData, config: Config, among: Processes | None = None
) -> Iterator[ImagePrediction]:
    """Uncalibrated predictions on dev."""
    return look_at_dev(predict_annotated, recognizer, data, config, among)


def validate(
    recognizer: SituationRecognizer, data: TrainingData, config: Config, among: Processes | None = None
) -> dict[str, float]:
    """Dev scores in percent by name, uncalibrated, under the first profile of the settings; empty where dev is.

    Several processes look at a share each, and all get the scores of the whole.
    """
    if not data.dev:
        return {}
    predictions = predict_dev(recognizer, data, config, among)
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
