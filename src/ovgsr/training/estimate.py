"""What a recipe will cost, before it is run: parameters, arithmetic, memory, time and disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ovgsr.config import Config, ConfigError
from ovgsr.distillation.signal_store import estimate_bytes
from ovgsr.tensors import Batch, Views
from ovgsr.training.blocks import repeated_blocks
from ovgsr.training.build import Parts, build_parts, build_task
from ovgsr.training.engine import Engine
from ovgsr.training.optim import build_optimizer
from ovgsr.training.sampling import planned_batches
from ovgsr.training.stand_ins import stand_ins

_PROBE = 4
"""Pictures that arithmetic and memory are counted on; both are exactly proportional beyond a constant."""
_STEPS, _SECONDS = 3, 5.0
"""Steps that are timed, and about how long each may take: a batch too large for that is timed in part."""
_FLOAT = 4


@dataclass(frozen=True)
class PartCost:
    """One part of the student, or a projection that is left behind."""

    name: str
    trainable: int
    frozen: int
    flops: float
    """Floating-point operations of a training picture, forward, its views included."""


@dataclass(frozen=True)
class Timing:
    """What was measured here."""

    device: str
    pictures: int
    """Pictures of a timed step."""
    compute: float
    """Seconds a picture, views included: forward, back and step."""
    reading: float
    """Seconds a picture that one core reads, varies and collates."""


@dataclass(frozen=True)
class Estimate:
    """The costs of a recipe, for one process."""

    parts: tuple[PartCost, ...]
    flops: float
    """Floating-point operations of a training picture, forward and back, its views included."""
    steps: int
    shown: int
    """Training pictures shown in all epochs."""
    looked_at: int
    """Dev pictures looked at in all, at a third of a training picture's cost: there is no way back."""
    fixed_bytes: int
    """Weights, gradients, AdamW's moments, averaged weights and the copy that is looked at."""
    activation_bytes: float
    """What a batch keeps for the way back."""
    signal_bytes: int
    """The teacher's readings on disk; 0 without a teacher."""
    state_bytes: int
    """A run's state to resume from."""
    timing: Timing
    missing: tuple[str, ...]
    """What was not there, and what stood in for it."""

    @property
    def pictures(self) -> float:
        """Training pictures that cost as much as all that is shown and looked at."""
        return self.shown + self.looked_at / 3

    @property
    def hours_here(self) -> float:
        """Hours on one process like this one."""
        return self.pictures * self.timing.compute / 3600

    def hours_at(self, flops_per_second: float) -> float:
        """Hours of a device that sustains so many operations a second."""
        return self.pictures * self.flops / flops_per_second / 3600


