"""Who competes with whom, which pictures a split leaves in a fold, and its two file formats."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.verb_split import SplitError, VerbSplit, checksum

SPLIT = VerbSplit("s", ("a", "b"), ("c",), ("d",), ("e",))
PLAIN: dict[str, Any] = {
    "format": "ovgsr-split-1",
    "name": "s",
    "seen": ["a", "b"],
    "rare": ["c"],
    "unseen": ["d"],
    "dev_unseen": ["e"],
}


def picture(name: str, *answers: str) -> AnnotatedImage:
    """A picture of the verb ``name[0]`` with one role."""
    given = answers or ("n1",) * 3
    return AnnotatedImage(name, 8, 8, (Situation(name[0], {"agent": GroundedNoun(given[0], annotators=given)}),))


def names(images: tuple[AnnotatedImage, ...]) -> list[str]:
    return [image.file_name for image in images]


def test_who_competes_with_whom() -> None:
    assert SPLIT.training == ("a", "b", "c")
    assert SPLIT.candidates("train") == ("a", "b", "c")
    assert SPLIT.candidates("dev") == ("a", "b", "c", "e")
    assert SPLIT.candidates("test") == ("a", "b", "c", "d")
    assert SPLIT.groups("dev") == {"seen": ("a", "b"), "rare": ("c",), "unseen": ("e",)}
    assert SPLIT.groups("test")["unseen"] == ("d",)


ALL = [picture(f"{verb}{number}") for number in range(3) for verb in "abcde"]


def test_each_fold_has_pictures_of_its_verbs() -> None:
    kept = {fold: {name[0] for name in names(SPLIT.pictures(ALL, fold))} for fold in ("train", "dev", "test")}
    assert kept == {"train": set("abc"), "dev": set("abce"), "test": set("abcd")}
    assert names(SPLIT.pictures(ALL, "train")) == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_dropped_pictures_are_in_no_fold() -> None:
    split = VerbSplit("s", ("a",), unseen=("d",), dropped={"boxes": ("a1",), "nouns": ("d2", "a0")})
    assert names(split.pictures(ALL, "train")) == ["a2"]
    assert names(split.pictures(ALL, "test")) == ["d0", "d1", "a2"]


def test_training_has_no_picture_for_which_anyone_named_an_unseen_noun() -> None:
    split = VerbSplit("s", ("a",), unseen_nouns=("n9",))
    images = [picture("a0", "n1", "n9", "n1"), picture("a1"), picture("a2", "n9")]
    assert names(split.pictures(images, "train")) == ["a1"]
    assert names(split.pictures(images, "test")) == ["a0", "a1", "a2"]


def test_few_pictures_of_rare_verbs_are_chosen_by_hash() -> None:
    split = VerbSplit("s", ("a",), ("c",), rare_pictures=2, seed=5)
    images = [picture(f"{verb}{number}") for verb in "ca" for number in range(9)]
    kept = names(split.pictures(images, "train"))
    first = sorted((f"c{n}" for n in range(9)), key=lambda n: hashlib.sha256(f"5:{n}".encode()).hexdigest())[:2]
    assert kept == [*sorted(first), *(f"a{n}" for n in range(9))]
    assert set(names(split.pictures(images[::-1], "train"))) == set(kept)  # whatever the order of the file
    assert len(split.pictures(images, "dev")) == 18  # dev and test keep all
    other = VerbSplit("s", ("a",), ("c",), rare_pictures=2, seed=6)
    assert set(names(other.pictures(images, "train"))) != set(kept)


def test_what_is_dropped_or_shows_an_unseen_noun_is_not_among_the_few() -> None:
    split = VerbSplit("s", ("a",), ("c",), unseen_nouns=("n9",), rare_pictures=2, dropped={"boxes": ("c0",)})
    images = [picture("c0"), picture("c1", "n9"), picture("c2"), picture("c3")]
    assert names(split.pictures(images, "train")) == ["c2", "c3"]


def test_the_pictures_kept_of_rare_verbs_may_be_named() -> None:
    split = VerbSplit("s", ("a",), ("c",), rare_pictures=("c1", "a9"))
    assert names(split.pictures(ALL, "train")) == ["a0", "a1", "c1", "a2"]


def test_a_plain_file() -> None:
    assert VerbSplit.from_json(PLAIN) == SPLIT
    with pytest.raises(SplitError, match="'format' must be 'ovgsr-split-1' or 'ovgsr-split-2', not 'x'"):
        VerbSplit.from_json({**PLAIN, "format": "x"})
    with pytest.raises(SplitError, match="'rare' must be a list of names"):
        VerbSplit.from_json({**PLAIN, "rare": "c"})
    with pytest.raises(SplitError, match="the verb 'a' of the split 's' is named twice"):
        VerbSplit.from_json({**PLAIN, "unseen": ["a"]})
    with pytest.raises(SplitError, match="'rare_pictures' needs the format 'ovgsr-split-2'"):
        VerbSplit.from_json({**PLAIN, "rare_pictures": 3})  # a reader of the older format would not see it


@pytest.mark.parametrize("few", [None, 10, ("c1.jpg",)])
def test_a_checked_file_comes_back(few: int | tuple[str, ...] | None) -> None:
    split = VerbSplit("s", ("a",), ("c",), ("d",), ("e",), ("n9",), few, 3, {"boxes": ("a1.jpg",)})
    record = json.loads(json.dumps(split.to_json()))
    assert record["format"] == "ovgsr-split-2"
    assert VerbSplit.from_json(record) == split


@pytest.mark.parametrize(
    ("field", "value"), [("seen", ["a", "b"]), ("rare_pictures", 11), ("name", "t"), ("note", "new"), ("sha256", "0")]
)
def test_a_changed_file_is_refused(field: str, value: Any) -> None:
    record = VerbSplit("s", ("a",), ("c",), rare_pictures=10).to_json()
    with pytest.raises(SplitError, match="'sha256' is not the checksum of the rest"):
        VerbSplit.from_json({**record, field: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rare_pictures": 0}, "'rare_pictures' must be a number above zero"),
        ({"rare_pictures": [1]}, "'rare_pictures' must be a list of names"),
        ({"seed": "1"}, "'seed' must be a whole number"),
        ({"dropped": ["a1.jpg"]}, "'dropped' must be an object"),
        ({"dropped": {"boxes": "a1.jpg"}}, "'boxes' must be a list of names"),
    ],
)
def test_a_checked_file_with_a_fault(changes: dict[str, Any], message: str) -> None:

    record = SPLIT.to_json() | changes
    with pytest.raises(SplitError, match=message):
        VerbSplit.from_json(record | {"sha256": checksum(record)})


def test_the_fingerprint_tells_verbs_and_pictures_but_not_their_order() -> None:
    split = VerbSplit("s", ("a", "b"), ("c",))
    assert split.fingerprint == VerbSplit("t", ("b", "a"), ("c",)).fingerprint
    others = [
        VerbSplit("s", ("a",), ("c",)),
        VerbSplit("s", ("a", "b"), ("c",), rare_pictures=2),
        VerbSplit("s", ("a", "b"), ("c",), rare_pictures=2, seed=1),
        VerbSplit("s", ("a", "b"), ("c",), rare_pictures=("a1", "a2")),
        VerbSplit("s", ("a", "b"), ("c",), dropped={"boxes": ("a1",)}),
        VerbSplit("s", ("a", "b"), ("c",), unseen_nouns=("n9",)),
        VerbSplit("s", ("a", "b"), ("c",), unseen_nouns=("n9",), dropped={"boxes": ("a1",)}),
    ]
    assert len({split.fingerprint, *(other.fingerprint for other in others)}) == 8
