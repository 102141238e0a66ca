"""``--teacher``: the commands with a multimodal LLM as the recognizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Command
from tests.teacher.conftest import tiny_llava_folder as tiny_llava_folder

from ovgsr.cli.teacher_options import prompted_recognizer
from ovgsr.data.swig import read_annotations, read_split
from ovgsr.recognizers.prompted_settings import PromptError


def test_predict(ovgsr: Command, sketch_root: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    teacher: Path = request.getfixturevalue("tiny_llava_folder")
    picture = min((sketch_root / "images_512").glob("*.jpg"))
    words = ["--verbs", "feeding,yodeling", "--nouns", "dog,gizmo", "--top-k", 1, "--teacher-roles", "likelihood"]
    result = ovgsr("predict", picture, "--teacher", teacher, "--device", "cpu", "--out", tmp_path, *words)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / picture.stem).with_suffix(".json").read_text())
    assert {verb["verb"] for verb in record["verbs"]} == {"feeding", "yodeling"}
    assert record["notices"] == [f"zero-shot by prompting the multimodal model {teacher}"]
    assert record["caption"]
    assert {answer["words"] for answer in next(iter(record["frames"].values())).values()} <= {"dog", "gizmo", "nothing"}
    assert (tmp_path / picture.stem).with_suffix(".png").exists()
    assert "note: zero-shot by prompting" in result.stderr


def test_evaluate(ovgsr: Command, sketch_root: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    teacher: Path = request.getfixturevalue("tiny_llava_folder")
    own = read_split(sketch_root)
    assert own is not None
    verbs = (*own.seen[:2], own.unseen[0])
    split, results, saved = tmp_path / "split.json", tmp_path / "results.json", tmp_path / "predictions.jsonl"
    split.write_text(
        json.dumps({"format": "ovgsr-split-1", "name": "three", "seen": verbs[:2], "unseen": verbs[2:]}),
        encoding="utf-8",
    )
    result = ovgsr(
        *("evaluate", "--data", sketch_root, "--teacher", teacher, "--device", "cpu", "--split", split),
        *("--teacher-verbs", "caption", "--teacher-calibration", "blank", "--teacher-roles", "likelihood"),
        *("--json", results, "--save-predictions", saved),
    )
    assert result.returncode == 0, result.stderr
    record = json.loads(results.read_text())
    assert record["notices"] == [f"zero-shot by prompting the multimodal model {teacher}"]
    lines = [json.loads(line) for line in saved.read_text().splitlines()]
    pictures = [image for image in read_annotations(sketch_root, "test") if image.situation.verb in verbs]
    lines = [line for line in lines if "image" in line]
    assert [line["image"] for line in lines] == [image.file_name for image in pictures]
    for line, image in zip(lines, pictures, strict=True):
        assert {verb["verb"] for verb in line["verbs"]} == set(verbs)
        assert list(line["frames"]) == [image.situation.verb]


WRONG_WORDS = [
    (("fp8", "likelihood", "json", "none"), "--teacher-precision must be one of auto, fp32, bf16"),
    (("auto", "guess", "json", "none"), "verb_readout must be one of likelihood, caption, not 'guess'"),
    (("auto", "caption", "xml", "none"), "role_readout must be one of json, likelihood, not 'xml'"),
    (("auto", "caption", "json", "pictures"), "--teacher-calibration must be none or blank, not 'pictures'"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG_WORDS)
def test_a_word_that_is_no_choice(words: tuple[str, str, str, str], sentence: str) -> None:
    with pytest.raises(PromptError, match=sentence):
        prompted_recognizer("/nowhere/at/all", *words, None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--teacher", "x", "--model", "sketch"], "give either --model or --teacher"),
        (["--teacher", "/nowhere/at/all"], "the teacher '/nowhere/at/all' is neither a folder nor"),
    ],
)
def test_what_cannot_be_asked_for(
    ovgsr: Command, sketch_root: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    picture = min((sketch_root / "images_512").glob("*.jpg"))
    result = ovgsr("predict", picture, "--out", tmp_path, *arguments)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_evaluate_wants_one_of_three(ovgsr: Command, sketch_root: Path) -> None:
    result = ovgsr("evaluate", "--data", sketch_root, "--teacher", "x", "--model", "sketch")
    assert result.returncode == 1
    assert "give either --model, --teacher or --predictions" in result.stderr


def test_a_predictions_file_is_not_written_again(ovgsr: Command, sketch_root: Path, tmp_path: Path) -> None:
    files = ["--predictions", tmp_path / "in.jsonl", "--save-predictions", tmp_path / "out.jsonl"]
    result = ovgsr("evaluate", "--data", sketch_root, *files)
    assert result.returncode == 1
    assert "--save-predictions is for --model and --teacher" in result.stderr
