from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ovgsr.data.detections import DetectedBox, read_detections
from ovgsr.data.errors import DataError

HEAD = {"format": "ovgsr-boxes-1", "detector": "DETR-R50", "trained_on": "COCO"}
LINE = {
    "image": "a.jpg",
    "boxes": [[0, 1, 2.5, 3], [4, 5, 6, 7]],
    "labels": ["person", "sports ball"],
    "scores": [1, 0.5],
}


def _file(folder: Path, *records: Any) -> Path:
    path = folder / "boxes.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n\n")
    return path


def test_boxes_of_a_picture_by_name_or_path(tmp_path: Path) -> None:
    found = read_detections(_file(tmp_path, HEAD, LINE, {"image": "b.jpg", "boxes": [], "labels": [], "scores": []}))
    assert found.of("a.jpg") == found.of("some/folder/a.jpg")
    assert found.of("a.jpg") == (
        DetectedBox((0.0, 1.0, 2.5, 3.0), "person", 1.0), DetectedBox((4.0, 5.0, 6.0, 7.0), "sports_ball", 0.5)
    )  # fmt: skip
    assert found.of("b.jpg") == ()
    assert "DETR-R50, trained on COCO" in found.notice
    with pytest.raises(DataError, match=r"c\.jpg: the detector's file has no line for this picture"):
        found.of("c.jpg")


FAULTS = [
    ([], "line 1: must hold 'format'"),
    ([HEAD | {"trained_on": ""}], "line 1: must hold 'format' .* 'trained_on'"),
    ([HEAD, LINE, LINE], "line 3: the field 'image' names 'a.jpg' a second time"),
    ([HEAD, LINE | {"image": None}], "line 2: the field 'image' must be"),
    ([HEAD, LINE | {"scores": [1]}], "line 2: 'boxes', 'labels' and 'scores' must be equally long"),
    ([HEAD, LINE | {"scores": None}], "line 2: the fields 'boxes', 'labels' and 'scores' must be lists"),
    ([HEAD, LINE | {"boxes": [[0, 1, 2], [0, 1, 2, 3]]}], "line 2: a box must be four finite numbers"),
    ([HEAD, LINE | {"labels": ["person", 7]}], "line 2: a label must be the name of an object, not 7"),
    ([HEAD, [1]], "line 2: must be a JSON object"),
]


@pytest.mark.parametrize(("records", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_a_fault_is_named_with_its_line(tmp_path: Path, records: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_detections(_file(tmp_path, *records))


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "boxes.jsonl").write_text("{")
    with pytest.raises(DataError, match="line 1: not JSON"):
        read_detections(tmp_path / "boxes.jsonl")
    with pytest.raises(DataError, match="cannot be read as text"):
        read_detections(tmp_path / "nothing.jsonl")
