from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from ovgsr.data.errors import DataError
from ovgsr.data.swig import (
    image_path,
    majority,
    read_annotations,
    read_split,
    read_split_file,
    read_vocabulary,
    verify_original,
    with_verbs,
)
from ovgsr.vocabulary import swig_nouns, swig_vocabulary

from .conftest import BALL, DOG, MAN, SPACE, Write, barking, throwing


def test_a_record_becomes_an_annotated_image(write_swig: Write) -> None:
    first, second = read_annotations(write_swig(), "train")
    assert (first.file_name, first.width, first.height) == ("throwing_1.jpg", 40, 20)
    situation = first.situation
    assert situation.verb == "throwing"
    assert situation.roles == ("agent", "item", "place")  # `order`, not the order of the record's keys
    assert situation.nouns["agent"].noun == MAN
    assert situation.nouns["agent"].box_xyxy == (0.0, 0.0, 20.0, 20.0)  # zero is a coordinate
    assert situation.nouns["item"].noun == DOG  # two of three, though not the first
    assert situation.nouns["item"].annotators == (BALL, DOG, DOG)
    assert situation.nouns["place"].noun == ""  # the empty answer can be the majority
    assert situation.nouns["place"].box_xyxy is None
    assert second.situation.verb == "barking"


def test_the_verb_comes_from_the_field_not_from_the_file_name(write_swig: Write) -> None:
    root = write_swig(train={"throwing_9.jpg": barking()})
    assert read_annotations(root, "train")[0].situation.verb == "barking"


BOXES: list[tuple[list[float], tuple[float, ...] | None]] = [
    ([-1, -1, -1, -1], None),  # four times -1: no box
    ([-1.0, -1.0, -1.0, -1.0], None),  # the same as decimals
    ([5, -1, 50, 50], (5, -1, 50, 50)),  # one -1 is kept: the situformer profile looks for it
    ([0, 0, 0, 0], (0, 0, 0, 0)),  # strange, but not "no box"; the checker complains
    ([0, 1, 40, 20], (0, 1, 40, 20)),  # touches three edges
]


@pytest.mark.parametrize(("written", "expected"), BOXES)
def test_boxes(write_swig: Write, written: list[float], expected: tuple[float, ...] | None) -> None:
    record = barking()
    record["bb"]["agent"] = written
    image = read_annotations(write_swig(train={"a.jpg": record}), "train")[0]
    assert image.situation.nouns["agent"].box_xyxy == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["a", "b", "b"], "b"),  # majority
        (["a", "b", "a"], "a"),
        (["c", "b", "a"], "c"),  # all differ: the first
        (["", "", "a"], ""),  # empty is an answer
        (["a"], "a"),  # one annotator
        (["a", "b", "b", "a", "b"], "b"),  # five: three of them
        (["b", "a", "a", "b"], "b"),  # a tie of two and two: the first given
    ],
)
def test_majority(answers: list[str], expected: str) -> None:
    assert majority(answers) == expected


def _without(record: dict[str, Any], field: str) -> dict[str, Any]:
    del record[field]
    return record


