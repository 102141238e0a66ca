from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ovgsr.data.errors import DataError
from ovgsr.data.hico_det import image_folder, read_hico_det
from ovgsr.data.hoi_rows import BrokenRow

from .hico_files import APPLE, BICYCLE, HUMAN, OBJECTS, entry, record, write


def test_a_file_becomes_pictures_with_one_situation_a_row(tmp_path: Path) -> None:
    root = write(tmp_path / "tiny")
    fold = read_hico_det(root, "test")
    assert [(i.file_name, i.width, i.height, len(i.situations)) for i in fold.images] == [
        ("HICO_test2015_00000001.jpg", 40, 50, 2),
        ("HICO_test2015_00000002.jpg", 40, 50, 0),
        ("HICO_test2015_00000005.jpg", 50, 40, 1),
    ]
    ride, hold = fold.images[0].situations
    assert (ride.verb, hold.verb) == ("ride", "hold")
    assert ride.roles == ("human", "object")
    assert (ride.nouns["human"].noun, ride.nouns["object"].noun) == ("person", "bicycle")
    # 1-based inclusive [1, 1, 20, 30] covers 20 x 30 pixels from the very corner
    assert ride.nouns["human"].box_xyxy == (0, 0, 20, 30)
    assert ride.nouns["object"].box_xyxy == (10, 20, 40, 40)
    assert fold.interactions[4] == ("ride", "bicycle")
    assert fold.rare == {("hold", "apple")}
    assert fold.vocabulary.verb_names == ("eat", "hold", "no_interaction", "ride")
    assert fold.vocabulary.verb("ride").text == "someone is riding."
    assert fold.vocabulary.name == "tiny"
    assert fold.broken == ()
    assert read_hico_det(root / "instances_test2015.json") == fold
    assert read_hico_det(root, "train").images[0].file_name == "HICO_train2015_00000001.jpg"


def test_objects_go_by_name_whatever_their_order(tmp_path: Path) -> None:
    """The same file with the objects numbered in another order, as copies of HICO-DET are, reads the same."""
    plain = record()
    other = copy.deepcopy(plain)
    other["objects"] = list(reversed(OBJECTS))
    for triple in other["correspondence"]:
        triple[1] = 2 - triple[1]
    for picture in other["annotation"]:
        picture["object"] = [2 - number for number in picture["object"]]
    first = read_hico_det(write(tmp_path / "a", test=plain))
    second = read_hico_det(write(tmp_path / "b", test=other))
    assert (first.images, first.interactions) == (second.images, second.interactions)


def test_a_name_with_spaces_is_the_same_object(tmp_path: Path) -> None:
    root = write(tmp_path, test=record(objects=["sports ball", "bicycle", "person"]))
    fold = read_hico_det(root)
    assert fold.images[2].situations[0].nouns["object"].noun == "sports_ball"
    assert fold.vocabulary.noun("sports_ball").text == "sports ball"


def test_a_verb_that_hico_does_not_have_gets_its_gerund(tmp_path: Path) -> None:
    fold = read_hico_det(write(tmp_path, test=record(verbs=["juggle", "sit_on", "no_interaction", "tie"])))
    assert [verb.gerund for verb in fold.vocabulary.verbs] == ["juggling", "sitting on", "near", "tying"]


def _picture(**changes: Any) -> dict[str, Any]:
    good = entry((HUMAN, APPLE, 1), (HUMAN, BICYCLE, 4))
    return good | changes


BROKEN: list[tuple[Any, int | None, str, str]] = [
    # the picture's entry, row, field, part of the message
    (_picture(hoi=[1, 6]), 1, "hoi", "from 0 to 5, not 6"),
    (_picture(hoi=[1, -1]), 1, "hoi", "not -1"),
    (_picture(hoi=[1, "4"]), 1, "hoi", "not '4'"),
    (_picture(verb=[1, 0]), 1, "verb", "0 is not the verb 'ride' of interaction 4"),
    (_picture(object=[1, 1]), 0, "object", "1 is not the object 'apple' of interaction 1"),
    (_picture(boxes_h=[HUMAN, [9, 1, 8, 5]]), 1, "boxes_h", "inverted"),
    (_picture(boxes_o=[APPLE, [1, 1, 8]]), 1, "boxes_o", "four finite numbers"),
    (_picture(boxes_o=[APPLE, [1, 1, 8, float("nan")]]), 1, "boxes_o", "four finite numbers"),
    (_picture(boxes_o=[APPLE, [1, 1, 8, 10**400]]), 1, "boxes_o", "four finite numbers"),
    (_picture(boxes_o=[APPLE, [1, 1, 8, True]]), 1, "boxes_o", "four finite numbers"),
    (_picture(verb=[1]), 1, "verb", "1 entries only"),
]


