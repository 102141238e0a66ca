"""Outputs of the student -> situations: the ranking of the verbs and the filled frames of the chosen ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ovgsr.boxes import clamp_to_image, cxcywh_to_xyxy, scale_to_pixels
from ovgsr.situation import GroundedNoun, Situation
from ovgsr.tensors import RoleOutputs, TextEmbeddings, VerbScores
from ovgsr.vocabulary import Vocabulary

_IMPOSSIBLE = -1e30


def verb_log_probabilities(scores: VerbScores, text: TextEmbeddings, unseen_offset: float = 0.0) -> Tensor:
    """Log-probabilities (B, V) over the offered verbs.

    ``unseen_offset`` is added to the logit of every verb that was not in training: calibrated stacking (Chao et al.
    2016), against the bias of a recognizer towards the verbs it was trained on.
    """
    logits = scores.recognition.float().clamp(min=_IMPOSSIBLE)
    if unseen_offset and text.verb_classes is not None:
        logits = logits + unseen_offset * (text.verb_classes < 0).to(logits.dtype)
    return logits.log_softmax(dim=-1)


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
