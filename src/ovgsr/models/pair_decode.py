"""Outputs of the pair student -> scored interactions: which combinations are looked at, near copies, the best few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ovgsr.boxes import clamp_to_image, cxcywh_to_xyxy, paired_iou, scale_to_pixels
from ovgsr.hoi_vocabulary import Interaction
from ovgsr.interactions import ScoredPair
from ovgsr.tensors import DetectedBoxes, Movable, PairOutputs
from ovgsr.vocabulary import Vocabulary


@dataclass(frozen=True)
class Combinations(Movable):
    """K combinations of a verb and an object, of those that a vocabulary offers."""

    verb_index: Tensor  # (K,) long, into the vocabulary's verbs
    object_index: Tensor  # (K,) long, into its answers

    @classmethod
    def listed(cls, interactions: Sequence[Interaction], vocabulary: Vocabulary) -> Combinations:
        """These; one with a word that is not offered is left out."""
        found = [
            (vocabulary.verb_index(verb), vocabulary.answer_index(thing))
            for verb, thing in interactions
            if verb in vocabulary and vocabulary.answer_index(thing)
        ]
        verbs, things = torch.tensor(found, dtype=torch.long).reshape(-1, 2).unbind(dim=1)
        return cls(verbs, things)

    @classmethod
    def all_of(cls, vocabulary: Vocabulary) -> Combinations:
        """Every verb with every object."""
        verbs, things = torch.arange(len(vocabulary.verbs)), torch.arange(1, len(vocabulary.answers))
        return cls(verbs.repeat_interleave(len(things)), things.repeat(len(verbs)))


@dataclass(frozen=True)
class PictureReading:
    """The candidates of one picture: P pairs of boxes with what may be said of each."""

    boxes_xyxy: Tensor  # (P, 2, 4), the human's and the object's, pixels
    objects: Tensor  # (P, N) probabilities, no object first
    verbs: Tensor  # (P, V) probabilities, each by itself


def read_pictures(outputs: PairOutputs, sizes_wh: Tensor, distilled_weight: Tensor) -> list[PictureReading]:
    """What the queries say; boxes in pixels of ``sizes_wh`` (B, 2), cut off at the picture's edges."""
    sizes = sizes_wh[:, None, None].float()
    boxes_xyxy = clamp_to_image(scale_to_pixels(cxcywh_to_xyxy(outputs.boxes_cxcywh.float()), sizes), sizes)
    things, verbs = outputs.object_logits.float().softmax(dim=-1), fused_verbs(outputs, distilled_weight)
    return [PictureReading(*parts) for parts in zip(boxes_xyxy, things, verbs, strict=True)]


def fused_verbs(outputs: PairOutputs, distilled_weight: Tensor) -> Tensor:
    """Probabilities (B, Q, V) of the verbs: what annotations taught, and what a teacher taught where one did.

    The distilled readout's cosine is added to a verb's logit ``distilled_weight`` (V,) times. No verb's score depends
    on which others are offered.
    """
    logits = outputs.verb_logits.float()
    if outputs.cosines is not None:
        logits = logits + distilled_weight * outputs.cosines
    return logits.sigmoid()


def read_detected(reading: PictureReading, detected: DetectedBoxes) -> PictureReading:
    """The same picture with a detector's boxes: every detected person with every other detected box (two-stage).

    Boxes, objects and their scores are the detector's. A pair's verbs are those of the query whose boxes overlap it
    most, weighted with that overlap (the smaller of both IoUs).
    """
    itself = torch.eye(len(detected.human), dtype=torch.bool, device=detected.human.device)
    human, other = (detected.human[:, None] & ~itself).nonzero().unbind(dim=1)
    boxes = torch.stack([detected.boxes_xyxy[human], detected.boxes_xyxy[other]], dim=1)
    overlap = paired_iou(boxes[:, None], reading.boxes_xyxy[None]).amin(dim=-1)
    weight, query = overlap.max(dim=-1)
    things = torch.zeros(len(boxes), reading.objects.shape[1], device=boxes.device)
    things.scatter_(
        1, detected.object_index[other][:, None], (detected.scores[human] * detected.scores[other])[:, None]
    )
    things[:, 0] = 0  # what the vocabulary does not offer is no object
    return PictureReading(boxes, things, reading.verbs[query] * weight[:, None])


def decode_pairs(
    reading: PictureReading, vocabulary: Vocabulary, combinations: Combinations, *, kept: int, nms: float | None
) -> tuple[ScoredPair, ...]:
    """The ``kept`` best interactions of a picture, best first.

    A combination's score is the object's probability times the verb's. Of two pairs that say the same interaction of
    boxes which overlap by more than ``nms`` (the smaller of both IoUs), the better one stays.
    """
    scores = reading.objects[:, combinations.object_index] * reading.verbs[:, combinations.verb_index]
    names = vocabulary.verb_names, [answer.key for answer in vocabulary.answers]
    verbs, objects = combinations.verb_index.tolist(), combinations.object_index.tolist()
    corners = [[[round(side, 2) for side in box] for box in pair] for pair in reading.boxes_xyxy.tolist()]
    return tuple(
        ScoredPair(
            _box(corners[pair][0]),
            _box(corners[pair][1]),
            names[0][verbs[combination]],
            names[1][objects[combination]],
            float(f"{score:.6g}"),
        )
        for pair, combination, score in _best(scores, reading.boxes_xyxy, kept, nms)
    )


def _best(score: Tensor, boxes_xyxy: Tensor, kept: int, nms: float | None) -> list[tuple[int, int, float]]:
    """Pair, combination and score of the best of scores (P, K), without near copies; boxes are (P, 2, 4)."""
    values, places = score.flatten().topk(min(score.numel(), kept if nms is None else 8 * kept))
    pairs, combinations = (places // score.shape[1]).tolist(), (places % score.shape[1]).tolist()
    candidates = list(zip(pairs, combinations, values.tolist(), strict=True))
    if nms is None:
        return candidates
    overlap = paired_iou(boxes_xyxy[:, None], boxes_xyxy[None]).amin(dim=-1)
    copies = [set(row.nonzero()[:, 0].tolist()) for row in overlap > nms]
    taken: dict[int, set[int]] = {}
    best = []
    for pair, combination, value in candidates:
        own = taken.setdefault(combination, set())
        if own.isdisjoint(copies[pair]):
            own.add(pair)
            best.append((pair, combination, value))
    return best[:kept]


def _box(sides: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = sides
    return left, top, right, bottom
