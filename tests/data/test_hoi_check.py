from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ovgsr.data.errors import DataError
from ovgsr.data.hoi_check import annotated_folds, check_hico_det, holds_interactions

from .hico_files import APPLE, BICYCLE, HUMAN, entry, record, write

FIRST = "HICO_test2015_00000001.jpg"


def test_a_sound_data_set_has_no_problem(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = check_hico_det(write(tmp_path), lambda done, total: calls.append((done, total)))
    assert report.problems == ()
    assert report.pictures == {"train": 3, "test": 3}
    assert calls == [(number, 6) for number in range(1, 7)]
    told = "3 pictures, 1 of them without a row; 3 rows of 2 pairs; 6 interactions, 1 of them rare"
    assert report.summary == (f"instances_train2015.json: {told}", f"instances_test2015.json: {told}")


def test_one_file_without_pictures_is_checked_alone(tmp_path: Path) -> None:
    path = write(tmp_path) / "instances_test2015.json"
    assert check_hico_det(path).pictures == {"test": 3}
    shutil.rmtree(tmp_path / "images")
    report = check_hico_det(path)
    assert report.ok
    assert "the pictures were not looked at" in report.summary[-1]
    folders = [problem.file for problem in check_hico_det(tmp_path).problems]
    assert folders == ["hico_20160224_det/images/train2015", "hico_20160224_det/images/test2015"]


def test_what_is_a_data_set_of_interactions(tmp_path: Path) -> None:
    assert annotated_folds(tmp_path) == annotated_folds(tmp_path / "missing") == ()
    root = write(tmp_path, dev=record("dev"), train=record("train"))
    assert annotated_folds(root) == ("train", "dev")
    assert annotated_folds(root / "instances_dev2015.json") == ("dev",)


def _annotation(*rows: Any, **changes: Any) -> dict[str, Any]:
    return {"annotation": [entry(*rows) | changes, entry(), entry((HUMAN, APPLE, 0))]}


RIDE = (HUMAN, BICYCLE, 4)
FAULTS: list[tuple[dict[str, Any], str]] = [
    (_annotation(RIDE, RIDE), f"{FIRST}: row 1: repeats row 0"),
    (
        _annotation(([1, 1, 41, 50], BICYCLE, 4)),
        f"{FIRST}: row 0: human: the box (0.0, 0.0, 41.0, 50.0) reaches outside",
    ),
    (_annotation((HUMAN, [0, 1, 4, 50], 4)), f"{FIRST}: row 0: object: the box (-1.0, 0.0, 4.0, 50.0) reaches"),
    (_annotation(RIDE, hoi=[9]), f"{FIRST}: row 0: hoi: must be a whole number from 0 to 5, not 9"),
    (_annotation(RIDE, boxes_h=None), f"{FIRST}: boxes_h: is missing or no list"),
    ({"empty": [0]}, "empty: must list the positions of the 1 pictures without a row"),
    ({"empty": "1"}, "empty: must list"),
    ({"non_rare": [0, 1, 2]}, "non_rare: must be a list of interactions, none of which 'rare' lists too"),
    ({"non_rare": None}, "non_rare: must be a list"),
    ({"verbs": []}, "correspondence[0] must be [0, object, verb]"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_a_planted_fault_is_found(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (problem,) = check_hico_det(write(tmp_path, test=record(**changes))).problems
    assert str(problem).startswith(f"instances_test2015.json: {message}")


def test_rows_keep_their_number_where_one_before_them_is_broken(tmp_path: Path) -> None:
    rows = _annotation((HUMAN, [9, 9, 1, 1], 4), RIDE, RIDE)
    problems = check_hico_det(write(tmp_path, test=record(**rows))).problems
    assert [problem.field for problem in problems] == [f"{FIRST}: row 0: boxes_o", f"{FIRST}: row 2"]


def _resize(path: Path) -> None:
    Image.new("RGB", (50, 40)).save(path)


def _copy_from_train(path: Path) -> None:
    shutil.copy(path.parents[1] / "train2015" / FIRST.replace("test", "train"), path)


PICTURES: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: path.write_text("no picture"), "does not decode"),
    (_resize, "is 50 x 40 pixels, its record says 40 x 50"),
    (
        lambda path: shutil.copy(path.parents[1] / "train2015" / FIRST.replace("test", "train"), path),
        "is the same file",
    ),
]


@pytest.mark.parametrize(("damage", "message"), PICTURES)
def test_a_damaged_picture_is_found(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    root = write(tmp_path)
    damage(root / "images" / "test2015" / FIRST)
    (problem,) = check_hico_det(root).problems
    assert problem.file.startswith("images/t")
    assert message in problem.message


def test_folds_that_number_interactions_differently_are_found(tmp_path: Path) -> None:
    other = record("train", correspondence=record()["correspondence"][:5], non_rare=[0, 2, 3, 4])
    (problem,) = check_hico_det(write(tmp_path, train=other, test=record())).problems
    assert str(problem).startswith("train and test: list different interactions")


SPLIT = {"format": "ovgsr-hoi-split-1", "name": "tiny"}
SPLITS: list[tuple[dict[str, Any], list[str]]] = [
    (
        SPLIT | {"unseen": [["ride", "horse"]]},
        [
            "hoi_split.json: the split 'tiny' names ('ride', 'horse') (and 0 more), which the data set does not list; "
            "correct the names in the split file, or take a split of this data set"
        ],
    ),
    (SPLIT, ["hoi_split.json: the split 'tiny' names no unseen interaction"]),
]


def test_what_a_split_keeps_from_training_is_told_and_no_problem(tmp_path: Path) -> None:
    root = write(tmp_path)
    unseen, dev_unseen = [["ride", "bicycle"], ["hold", "apple"]], [["eat", "apple"]]
    (root / "hoi_split.json").write_text(json.dumps(SPLIT | {"unseen": unseen, "dev_unseen": dev_unseen}))
    report = check_hico_det(root)
    assert report.ok
    assert report.summary[-1] == "hoi_split.json: it keeps 2 of 3 training rows from training, which skips them"
    (root / "hoi_split.json").write_text(json.dumps(SPLIT | {"unseen": [["hold", "apple"]]}))
    assert len(check_hico_det(root).summary) == 2


def test_a_split_file_is_no_fold(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "hoi_split.json").write_text(json.dumps(SPLIT))
    assert holds_interactions(root)
    with pytest.raises(DataError, match=r"hoi_split\.json: a split has no pictures of its own; name the folder"):
        holds_interactions(root / "hoi_split.json")


@pytest.mark.parametrize(("split", "messages"), SPLITS)
def test_a_fault_of_the_split_is_found(tmp_path: Path, split: dict[str, Any], messages: list[str]) -> None:
    root = write(tmp_path)
    (root / "hoi_split.json").write_text(json.dumps(split))
    assert [str(problem) for problem in check_hico_det(root).problems] == messages
