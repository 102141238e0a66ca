from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command


def test_a_dry_run_prints_a_table_and_needs_no_folder(ovgsr: Command, sketch_root: Path) -> None:
    small = ["data.image_size=32", "model.width=16", "model.heads=2", "train.precision=no"]
    result = ovgsr("train", "smoke", *small, "--data", sketch_root, "--dry-run", "--teraflops", "0.001")
    assert result.returncode == 0, result.stderr
    for told in ("role_decoder", "optimiser steps", "activations of 16 pictures", "at 0.001 TFLOP/s"):
        assert told in result.stdout


def test_a_run_needs_a_folder(ovgsr: Command, sketch_root: Path) -> None:
    result = ovgsr("train", "smoke", "--data", sketch_root)
    assert result.returncode == 2
    assert "--out" in result.stderr
