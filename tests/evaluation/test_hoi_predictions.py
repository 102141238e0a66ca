"""Predicted interactions in files: JSON Lines of any system, and the .mat files of the official script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from ovgsr.evaluation.columns import Findings
from ovgsr.evaluation.hoi_columns import GoldPairs, ScoredPairs, encode_gold, encode_pairs
from ovgsr.evaluation.hoi_predictions import read_pairs
from ovgsr.evaluation.predictions import PredictionsError, write_predictions
from ovgsr.interactions import PairPrediction, ScoredPair
from ovgsr.mat_files import MatFileError
from ovgsr.situation import AnnotatedImage

INTERACTIONS = [("hold", "cup"), ("ride", "horse"), ("feed", "horse")]
OBJECTS = ("person", "horse", "cup")
"""As numbered by the official script: detections_02 is the horse's, detections_03 the cup's."""
PREDICTIONS = [
    PairPrediction("b.jpg", (ScoredPair((0.0, 0.5, 10.0, 20.0), (2.0, 10.0, 12.5, 30.0), "ride", "horse", 0.75),)),
    PairPrediction(
        "a.jpg",
        (
            ScoredPair((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0), "feed", "horse", 0.5),
            ScoredPair((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0), "hold", "cup", -3.0),
        ),
    ),
    PairPrediction("c.jpg", (), 640, 480, ("drawn pictures only",)),
]
PAIR = PREDICTIONS[0].pairs[0].to_json()


@pytest.fixture
def gold() -> GoldPairs:
    return encode_gold([AnnotatedImage(name, 64, 48, ()) for name in ("a.jpg", "b.jpg", "c.jpg")], INTERACTIONS)


def rows(pairs: ScoredPairs) -> list[Any]:
    columns = (pairs.image, pairs.interaction, pairs.boxes_xyxy, pairs.score)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_json_lines_are_read_as_the_objects_they_were(gold: GoldPairs, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    assert write_predictions(path, PREDICTIONS) == 3
    findings, heard = Findings(), []
    found = read_pairs(path, gold, (), findings, lambda done, total: heard.append((done, total)))
    assert rows(found) == rows(encode_pairs(PREDICTIONS, gold, Findings()))
    assert len(found) == 3
    assert not findings.counts
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_whole_numbers_however_large_and_other_words_are_fine(gold: GoldPairs, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    record = {"image": "a.jpg", "pairs": [{**PAIR, "score": 2**63}, {**PAIR, "verb": "tame", "score": 1}], "by": "me"}
    path.write_text(json.dumps(record) + "\n\n")
    findings = Findings()
    found = read_pairs(path, gold, (), findings)
    assert found.score.tolist() == [2.0**63]
    assert findings.counts == {"unlisted": 1, "missing_image": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "line 2: the field 'image' must be"),
        ({"image": ""}, "line 2: the field 'image' must be"),
        ({"pairs": None}, "line 2: the field 'pairs' must be a list"),
        ({"pairs": [PAIR, 3]}, r"line 2: pairs\[1\]: a pair must be an object"),
        ({"pairs": [{**PAIR, "human_box": [1, 2, 3]}]}, r"pairs\[0\]: the field 'human_box' must be four"),
        ({"pairs": [{**PAIR, "human_box": [1, 2, 3]}, PAIR]}, r"pairs\[0\]: the field 'human_box' must be four"),
        ({"pairs": [{**PAIR, "object_box": None}]}, r"pairs\[0\]: the field 'object_box' must be four"),
        ({"pairs": [{**PAIR, "object_box": ["1", "2", "3", "4"]}]}, "'object_box' must hold finite numbers"),
        ({"pairs": [{**PAIR, "score": "high"}]}, "'score' must hold finite numbers"),
        ({"pairs": [{**PAIR, "score": True}]}, "'score' must hold finite numbers"),
        ({"pairs": [PAIR, {**PAIR, "score": True}]}, r"pairs\[1\]: the field 'score' must hold finite numbers"),
        ({"pairs": [{**PAIR, "human_box": [0, True, 5, 9.5]}]}, "'human_box' must hold finite numbers, not True"),
        ({"pairs": [{**PAIR, "score": [1]}]}, "'score' must hold finite numbers"),
        ({"pairs": [{**PAIR, "verb": 7}]}, "'verb' must be a name"),
        ({"pairs": [{**PAIR, "object": ["cup"]}]}, "'object' must be a name"),
    ],
)
def test_a_bad_line_is_named(gold: GoldPairs, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    lines = [PREDICTIONS[1].to_json(), {"image": "b.jpg", "pairs": [PAIR], **change}]
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(PredictionsError, match=message):
        read_pairs(path, gold, (), Findings())


def cells(rows_of_cells: int, filled: dict[tuple[int, int], list[list[float]]]) -> Any:
    """``all_boxes`` for three pictures, as the UPT family's cache writes it."""
    array = np.empty((rows_of_cells, 3), dtype=object)
    for place in np.ndindex(array.shape):
        array[place] = np.array(filled[place], dtype=np.float32) if place in filled else np.zeros((0, 0))
    return array


