"""The named, weighted terms of the student's loss: outputs and targets -> (losses, report)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ovgsr.config import DistillSettings, LossSettings
from ovgsr.losses.distillation import instance_loss, reading_losses, token_loss
from ovgsr.losses.grounding import box_losses, grounded_loss
from ovgsr.losses.recognition import log_prior, noun_loss, verb_loss
from ovgsr.tensors import Batch, RoleOutputs, Targets, TeacherSignals, TextEmbeddings

Losses = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Weighted terms to be summed, and the unweighted ones to be looked at."""


def task_losses(
    recognition: Tensor, roles: RoleOutputs, targets: Targets, settings: LossSettings, verb_counts: Tensor
) -> Losses:
    """The terms that annotations give, from the recognition readout's logits (B, V) and the gold verb's roles.

    ``verb_counts`` (V,) are the pictures a verb contributes to an epoch; they set the prior of the balanced losses.
    Cross-entropy touches the recognition readout alone: the distilled one is the teacher's.
    """
    prior = None
    if settings.balance == "balanced_softmax":
        prior = log_prior(verb_counts)
    elif settings.balance == "logit_adjustment":
        prior = log_prior(verb_counts, settings.adjustment)
    l1, giou = box_losses(roles.boxes_cxcywh, targets.boxes_cxcywh, targets.grounded)
    report = {
        "verb": verb_loss(recognition, targets.verb_index, prior, label_smoothing=settings.label_smoothing),
        "noun": noun_loss(roles.noun_logits, targets.noun_index, targets.role_mask),
        "box_l1": l1,
        "box_giou": giou,
        "grounded": grounded_loss(roles.grounded_logits, targets.grounded, targets.role_mask),
    }
    return _weighted(report, {name: float(getattr(settings, name)) for name in report})


def distillation_losses(
    settings: DistillSettings,
    batch: Batch,
    verb_index: Tensor,
    text: TextEmbeddings,
    *,
    scene: Tensor | None,
    roles: Tensor | None,
    tokens: Tensor | None,
    grid: tuple[int, int],
    words: TextSpace | None,
) -> Losses:
    """The terms that a teacher's readings give (method.md, distillation); nothing reaches the teacher's side.

    ``scene`` (B + B', D) is the distilled readout of the batch's pictures, then of its views; ``roles`` (B, R, D_r)
    and ``tokens`` (B, T, D_t) are projected to the teacher's widths; ``words`` is the distilled readout's text space.
    """
    teacher = batch.teacher or TeacherSignals()
    report: dict[str, Tensor] = {}
    if scene is not None:
        if settings.label_text and words is not None:
            read: Tensor | None = words.words(text.told_verbs)[verb_index]
        else:
            read = teacher.scene
        if read is not None:
            if batch.views is not None:
                read = torch.cat([read, batch.views.scene])
            report |= reading_losses(scene, read, settings.relation_temperature)
    if roles is not None and teacher.roles is not None:
        mask = batch.targets.role_mask if batch.targets is not None else torch.ones_like(teacher.roles[..., 0]) > 0
        report["instance"] = instance_loss(roles, teacher.roles[:, : roles.shape[1]].float(), mask)
    if tokens is not None and teacher.tokens is not None and teacher.tokens_grid is not None:
        report["tokens"] = token_loss(tokens, teacher.tokens.float(), grid, teacher.tokens_grid)
    return _weighted(report, {name: float(getattr(settings, name)) for name in report})


class TextSpace(Protocol):
    """Where words and readings are compared (``heads.TextSimilarity``)."""

    def words(self, texts: Tensor, /) -> Tensor:
        """Centred, unit-length words (N, D)."""


def _weighted(report: dict[str, Tensor], weights: dict[str, float]) -> Losses:
    losses = {name: weights[name] * term for name, term in report.items()}
    return losses, {name: term.detach() for name, term in report.items()}
