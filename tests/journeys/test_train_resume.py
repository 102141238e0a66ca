"""A run that is killed and resumed ends exactly where an undisturbed one does: the same losses, the same weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovgsr.config import Config
from ovgsr.training.loop import train
from ovgsr.training.run_dir import RunDir, RunError

STEPS = 14
"""Two epochs of seven steps; the last step of an epoch has one batch instead of two."""


class Killed(Exception):
    """What the observer raises in the place of a power cut."""


class Killer:
    """Raises at a step, or while dev of an epoch is looked at."""

    def __init__(self, step: int | None = None, epoch: int | None = None) -> None:
        self.step, self.epoch = step, epoch

    def started(self, step: int, steps: int) -> None:
        assert steps == STEPS

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        if step == self.step:
            raise Killed

    def validated(self, epoch: int, scores: dict[str, float]) -> None:
        if epoch == self.epoch:
            raise Killed


@pytest.fixture(scope="module")
def config(tiny_config: Callable[..., Config]) -> Config:
    return tiny_config(
        model={"dropout": 0.2},
        optim={"ema": 0.9},
        train={"batch_size": 12, "accumulate": 2, "checkpoint_every": 4, "validate_every": 1},
    )


@pytest.fixture(scope="module")
def undisturbed(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    train(config, out)
    return out


def _log(run: Path) -> list[dict[str, Any]]:
    records = RunDir(run).read_log()
    for record in records:
        for clock in ("pictures_per_second", "seconds_per_step"):  # all that may differ
            record.pop(clock, None)
    return records


def _assert_same(run: Path, other: Path) -> None:
    assert _log(run) == _log(other)
    for name in ("model.safetensors", "config.json", "vocabulary.json"):
        assert (run / "student" / name).read_bytes() == (other / "student" / name).read_bytes(), name
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in other.iterdir())


def test_the_undisturbed_run_is_what_it_should_be(undisturbed: Path) -> None:
    log = _log(undisturbed)
    assert [record["step"] for record in log if "loss" in record] == list(range(1, STEPS + 1))
    assert [(record["step"], record["epoch"]) for record in log if "seen.verb_top1" in record] == [(7, 1), (14, 2)]


KILLS = [
    # what, when, the step of the state that is left
    ("before the first state", Killer(step=2), 0),
    ("in the first epoch", Killer(step=6), 4),
    ("in the second epoch", Killer(step=11), 8),
    ("while looking at dev", Killer(epoch=1), 4),
    ("while looking at dev for the last time", Killer(epoch=2), 12),
]


@pytest.mark.parametrize(("what", "killer", "left"), KILLS, ids=[kill[0] for kill in KILLS])
def test_a_killed_run_ends_as_if_never_killed(
    config: Config, undisturbed: Path, tmp_path: Path, what: str, killer: Killer, left: int
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Killed):
        train(config, out, observer=killer)
    assert not (out / "student").exists()
    state = RunDir(out).load_state()
    assert (0 if state is None else state[1]["step"]) == left
    train(config, out, resume=True)
    _assert_same(out, undisturbed)


def test_a_state_at_the_last_step_of_an_epoch_is_no_stumbling_block(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    settings = {"batch_size": 12, "accumulate": 2, "checkpoint_every": 7, "validate_every": 1}
    config = tiny_config(train=settings)
    train(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train(config, tmp_path / "run", observer=Killer(epoch=1))
    train(config, tmp_path / "run", resume=True)
    _assert_same(tmp_path / "run", tmp_path / "whole")


def test_killed_for_good_and_resumed_twice(config: Config, undisturbed: Path, tmp_path: Path) -> None:
    """SIGKILL in another process, which leaves no time to tidy up; then an exception; then to the end."""
    out, recipe = tmp_path / "run", tmp_path / "config.json"
    recipe.write_text(json.dumps(config.model_dump(mode="json")), encoding="utf-8")
    program = f"""
import json, os, signal
from pathlib import Path
from ovgsr.config import Config
from ovgsr.training.loop import train

class Power:
    def started(self, step, steps): ...
    def validated(self, epoch, scores): ...
    def stepped(self, step, numbers):
        if step == 6:
            os.kill(os.getpid(), signal.SIGKILL)

train(Config.model_validate_json(Path({str(recipe)!r}).read_text()), Path({str(out)!r}), observer=Power())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    with pytest.raises(Killed):
        train(config, out, resume=True, observer=Killer(step=13))
    train(config, out, resume=True)
    _assert_same(out, undisturbed)


def test_resuming_a_finished_run_changes_nothing(config: Config, undisturbed: Path) -> None:
    weights, log = (undisturbed / "student" / "model.safetensors").read_bytes(), _log(undisturbed)
    train(config, undisturbed, resume=True)
    assert (undisturbed / "student" / "model.safetensors").read_bytes() == weights
    assert _log(undisturbed) == log


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(
    config: Config, tiny_config: Callable[..., Config], undisturbed: Path
) -> None:
    before = (undisturbed / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError, match="holds a run already"):
        train(config, undisturbed)
    with pytest.raises(RunError, match="other settings than this run's"):
        train(tiny_config(), undisturbed, resume=True)
    assert (undisturbed / "metrics.jsonl").read_bytes() == before
