"""Each bad input ends in a sentence that names what is wrong, a non-zero exit code and no traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command
from tests.data import hico_files

Arguments = Callable[[Path, Path, Path], list[object]]


def _text_file(folder: Path) -> Path:
    path = folder / "words.jpg"
    path.write_text("this is no picture")
    return path


def _truncated(folder: Path, data: Path) -> Path:
    path = folder / "cut.jpg"
    whole = min((data / "images_512").glob("*.jpg")).read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    return path


def _copy_with(folder: Path, checkpoint: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    copy = folder / "student"
    shutil.copytree(checkpoint, copy)
    (copy / name).write_bytes(change((copy / name).read_bytes()))
    return copy


def _words(folder: Path, text: str) -> Path:
    path = folder / "verbs.txt"
    path.write_text(text)
    return path


def _flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def _recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def _predictions(folder: Path, text: str) -> Path:
    path = folder / "predictions.jsonl"
    path.write_text(text)
    return path


# d: the data set, c: a checkpoint, t: an empty folder
CASES: list[tuple[str, Arguments, tuple[str, ...]]] = [
    # what is wrong, the command, words that the sentence must hold
    ("a missing picture", lambda d, c, t: ["predict", t / "none.jpg", "--model", c], ("none.jpg", "no such file")),
    (
        "a text file called .jpg",
        lambda d, c, t: ["predict", _text_file(t), "--model", c],
        ("words.jpg", "not a picture"),
    ),
    ("a truncated JPEG", lambda d, c, t: ["predict", _truncated(t, d), "--model", c], ("cut.jpg", "truncated")),
    ("an empty folder", lambda d, c, t: ["predict", t, "--model", c], ("no picture in this folder",)),
    (
        "a verb named twice",
        lambda d, c, t: ["predict", d / "images_512", "--model", c, "--verbs", "riding,riding"],
        ("'riding'", "remove one"),
    ),
    (
        "an empty line in a file of verbs",
        lambda d, c, t: ["predict", d / "images_512", "--model", c, "--verbs", _words(t, "riding\n\nfeeding\n")],
        ("verbs.txt, line 2", "empty"),
    ),
    ("no such checkpoint", lambda d, c, t: ["predict", d / "images_512", "--model", t / "x"], ("no such folder",)),
    (
        "damaged weights",
        lambda d, c, t: ["predict", d / "images_512", "--model", _copy_with(t, c, "model.safetensors", _flipped)],
        ("model.safetensors", "damaged"),
    ),
    (
        "a checkpoint's config that is no JSON",
        lambda d, c, t: ["predict", d / "images_512", "--model", _copy_with(t, c, "config.json", lambda b: b[:40])],
        ("config.json", "JSON"),
    ),
    (
        "an unknown setting",
        lambda d, c, t: ["train", _recipe(t, "train: {epoch: 3}"), "--out", t / "run"],
        ("recipe.yaml", "train.epoch", "did you mean 'epochs'"),
    ),
    (
        "a setting of the wrong kind",
        lambda d, c, t: ["train", "smoke", "--out", t / "run", "optim.learning_rate=fast"],
        ("optim.learning_rate", "number"),
    ),
    ("an unknown recipe", lambda d, c, t: ["train", "smoek", "--out", t / "run"], ("smoek", "smoke")),
    ("no data set", lambda d, c, t: ["train", "smoke", "--out", t / "run", "--data", t / "no"], ("imsitu_space.json",)),
    ("a folder in use", lambda d, c, t: ["train", "smoke", "--out", d, "--data", d], ("not empty", "--out")),
    (
        "neither model nor predictions",
        lambda d, c, t: ["evaluate", "--data", d],
        ("--model, --teacher or --predictions",),
    ),
    (
        "a predictions file with a broken line",
        lambda d, c, t: ["evaluate", "--data", d, "--predictions", _predictions(t, '{"image": 3}\n')],
        ("predictions.jsonl", "line 1", "image"),
    ),
    (
        "a profile that does not exist",
        lambda d, c, t: ["evaluate", "--data", d, "--model", c, "--profile", "best"],
        ("'best'", "official"),
    ),
    ("too few pictures", lambda d, c, t: ["sketch", "--out", t / "s", "--train", 3], ("at least 44",)),
    ("a count of the other data set", lambda d, c, t: ["sketch", "--out", t / "s", "--test", 5], ("--hoi",)),
    (
        "a count of SketchSWiG",
        lambda d, c, t: ["sketch", "--hoi", "--out", t / "s", "--dev-per-verb", 5],
        ("--dev-per-verb", "--dev and --test"),
    ),
    ("a folder that is no SketchHOI", lambda d, c, t: ["sketch", "--hoi", "--out", c], ("no SketchHOI",)),
    ("a folder that is no SketchSWiG", lambda d, c, t: ["sketch", "--out", c, "--train", 50], ("no SketchSWiG",)),
]


@pytest.mark.parametrize(("arguments", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_sentence_and_no_traceback(
    ovgsr: Command, sketch_root: Path, trained_run: Path, tmp_path: Path, arguments: Arguments, words: tuple[str, ...]
) -> None:
    result = ovgsr(*arguments(sketch_root, trained_run / "student", tmp_path))
    assert result.returncode not in {0, None}
    assert "Traceback" not in result.stderr + result.stdout
    said = " ".join(result.stderr.split())
    assert "error: " in said
    for word in words:
        assert word in said, said


def test_a_damaged_data_set_is_reported_problem_by_problem(ovgsr: Command, sketch_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(sketch_root, root)
    file = root / "SWiG_jsons" / "test.json"
    records = json.loads(file.read_text())
    first, second, third = sorted(records)[:3]
    records[first]["bb"]["agent"] = [50, 10, 20, 30]  # inverted
    records[second]["frames"][0]["agent"] = "n99999999"  # no such noun
    file.write_text(json.dumps(records))
    (root / "images_512" / third).unlink()
    result = ovgsr("data", "check", root)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for name in (first, second, third):
        assert name in result.stderr
    assert ovgsr("data", "check", sketch_root).returncode == 0


def test_a_damaged_data_set_of_interactions_is_reported_too(ovgsr: Command, tmp_path: Path) -> None:
    root = hico_files.write(tmp_path / "hoi")
    sound = ovgsr("data", "check", root)
    assert (sound.returncode, sound.stderr.strip()) == (0, "")
    assert "instances_train2015.json: 3 pictures, 1 of them without a row; 3 rows of 2 pairs" in sound.stdout
    record = hico_files.record()
    record["annotation"][2]["hoi"] = [77]
    result = ovgsr("data", "check", hico_files.write(root, test=record) / "instances_test2015.json")
    assert result.returncode == 1
    said = " ".join(result.stderr.split())
    assert "instances_test2015.json: HICO_test2015_00000005.jpg: row 0: hoi: must be a whole number" in said
    nothing = ovgsr("data", "check", tmp_path)
    assert nothing.returncode == 1
    assert "neither SWiG_jsons/ nor HICO-DET's" in " ".join(nothing.stderr.split())


def test_good_pictures_are_done_although_one_is_bad(
    ovgsr: Command, sketch_root: Path, trained_run: Path, tmp_path: Path
) -> None:
    good = sorted((sketch_root / "images_512").glob("*.jpg"))[:2]
    out = tmp_path / "out"
    result = ovgsr("predict", good[0], _text_file(tmp_path), good[1], "--model", trained_run / "student", "--out", out)
    assert result.returncode == 1
    assert sorted(file.name for file in out.iterdir()) == sorted(
        f"{picture.stem}.{ending}" for picture in good for ending in ("json", "png")
    )
    assert "2 of 3 pictures" in result.stdout
