"""Where things are: boxes of grounded roles, and whether a role is grounded at all.

Means are over the joined batch of all processes (``losses.processes``).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ovgsr.boxes import cxcywh_to_xyxy, paired_giou
from ovgsr.losses.processes import joined_count


def box_losses(predicted_cxcywh: Tensor, target_cxcywh: Tensor, grounded: Tensor) -> tuple[Tensor, Tensor]:
    """L1 distance and 1 - GIoU of boxes (B, R, 4) in 0..1, mean over the grounded roles (B, R); two scalars.

    As in DETR (Carion et al. 2020). Both are 0, with a gradient of 0, where nothing is grounded.
    """
    weight = grounded.to(predicted_cxcywh.dtype)
    count = joined_count(weight.sum())
    distance = (predicted_cxcywh - target_cxcywh).abs().sum(dim=-1)
    giou = paired_giou(cxcywh_to_xyxy(predicted_cxcywh), cxcywh_to_xyxy(target_cxcywh))
    return (distance * weight).sum() / count, ((1 - giou) * weight).sum() / count


def grounded_loss(logits: Tensor, grounded: Tensor, role_mask: Tensor) -> Tensor:
    """Binary cross-entropy of grounded-or-not (B, R), mean over the roles that are no padding, a scalar."""
    term = F.binary_cross_entropy_with_logits(logits, grounded.to(logits.dtype), reduction="none")
    weight = role_mask.to(logits.dtype)
    return (term * weight).sum() / joined_count(weight.sum())
