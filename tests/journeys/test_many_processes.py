"""Two processes train what one does: the same losses, dev scores and weights, replicated (DDP) or split (FSDP).

All of it is one launch of torchrun, which is most of the time that it takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ovgsr.config import Config
from ovgsr.training.loop import train
from ovgsr.training.run_dir import RunDir

STEPS = 6
PROGRAM = """
import os, signal, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch import nn
from ovgsr.config import Config, ScaleSettings
from ovgsr.losses.processes import joined_count, joined_rows
from ovgsr.models.batch_norm import join_batch_norms
from ovgsr.training.loop import Trainer
from ovgsr.training.run_dir import RunDir

folder = Path(sys.argv[1])
config = Config.model_validate_json((folder / "recipe.json").read_text())

class Stopped(Exception):
    pass

class Doomed(Trainer):
    '''Each process stops after the state of step 2; process 1 loses its power at step 5.'''

    def _save_state(self):
        super()._save_state()
        if self.progress.step == 2 and not self.resumed:
            raise Stopped

    def _observe(self, *numbers):
        super()._observe(*numbers)
        if self.progress.step == 5 and self.engine.process == 1:
            os.kill(os.getpid(), signal.SIGKILL)

trainer = Trainer(config, RunDir(folder / "replicated"))
trainer.fit()

process = trainer.engine.process
pictures = torch.arange(13 * 3 * 4.0).reshape(13, 3, 2, 2).sin()
own = (pictures[:5] if process == 0 else pictures[5:]).clone().requires_grad_()
norm = nn.BatchNorm2d(3)
join_batch_norms(norm)
normed = norm(own)
normed.pow(3).sum().backward()
found = {"normed": normed.detach(), "gradient": own.grad, "mean": norm.running_mean, "variance": norm.running_var}
found |= {"count": joined_count(torch.tensor(len(own))), "rows": joined_rows(own.detach().flatten(1))}
save_file({name: tensor.contiguous() for name, tensor in found.items()}, folder / f"norm_{process}.safetensors")

sharded = config.model_copy(update={"scale": ScaleSettings(shard=True, recompute=True)})
Doomed.resumed = False
try:
    Doomed(sharded, RunDir(folder / "sharded")).fit()
except Stopped:
    Doomed.resumed = True
    Doomed(sharded, RunDir(folder / "sharded"), resume=True).fit()
"""


@pytest.fixture(scope="module")
def config(tiny_config: Callable[..., Config]) -> Config:
    """Batch statistics, rare and missing roles, boxes, a second readout whose loss compares the batch's pictures."""
    return tiny_config(
        model={"distilled_readout": True},
        distill={"label_text": True},
        optim={"ema": 0.9},
        evaluation={"batch_size": 7},
        train={"max_steps": STEPS, "checkpoint_every": 2},
    )


@pytest.fixture(scope="module")
def alone(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    train(config, out)
    return out


@pytest.fixture(scope="module")
def launched(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("two")
    (folder / "recipe.json").write_text(config.model_dump_json(), encoding="utf-8")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*launcher, str(folder / "program.py"), str(folder)],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return folder, ended


def _numbers(run: Path) -> list[dict[str, Any]]:
    clocks = {"pictures_per_second", "seconds_per_step"}
    return [{k: v for k, v in record.items() if k not in clocks} for record in RunDir(run).read_log()]


def _assert_same(run: Path, other: Path, steps: range = range(STEPS + 1)) -> None:
    """The same to the rounding of float32 sums, which are added up in another order."""
    one, two = ([record for record in _numbers(path) if record["step"] in steps] for path in (run, other))
    assert len(one) == len(two) > 0
    for record, expected in zip(one, two, strict=True):
        assert record == pytest.approx(expected, rel=1e-4, abs=1e-4), record["step"]


def test_two_processes_have_the_losses_and_the_dev_table_of_one(
    alone: Path, launched: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    folder, ended = launched
    assert (folder / "replicated" / "student").exists(), ended.stderr[-3000:]
    _assert_same(folder / "replicated", alone)
    one, two = (load_file(run / "student" / "model.safetensors") for run in (alone, folder / "replicated"))
    for name, tensor in one.items():
        assert float((two[name] - tensor).double().norm()) <= 0.02 * float(tensor.double().norm()) + 1e-6, name
    chosen = [json.loads((run / "student" / "config.json").read_text()) for run in (alone, folder / "replicated")]
    assert chosen[0]["calibration"] == chosen[1]["calibration"]


def test_batch_statistics_and_counts_are_those_of_the_joined_batch(
    launched: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Five pictures in one process and eight in the other."""
    first, second = (load_file(launched[0] / f"norm_{process}.safetensors") for process in range(2))
    pictures = torch.arange(13 * 3 * 4.0).reshape(13, 3, 2, 2).sin().requires_grad_()
    norm = torch.nn.BatchNorm2d(3)
    normed = norm(pictures)
    normed.pow(3).sum().backward()
    torch.testing.assert_close(torch.cat([first["normed"], second["normed"]]), normed)
    torch.testing.assert_close(torch.cat([first["gradient"], second["gradient"]]), pictures.grad)
    for found in (first, second):
        torch.testing.assert_close(found["mean"], norm.running_mean)
        torch.testing.assert_close(found["variance"], norm.running_var)
        torch.testing.assert_close(found["rows"], pictures.flatten(1))
        assert found["count"] == 13 / 2


def test_a_lost_process_ends_the_run_and_is_named(
    launched: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, ended = launched
    assert ended.returncode != 0
    assert "rank      : 1 (local_rank: 1)" in ended.stderr, ended.stderr[-3000:]
    assert "Signal 9 (SIGKILL)" in ended.stderr
    assert not (folder / "sharded" / "student").exists()


def test_a_split_run_is_resumed_split_and_then_by_one_process(
    config: Config, alone: Path, launched: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    """Stopped after step 2 and resumed by two processes, one of them killed at step 5, resumed from step 4 by one."""
    folder, _ = launched
    state = RunDir(folder / "sharded").load_state()
    assert state is not None
    assert state[1]["step"] == 4
    _assert_same(folder / "sharded", alone, range(5))
    train(config, folder / "sharded", resume=True)
    _assert_same(folder / "sharded", alone)
