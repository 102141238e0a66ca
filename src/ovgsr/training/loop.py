"""The loop, plain: forward, backward, clip, step, and now and then a look at dev and a state on disk."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ovgsr.config import Config
from ovgsr.data.skipped import Skipped
from ovgsr.models.checkpoint import Checkpoint
from ovgsr.training.averaging import averaged_model, averages
from ovgsr.training.engine import Engine, MissingExtraError
from ovgsr.training.optim import build_optimizer, build_schedule, rate_at
from ovgsr.training.parts import RunParts, build_run
from ovgsr.training.run_dir import RunDir, RunError, optimizer_from_tensors, optimizer_to_tensors
from ovgsr.training.sampling import epoch_order


class Observer(Protocol):
    """Whoever watches a run (the command line's progress bar); printing is theirs, not the loop's."""

    def started(self, step: int, steps: int) -> None:
        """The run goes from ``step`` to ``steps``."""

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        """An optimiser step is done."""

    def validated(self, epoch: int, scores: dict[str, float]) -> None:
        """Dev was looked at."""


class _Watchless:
    def started(self, step: int, steps: int) -> None: ...

    def stepped(self, step: int, numbers: dict[str, float]) -> None: ...

    def validated(self, epoch: int, scores: dict[str, float]) -> None: ...


@dataclass
class _Progress:
    """Where a run is: ``step`` optimiser steps done, ``batches`` of ``epoch`` used up."""

    step: int = 0
    epoch: int = 0
    batches: int = 0


class Trainer:
    """One run: built from settings, resumed from its folder where there is a state, run to the end."""

    def __init__(self, config: Config, run: RunDir, *, resume: bool = False, observer: Observer | None = None) -> None:
        self.config = config
        self.run = run
        self.engine = Engine(config.train)
        # One process speaks for all: eight progress bars would fight for a terminal.
        self.observer: Observer = observer if observer and self.engine.is_main else _Watchless()
        if self.engine.is_main:
            run.check(config, resume=resume)  # before minutes of preparation
        skipped = Skipped(run.skipped) if config.data.on_error == "skip" else None
        self.parts: RunParts
        self.task: nn.Module
        self.parts, self.task = build_run(config, skipped)
        self.optimizer: Any = build_optimizer(self.task, config.optim)
        self.steps = self._planned_steps()
        self.schedule = build_schedule(self.optimizer, self.steps, config.optim)
        self.averaged: AveragedModel | None = None
        self.progress = _Progress()
        if self.engine.is_main:
            run.open(config, self.parts.checkpoint.vocabulary, resume=resume)
        self.engine.wait()
        self.task, self.optimizer, self.loader = self.engine.prepare(self.task, self.optimizer, self.parts.loader)
        if config.optim.ema:
            self.averaged = averaged_model(self._student(), config.optim.ema)
        if resume:
            self._load_state()
        self._writer = self._open_tensorboard() if self.engine.is_main else None

    def fit(self) -> Checkpoint[Any]:
        """Trains to the last step, calibrates on dev, writes ``student/`` and returns the checkpoint."""
        self.observer.started(self.progress.step, self.steps)
        while self.progress.step < self.steps:
            self._train_epoch()
            self.progress = _Progress(self.progress.step, self.progress.epoch + 1, 0)
            last = self.progress.step >= self.steps
            if last or self.progress.epoch % self.config.train.validate_every == 0:
                self._validate()
            self._save_state()
        return self._finish()

    def _train_epoch(self) -> None:
        parts, settings, progress = self.parts, self.config.train, self.progress
        share = settings.batch_size * self.engine.processes
        parts.sampler.begin(progress.epoch, skip=progress.batches * share)
        self.loader.set_epoch(progress.epoch)  # the prepared loader hands its own count of epochs to the data set
        beside = parts.beside_batch(self.engine.device)
        self.task.train()
        started, seen = time.monotonic(), 0
        stepped = started
        for batch in self.loader:
            with self.engine.accumulate(self.task):
                with self.engine.autocast():
                    losses, report = self.task(batch, *beside)
                    loss = torch.stack(list(losses.values())).sum()
                self.engine.backward(loss)
                norm = torch.zeros(())
                if self.engine.steps_now:
                    norm = self.engine.clip(self.task.parameters(), self.config.optim.clip_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            progress.batches += 1
            seen += share
            if not self.engine.steps_now:
                continue
            progress.step += 1
            if self.averaged is not None:
                self.averaged.update_parameters(self._student())
            now = time.monotonic()
            took, stepped = now - stepped, now
            self._observe({"loss": loss.detach(), **report}, norm, seen / (now - started), took)
            self.schedule.step()
            if progress.step >= self.steps:
                return
            if progress.step % settings.checkpoint_every == 0:
                self._save_state()

    def _observe(self, numbers: dict[str, Tensor], norm: Tensor, speed: float, took: float) -> None:
        """Writes a line every ``log_every`` steps; the loss of every step would cost a synchronisation on a GPU."""
        step = self.progress.step
        if step % self.config.train.log_every and step != self.steps:
            self.observer.stepped(step, {})
            return
        means = self.engine.mean(numbers)
        if not math.isfinite(means["loss"]):
            raise RunError(
                f"{self.run.path}: the loss of step {step} is {means['loss']}, so the weights are lost; start anew in "
                "another folder with a lower optim.learning_rate, or with train.precision=no"
            )
        record = {
            "step": step,
            "epoch": self.progress.epoch,
            **{name: round(value, 6) for name, value in means.items()},
            "gradient_norm": round(float(norm), 4),
            "learning_rate": self.config.optim.learning_rate * rate_at(step - 1, self.steps, self.config.optim),
            "pictures_per_second": round(speed, 1),
            "seconds_per_step": round(took, 4),
        }
        if self.engine.is_main:
            self.run.log(record)
            self._plot(record, "train")
        self.observer.stepped(step, {**means, "pictures_per_second": speed})

    def _validate(self) -> None:
        """Dev scores of the averaged weights; every process has them, one computes them."""
        if self.engine.is_main:
            with self._averaged_weights():
                scores = self.parts.validate(self.engine.device, self.config)
            record = {"step": self.progress.step, "epoch": self.progress.epoch, **scores}
            self.run.log(record)
            self._plot(record, "dev")
            self.observer.validated(self.progress.epoch, scores)
        self.engine.wait()

    def _finish(self) -> Checkpoint[Any]:
        checkpoint = self.parts.checkpoint
        if self.engine.is_main:
            if self.averaged is not None:
                self._student().load_state_dict(self.averaged.module.state_dict())
            self.parts.calibrate(self.engine.device, self.config)
            checkpoint.save_pretrained(self.run.student)
        if self._writer is not None:
            self._writer.close()
        self.engine.wait()
        return checkpoint

    def _planned_steps(self) -> int:
        """Optimiser steps of the whole run, known from the sampler alone."""
        settings = self.config.train
        share = settings.batch_size * self.engine.processes
        per_epoch = [
            len(epoch_order(self.parts.sampler.factors, settings.seed, epoch)) // share
            for epoch in range(settings.epochs)
        ]
        if min(per_epoch) < 1:
            raise RunError(
                f"train.batch_size {settings.batch_size} on {self.engine.processes} processes is more than an epoch's "
                f"{len(self.parts.dataset)} pictures; lower it"
            )
        steps = sum(-(-batches // settings.accumulate) for batches in per_epoch)
        return min(steps, settings.max_steps or steps)

    def _student(self) -> Any:
        task: Any = self.engine.unwrap(self.task)
        return task.model

    def _projections(self) -> nn.Module:
        task: Any = self.engine.unwrap(self.task)
        projections: nn.Module = task.projections
        return projections

    def _averaged_weights(self) -> _Swapped:
        return _Swapped(self._student(), self.averaged)

    def _save_state(self) -> None:
        self.engine.wait()
        if not self.engine.is_main:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self._student().state_dict().items()}
        if self.averaged is not None:
            means = averages(self.averaged, self._student())
            tensors |= {f"averaged.{name}": tensor for name, tensor in means.items()}
        tensors |= {f"projections.{name}": tensor for name, tensor in self._projections().state_dict().items()}
        tensors |= optimizer_to_tensors(self.optimizer)
        tensors |= self.engine.random_states()
        numbers = {
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "batches": self.progress.batches,
            "processes": self.engine.processes,
            "schedule": self.schedule.state_dict()["last_epoch"],
            "scaler": self.engine.scaler_state(),
        }
        self.run.save_state(tensors, numbers)

    def _load_state(self) -> None:
        loaded = self.run.load_state()
        if loaded is None:  # killed before its first state: from the start
            if self.engine.is_main:
                self.run.cut_log(0, 0)
            return
        tensors, numbers = loaded
        processes = numbers.get("processes", self.engine.processes)
        if processes != self.engine.processes:  # other batches, another number of steps: it would be another run
            raise RunError(
                f"{self.run.path}: was started with {processes} processes, not {self.engine.processes}; resume it with "
                "as many"
            )
        self._student().load_state_dict(_under("model.", tensors))
        self._projections().load_state_dict(_under("projections.", tensors))
        if self.averaged is not None:
            frozen = {f"module.{name}": tensor for name, tensor in self._student().state_dict().items()}
            self.averaged.load_state_dict(frozen | _under("averaged.", tensors))
        optimizer_from_tensors(self.optimizer, tensors)
        self.engine.load_random_states(tensors)
        self.progress = _Progress(numbers["step"], numbers["epoch"], numbers["batches"])
        self.schedule.last_epoch = numbers["schedule"]
        for group, base, scale in zip(
            self.optimizer.param_groups, self.schedule.base_lrs, self.schedule.lr_lambdas, strict=True
        ):
            group["lr"] = base * scale(numbers["schedule"])
        self.engine.load_scaler_state(numbers["scaler"])
        if self.engine.is_main:
            self.run.cut_log(self.progress.step, self.progress.epoch)

    def _open_tensorboard(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("training needs the extra 'train': pip install 'ovgsr[train]'") from None
        resumed_after = self.progress.step + 1 if self.progress.step else None
        return SummaryWriter(str(self.run.path / "tensorboard"), purge_step=resumed_after)

    def _plot(self, record: dict[str, Any], kind: str) -> None:
        if self._writer is not None:
            for name, value in record.items():
                if isinstance(value, int | float) and name not in {"step", "epoch"}:
                    self._writer.add_scalar(f"{kind}/{name}", value, record["step"])


class _Swapped:
    """Within it the student has its averaged weights."""

    def __init__(self, student: nn.Module, averaged: AveragedModel | None) -> None:
        self.student, self.averaged = student, averaged
        self.own: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        if self.averaged is not None:
            self.own = {name: tensor.clone() for name, tensor in self.student.state_dict().items()}
            self.student.load_state_dict(self.averaged.module.state_dict())

    def __exit__(self, *_: object) -> None:
        if self.own:
            self.student.load_state_dict(self.own)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def train(config: Config, out: Path, *, resume: bool = False, observer: Observer | None = None) -> Checkpoint[Any]:
    """Runs a recipe into the folder ``out``; ``resume`` goes on where a killed run stopped, with the same losses."""
    return Trainer(config, RunDir(out), resume=resume, observer=observer).fit()
