"""Outputs of the student -> situations: the ranking of the verbs and the filled frames of the chosen ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ovgsr.boxes import clamp_to_image, cxcywh_to_xyxy, scale_to_pixels
from ovgsr.models.checkpoint import Calibration
from ovgsr.situation import GroundedNoun, Situation
from ovgsr.tensors import RoleOutputs, TextEmbeddings, VerbScores
from ovgsr.vocabulary import Vocabulary

_IMPOSSIBLE = -1e30


@dataclass(frozen=True)
class ScoreSplit:
    """What each part says of the offered verbs; all but ``offset`` are log-probabilities over them."""

    recognition: Tensor  # (B, V)
    distilled: Tensor | None  # (B, V), absent where the student has no taught second readout
    offset: Tensor  # (V,), the constants of verbs that were not in training and of rare ones, 0 for the others
    fused: Tensor  # (B, V)


def split_scores(scores: VerbScores, text: TextEmbeddings, calibration: Calibration) -> ScoreSplit:
    """The verbs' log-probabilities, readout by readout and fused (method.md, two readouts).

    The distilled readout, which met training verbs and others alike, says how likely it is that the verb is one of
    training; among those the two readouts are mixed log-linearly, ``recognition_weight`` to the recognizer; the others
    are the distilled readout's alone. Constants are added to the verbs that were not in training, and to rare ones
    where such verbs compete: calibrated stacking (Chao et al. 2016), against a recognizer's bias towards the verbs it
    was trained on.
    """
    recognition = scores.recognition.float().clamp(min=_IMPOSSIBLE).log_softmax(dim=-1)
    known = torch.ones(recognition.shape[-1], dtype=torch.bool, device=recognition.device)
    if text.verb_classes is not None:
        known = text.verb_classes >= 0
    offset = calibration.unseen_offset * (~known).to(recognition.dtype)
    # Among verbs of training alone there is nothing that the constants were chosen to balance.
    if text.rare_verbs is not None and not bool(known.all()):
        offset = offset + calibration.rare_offset * text.rare_verbs.to(recognition.dtype)
    weight = calibration.recognition_weight
    if scores.distilled is None or weight >= 1:
        return ScoreSplit(recognition, None, offset, (recognition + offset).log_softmax(dim=-1))
    distilled = scores.distilled.float().log_softmax(dim=-1)
    fused = distilled.clone()
    if bool(known.any()):
        share = distilled[:, known].logsumexp(dim=-1, keepdim=True)
        mixed = weight * recognition[:, known] + (1 - weight) * distilled[:, known]
        fused[:, known] = share + mixed.log_softmax(dim=-1)
    return ScoreSplit(recognition, distilled, offset, (fused + offset).log_softmax(dim=-1))


def verb_log_probabilities(scores: VerbScores, text: TextEmbeddings, calibration: Calibration) -> Tensor:
    """Log-probabilities (B, V) over the offered verbs; see :func:`split_scores`."""
    return split_scores(scores, text, calibration).fused


def rank_verbs(log_probabilities: Tensor, vocabulary: Vocabulary) -> list[tuple[tuple[str, float], ...]]:
    """For each picture every offered verb with its probability, best first."""
    order = log_probabilities.argsort(dim=-1, descending=True, stable=True)
    # In float64, for a probability of e-103 is 0 in float32 and could not be ranked any more.
    probabilities = log_probabilities.gather(-1, order).double().exp()
    names = vocabulary.verb_names
    return [
        tuple((names[index], float(f"{probability:.6g}")) for index, probability in zip(row, values, strict=True))
        for row, values in zip(order.tolist(), probabilities.tolist(), strict=True)
    ]


def decode_situations(
    outputs: RoleOutputs,
    verb_index: Tensor,
    verb_scores: Sequence[float | None],
    sizes_wh: Tensor,
    vocabulary: Vocabulary,
) -> list[Situation]:
    """One situation a picture from the filled frames of ``verb_index`` (B,); boxes in pixels of ``sizes_wh`` (B, 2).

    A role is grounded where its probability is at least one half, except that an empty role never is.
    """
    probability, noun = outputs.noun_logits.float().softmax(dim=-1).max(dim=-1)
    boxes = scale_to_pixels(cxcywh_to_xyxy(outputs.boxes_cxcywh.float()), sizes_wh[:, None].float())
    boxes_xyxy = clamp_to_image(boxes, sizes_wh[:, None].float()).tolist()
    grounded = outputs.grounded_logits.float().sigmoid().tolist()
    nouns, probabilities = noun.tolist(), probability.tolist()
    keys = [answer.key for answer in vocabulary.answers]
    situations = []
    for picture, index in enumerate(verb_index.tolist()):
        verb = vocabulary.verbs[index]
        answers = {}
        for slot, role in enumerate(verb.roles):
            key = keys[nouns[picture][slot]]
            present = grounded[picture][slot] >= 0.5 and key != ""
            left, top, right, bottom = (round(value, 2) for value in boxes_xyxy[picture][slot])
            answers[role] = GroundedNoun(
                noun=key,
                box_xyxy=(left, top, right, bottom) if present else None,
                score=round(probabilities[picture][slot], 4),
                grounded_score=round(grounded[picture][slot], 4),
            )
        situations.append(Situation(verb.name, answers, verb_scores[picture], verb.borrowed_from))
    return situations


def repeat_pictures(tokens: Tensor, count: int) -> Tensor:
    """Each picture's rows ``count`` times in a row: (B, ...) -> (B * count, ...)."""
    return torch.repeat_interleave(tokens, count, dim=0)
