"""The named, weighted terms of the student's loss: outputs and targets -> (losses, report)."""

from __future__ import annotations

from torch import Tensor

from ovgsr.config import LossSettings
from ovgsr.losses.grounding import box_losses, grounded_loss
from ovgsr.losses.recognition import log_prior, noun_loss, verb_loss
from ovgsr.tensors import RoleOutputs, Targets, VerbScores


def task_losses(
    scores: VerbScores, roles: RoleOutputs, targets: Targets, settings: LossSettings, verb_counts: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weighted terms to be summed, and the unweighted ones to be looked at.

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
        "verb": verb_loss(scores.recognition, targets.verb_index, prior, label_smoothing=settings.label_smoothing),
        "noun": noun_loss(roles.noun_logits, targets.noun_index, targets.role_mask),
        "box_l1": l1,
        "box_giou": giou,
        "grounded": grounded_loss(roles.grounded_logits, targets.grounded, targets.role_mask),
    }
    weights = {name: float(getattr(settings, name)) for name in report}
    return {name: weights[name] * term for name, term in report.items()}, {
        name: term.detach() for name, term in report.items()
    }
