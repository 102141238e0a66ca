"""Human-object interactions from files to a picture with lines, through the commands that a user gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from tests.toy_hoi import INTERACTIONS, write_toy_hoi
from typer.testing import CliRunner, Result

from ovgsr.cli.main import app
from ovgsr.config import load_config
from ovgsr.errors import OvgsrError
from ovgsr.training.loop import train
from ovgsr.training.run_dir import RunDir

TOY: dict[str, Any] = {
    "name": "toy",
    "task": "interactions",
    "data": {"image_size": 48, "cache_images": True, "flip": 0.0, "crop": 0.0, "colour": 0.0},
    "model": {"width": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 2},
    "pairs": {"queries": 8, "kept": 20},
    "loss": {"verb": 2.0},
    "optim": {"learning_rate": 0.003, "ema": 0.9},
    "train": {"epochs": 200, "max_steps": 90, "batch_size": 8, "precision": "no", "log_every": 5, "validate_every": 200,
              "threads": 1},
}  # fmt: skip


def _command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _recipe(folder: Path, **train_settings: Any) -> Path:
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(TOY | {"train": TOY["train"] | train_settings}))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_hoi(tmp_path_factory.mktemp("toy") / "data", train=8, dev=4, test=4)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned eight pictures by heart."""
    folder = tmp_path_factory.mktemp("runs")
    result = _command("train", _recipe(folder), "--data", data, "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_what_a_run_leaves(run: Path) -> None:
    log = RunDir(run).read_log()
    losses = [record["loss"] for record in log if "loss" in record]
    assert losses[-1] < losses[0] / 10
    assert {"map_full", "map_rare"} <= log[-1].keys(), "dev was looked at"
    kept = json.loads((run / "student" / "config.json").read_text())
    assert [tuple(one) for one in kept["interactions"]] == INTERACTIONS


def test_evaluate_finds_what_was_learned(run: Path, data: Path, tmp_path: Path) -> None:
    results, predictions = tmp_path / "results.json", tmp_path / "pairs.jsonl"
    asked = ("evaluate", "--model", run / "student", "--data", data, "--fold", "train", "--json", results)
    result = _command(*asked, "--save-predictions", predictions)
    assert result.exit_code == 0, result.output
    record = json.loads(results.read_text())
    assert record["mode"] == "official"
    assert record["default"]["map_full"] > 70
    from_file = _command("evaluate", "--predictions", predictions, "--data", data, "--fold", "train", "--json", results)
    assert from_file.exit_code == 0, from_file.output
    assert json.loads(results.read_text())["default"] == record["default"], "a saved file scores the same"
    unmasked = _command(*asked, "--all-combinations")
    assert unmasked.exit_code == 0, unmasked.output
    assert 0 < json.loads(results.read_text())["default"]["map_full"] <= record["default"]["map_full"] + 1e-6


def test_predict_writes_json_and_a_drawing(run: Path, data: Path, tmp_path: Path) -> None:
    picture = min((data / "images" / "train2015").iterdir())
    result = _command("predict", picture, "--model", run / "student", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / f"{picture.stem}.json").read_text())
    gold = json.loads((data / "instances_train2015.json").read_text())
    first = gold["annotation"][gold["filenames"].index(picture.name)]["hoi"]
    best = record["pairs"][0]
    assert (best["verb"], best["object"]) in {INTERACTIONS[hoi] for hoi in first}
    assert {(pair["verb"], pair["object"]) for pair in record["pairs"]} <= set(INTERACTIONS)
    with Image.open(tmp_path / f"{picture.stem}.png") as drawn:
        assert drawn.width == 640
    own = _command("predict", picture, "--model", run / "student", "--out", tmp_path, "--task", "hoi",
                   "--verbs", "juggle", "--nouns", "torch,ball", "--no-draw")  # fmt: skip
    assert own.exit_code == 0, own.output
    pairs = json.loads((tmp_path / f"{picture.stem}.json").read_text())["pairs"]
    assert {(pair["verb"], pair["object"]) for pair in pairs} == {("juggle", "torch"), ("juggle", "ball")}


def test_the_task_is_checked(run: Path, data: Path, trained_run: Path, tmp_path: Path) -> None:
    picture = min((data / "images" / "train2015").iterdir())
    for model, asked in ((run / "student", "situations"), (trained_run / "student", "hoi")):
        result = _command("predict", picture, "--model", model, "--task", asked, "--out", tmp_path)
        assert isinstance(result.exception, OvgsrError)
        assert f"not for {asked}; name another with --model" in str(result.exception)


class Killed(Exception):
    """What the observer raises in the place of a power cut."""


class Killer:
    def started(self, step: int, steps: int) -> None: ...

    def validated(self, epoch: int, scores: dict[str, float]) -> None: ...

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        if step == 3:
            raise Killed


def test_killed_and_resumed_ends_where_an_undisturbed_run_does(data: Path, tmp_path: Path) -> None:
    steps = {"max_steps": 5, "checkpoint_every": 2, "batch_size": 3, "log_every": 1}
    changes = [f"data.root={data}", "model.dropout=0.2", "data.flip=0.5", "data.crop=0.1"]
    config = load_config(_recipe(tmp_path, **steps), changes)
    train(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train(config, tmp_path / "killed", observer=Killer())
    train(config, tmp_path / "killed", resume=True)
    weights: Callable[[str], bytes] = lambda name: (tmp_path / name / "student" / "model.safetensors").read_bytes()  # noqa: E731
    assert weights("killed") == weights("whole")
