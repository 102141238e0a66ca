"""What a finished student owes to dev: how its two readouts are mixed, and the constant for unseen verbs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from ovgsr.config import Config
from ovgsr.evaluation.open_vocabulary import choose_offset
from ovgsr.models.checkpoint import Calibration
from ovgsr.models.decode import split_scores
from ovgsr.recognizers.annotated import joined_scores, score_annotated
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.tensors import TextEmbeddings, VerbScores
from ovgsr.training.training_data import TrainingData, harmonic_mean
from ovgsr.training.validate import Processes, dev_vocabulary, look_at_dev, predict_dev

RECOGNITION_WEIGHTS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
DISTILLED_SCALES = (7.0, 10.0, 15.0, 20.0, 30.0)
OFFSETS = tuple(step / 4 for step in range(-16, 65))
RARE_OFFSETS = tuple(step / 4 for step in range(17))


@dataclass(frozen=True)
class DevScores:
    """A student's verb scores on dev pictures, its own unseen verbs competing."""

    scores: VerbScores  # (B, V)
    text: TextEmbeddings
    verb_index: Tensor  # (B,) the annotated verb
    groups: Mapping[str, Tensor]  # seen / rare / unseen -> (B,) bool
    scale: float  # the distilled readout's scale that ``scores`` were made with


def calibrate(
    recognizer: SituationRecognizer, data: TrainingData, config: Config, among: Processes | None = None
) -> Calibration:
    """Mixture, scale and constant that make the harmonic mean of seen, rare and unseen top-1 on dev largest.

    Unseen there are the split's ``dev_unseen`` verbs, which are in no other fold; pictures of the test's unseen verbs
    have no say. The distilled readout's scale is written into the student. A split without verbs or pictures of that
    kind, or a closed vocabulary, keeps the mixture as it is and takes the constant that costs at most
    ``evaluation.offset_cost`` points on dev pictures of seen verbs, or none.
    Several processes look at a share of dev each, and all get the same.
    """
    if config.model.head == "closed" or not data.dev:
        return recognizer.checkpoint.calibration
    verbs = {image.situation.verb for image in data.dev}
    if not verbs & set(data.split.dev_unseen) or not verbs & set(data.split.seen):
        return _by_seen_verbs(recognizer, data, config, among)
    dev = dev_scores(recognizer, data, config, among)
    calibration, scale = choose(dev, taught=config.distill.teaches_readout, start=recognizer.checkpoint.calibration)
    words = recognizer.model.distilled_scores
    if words is not None and config.distill.teaches_readout:
        with torch.no_grad():
            words.log_scale.fill_(math.log(scale))
    return calibration


def _by_seen_verbs(
    recognizer: SituationRecognizer, data: TrainingData, config: Config, among: Processes | None
) -> Calibration:
    before = recognizer.checkpoint.calibration
    if not data.split.dev_unseen or not any(image.situation.verb in data.split.seen for image in data.dev):
        return before
    predictions = predict_dev(recognizer, data, config, among)
    offset = choose_offset(predictions, data.dev, data.split, cost=config.evaluation.offset_cost)
    return replace(before, unseen_offset=offset)


def dev_scores(
    recognizer: SituationRecognizer, data: TrainingData, config: Config, among: Processes | None = None
) -> DevScores:
    """The verb scores of all dev pictures; no frame is filled."""
    scores = joined_scores(list(look_at_dev(score_annotated, recognizer, data, config, among, a_batch=1)))
    vocabulary = dev_vocabulary(data)
    _, text = recognizer.offer(vocabulary)
    words = recognizer.model.distilled_scores
    return DevScores(
        scores=scores,
        text=text.to("cpu"),
        verb_index=torch.tensor([vocabulary.verb_index(image.situation.verb) for image in data.dev]),
        groups=data.dev_groups(data.dev),
        scale=1.0 if words is None else float(words.log_scale.exp()),
    )


def choose(dev: DevScores, *, taught: bool, start: Calibration | None = None) -> tuple[Calibration, float]:
    """The best calibration of the grid, and the distilled readout's scale that goes with it.

    Of equals the first is taken: the smaller scale, the smaller constant. Where nothing tells a constant apart, 0 is.
    """
    best, found, scale_found = 0.0, start or Calibration(), dev.scale
    for calibration, scale in _candidates(dev, taught):
        scores = _rescaled(dev.scores, scale / dev.scale)
        plain = split_scores(scores, dev.text, calibration).fused
        offset, rare_offset, value = best_offsets(plain, dev)
        if value > best:
            best, scale_found = value, scale
            found = replace(calibration, unseen_offset=offset, rare_offset=rare_offset)
    return found, scale_found


def best_offsets(log_probabilities: Tensor, dev: DevScores) -> tuple[float, float, float]:
    """The constants for unseen and rare verbs with the largest harmonic mean over the groups (percent), and that mean.

    The smallest constants are kept among equals.
    """
    assert dev.text.verb_classes is not None
    unseen = dev.text.verb_classes < 0
    rare = torch.zeros_like(unseen) if dev.text.rare_verbs is None else dev.text.rare_verbs
    # A picture's best verb of each kind decides; which of the three is taken depends on the constants alone.
    kinds = [mask for mask in (~unseen & ~rare, rare, unseen) if bool(mask.any())]
    best = [log_probabilities.masked_fill(~mask, -math.inf).max(dim=-1) for mask in kinds]
    values = torch.stack([one.values for one in best], dim=1)
    right = torch.stack([one.indices == dev.verb_index for one in best], dim=1)
    found = (0.0, 0.0, -1.0)
    for offset in sorted(OFFSETS, key=abs):
        for rare_offset in RARE_OFFSETS if bool(rare.any()) else (0.0,):
            constants = torch.tensor(
                [offset if mask is unseen else rare_offset if mask is rare else 0.0 for mask in kinds]
            )
            taken = (values + constants).argmax(dim=1, keepdim=True)
            hit = right.gather(1, taken)[:, 0]
            mean = harmonic_mean([100 * float(hit[mask].float().mean()) for mask in dev.groups.values()])
            if mean > found[2] + 1e-9:
                found = (offset, rare_offset, mean)
    return found


def _candidates(dev: DevScores, taught: bool) -> Iterator[tuple[Calibration, float]]:
    if not taught or dev.scores.distilled is None:
        yield Calibration(), dev.scale
        return
    for weight, scale in product(RECOGNITION_WEIGHTS, DISTILLED_SCALES):
        yield Calibration(recognition_weight=weight), scale


def _rescaled(scores: VerbScores, factor: float) -> VerbScores:
    distilled = None if scores.distilled is None else scores.distilled * factor
    return replace(scores, distilled=distilled)
