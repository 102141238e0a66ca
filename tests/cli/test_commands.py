"""The commands on real files, end to end: what they write and that their numbers agree."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.cli.conftest import Command


def test_a_model_and_its_predictions_file_score_the_same(
    ovgsr: Command, sketch_root: Path, trained_run: Path, tmp_path: Path
) -> None:
    files = ["--json", tmp_path / "model.json", "--save-predictions", tmp_path / "predictions.jsonl"]
    result = ovgsr("evaluate", "--data", sketch_root, "--model", trained_run / "student", *files)
    assert result.returncode == 0, result.stderr
    assert "verb top-1" in result.stdout
    assert "grounded-all" in result.stdout
    again = ["--predictions", tmp_path / "predictions.jsonl", "--json", tmp_path / "file.json"]
    assert ovgsr("evaluate", "--data", sketch_root, *again).returncode == 0
    of_model, of_file = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("model", "file"))
    for group in ("all", "seen", "rare", "unseen"):
        assert of_model[group] == of_file[group]
    assert of_model["open_vocabulary"]["ausuc"] == pytest.approx(of_file["open_vocabulary"]["ausuc"])
    assert of_model["all"]["images"] == 56  # one test picture of each competing verb
    assert "drawn pictures only" in of_model["notices"][0]


def test_a_single_profile_is_the_results_file(
    ovgsr: Command, sketch_root: Path, trained_run: Path, tmp_path: Path
) -> None:
    chosen = ["--fold", "dev", "--profile", "situformer", "--json", tmp_path / "r.json"]
    assert ovgsr("evaluate", "--data", sketch_root, "--model", trained_run / "student", *chosen).returncode == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["profile"] == "situformer"
    assert results["fold"] == "dev"


def test_train_and_resume_from_the_command_line(ovgsr: Command, sketch_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["train", "smoke", "train.max_steps=4", "--data", sketch_root, "--out", run, "--seed", 3]
    assert ovgsr(*arguments).returncode == 0
    assert json.loads((run / "config.json").read_text())["train"]["seed"] == 3
    refused = ovgsr(*arguments)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    assert ovgsr(*arguments, "--resume").returncode == 0  # nothing left to do: the student is written again


def test_demo_goes_all_the_way_and_twice(ovgsr: Command, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    small = ("train.max_steps=2", "train.batch_size=16", "model.width=32", "views.count=8", "views.candidates=2")
    fast = ("prompts.steps=1", "prompts.pictures=12", "prompts.batch_size=4", "prompts.dev_pictures=8")
    arguments = ["demo", "--out", out, "--pictures", 100]
    arguments += [part for change in (*small, *fast) for part in ("--override", change)]
    result = ovgsr(*arguments)
    assert result.returncode == 0, result.stderr
    page = (out / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)  # one file, nothing fetched
    assert "MIPD beside no teacher" in page
    assert "drawn pictures only" in page
    assert len(list((out / "predictions").glob("*.png"))) >= 12
    logs = [out / "runs" / row / "0" / "run" / "metrics.jsonl" for row in ("no_teacher", "mipd")]
    before = [log.read_text() for log in logs]
    assert ovgsr(*arguments).returncode == 0
    assert [log.read_text() for log in logs] == before  # trained once