def _with(record: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    return record | {field: value}


BAD_RECORDS: list[tuple[Any, str]] = [
    (_without(throwing(), "bb"), "'bb' is missing.*imSitu"),  # the box-free originals
    (_without(throwing(), "verb"), "'verb' is missing"),
    (["throwing"], "the whole record"),
    (_with(throwing(), "verb", "flying"), "'flying', which imsitu_space.json does not list"),
    (_with(throwing(), "verb", ["throwing"]), "does not list"),
    (_with(throwing(), "width", 0), "'width' and 'height'"),
    (_with(throwing(), "height", "20"), "'width' and 'height'"),
    (_with(throwing(), "frames", []), "'frames' must be a list"),
    (_with(throwing(), "frames", [{"agent": MAN, "item": BALL}]), "annotator 1 in 'frames' lacks the role 'place'"),
    (_with(throwing(), "frames", [{"agent": MAN, "item": 3, "place": ""}]), "a synset or ''"),
    (_with(throwing(), "frames", [{"agent": MAN, "item": ["x"], "place": ""}]), "a synset or ''"),
    (_with(throwing(), "frames", [{"agent": MAN, "item": "", "place": "", "tool": ""}]), "tool is no role of"),
    (_with(throwing(), "bb", {"agent": [0, 0, 1, 1]}), "'bb' lacks the role 'item'"),
    (_with(throwing(), "bb", None), "'bb' lacks the role 'agent'"),
    (_with(barking(), "bb", {"agent": [0, 0, 1]}), "bb.agent' must be four numbers"),
    (_with(barking(), "bb", {"agent": [0, 0, 1, "5"]}), "bb.agent' must be four numbers"),
    (_with(barking(), "bb", {"agent": [0, 0, 1, float("nan")]}), "bb.agent' a box is four finite numbers"),
]


@pytest.mark.parametrize(("record", "message"), BAD_RECORDS)
def test_a_bad_record_is_named(write_swig: Write, record: Any, message: str) -> None:
    root = write_swig(train={"good.jpg": throwing(), "bad.jpg": record})
    with pytest.raises(DataError, match=message) as caught:
        read_annotations(root, "train")
    assert "train.json: bad.jpg" in str(caught.value)


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/passwd", "a/../../b.jpg", "..\\b.jpg"])
def test_a_name_may_not_leave_the_picture_folder(write_swig: Write, name: str) -> None:
    root = write_swig(train={name: throwing()})
    with pytest.raises(DataError, match="relative name"):
        read_annotations(root, "train")
    with pytest.raises(DataError, match="relative name"):
        image_path(root, name)


def test_bad_files_are_named(write_swig: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder that holds SWiG_jsons"):
        read_annotations(tmp_path / "nowhere", "train")
    root = write_swig()
    (root / "SWiG_jsons" / "train.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"train\.json: this is no valid JSON"):
        read_annotations(root, "train")
    (root / "SWiG_jsons" / "train.json").write_text("[1]")
    with pytest.raises(DataError, match=r"train\.json: a JSON object is expected, not a list"):
        read_annotations(root, "train")
    with pytest.raises(DataError, match="there is no fold 'val'"):
        read_annotations(root, "val")  # type: ignore[arg-type]


def test_frames_are_read_again_when_the_file_changes(write_swig: Write) -> None:
    root = write_swig()
    assert read_annotations(root, "dev")[0].situation.roles == ("agent", "item", "place")
    space = copy.deepcopy(SPACE)
    space["verbs"]["throwing"]["order"] = ["place", "item", "agent"]
    space["verbs"]["another"] = {"order": ["agent"]}  # another length too: clocks may be coarse
    root = write_swig(space=space)
    assert read_annotations(root, "dev")[0].situation.roles == ("place", "item", "agent")


def test_the_vocabulary(write_swig: Write) -> None:
    vocabulary = read_vocabulary(write_swig())
    assert vocabulary.name == "tiny"
    verb = vocabulary.verb("throwing")
    assert verb.roles == ("agent", "item", "place")
    assert verb.definition == "to send something through the air"
    assert verb.abstract == "An AGENT throws an ITEM at a PLACE."
    assert dict(verb.role_definitions) == {"agent": "who throws", "item": "what flies", "place": "where it happens"}
    dog = vocabulary.noun(DOG)
    assert dog.words == ("dog", "domestic dog")
    assert dog.definition == "an animal that barks"
    assert dog.hypernym == swig_nouns()[DOG].hypernym != ""  # the file has none; the built-in list does
    with pytest.raises(DataError, match=r"504 verbs.*has 2, 3 and 4"):
        verify_original(vocabulary)


def test_a_space_that_lists_all_of_wordnet_offers_the_builtin_nouns(write_swig: Write) -> None:
    space = copy.deepcopy(SPACE)
    space["nouns"] |= {f"n9{number:07d}": {"gloss": ["x"], "def": ""} for number in range(20_000)}
    vocabulary = read_vocabulary(write_swig(space=space))
    assert [noun.key for noun in vocabulary.nouns] == list(swig_nouns())
    assert vocabulary.noun(BALL).definition == "a round thing to throw"  # the file's own
    other = next(key for key in swig_nouns() if key not in SPACE["nouns"])
    assert vocabulary.noun(other) == swig_nouns()[other]  # not in the file


def test_the_builtin_vocabulary_passes_for_the_original() -> None:
    verify_original(swig_vocabulary())


SPLIT = {"format": "ovgsr-split-1", "name": "tiny", "seen": ["throwing"], "unseen": ["barking"]}


def test_the_split(write_swig: Write, tmp_path: Path) -> None:
    assert read_split(write_swig()) is None
    root = write_swig(split=SPLIT)
    split = read_split(root)
    assert split is not None
    assert (split.seen, split.unseen) == (("throwing",), ("barking",))
    kept = with_verbs(read_annotations(root, "train"), split.training)
    assert [image.file_name for image in kept] == ["throwing_1.jpg"]
    bad = tmp_path / "split.json"
    bad.write_text('{"format": "ovgsr-split-1", "seen": "throwing"}')
    with pytest.raises(DataError, match=r"split\.json: the field 'seen' must be a list"):
        read_split_file(bad)
