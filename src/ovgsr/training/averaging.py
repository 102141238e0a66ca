"""Averaged weights: what a run is evaluated with and leaves behind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and buffers, to be fed by ``update_parameters`` after every step.

    The decay rises with the number of steps, min(decay, (1 + n) / (10 + n)): a short run must not still remember the
    weights that it was started with.
    """

    @torch.no_grad()
    def average(averages: Sequence[Tensor], currents: Sequence[Tensor], count: Tensor | int) -> None:
        steps = int(count)
        weight = 1 - min(decay, (1 + steps) / (10 + steps))
        for mean, current in zip(averages, currents, strict=True):
            if mean.data_ptr() == current.data_ptr():
                continue
            if mean.is_floating_point():
                mean.lerp_(current.to(mean.dtype), weight)
            else:
                mean.copy_(current)

    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    for mean, current in zip(averaged.module.parameters(), model.parameters(), strict=True):
        if not current.requires_grad:
            mean.data = current.data  # a frozen backbone is its own average, and takes its memory once
    averaged.n_averaged = averaged.n_averaged.cpu()  # it is read at every step, which would wait for a GPU
    return averaged


def averages(averaged: AveragedModel, model: nn.Module) -> dict[str, Tensor]:
    """The state of ``averaged`` without what is never trained and stands in the state of ``model``."""
    frozen = {f"module.{name}" for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in averaged.state_dict().items() if name not in frozen}
