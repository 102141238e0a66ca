"""The loop, plain: forward, backward, clip, step, and now and then a look at dev and a state on disk."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ovgsr.config import Config
from ovgsr.data.skipped import Skipped
from ovgsr.errors import first_line
from ovgsr.models.checkpoint import Checkpoint
from ovgsr.training.averaging import AveragedWeights
from ovgsr.training.blocks import split_like, whole, whole_state
from ovgsr.training.engine import Engine, MissingExtraError
from ovgsr.training.optim import build_optimizer, build_schedule, rate_at
from ovgsr.training.parts import RunParts, build_run
from ovgsr.training.run_dir import RunDir, RunError, optimizer_from_tensors, optimizer_to_tensors
from ovgsr.training.sampling import planned_batches, seed_of_batch


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
        self.engine = Engine(config.train, config.scale)
        # One process speaks for all: eight progress bars would fight for a terminal.
        self.observer: Observer = observer if observer and self.engine.is_main else _Watchless()
        if self.engine.is_main:
            run.check(config, resume=resume)  # before minutes of preparation
        skipped = Skipped(run.skipped) if config.data.on_error == "skip" else None
        self.parts: RunParts
        self.parts, task = build_run(config, skipped)
        self.steps = self._planned_steps()
        self.progress = _Progress()
        if self.engine.is_main:
            run.open(config, self.parts.checkpoint.vocabulary, resume=resume)
        self.engine.wait()
        # Trained weights may be split over processes; what is looked at and left behind is a whole copy. A frozen
        # backbone takes its memory once.
        trained: Any = task.model
        frozen = {id(weight): weight for weight in trained.tower.parameters() if not weight.requires_grad}
        self.parts.checkpoint.model = copy.deepcopy(trained, frozen)
        if config.scale.compile:
            trained.tower.compile()
        self.task = self.engine.wrap(task)
        optimizer = build_optimizer(self.engine.unwrap(self.task), config.optim)  # after wrapping: FSDP has new weights
        self.schedule = build_schedule(optimizer, self.steps, config.optim)
        self.optimizer, self.loader = self.engine.prepare(optimizer, self.parts.loader)
        self.averaged = AveragedWeights(self._student(), config.optim.ema) if config.optim.ema else None
        if resume:
            self._load_state()
        self._writer = self._open_tensorboard() if self.engine.is_main else None

    def fit(self) -> Checkpoint[Any]:
        """Trains to the last step, calibrates on dev, writes ``student/`` and returns the checkpoint.

        Raises RunError where the loss is no number any more, or another process of the run is lost.
        """
        try:
            return self._run_to_the_end()
        except RuntimeError as error:
            if not self.engine.is_loss_of_process(error):
                raise
            raise RunError(
                f"{self.run.path}: process {self.engine.process} of {self.engine.processes} cannot reach another one "
                f"({first_line(error)}); the launcher's report names the one that ended first; go on with --resume"
            ) from None

    def _run_to_the_end(self) -> Checkpoint[Any]:
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
        parts.sampler.begin(progress.epoch, skip=progress.batches * settings.batch_size)
        self.loader.set_epoch(progress.epoch)  # the prepared loader hands its own count of epochs to the data set
        beside = parts.beside_batch(self.engine.device)
        self.task.train()
        started, seen = time.monotonic(), 0
        stepped = started
        for batch in self.loader:
            torch.manual_seed(seed_of_batch(settings.seed, progress.epoch, progress.batches, self.engine.process))
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
            seen += settings.batch_size
            if not self.engine.steps_now:
                continue
            progress.step += 1
            if self.averaged is not None:
                self.averaged.update(self._student())
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
        means, norm = self.engine.mean(numbers), whole(norm)
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
        """Dev scores of the averaged weights; each process looks at its share of the pictures."""
        self._show_averaged()
        scores = self.parts.validate(self.engine.device, self.config, self.engine)
        record = {"step": self.progress.step, "epoch": self.progress.epoch, **scores}
        if self.engine.is_main:
            self.run.log(record)
            self._plot(record, "dev")
        self.observer.validated(self.progress.epoch, scores)

    def _finish(self) -> Checkpoint[Any]:
        checkpoint = self.parts.checkpoint
        self._show_averaged()
        self.parts.calibrate(self.engine.device, self.config, self.engine)
        if self.engine.is_main:
            checkpoint.save_pretrained(self.run.student)
        if self._writer is not None:
            self._writer.close()
        self.engine.wait()
        return checkpoint

    def _show_averaged(self) -> None:
        """Gives the checkpoint the averaged weights, whole in every process."""
        averages = {} if self.averaged is None else self.averaged.tensors
        self.parts.checkpoint.model.load_state_dict(whole_state(self._student().state_dict() | averages))

    def _planned_steps(self) -> int:
        """Optimiser steps of the whole run, known from the sampler alone."""
        settings, processes = self.config.train, self.engine.processes
        if settings.batch_size % processes:
            raise RunError(
                f"train.batch_size {settings.batch_size} cannot be shared by {processes} processes; take a multiple"
            )
        per_epoch = planned_batches(self.parts.sampler.factors, settings)
        if min(per_epoch) < 1:
            raise RunError(
                f"train.batch_size {settings.batch_size} is more than an epoch's {len(self.parts.dataset)} pictures; "
                "lower it"
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

    def _save_state(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self._student().state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"averaged.{name}": tensor for name, tensor in self.averaged.tensors.items()}
        tensors |= {f"projections.{name}": tensor for name, tensor in self._projections().state_dict().items()}
        tensors |= optimizer_to_tensors(self.optimizer)
        tensors = whole_state(tensors, keep=self.engine.is_main)
        if self.engine.is_main:
            numbers = {
                "step": self.progress.step,
                "epoch": self.progress.epoch,
                "batches": self.progress.batches,
                "averaged": 0 if self.averaged is None else self.averaged.steps,
                "schedule": self.schedule.state_dict()["last_epoch"],
                "scaler": self.engine.scaler_state(),
            }
            self.run.save_state(tensors, numbers)
        self.engine.wait()

    def _load_state(self) -> None:
        """Goes on from the folder's state, which may have been left by another number of processes."""
        loaded = self.run.load_state()
        if len(set(self.engine.gather(loaded is None))) > 1:
            raise RunError(f"{self.run.path}: not every process sees the state in it; put the run on a disk they share")
        if loaded is None:  # killed before its first state: from the start
            if self.engine.is_main:
                self.run.cut_log(0, 0)
            return
        tensors, numbers = loaded
        if "averaged" not in numbers:
            raise RunError(f"{self.run.path}: its state is of an earlier version, which alone can go on; start anew")
        for prefix, module in (("model.", self._student()), ("projections.", self._projections())):
            module.load_state_dict(_under(prefix, tensors, module.state_dict()))
        if self.averaged is not None:
            self.averaged.load(_under("averaged.", tensors, self.averaged.tensors), numbers["averaged"])
        optimizer_from_tensors(self.optimizer, tensors)
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


def _under(prefix: str, tensors: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name: split_like(tensor, like[name]) if name in like else tensor for name, tensor in found.items()}


def train(config: Config, out: Path, *, resume: bool = False, observer: Observer | None = None) -> Checkpoint[Any]:
    """Runs a recipe into the folder ``out``; ``resume`` goes on where a killed run stopped, with the same losses."""
    return Trainer(config, RunDir(out), resume=resume, observer=observer).fit()
