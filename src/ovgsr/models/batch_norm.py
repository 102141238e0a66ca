"""Batch statistics over the joined batch of all processes, on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class JoinedBatchNorm2d(nn.BatchNorm2d):
    """``BatchNorm2d`` whose training statistics are those of all processes' pictures together.

    ``nn.SyncBatchNorm`` does the same on GPUs only; this one is the same everywhere, so that what a test shows with two
    CPU processes is what runs on many GPUs. In evaluation, and with one process, it is ``BatchNorm2d`` itself.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Features (B, C, h, w) in, normalised features out; B may differ between processes."""
        if not self.training or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return super().forward(input)
        wide = input.float()
        own = wide.new_tensor([wide.numel() / wide.shape[1]])
        sums = _sum_over_processes(torch.cat([wide.sum(dim=(0, 2, 3)), own]))
        count = sums[-1].detach()
        mean = (sums[:-1] / count)[:, None, None]
        variance = _sum_over_processes((wide - mean).square().sum(dim=(0, 2, 3))) / count
        self._remember(mean.detach().flatten(), variance.detach() * count / (count - 1).clamp(min=1))
        normed = (wide - mean) * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            normed = normed * self.weight[:, None, None] + self.bias[:, None, None]
        return normed.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def join_batch_norms(model: nn.Module) -> None:
    """Makes every ``BatchNorm2d`` in ``model`` a joined one; names, weights and state stay as they are."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = JoinedBatchNorm2d  # it adds no state, so nothing has to be copied


class _Sum(torch.autograd.Function):
    """The sum over processes. Its gradient is one, too: what a process feels of its number, all processes feel."""

    @staticmethod
    def forward(context: Any, own: Tensor) -> Tensor:
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def _sum_over_processes(own: Tensor) -> Tensor:
    return _Sum.apply(own)  # type: ignore[no-any-return, no-untyped-call]