HORSE = cells(
    2,
    {
        (0, 1): [[0.0, 0.5, 9.0, 19.0, 2.0, 10.0, 11.5, 29.0, 0.75]],  # ride, b.jpg; 0-based inclusive pixels
        (1, 0): [[1, 2, 2, 3, 5, 6, 6, 7, 0.5]],  # feed, a.jpg
    },
)
CUP = cells(1, {(0, 0): [[1, 2, 2, 3, 5, 6, 6, 7, -3.0]]})


def test_the_files_of_the_official_script(gold: GoldPairs, tmp_path: Path) -> None:
    savemat(tmp_path / "detections_02.mat", {"all_boxes": HORSE}, do_compression=True)
    savemat(tmp_path / "detections_03.mat", {"all_boxes": CUP})
    expected = rows(encode_pairs(PREDICTIONS, gold, Findings()))
    assert rows(read_pairs(tmp_path, gold, OBJECTS, Findings())) == expected
    whole = tmp_path / "all" / "detections.mat"
    whole.parent.mkdir()
    savemat(whole, {"all_boxes": np.concatenate([CUP, HORSE])})  # rows are the interactions, in order
    assert rows(read_pairs(whole, gold, (), Findings())) == expected
    assert rows(read_pairs(whole.parent, gold, (), Findings())) == expected


def test_several_detections_of_a_cell_keep_their_order(gold: GoldPairs, tmp_path: Path) -> None:
    two = [[float(corner) for corner in range(8)] + [score] for score in (0.25, 0.5)]
    savemat(tmp_path / "d.mat", {"all_boxes": np.concatenate([cells(1, {(0, 2): two}), cells(2, {})])})
    found = read_pairs(tmp_path / "d.mat", gold, (), Findings())
    assert found.score.tolist() == [0.25, 0.5]
    assert found.image.tolist() == [2, 2]
    assert found.boxes_xyxy[1].tolist() == [[0, 1, 3, 4], [4, 5, 7, 8]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "detections_02.mat: not there"),
        ({"02": HORSE}, "detections_03.mat: not there"),
        ({"02": CUP, "03": CUP}, "02.mat: .* is object of 1 x 3; it must be a cell array of 2 interactions x 3"),
        ({"02": np.zeros((2, 3)), "03": CUP}, "02.mat: .* is float64 of 2 x 3"),
        ({"02": HORSE, "03": cells(1, {(0, 2): [[1, 2, 3]]})}, r"03.mat, 'all_boxes' \{1,3\}: must be empty or n x 9"),
        ({"02": HORSE, "03": cells(1, {(0, 0): [[np.nan] * 9]})}, "finite numbers"),
        ({"02": cells(2, {}), "03": cells(1, {})}, "no detection in any file"),
    ],
)
def test_bad_mat_files_are_named(gold: GoldPairs, tmp_path: Path, files: dict[str, Any], message: str) -> None:
    for number, content in files.items():
        savemat(tmp_path / f"detections_{number}.mat", {"all_boxes": content})
    with pytest.raises(PredictionsError, match=message):
        read_pairs(tmp_path, gold, OBJECTS, Findings())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(64), "save it with save"),
        (b"no such thing" * 40, "cannot be read as a .mat file"),
        (b"", "cannot be read as a .mat file"),
        (None, "cannot be read as a .mat file"),
    ],
)
def test_files_that_are_no_mat_file(gold: GoldPairs, tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "detections.mat"
    if content is None:  # cut in the middle
        savemat(path, {"all_boxes": HORSE})
        content = path.read_bytes()[:-200]
    path.write_bytes(content)
    with pytest.raises(MatFileError, match=message):
        read_pairs(path, gold, (), Findings())


def test_a_variable_of_another_name_is_missed(gold: GoldPairs, tmp_path: Path) -> None:
    savemat(tmp_path / "d.mat", {"boxes": HORSE})
    with pytest.raises(PredictionsError, match="the variable 'all_boxes' is missing"):
        read_pairs(tmp_path / "d.mat", gold, (), Findings())
