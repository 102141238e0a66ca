"""``ovgsr teacher tokens`` and ``merge-tokens``: which pictures are read, what is said, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from click.testing import Result
from PIL import Image
from tests.teacher.conftest import tiny_llava_folder  # noqa: F401  (a fixture)
from tests.teacher.token_fakes import FakeTeacher, draw_pictures
from typer.testing import CliRunner

from ovgsr.cli import teacher_tokens
from ovgsr.data.swig import read_annotations, read_split
from ovgsr.errors import OvgsrError
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.tokens.cache import TokenCache

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("tokens")(teacher_tokens.tokens)
    app.command("merge-tokens")(teacher_tokens.merge)

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})

    return invoke


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """No model is loaded; returns what was asked for."""
    asked: list[dict[str, Any]] = []

    def load(name: str, **options: Any) -> FakeTeacher:
        asked.append({"name": name, **options})
        return FakeTeacher()

    monkeypatch.setattr(MultimodalLLM, "from_pretrained", load)
    return asked


def test_the_training_pictures_of_a_data_set(run: Run, fake: list[Any], sketch_root: Path, tmp_path: Path) -> None:
    arguments = ["tokens", "--data", sketch_root, "--teacher", "some/llm", "--out", tmp_path, "--grid", "2x3"]
    result = run(*arguments, "--dtype", "int8", "--precision", "int4", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert fake == [{"name": "some/llm", "device": "cpu", "precision": "int4"}]
    cache = TokenCache.open(tmp_path)
    assert set(cache.contents) == {image.file_name for image in read_annotations(sketch_root, "train")}
    assert (cache.key.dtype, cache.key.grid, cache.key.weights) == ("int8", (2, 3), "int4")
    # 6 tokens of 6 integers and a scale: 48 bytes, and as much again for what says whose they are
    assert 48 < cache.bytes_per_picture < 200
    assert "120 pictures: 120 written at" in result.output
    assert "120 file names" in result.output
    estimate = cache.bytes_per_picture * 75_702 / 1e6
    assert f"SWiG's 75,702 training pictures: {estimate:.1f} MB" in result.output
    again = run(*arguments, "--dtype", "int8", "--precision", "int4")
    assert "120 pictures: 0 written, 120 known before" in again.output


def test_pictures_of_verbs_that_training_may_not_meet_are_never_read(
    run: Run, fake: list[Any], sketch_root: Path, tmp_path: Path
) -> None:
    own = read_split(sketch_root)
    assert own is not None
    hidden = own.seen[:2]
    record = {"format": "ovgsr-split-1", "name": "mine", "seen": own.seen[2:], "rare": own.rare, "unseen": hidden}
    (tmp_path / "split.json").write_text(json.dumps(record), encoding="utf-8")
    out = tmp_path / "cache"
    options = ["--teacher", "x", "--out", out, "--split", tmp_path / "split.json"]
    result = run("tokens", "--data", sketch_root, *options)
    assert result.exit_code == 0, result.output
    kept = [i.file_name for i in read_annotations(sketch_root, "train") if i.situation.verb not in hidden]
    assert 0 < len(kept) < 120
    assert sorted(TokenCache.open(out).contents) == sorted(kept)


def test_a_folder_of_pictures_and_one_that_is_none(run: Run, fake: list[Any], tmp_path: Path) -> None:
    draw_pictures(tmp_path / "pictures" / "inner", 3)
    draw_pictures(tmp_path / "single", 1, seed=1)
    (tmp_path / "pictures" / "words.jpg").write_text("no picture")
    (tmp_path / "pictures" / "empty.jpg").write_bytes(b"")
    out = tmp_path / "cache"
    options = ["--teacher", "x", "--out", out]
    result = run("tokens", tmp_path / "pictures", tmp_path / "single" / "picture_000.png", *options)
    assert result.exit_code == 1
    assert "words.jpg: this is not a picture" in result.output
    assert "empty.jpg: the file is empty" in result.output
    assert "6 pictures: 4 written" in result.output
    assert "2 failed" in result.output
    names = [*(f"inner/picture_00{number}.png" for number in range(3)), "picture_000.png"]
    assert sorted(TokenCache.open(out).contents) == names


def test_parts_by_option_and_by_launcher(
    run: Run, fake: list[Any], sketch_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, whole = (tmp_path / name for name in ("one", "two", "whole"))
    options = ["tokens", "--data", sketch_root, "--teacher", "x"]
    assert "part 1/2: 60 pictures" in run(*options, "--out", one, "--shard", "1/2").output
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "part 2/2: 60 pictures" in run(*options, "--out", two).output
    result = run("merge-tokens", one, two, "--out", whole)
    assert result.exit_code == 0, result.output
    assert "120 file names, 120 pictures; 2 shards linked, 0 copied" in result.output
    assert len(TokenCache.open(whole)) == 120
    assert fake[0]["device"] is None


def test_each_process_of_a_launcher_takes_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("meta"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    assert teacher_tokens._device_of_rank() is None
    for rank, device in (("0", "meta:0"), ("3", "meta:3"), ("5", "meta:1")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert teacher_tokens._device_of_rank() == device


BAD: list[tuple[str, list[str], str]] = [
    ("nothing to read", [], "name pictures"),
    ("both kinds", ["PICTURE", "--data", "DATA"], "either pictures or --data"),
    ("no such folder of data", ["--data", "nowhere"], "nowhere"),
    ("no such fold", ["--data", "DATA", "--fold", "training"], "fold 'training'"),
    ("a grid that is none", ["PICTURE", "--grid", "8"], "--grid must be rows x columns"),
    ("a grid of nothing", ["PICTURE", "--grid", "0x3"], "--grid must be rows x columns"),
    ("a layer that is none", ["PICTURE", "--layer", "last"], "--layer must be 'projector'"),
    ("a layer beyond the last", ["PICTURE", "--layer", "4"], "choose -4 to 3"),
    ("a layer before the first", ["PICTURE", "--layer", "-5"], "choose -4 to 3"),
    ("a dtype that is none", ["PICTURE", "--dtype", "fp8"], "float16, int8"),
    ("a precision that is none", ["PICTURE", "--precision", "half"], "--precision must be one of auto"),
    ("a part that is none", ["PICTURE", "--shard", "3/2"], "i from 1 to n"),
]


@pytest.mark.parametrize(("arguments", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_options_are_sentences(
    run: Run, fake: list[Any], sketch_root: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (16, 16)).save(picture)
    known = {"PICTURE": str(picture), "DATA": str(sketch_root)}
    given = [known.get(argument, argument) for argument in arguments]
    result = run("tokens", *given, "--teacher", "x", "--out", tmp_path / "cache")
    assert isinstance(result.exception, OvgsrError)
    assert words in str(result.exception)
    assert not (tmp_path / "cache").exists()


def test_with_a_real_teacher(
    run: Run,
    sketch_root: Path,
    tmp_path: Path,
    tiny_llava_folder: Path,  # noqa: F811
) -> None:
    options = ["--teacher", tiny_llava_folder, "--out", tmp_path, "--layer", "-1", "--device", "cpu", "--batch", 4]
    result = run("tokens", "--data", sketch_root, "--fold", "dev", *options)
    assert result.exit_code == 0, result.output
    cache = TokenCache.open(tmp_path)
    images = read_annotations(sketch_root, "dev")
    names = [image.file_name for image in images if image.file_name in cache]
    assert len(names) == len(cache) > 30
    assert cache.read(names[:5]).grid is not None
    assert cache.key.layer == -1
    assert cache.key.teacher_name == str(tiny_llava_folder)
