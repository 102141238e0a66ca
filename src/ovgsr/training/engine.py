"""The one import of accelerate: devices, processes and mixed precision as a tool that the loop calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from ovgsr.config import ScaleSettings, TrainSettings
from ovgsr.errors import OvgsrError
from ovgsr.models.batch_norm import join_batch_norms
from ovgsr.training.blocks import recompute_blocks, shard_blocks

_T = TypeVar("_T")


class MissingExtraError(OvgsrError):
    """An optional dependency is not installed; the message names the extra."""


class PrecisionError(OvgsrError):
    """A mixed precision that this machine, or this process, cannot compute in."""


class LaunchError(OvgsrError):
    """Processes that were launched in a way that this package cannot use."""


class Engine:
    """Wraps ``accelerate.Accelerator``: the CPU of a laptop, or many GPUs under ``accelerate launch`` or torchrun."""

    def __init__(self, settings: TrainSettings, scale: ScaleSettings | None = None) -> None:
        try:
            from accelerate import Accelerator, DataLoaderConfiguration
            from accelerate.utils import InitProcessGroupKwargs
        except ImportError:
            raise MissingExtraError("training needs the extra 'train': pip install 'ovgsr[train]'") from None
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        if settings.precision == "fp16" and not torch.accelerator.is_available():
            # Asked of accelerate, it would refuse only after fixing this precision for the rest of the process.
            raise PrecisionError("train.precision=fp16 needs a GPU; use bf16 or no")
        self._scale = scale or ScaleSettings()
        try:
            self._accelerator = Accelerator(
                mixed_precision=settings.precision,
                gradient_accumulation_steps=settings.accumulate,
                # The sampler's order is a function of seed and epoch: shuffling again, or stopping early on one
                # process, would undo it. A batch is shared by the processes, so their number changes no step.
                dataloader_config=DataLoaderConfiguration(split_batches=True, use_seedable_sampler=False),
                step_scheduler_with_optimizer=False,
                kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(minutes=self._scale.timeout))],
            )
        except ValueError as error:  # bfloat16 on an old GPU; another precision than an earlier run of this process
            raise PrecisionError(
                f"train.precision={settings.precision} cannot be used here ({' '.join(str(error).split())}); use "
                "train.precision=no, or a new process where another precision was used before"
            ) from None

        kind = self._accelerator.distributed_type.value
        if kind in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
            raise LaunchError(f"{kind} was asked of accelerate; launch without it, and give scale.shard=true for FSDP")
        if self.shards and settings.precision == "fp16":
            raise PrecisionError("train.precision=fp16 does not go with scale.shard=true; use bf16")

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._accelerator.device  # type: ignore[no-any-return]

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return int(self._accelerator.num_processes)

    @property
    def process(self) -> int:
        """The number of this process among them, from 0."""
        return int(self._accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return bool(self._accelerator.is_main_process)

    @property
    def shards(self) -> bool:
        """Whether the model is split over the processes."""
        return self._scale.shard and self.processes > 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """A model for training, on the device: its copies kept alike (DDP), or itself split up (FSDP)."""
        if self.processes > 1:
            join_batch_norms(model)
        if self._scale.recompute:
            recompute_blocks(model)
        if self.shards:
            shard_blocks(model, self.device, self.processes)
            return model
        return self.prepare(model)  # type: ignore[no-any-return]

    def prepare(self, *objects: Any) -> Any:
        """Models, optimisers and loaders, fit for the device and the processes."""
        return self._accelerator.prepare(*objects)

    def accumulate(self, model: nn.Module) -> Any:
        """A context in which gradients of several batches add up before a step."""
        return self._accelerator.accumulate(model)

    @property
    def steps_now(self) -> bool:
        """Whether this batch completes an optimiser step."""
        return bool(self._accelerator.sync_gradients)

    def autocast(self) -> Any:
        """The mixed-precision context."""
        return self._accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss."""
        self._accelerator.backward(loss)

    def clip(self, parameters: Any, norm: float) -> Tensor:
        """Scales the gradients down to ``norm``; returns what the norm was, unread: reading it would wait for a GPU."""
        return self._accelerator.clip_grad_norm_(parameters, norm)  # type: ignore[no-any-return]

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Numbers averaged over the processes."""
        stacked = torch.stack([value.detach().float().to(self.device) for value in values.values()])
        reduced = self._accelerator.reduce(stacked, reduction="mean").tolist()
        return dict(zip(values, reduced, strict=True))

    def gather(self, value: _T) -> list[_T]:
        """Every process' value, in their order."""
        values: list[Any] = [value]
        if self.processes > 1:
            values *= self.processes
            distributed.all_gather_object(values, value)
        return values

    def is_loss_of_process(self, error: RuntimeError) -> bool:
        """Whether an error says that the processes lost one another."""
        return self.processes > 1 and (isinstance(error, distributed.DistError) or "gloo" in str(error))

    def unwrap(self, model: nn.Module) -> nn.Module:
        """The module under whatever wrapper the processes need."""
        return self._accelerator.unwrap_model(model)  # type: ignore[no-any-return]

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def random_states(self) -> dict[str, Tensor]:
        """The random generators that dropout draws from: the CPU's, and the device's own where there is one.

        The main process's stand for all: every process starts from one seed and draws as often as the others.
        """
        states = {"random.cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            states["random.device"] = torch.get_device_module(self.device).get_rng_state()
        return states

    def load_random_states(self, states: Mapping[str, Tensor]) -> None:
        """Restores what :meth:`random_states` gave; a run may go on on another kind of device, then not exactly."""
        torch.set_rng_state(states["random.cpu"].cpu())
        if self.device.type != "cpu" and "random.device" in states:
            torch.get_device_module(self.device).set_rng_state(states["random.device"].cpu())

    def scaler_state(self) -> dict[str, Any]:
        """The gradient scaler's numbers (float16 only)."""
        scaler = self._accelerator.scaler
        return {} if scaler is None else dict(scaler.state_dict())

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Restores what :meth:`scaler_state` gave."""
        if self._accelerator.scaler is not None and state:
            self._accelerator.scaler.load_state_dict(state)
