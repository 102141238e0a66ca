"""What the loop asks of a task: situations and interactions are trained by the same loop."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import DataLoader

from ovgsr.config import Config
from ovgsr.data.skipped import Skipped
from ovgsr.models.checkpoint import Checkpoint
from ovgsr.tensors import Batch
from ovgsr.training.build import build_parts, build_task
from ovgsr.training.pair_parts import build_pair_parts, build_pair_task
from ovgsr.training.sampling import EpochSampler
from ovgsr.training.validate import Processes


class RunParts(Protocol):
    """Data, network and the look at dev of one run."""

    @property
    def checkpoint(self) -> Checkpoint[Any]:
        """The network with what it is saved with; its vocabulary holds the words that training meets."""

    @property
    def dataset(self) -> Sized:
        """The training pictures."""

    @property
    def sampler(self) -> EpochSampler:
        """Their order in an epoch."""

    @property
    def loader(self) -> DataLoader[Batch]:
        """Their batches."""

    def beside_batch(self, device: torch.device) -> tuple[Any, ...]:
        """What the task is called with beside a batch, on ``device``."""

    def validate(self, device: torch.device, config: Config, among: Processes) -> dict[str, float]:
        """Dev scores by name, empty where there is no dev fold; all processes look together, and get the same."""

    def calibrate(self, device: torch.device, config: Config, among: Processes) -> None:
        """Chooses on dev, all processes together, what the finished checkpoint needs beside its weights."""


def build_run(config: Config, skipped: Skipped | None = None) -> tuple[RunParts, nn.Module]:
    """The parts of the recipe's task, and the task: a model with its losses, and projections that stay behind.

    ``skipped``: where what cannot be read is noted; without it that is an error.
    """
    if config.task == "interactions":
        pairs = build_pair_parts(config, skipped)
        return pairs, build_pair_task(config, pairs)
    parts = build_parts(config, skipped)
    return parts, build_task(config, parts)
