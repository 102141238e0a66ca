from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ovgsr.data.check import check_swig

from .conftest import BALL, DOG, MAN, SPACE, Write, barking, throwing


def test_a_sound_data_set_has_no_problem(write_swig: Write) -> None:
    calls: list[tuple[int, int]] = []
    report = check_swig(write_swig(), lambda done, total: calls.append((done, total)))
    assert report.problems == ()
    assert report.ok
    assert report.pictures == {"train": 2, "dev": 1, "test": 1}
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def _record(**changes: Any) -> dict[str, Any]:
    return throwing() | changes


def _box(box: Any) -> dict[str, Any]:
    return _record(bb=throwing()["bb"] | {"item": box})


FRAME = {"agent": MAN, "item": BALL, "place": ""}
RECORDS: list[tuple[Any, str, str]] = [
    # record, field after the picture's name, part of the message
    (_box([30, 5, 41, 15]), ".bb.item", "outside the picture of 40 x 20"),
    (_box([-3, 5, 20, 15]), ".bb.item", "outside the picture"),
    (_box([30, 5, 20, 15]), ".bb.item", "inverted"),
    (_box([30, 5, 30, 15]), ".bb.item", "inverted or empty"),
    (_box([5, -1, 20, 15]), ".bb.item", "-1 for y1 only"),
    (_box([5, 1, 20]), ".bb.item", "four numbers"),
    (_box("none"), ".bb.item", "four numbers"),
    (_record(verb="flying"), ".verb", "'flying' is not among the verbs"),
    (_record(frames=[FRAME, FRAME]), ".frames", "2 annotators"),
    (_record(frames=[FRAME, FRAME, FRAME | {"item": "n00000000"}]), ".frames[2].item", "not among the nouns"),
    (_record(frames=[FRAME, FRAME, {"agent": MAN, "item": BALL}]), ".frames[2]", "lacks the role 'place'"),
    (_record(frames=[FRAME, FRAME, FRAME | {"tool": ""}]), ".frames[2].tool", "is no role of 'throwing'"),
    (_record(frames=[FRAME, FRAME, FRAME | {"item": None}]), ".frames[2].item", "must be a noun"),
    (_record(frames=[FRAME, FRAME, "x"]), ".frames[2]", "must be an object"),
    (_record(frames=None), ".frames", "missing or no list"),
    (_record(bb={"agent": [0, 0, 5, 5], "item": [0, 0, 5, 5]}), ".bb", "lacks the role 'place'"),
    (_record(bb=None), ".bb", "missing or no object"),
    (_record(width="40"), ".width", "whole number"),
    ("throwing", "", "must be an object"),
]


@pytest.mark.parametrize(("record", "field", "message"), RECORDS)
def test_a_planted_fault_in_a_record_is_found(write_swig: Write, record: Any, field: str, message: str) -> None:
    report = check_swig(write_swig(dev={"bad.jpg": record}))
    found = [p for p in report.problems if p.file == "SWiG_jsons/dev.json" and p.field == f"bad.jpg{field}"]
    assert len(found) == 1, report.problems
    assert message in found[0].message


def test_every_fault_of_a_record_is_reported(write_swig: Write) -> None:
    record = _box([30, 5, 41, 15])
    record["bb"]["agent"] = [9, 9, 1, 1]
    record["frames"][0]["agent"] = "n00000000"
    report = check_swig(write_swig(dev={"bad.jpg": record}))
    assert [p.field for p in report.problems] == ["bad.jpg.frames[0].agent", "bad.jpg.bb.item", "bad.jpg.bb.agent"]


def _truncate(path: Path) -> None:
    Image.effect_noise((40, 20), 90).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-200])


def _turned_by_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(path, exif=exif)


PICTURES: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: path.write_bytes(b""), "is empty"),
    (lambda path: path.write_text("no picture"), "does not decode"),
    (_truncate, "does not decode: image file is truncated"),
    (lambda path: Image.new("RGB", (20, 40)).save(path), "is 20 x 40 pixels, its record says 40 x 20"),
    (_turned_by_exif, "EXIF data turn it"),
]


@pytest.mark.parametrize(("damage", "message"), PICTURES)
def test_a_damaged_picture_is_found(write_swig: Write, damage: Callable[[Path], Any], message: str) -> None:
    root = write_swig()
    damage(root / "images_512" / "throwing_2.jpg")
    (problem,) = check_swig(root).problems
    assert problem.file == "images_512/throwing_2.jpg"
    assert message in problem.message


