"""What a run leaves: a folder that explains itself, and the state to resume it exactly.

``config.json``, ``vocabulary.json`` (the words training met), ``environment.json`` (versions, git revision),
``metrics.jsonl``, ``tensorboard/``, ``resume/`` (weights, averaged weights, optimiser: safetensors and JSON, never
pickle) and ``student/`` (the finished checkpoint).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ovgsr.config import Config, validate_config
from ovgsr.errors import OvgsrError
from ovgsr.files import write_text_atomically
from ovgsr.training.blocks import split_like
from ovgsr.training.earlier_settings import completed
from ovgsr.vocabulary import Vocabulary


class RunError(OvgsrError):
    """A run folder that cannot be used; the message names it and the remedy."""


class RunDir:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def student(self) -> Path:
        """The finished checkpoint."""
        return self.path / "student"

    @property
    def skipped(self) -> Path:
        """What could not be read and was left out (``data.on_error=skip``)."""
        return self.path / "skipped.jsonl"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, as training goes."""
        return self.path / "metrics.jsonl"

    def check(self, config: Config, *, resume: bool) -> None:
        """Writes nothing: whether this run may use the folder.

        Raises RunError where the folder holds a run already (and ``resume`` is off) or one with other settings.
        """
        if (self.path / "config.json").exists():
            if not resume:
                raise RunError(f"{self.path}: holds a run already; give --resume to go on with it, or another folder")
            self.require_settings(config)
        elif self.path.exists() and any(path != self.skipped for path in self.path.iterdir()):
            raise RunError(f"{self.path}: not empty and no run folder; give another one with --out")

    def open(self, config: Config, vocabulary: Vocabulary, *, resume: bool) -> None:
        """Makes the folder, or goes on with it. Raises RunError as :meth:`check` does."""
        self.check(config, resume=resume)
        explained = {
            "config.json": _settings(config),  # first: it is what a folder is known by after a kill
            "vocabulary.json": json.dumps(vocabulary.to_json(), indent=1),
            "README.txt": _README,
        }
        for name, text in explained.items():
            if not (self.path / name).exists():
                write_text_atomically(self.path / name, text)
        write_text_atomically(self.path / "environment.json", json.dumps(environment(), indent=2))

    def require_settings(self, config: Config) -> None:
        """Raises RunError where the folder's run was started with other settings than these."""
        kept = self.path / "config.json"
        # Read as settings, not compared as text: an older run lacks those that came with a later version.
        told = json.loads(kept.read_text(encoding="utf-8"))
        taught = bool((told.get("distill") or {}).get("signals"))
        started = validate_config(completed(told, taught=taught), str(kept))
        if started.model_copy(update={"scale": config.scale}) != config:  # where it is computed changes no result
            raise RunError(
                f"{kept}: other settings than this run's; resume with the recipe it was started with, or give another "
                "folder with --out"
            )

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a line to the metrics file."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def cut_log(self, step: int, epoch: int) -> None:
        """Drops the lines after ``step`` or ``epoch``: a run resumed from there writes them again.

        Dev scores carry the number of the epoch that follows, so those of an epoch that is not over go as well.
        """
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
                if record["step"] <= step and record["epoch"] <= epoch:
                    kept.append(line)
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # the last line of a killed run may be half a line
        write_text_atomically(self.metrics, "".join(line + "\n" for line in kept))

    def read_log(self) -> list[dict[str, Any]]:
        """The metrics file's lines."""
        return [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]

    def save_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Writes the state to resume from; a kill at any moment leaves the old one or the new one."""
        folder, temporary, old = (self.path / name for name in ("resume", ".resume.part", ".resume.old"))
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, temporary / "state.safetensors")
        (temporary / "state.json").write_text(json.dumps(numbers), encoding="utf-8")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.replace(old)
        temporary.replace(folder)
        shutil.rmtree(old, ignore_errors=True)

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What :meth:`save_state` wrote, or None. Raises RunError where it is damaged."""
        for name in ("resume", ".resume.old"):
            folder = self.path / name
            if folder.exists():
                try:
                    numbers = json.loads((folder / "state.json").read_text(encoding="utf-8"))
                    return load_file(folder / "state.safetensors"), numbers
                except (OSError, json.JSONDecodeError, SafetensorError) as error:
                    raise RunError(
                        f"{folder}: the state to resume from is damaged ({error}); delete the folder to start anew"
                    ) from None
        return None


def optimizer_to_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments under names, for a safetensors file."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{i}.{key}": torch.as_tensor(value) for i, entry in state.items() for key, value in entry.items()
    }


def optimizer_from_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what :func:`optimizer_to_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]  # as they are numbered
    for number, entry in state.items():
        entry.update({key: split_like(value, weights[number]) for key, value in entry.items() if value.ndim})
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _settings(config: Config) -> str:
    return json.dumps(config.model_dump(mode="json"), indent=2, sort_keys=True)


def environment() -> dict[str, Any]:
    """Versions, machine and git revision, for whoever opens the folder later."""
    packages = ("ovgsr", "torch", "transformers", "sentence-transformers", "accelerate", "safetensors", "pillow")
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    named = getattr(torch.get_device_module(accelerator), "get_device_name", None) if accelerator else None
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "accelerator": str(accelerator),
        "accelerator_name": named() if named else None,
        "command": sys.argv,
        "git_revision": git_revision(),
        "packages": versions,
    }


def machine_of(run: RunDir) -> str | None:
    """What a run was last carried on with, in a few words; None where its folder does not say."""
    try:
        told = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
        name = told.get("accelerator_name") or told["accelerator"].replace("None", "no accelerator")
        return f"{told['cores']} cores, {name}, PyTorch {told['packages']['torch']}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def git_revision() -> str | None:
    """The revision of the checkout this package lies in, with ``+changes`` where the tree differs; None outside one."""
    folder = Path(__file__).parent
    try:
        run = {"cwd": folder, "capture_output": True, "text": True, "timeout": 10, "check": True}
        revision = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain"], **run).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{revision}+changes" if changed else str(revision)


_README = """A training run of ovgsr.

config.json       every setting, defaults included: the run can be repeated from it
vocabulary.json   the verbs and nouns that training met
environment.json  versions, machine, git revision and command line of the last go
metrics.jsonl     losses and dev scores, one JSON object a line
tensorboard/      the same for TensorBoard
resume/           weights, averaged weights and optimiser state to go on from
student/          the finished model: SituationRecognizer.from_pretrained("<this folder>/student")
"""
