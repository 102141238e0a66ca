"""Parameter groups and the learning rate's course."""

from __future__ import annotations

import math

import torch
from torch import nn

from ovgsr.config import OptimSettings


def parameter_groups(model: nn.Module, settings: OptimSettings) -> list[dict[str, object]]:
    """AdamW groups: the backbone apart, and no decay on vectors and scalars (norms, biases, scales)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = ("tower" in name.split("."), parameter.ndim >= 2)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.learning_rate * (settings.backbone_scale if in_tower else 1.0),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (in_tower, decays), parameters in groups.items()
    ]


def build_optimizer(model: nn.Module, settings: OptimSettings) -> torch.optim.AdamW:
    """AdamW over the trainable parameters."""
    return torch.optim.AdamW(parameter_groups(model, settings), lr=settings.learning_rate, betas=(0.9, 0.98))


def rate_at(step: int, steps: int, settings: OptimSettings) -> float:
    """The learning rate of ``step`` (from 0) as a share of the peak: a linear rise, then a cosine down to
    ``final_scale``.
    """
    rising = max(1, round(settings.warmup * steps))
    if step < rising:
        return (step + 1) / rising
    progress = min(1.0, (step - rising) / max(1, steps - rising))
    return settings.final_scale + (1 - settings.final_scale) * 0.5 * (1 + math.cos(math.pi * progress))


def build_schedule(
    optimizer: torch.optim.Optimizer, steps: int, settings: OptimSettings
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate as a function of the optimiser step."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, settings))
