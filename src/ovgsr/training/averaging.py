"""Averaged weights: what a run is evaluated with and leaves behind."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class AveragedWeights:
    """An exponential moving average of weights and buffers, to be fed by :meth:`update` after every step.

    The decay rises with the number of steps, min(decay, (1 + n) / (10 + n)): a short run must not still remember the
    weights that it was started with. ``tensors`` are by the names of the model's state, without what is never trained,
    and split over the processes where the model's are.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        state = model.state_dict()
        self.tensors = {name: tensor.detach().clone() for name, tensor in state.items() if name not in frozen}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in the model's weights as they are now."""
        weight = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.steps else 1.0
        state = model.state_dict()
        for name, mean in self.tensors.items():
            current = state[name]
            if mean.is_floating_point():
                mean.lerp_(current.to(mean.dtype), weight)
            else:
                mean.copy_(current)
        self.steps += 1

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Restores ``tensors`` and ``steps``."""
        for name, mean in self.tensors.items():
            mean.copy_(tensors[name])
        self.steps = steps
