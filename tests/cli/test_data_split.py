"""``ovgsr data split``, and splits by name and by file in the commands that take one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ovgsr.cli.main import app
from ovgsr.data.swig import read_annotations, read_split_file
from ovgsr.evaluation.predictions import write_predictions
from ovgsr.situation import ImagePrediction
from ovgsr.training import loop
from swig_records import BROKEN


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, arguments)))


def test_a_split_is_written_printed_and_used(swig_records: Path, tmp_path: Path) -> None:
    file, predictions, results = tmp_path / "refined.json", tmp_path / "predictions.jsonl", tmp_path / "results.json"
    result = run("data", "split", swig_records, "--out", file, "--refined")
    assert result.exit_code == 0, result.output
    split = read_split_file(file)
    assert (split.name, len(split.unseen)) == ("Ov-SWiG, refined", 84)
    assert "dropped for box_empty: 0 of train, 0 of dev, 1 of test" in result.output
    assert "not in training: 1512 of unseen verbs, 0 dropped," in result.output

    write_predictions(
        predictions,
        (
            ImagePrediction(image.file_name, ((image.situation.verb, 1.0),), {image.situation.verb: image.situation})
            for image in read_annotations(swig_records, "test")
        ),
    )
    asked = ("evaluate", "--predictions", predictions, "--data", swig_records, "--json", results)
    for named, pictures, unseen in (("ov_swig", 462, 84), (file, 461, 83)):
        result = run(*asked, "--split", named)
        assert result.exit_code == 0, result.output
        found = json.loads(results.read_text(encoding="utf-8"))
        assert (found["all"]["images"], found["unseen"]["images"]) == (pictures, unseen)
        assert found["nouns"]["seen"]["roles"] > 1000
        assert {scores["value"] for scores in found["nouns"].values()} <= {100.0, None}
    assert f"1 annotated pictures are left out by the split ({BROKEN}_" in result.output


def test_a_changed_or_missing_split_ends_in_a_sentence(swig_records: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    record = read_split_file(Path("ov_swig")).to_json()
    file.write_text(json.dumps(record | {"unseen": record["unseen"][1:]}), encoding="utf-8")
    for split, message in (
        (file, "'sha256' is not the checksum of the rest"),
        ("ov_hico", "no such split file; the package carries ov_swig"),
    ):
        result = run("teacher", "rationales", "--data", swig_records, "--out", tmp_path / "out", "--split", split)
        assert result.exit_code == 1
        assert message in str(result.exception)


def test_train_takes_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(loop, "train", lambda config, *_, **__: asked.append(config))
    result = run("train", "smoke", "--out", tmp_path, "--split", "ov_swig", "data.root=here")
    assert result.exit_code == 0, result.output
    assert asked[0].data.split == "ov_swig"
