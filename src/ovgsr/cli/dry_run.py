"""``ovgsr train --dry-run``: the costs of a recipe as tables."""

from __future__ import annotations

from rich.table import Table

from ovgsr.cli.progress import console
from ovgsr.config import Config
from ovgsr.training.estimate import Estimate


def show(config: Config, found: Estimate, teraflops: float) -> None:
    """Prints what a run of the recipe takes."""
    for sentence in found.missing:
        console.print(f"note: {sentence}", highlight=False, markup=False, soft_wrap=True)
    parts = Table("part", "trainable", "frozen", "GFLOP forward", title=f"{config.name}: parameters in millions")
    for part in found.parts:
        parts.add_row(part.name, _millions(part.trainable), _millions(part.frozen), f"{part.flops / 1e9:.2f}")
    trainable, frozen = (sum(getattr(part, name) for part in found.parts) for name in ("trainable", "frozen"))
    parts.add_section()
    parts.add_row("all", _millions(trainable), _millions(frozen), f"{sum(p.flops for p in found.parts) / 1e9:.2f}")
    console.print(parts)
    timing, batch = found.timing, config.train.batch_size
    costs = Table("what", "how much", title=f"{config.train.epochs} epochs of batches of {batch}, one process")
    rows = [
        ("a training picture, forward and back", f"{found.flops / 1e9:.2f} GFLOP"),
        ("optimiser steps", f"{found.steps:,}"),
        ("training pictures shown, dev pictures looked at", f"{found.shown:,}, {found.looked_at:,}"),
        ("memory: weights, gradients, moments, averages, a copy", _size(found.fixed_bytes)),
        (f"memory: activations of {batch} pictures ({config.train.precision})", _size(found.activation_bytes)),
        ("disk: the teacher's readings", _size(found.signal_bytes)),
        ("disk: the state to resume from", _size(found.state_bytes)),
        (f"a step here ({timing.device}, timed on {timing.pictures} pictures)", f"{batch * timing.compute:.2f} s"),
        ("reading a batch, one core", f"{batch * timing.reading:.2f} s"),
        ("the run here", f"{found.hours_here:.2f} hours"),
        (f"the run at {teraflops:g} TFLOP/s sustained (not measured)", f"{found.hours_at(teraflops * 1e12):.2f} hours"),
    ]
    for row in rows:
        costs.add_row(*row)
    console.print(costs)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f}"


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
