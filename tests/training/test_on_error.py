"""A run over a data set with bad pictures and records: named, left out, and resumed exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ovgsr.cli.main import app
from ovgsr.config import Config
from ovgsr.data.errors import DataError
from ovgsr.data.prepare import prepare_swig
from ovgsr.data.skipped import Skipped
from ovgsr.data.swig import annotation_path, image_folder, read_split
from ovgsr.models.preprocess import load_image
from ovgsr.training.loop import train
from ovgsr.training.run_dir import RunDir


class Killed(Exception):
    pass


class Killer:
    def started(self, step: int, steps: int) -> None: ...

    def validated(self, epoch: int, scores: dict[str, float]) -> None: ...

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        if step == 3:
            raise Killed


@pytest.fixture(scope="module")
def damaged(sketch_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A copy of the drawn data set with three bad pictures of training verbs and two bad records, and their names."""
    root = Path(shutil.copytree(sketch_root, tmp_path_factory.mktemp("damaged") / "sketch"))
    split = read_split(root)
    assert split is not None
    names = {}
    for fold in ("train", "dev"):
        path = annotation_path(root, fold)
        records: dict[str, Any] = json.loads(path.read_text())
        usable = [name for name, record in records.items() if record["verb"] in split.seen]
        names[fold] = usable
        if fold == "train":
            records[usable[0]]["verb"] = "nonsensing"
            del records[usable[1]]["frames"][0][next(iter(records[usable[1]]["frames"][0]))]
            path.write_text(json.dumps(records))
    bad = [names["train"][5], names["train"][6], names["dev"][0]]
    for name in bad[:2]:
        (image_folder(root) / name).write_bytes(b"")
    path = image_folder(root) / bad[2]
    path.write_bytes(path.read_bytes()[:300])
    return root, [*names["train"][:2], *bad]


@pytest.fixture(scope="module")
def config(damaged: tuple[Path, list[str]], tiny_config: Callable[..., Config]) -> Callable[..., Config]:
    def make(**data: Any) -> Config:
        return tiny_config(
            data={"root": str(damaged[0]), "on_error": "skip", "cache_images": False, **data},
            train={"checkpoint_every": 2, "max_steps": 5},
        )

    return make


def _same_student(run: Path, other: Path) -> bool:
    weights = [(out / "student" / "model.safetensors").read_bytes() for out in (run, other)]
    return weights[0] == weights[1]


def test_a_run_leaves_out_what_it_cannot_use(
    config: Callable[..., Config], damaged: tuple[Path, list[str]], tmp_path: Path
) -> None:
    train(config(), tmp_path / "whole")
    told = Skipped(RunDir(tmp_path / "whole").skipped).read()
    assert len(told) == 5
    assert all(sum(name in sentence for sentence in told) == 1 for name in damaged[1])
    with pytest.raises(Killed):
        train(config(), tmp_path / "killed", observer=Killer())
    train(config(), tmp_path / "killed", resume=True)
    assert _same_student(tmp_path / "whole", tmp_path / "killed")
    assert sorted(Skipped(RunDir(tmp_path / "killed").skipped).read()) == sorted(told)


def test_by_default_the_first_fault_ends_the_run(
    config: Callable[..., Config], damaged: tuple[Path, list[str]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"train\.json: {damaged[1][0]}: 'verb' is 'nonsensing'"):
        train(config(on_error="stop"), tmp_path / "run")


def test_prepared_pictures_train_and_the_command_counts_what_is_left_out(
    config: Callable[..., Config], damaged: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(damaged[0], tmp_path / "prepared"))
    prepare_swig(
        root,
        original=False,
        resize=32,
        on_error="skip",
        open_image=lambda path, size: load_image(path, min_side=size),
    )
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(config(resized=32, root=str(root)).model_dump(mode="json")))
    out = tmp_path / "run"
    command = ["train", str(recipe), "--out", str(out), "--on-error", "skip"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    said = "".join(result.output.split())  # lines are folded wherever the terminal ends
    assert "5picturesandrecordscouldnotbeused" in said
    assert all(name in said for name in damaged[1])
