"""Parameter groups and the learning rate's course."""

from __future__ import annotations

import math

import torch
from torch import nn

from ovgsr.config import OptimSettings


def parameter_groups(model: nn.Module, settings: OptimSettings) -> list[dict[str, object]]:
    """AdamW groups: the backbone apart, by its layers, and no decay on vectors and scalars (norms, biases, scales).

    The backbone's last layer learns at ``backbone_scale`` of the peak, each one below at ``layer_decay`` of the one
    above it (Clark et al. 2020, ELECTRA; Bao et al. 2022, BEiT).
    """
    heights: dict[nn.Parameter, int] = {}
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] == "tower":
            layers = backbone_layers(module)
            heights |= {parameter: len(layers) - 1 - i for i, layer in enumerate(layers) for parameter in layer}
    groups: dict[tuple[float | None, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            share = settings.layer_decay ** heights[parameter] if parameter in heights else None
            groups.setdefault((share, parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.learning_rate * (1.0 if share is None else settings.backbone_scale * share),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (share, decays), parameters in groups.items()
    ]


def backbone_layers(module: nn.Module) -> list[list[nn.Parameter]]:
    """A backbone's trainable parameters layer by layer, the one nearest the pixels first.

    Layers are the entries of module lists, however deep these lie, and what stands before, between and after them. The
    order is that of registration, in which the models of transformers are also computed.
    """
    layers = [list(module.parameters(recurse=False))]
    for child in module.children():
        in_lists = any(isinstance(part, nn.ModuleList) for part in child.modules())
        layers += backbone_layers(child) if in_lists else [list(child.parameters())]
    trained = ([parameter for parameter in layer if parameter.requires_grad] for layer in layers)
    return [layer for layer in trained if layer]


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