def test_a_picture_in_two_folds_is_found(write_swig: Write) -> None:
    report = check_swig(write_swig(test={"throwing_1.jpg": throwing()}))
    assert [str(p) for p in report.problems] == ["images_512/throwing_1.jpg: is in more than one fold: train and test"]


def test_the_same_bytes_in_two_folds_are_found(write_swig: Write) -> None:
    root = write_swig()
    shutil.copy(root / "images_512" / "throwing_1.jpg", root / "images_512" / "throwing_2.jpg")
    (problem,) = check_swig(root).problems
    assert str(problem) == "images_512/throwing_1.jpg: is the same file in train as throwing_2.jpg (dev)"


SPLIT = {"format": "ovgsr-split-1", "name": "tiny", "seen": ["throwing"]}
SPLITS: list[tuple[dict[str, Any], str]] = [
    (SPLIT | {"rare": ["flying"]}, "open_vocabulary_split.json: rare: 'flying' is not among the verbs"),
    (SPLIT | {"unseen_nouns": ["n00000000"]}, "unseen_nouns: 'n00000000' is not among the nouns"),
    (SPLIT | {"unseen": "barking"}, "open_vocabulary_split.json: the field 'unseen' must be a list"),
    (SPLIT | {"format": "x"}, "'format' must be"),
]


@pytest.mark.parametrize(("split", "message"), SPLITS)
def test_a_fault_of_the_split_is_found(write_swig: Write, split: dict[str, Any], message: str) -> None:
    (problem,) = check_swig(write_swig(split=split)).problems
    assert message in str(problem)


@pytest.mark.parametrize(
    ("split", "skipped"),
    [
        (SPLIT | {"unseen": ["barking"]}, 1),
        (SPLIT | {"dev_unseen": ["barking"]}, 1),
        (SPLIT | {"rare": ["barking"]}, 0),
        # Two pictures of train say dog, for one of them only one of three annotators.
        (SPLIT | {"rare": ["barking"], "unseen_nouns": [DOG]}, 2),
    ],
)
def test_what_a_split_keeps_from_training_is_told_and_no_problem(
    write_swig: Write, split: dict[str, Any], skipped: int
) -> None:
    report = check_swig(write_swig(split=split))
    assert report.ok
    told = f"SWiG_jsons/train.json: the split keeps {skipped} of 2 pictures from training, which skips them"
    assert report.summary == ((told,) if skipped else ())


def test_faults_of_the_space_and_broken_files_do_not_stop_the_check(write_swig: Write) -> None:
    space = copy.deepcopy(SPACE)
    del space["verbs"]["throwing"]["roles"]["item"]  # disagrees with `order`
    space["verbs"]["barking"]["order"] = []
    space["nouns"][BALL] = {"gloss": "ball"}
    root = write_swig(space=space, test={})
    (root / "SWiG_jsons" / "test.json").write_text("{")
    (root / "images_512" / "barking_1.jpg").unlink()
    fields = {(p.file, p.field) for p in check_swig(root).problems}
    assert fields == {
        ("SWiG_jsons/imsitu_space.json", "verbs.throwing.roles"),
        ("SWiG_jsons/imsitu_space.json", "verbs.barking.order"),
        ("SWiG_jsons/imsitu_space.json", f"nouns.{BALL}.gloss"),
        ("SWiG_jsons/train.json", "barking_1.jpg.verb"),  # its frame could not be read
        ("SWiG_jsons/test.json", ""),
        ("images_512/barking_1.jpg", ""),
    }


def test_without_any_file_there_is_a_report(tmp_path: Path) -> None:
    report = check_swig(tmp_path)
    assert [p.file for p in report.problems] == [
        "SWiG_jsons/imsitu_space.json",
        "SWiG_jsons/train.json",
        "SWiG_jsons/dev.json",
        "SWiG_jsons/test.json",
    ]


def test_a_picture_named_twice_in_one_fold_is_found(write_swig: Write) -> None:
    root = write_swig()
    path = root / "SWiG_jsons" / "dev.json"
    text = path.read_text()
    path.write_text(text[:-1] + ", " + text[1:])
    (problem,) = check_swig(root).problems
    assert (problem.file, problem.field) == ("SWiG_jsons/dev.json", "throwing_2.jpg")
    assert "named twice" in problem.message


def test_a_picture_outside_the_folder_is_not_opened(write_swig: Write) -> None:
    report = check_swig(write_swig(test={"../x/y.jpg": barking()}))
    assert [p.message for p in report.problems] == ["leads out of the picture folder; use a relative name"]
