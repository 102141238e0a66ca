"""``ovgsr teacher signals`` on a tiny data set: readings, their size, and what it says to what it cannot do."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command

SMALL = ("views.count=6", "views.candidates=2", "prompts.steps=1", "prompts.pictures=8", "prompts.batch_size=4")


def test_signals_are_made_once_and_say_their_size(ovgsr: Command, sketch_root: Path, tmp_path: Path) -> None:
    work = tmp_path / "stage"
    arguments = ["teacher", "signals", *SMALL, "--data", sketch_root, "--work", work, "--kind", "fixed"]
    result = ovgsr(*arguments)
    assert result.returncode == 0, result.stderr
    assert "120 pictures" in result.stdout
    assert "bytes a picture" in result.stdout
    assert f"distill.signals={work / 'fixed'}" in result.stdout.replace("\n", "")
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
    assert ovgsr(*arguments).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")} == before
    other = ovgsr(*arguments, "--seed", 5)
    assert other.returncode == 1
    assert "seed" in other.stderr
    assert "Traceback" not in other.stderr


def test_an_unknown_kind_is_refused(ovgsr: Command, sketch_root: Path, tmp_path: Path) -> None:
    result = ovgsr("teacher", "signals", "--data", sketch_root, "--work", tmp_path, "--kind", "telepathy")
    assert result.returncode == 1
    assert "learned" in result.stderr
    assert "telepathy" in result.stderr
