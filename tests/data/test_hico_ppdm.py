from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ovgsr.data.errors import DataError
from ovgsr.data.hico_det import annotation_path, image_folder, read_hico_det
from ovgsr.data.hico_labels import labels_path
from ovgsr.data.hoi_splits import split_path
from ovgsr.hoi_vocabulary import coco91_ids, hico_det_interactions, hico_det_rare, hico_det_vocabulary

VERBS = hico_det_vocabulary().verb_names
INTERACTIONS = hico_det_interactions()


def _row(subject: Any, thing: Any, verb: str, name: str) -> dict[str, Any]:
    return {
        "subject_id": subject,
        "object_id": thing,
        "category_id": VERBS.index(verb) + 1,
        "hoi_category_id": INTERACTIONS.index((verb, name)) + 1,
    }


def _records() -> list[dict[str, Any]]:
    """One picture, with boxes of inclusive pixels counted from 0."""
    ids = coco91_ids()
    return [
        {
            "file_name": "HICO_train2015_00000001.jpg",
            "img_id": 1,
            "annotations": [
                {"bbox": [0, 0, 19, 29], "category_id": ids["person"]},
                {"bbox": [10, 20, 39, 39], "category_id": f"{ids['bicycle']}\n"},
                {"bbox": [0, 5, 9, 9], "category_id": ids["person"]},
            ],
            "hoi_annotation": [
                _row(0, 1, "ride", "bicycle"),
                _row(0, 1, "hold", "bicycle"),
                _row(0, 2, "hug", "person"),
            ],
        },
        {"file_name": "HICO_train2015_00000003.jpg", "img_id": 3, "annotations": [], "hoi_annotation": []},
    ]


def _write(root: Path, records: list[Any], where: str = "annotations", fold: str = "train") -> Path:
    path = root / where / {"train": "trainval_hico.json", "test": "test_hico.json"}[fold]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records))
    folder = root / "images" / f"{fold}2015"
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        Image.new("RGB", (40, 50)).save(folder / record["file_name"])
    return root