@pytest.mark.parametrize(("picture", "row", "field", "message"), BROKEN)
def test_a_broken_row_is_left_out_and_told_of(
    tmp_path: Path, picture: Any, row: int | None, field: str, message: str
) -> None:
    plain = record()
    plain["annotation"][0] = picture
    fold = read_hico_det(write(tmp_path, test=plain))
    (broken,) = fold.broken
    assert (broken.file, broken.picture) == ("instances_test2015.json", "HICO_test2015_00000001.jpg")
    assert (broken.row, broken.field) == (row, field)
    assert message in broken.message
    assert len(fold.images) == 3
    assert [s.verb for s in fold.images[0].situations] == (["hold"] if row == 1 else ["ride"])


def test_a_picture_whose_lists_are_missing_keeps_its_place(tmp_path: Path) -> None:
    plain = record()
    del plain["annotation"][0]["boxes_o"]
    fold = read_hico_det(write(tmp_path, test=plain))
    assert fold.broken == (
        BrokenRow("instances_test2015.json", "HICO_test2015_00000001.jpg", None, "boxes_o", "is missing or no list"),
    )
    assert str(fold.broken[0]) == (
        "instances_test2015.json: HICO_test2015_00000001.jpg: boxes_o: is missing or no list"
    )
    assert fold.images[0].situations == ()


def test_a_box_of_one_pixel_is_no_fault(tmp_path: Path) -> None:
    plain = record()
    plain["annotation"][2] = entry((HUMAN, [7, 8, 7, 8], 0))
    fold = read_hico_det(write(tmp_path, test=plain))
    assert fold.images[2].situations[0].nouns["object"].box_xyxy == (6, 7, 7, 8)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"verbs": None}, "the field 'verbs' is missing or no list"),
    ({"verbs": ["eat", "hold", "hold", "ride"]}, "the field 'verbs' must be a list of different names"),
    ({"correspondence": [[1, 0, 0]]}, "correspondence[0] must be [0, object, verb]"),
    ({"correspondence": [[0, 0, 9]]}, "correspondence[0] must be"),
    ({"correspondence": [[0, 0, 0], [1, 0, 0]]}, "lists an interaction twice"),
    ({"annotation": []}, "must be equally long"),
    ({"filenames": ["a.jpg", "a.jpg", "b.jpg"]}, "filenames[1] must be a relative name, given once"),
    ({"filenames": ["a.jpg", "../b.jpg", "c.jpg"]}, "filenames[1] must be a relative name"),
    ({"filenames": ["a.jpg", "b\0.jpg", "c.jpg"]}, "filenames[1] must be a relative name"),
    ({"size": [[40, 50], [0, 50], [40, 50]]}, "size[1] must be [width, height]"),
    ({"rare": [6]}, "the field 'rare' must be a whole number from 0 to 5, not 6"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "instances_test2015.json"
    path.write_text(json.dumps(record(**changes)))
    with pytest.raises(DataError) as caught:
        read_hico_det(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_files_that_are_not_there_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"instances_test2015\.json: there is no such file"):
        read_hico_det(tmp_path)
    with pytest.raises(DataError, match=r"missing\.json: No such file or directory; check the path"):
        read_hico_det(tmp_path / "missing.json")
    (tmp_path / "instances_test2015.json").write_text("{")
    with pytest.raises(DataError, match="no valid JSON"):
        read_hico_det(tmp_path)


def test_pictures_are_found_in_both_layouts(tmp_path: Path) -> None:
    root = write(tmp_path / "a")
    assert image_folder(root, "test") == root / "images" / "test2015"
    assert image_folder(root / "instances_test2015.json", "test") == root / "images" / "test2015"
    original = root / "hico_20160224_det" / "images" / "test2015"
    original.mkdir(parents=True)
    assert image_folder(root, "test") == original