def estimate(config: Config) -> Estimate:
    """Builds what a run would build, counts and times a few batches of it, and writes nothing.

    Text embeddings are random; data and readings that are not there are stood in for (``stand_ins``). Raises what
    building a run raises, and ConfigError for another task than situations.
    """
    if config.task != "situations":
        raise ConfigError(f"{config.name}: --dry-run knows the task situations only, not {config.task}")
    config = config.model_copy(update={"data": config.data.model_copy(update={"workers": 0})})
    instead, missing = stand_ins(config)
    parts = build_parts(config, stand_ins=instead)
    task: nn.Module = build_task(config, parts)
    batches = planned_batches(parts.sampler.factors, config.train)
    steps = sum(-(-count // config.train.accumulate) for count in batches)
    steps = min(steps, config.train.max_steps or steps)
    looks = -(-config.train.epochs // config.train.validate_every) + 1  # the last one chooses the constants
    engine = Engine(config.train, config.scale)
    device = engine.device
    task.to(device).train()
    beside = parts.beside_batch(device)
    few = _batch(parts, _PROBE, device)
    forward, flops = _flops(task, few, beside)
    weights = list(task.parameters())
    trainable = sum(weight.numel() for weight in weights if weight.requires_grad)
    everything = sum(weight.numel() for weight in weights)
    averaged = everything if config.optim.ema else 0
    wrapped = engine.wrap(task)
    activations = _activation_bytes(engine, wrapped, parts, beside, config.train.batch_size)
    return Estimate(
        parts=_part_costs(task, forward),
        flops=flops,
        steps=steps,
        shown=min(sum(batches), steps * config.train.accumulate) * config.train.batch_size,
        looked_at=looks * len(parts.data.dev),
        fixed_bytes=_FLOAT * (2 * everything + averaged + 3 * trainable),
        activation_bytes=activations,
        signal_bytes=_signal_bytes(config, parts),
        state_bytes=_FLOAT * (everything + averaged + 2 * trainable),
        timing=_time(engine, wrapped, parts, beside, config),
        missing=missing,
    )


def _batch(parts: Parts, count: int, device: torch.device, repeat: int = 1) -> Batch:
    """The first pictures of the first epoch, ``repeat`` times over."""
    order = list(parts.sampler)
    examples = [parts.dataset[order[place % len(order)]] for place in range(count)]
    collate: Any = parts.loader.collate_fn
    batch: Batch = collate(examples * repeat)
    if batch.views is not None and parts.readings is not None:  # as many as on average, not as many as were drawn
        wanted = round(parts.readings.views_a_picture * count * repeat)
        chosen = torch.arange(wanted) % len(batch.views.pixels)
        batch = replace(batch, views=Views(batch.views.pixels[chosen], batch.views.scene[chosen]))
    return batch.to(device)


def _loss(task: nn.Module, batch: Batch, beside: Sequence[Any]) -> Tensor:
    losses, _ = task(batch, *beside)
    return torch.stack(list(losses.values())).sum()


def _flops(task: nn.Module, batch: Batch, beside: Sequence[Any]) -> tuple[dict[str, float], float]:
    """Operations of a picture: forward by part, and of the whole forward and back."""
    # Fused attention is counted on GPUs only; as matrix products it is counted everywhere.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as whole:
        with FlopCounterMode(display=False) as forward:  # the counter tells parts apart on the way there only
            loss = _loss(task, batch, beside)
        loss.backward()  # type: ignore[no-untyped-call]
    task.zero_grad()
    root, pictures = type(task).__name__, len(batch.pixels)
    by_part = {
        name.removeprefix(f"{root}.model.").removeprefix(f"{root}."): sum(count.values()) / pictures
        for name, count in forward.get_flop_counts().items()
    }
    return by_part, whole.get_total_flops() / pictures


def _part_costs(task: Any, flops: dict[str, float]) -> tuple[PartCost, ...]:
    named = [*task.model.named_children(), ("projections", task.projections)]
    inside = {name for name, _ in named}
    loose = [weight for name, weight in task.model.named_parameters() if name.split(".")[0] not in inside]
    assert not loose, "every weight belongs to a part"
    costs = []
    for name, part in named:
        sizes = [(weight.numel(), weight.requires_grad) for weight in part.parameters()]
        trainable, frozen = (sum(size for size, trains in sizes if trains is wanted) for wanted in (True, False))
        if sizes:
            costs.append(PartCost(name, trainable, frozen, flops.get(name, 0.0)))
    return tuple(costs)


def _activation_bytes(engine: Engine, task: nn.Module, parts: Parts, beside: Sequence[Any], pictures: int) -> float:
    """What the batch keeps for the way back, counted on a few pictures and twice as many."""
    once, twice = (_kept_bytes(engine, task, _batch(parts, _PROBE, engine.device, repeat), beside) for repeat in (1, 2))
    return twice + (pictures / _PROBE - 2) * (twice - once)


def _kept_bytes(engine: Engine, task: nn.Module, batch: Batch, beside: Sequence[Any]) -> int:
    """Bytes that autograd holds after the way there, weights and buffers left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*task.parameters(), *task.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def keep_inputs(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        for tensor in inputs:
            if isinstance(tensor, Tensor):
                keep(tensor)

    # A block that is recomputed keeps its inputs, out of sight of the hooks.
    recomputed = [block for block in repeated_blocks(task) if "forward" in vars(block)]
    handles = [block.register_forward_pre_hook(keep_inputs) for block in recomputed]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), engine.autocast():
        loss = _loss(task, batch, beside)
    for handle in handles:
        handle.remove()
    total = sum(kept.values())
    del loss
    return total


def _time(engine: Engine, task: nn.Module, parts: Parts, beside: Sequence[Any], config: Config) -> Timing:
    optimizer = build_optimizer(engine.unwrap(task), config.optim)

    def step(batch: Batch) -> float:
        started = time.perf_counter()
        with engine.autocast():
            loss = _loss(task, batch, beside)
        engine.backward(loss)
        engine.clip(task.parameters(), config.optim.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        if engine.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter() - started

    few = _batch(parts, _PROBE, engine.device)
    step(few)
    fits = int(_PROBE * _SECONDS / step(few))
    count = min(config.train.batch_size, max(_PROBE, fits))
    started = time.perf_counter()
    batch = _batch(parts, count, torch.device("cpu"))
    reading = time.perf_counter() - started
    batch = batch.to(engine.device)
    took = sorted(step(batch) for _ in range(_STEPS))[_STEPS // 2]
    device = engine.device.type if engine.device.type == "cpu" else str(torch.accelerator.current_accelerator())
    return Timing(device, count, took / count, reading / count)


def _signal_bytes(config: Config, parts: Parts) -> int:
    """Of the folders that are there, their size; of those that are not, what their vectors will take."""
    folders = [Path(name) for name in (config.distill.signals, config.distill.token_cache) if name]
    total = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    if config.distill.signals and not Path(config.distill.signals).exists():
        width, roles = parts.text_encoder.width, parts.data.vocabulary.max_roles
        views = config.views.count if config.distill.views else 0
        total += estimate_bytes(len(parts.data.train), roles, width, width, views)
    return total