def _from_one(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    moved = copy.deepcopy(records)
    for record in moved:
        for box in record["annotations"]:
            box["bbox"] = [number + 1 for number in box["bbox"]]
    return moved


@pytest.mark.parametrize("records", [_records(), _from_one(_records())], ids=["from 0", "from 1"])
def test_a_list_reads_as_the_instances_file_does(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    """The same rows in fredzzhang's format, 1-based and with its own object numbers, give the same pictures."""
    fold = read_hico_det(_write(tmp_path / "list", records), "train")
    objects = sorted(coco91_ids())
    rows = [
        ("ride", "bicycle", [11, 21, 40, 40]),
        ("hold", "bicycle", [11, 21, 40, 40]),
        ("hug", "person", [1, 6, 10, 10]),
    ]
    empty: dict[str, list[Any]] = {field: [] for field in ("boxes_h", "boxes_o", "hoi", "object", "verb")}
    record = {
        "filenames": ["HICO_train2015_00000001.jpg", "HICO_train2015_00000003.jpg"],
        "size": [[40, 50], [40, 50]],
        "annotation": [
            {
                "boxes_h": [[1, 1, 20, 30]] * 3,
                "boxes_o": [box for _, _, box in rows],
                "hoi": [INTERACTIONS.index((verb, name)) for verb, name, _ in rows],
                "object": [objects.index(name) for _, name, _ in rows],
                "verb": [VERBS.index(verb) for verb, _, _ in rows],
            },
            empty,
        ],
        "empty": [1],
        "objects": objects,
        "verbs": VERBS,
        "correspondence": [
            [hoi, objects.index(name), VERBS.index(verb)] for hoi, (verb, name) in enumerate(INTERACTIONS)
        ],
    }
    path = tmp_path / "instances_train2015.json"
    path.write_text(json.dumps(record))
    instances = read_hico_det(path, "train")
    assert fold.images == instances.images
    assert fold.interactions == instances.interactions
    assert fold.rare == instances.rare == hico_det_rare()
    assert fold.broken == ()
    assert fold.vocabulary.name == instances.vocabulary.name == "HICO-DET"


def test_lists_are_found_beside_and_below_a_folder(tmp_path: Path) -> None:
    root = _write(tmp_path, _records(), where=".")
    assert annotation_path(root, "train") == root / "trainval_hico.json"
    original = root / "hico_20160224_det"
    _write(original, _records(), fold="test")
    assert annotation_path(root, "test") == original / "annotations" / "test_hico.json"
    assert image_folder(original / "annotations" / "test_hico.json", "test") == original / "images" / "test2015"
    assert len(read_hico_det(original / "annotations" / "test_hico.json", "test").images) == 2
    with pytest.raises(DataError, match="instances_dev2015"):
        annotation_path(root, "dev")


def _changed(row: dict[str, Any] | None = None, box: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The first row, or the bicycle's box, with some fields changed."""
    records = _records()
    records[0]["hoi_annotation"] = [records[0]["hoi_annotation"][0] | (row or {}), records[0]["hoi_annotation"][2]]
    records[0]["annotations"][1] |= box or {}
    return records


BROKEN: list[tuple[list[dict[str, Any]], str, str]] = [
    (_changed({"object_id": 3}), "object_id", "from 0 to 2, not 3"),
    (_changed({"object_id": -1}), "object_id", "not -1"),
    (_changed({"subject_id": None}), "subject_id", "not None"),
    (_changed({"subject_id": 1}), "subject_id", "its box is a bicycle, not a person"),
    (_changed({"object_id": 2}), "object_id", "its box is a person, not the bicycle of interaction"),
    (_changed({"category_id": 1}), "category_id", "is not the verb 'ride'"),
    (_changed({"category_id": 118}), "category_id", "from 1 to 117, not 118"),
    (_changed({"hoi_category_id": 0}), "hoi_category_id", "from 1 to 600, not 0"),
    (_changed(box={"category_id": 12}), "object_id", "the category 12, which is none of COCO's"),
    (_changed(box={"category_id": []}), "object_id", "none of COCO's"),
    (_changed(box={"bbox": [9, 9, 5, 12]}), "object_id", "inverted"),
    (_changed(box={"bbox": [9, 9, 12]}), "object_id", "four finite numbers"),
]


@pytest.mark.parametrize(("records", "field", "message"), BROKEN)
def test_a_broken_row_is_left_out_alone(
    tmp_path: Path, records: list[dict[str, Any]], field: str, message: str
) -> None:
    fold = read_hico_det(_write(tmp_path, records), "train")
    (broken,) = fold.broken
    assert (broken.file, broken.picture, broken.row) == ("trainval_hico.json", "HICO_train2015_00000001.jpg", 0)
    assert broken.field == field
    assert message in broken.message
    assert [situation.verb for situation in fold.images[0].situations] == ["hug"]


def test_numbers_may_be_text_with_a_line_feed(tmp_path: Path) -> None:
    hoi = INTERACTIONS.index(("ride", "bicycle")) + 1
    records = _changed({"object_id": "1\n", "category_id": "77", "hoi_category_id": f" {hoi}"})
    fold = read_hico_det(_write(tmp_path, records), "train")
    assert (VERBS[76], fold.broken) == ("ride", ())


def test_lists_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    twice = [_records()[0], _records()[0]]
    with pytest.raises(DataError, match="entry 1: 'file_name' must be a relative name, given once"):
        read_hico_det(_write(tmp_path / "twice", twice), "train")
    inside = _records()[:1]
    for box in inside[0]["annotations"]:
        box["bbox"] = [7, 7, 9, 9]
    with pytest.raises(DataError, match="no telling whether its pixels count from 0 or from 1"):
        read_hico_det(_write(tmp_path / "inside", inside), "train")
    root = _write(tmp_path / "missing", _records())
    (root / "images" / "train2015" / "HICO_train2015_00000003.jpg").unlink()
    with pytest.raises(DataError, match=r"00000003\.jpg: the picture cannot be read .* does not tell sizes"):
        read_hico_det(root, "train")


def test_a_picture_without_a_list_of_rows_is_told_of(tmp_path: Path) -> None:
    records = _records()
    del records[1]["hoi_annotation"]
    fold = read_hico_det(_write(tmp_path, records), "train")
    assert len(fold.images) == 2
    assert [str(row) for row in fold.broken] == [
        "trainval_hico.json: HICO_train2015_00000003.jpg: hoi_annotation: is missing or no list"
    ]


def test_what_lies_beside_the_data_is_found_for_a_list_below_the_folder(tmp_path: Path) -> None:
    path = annotation_path(_write(tmp_path, _records()), "train")
    (tmp_path / "anno.mat").touch()
    assert split_path(path) == tmp_path / "hoi_split.json"
    assert labels_path(path) == tmp_path / "anno.mat"
    assert image_folder(path, "train") == tmp_path / "images" / "train2015"
