from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ovgsr.data import swig
from ovgsr.data.annotation_table import AnnotatedImages, open_index, write_index
from ovgsr.data.errors import DataError
from ovgsr.data.swig import FOLDS, Fold, annotation_path, index_path, parse_annotations, read_annotations, space_path
from ovgsr.data.targets import encode_all_targets
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.verb_split import VerbSplit

from .conftest import BALL, DOG, MAN, Write, barking, throwing


def _index(root: Path, fold: Fold = "train") -> Path:
    images, faults = parse_annotations(root, fold, stop=False)
    path = index_path(root, fold)
    write_index(path, images, (annotation_path(root, fold), space_path(root)), faults)
    return path


def test_pictures_come_back_as_they_were() -> None:
    images = [
        AnnotatedImage(
            "é/one.jpg",
            40,
            20,
            (
                Situation(
                    "throwing",
                    {"item": GroundedNoun(BALL, (0.5, 1, 2, 3)), "agent": GroundedNoun("", annotators=("",))},
                ),
            ),
        ),
        AnnotatedImage(
            "two.jpg", 7, 9, (Situation("barking", {"agent": GroundedNoun(DOG, None, annotators=(MAN, DOG))}),)
        ),
        AnnotatedImage("three.jpg", 1, 1, (Situation("throwing", {"agent": GroundedNoun(MAN)}),)),  # another frame
    ]
    table = AnnotatedImages.of(images)
    assert list(table) == images
    assert AnnotatedImages.of(table) is table
    assert (table[0], table[-1], list(table[1:])) == (images[0], images[2], images[1:])
    assert table.file_names == ["é/one.jpg", "two.jpg", "three.jpg"]
    assert table.verbs == ["throwing", "barking", "throwing"]
    assert table.nouns == {"", MAN, DOG}
    split = VerbSplit("x", seen=("throwing", "barking"), unseen_nouns=(DOG,), dropped={"blurred": ("é/one.jpg",)})
    assert table.of_split(split, "train").file_names == ["three.jpg"]
    assert table[1:].of_split(split, "dev").file_names == ["two.jpg", "three.jpg"]
    assert table.without(["two.jpg"])[1] == images[2]
    assert list(AnnotatedImages.of([])) == []
    with pytest.raises(IndexError):
        table[3]


def test_an_index_is_read_in_place_of_the_json(write_swig: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_swig()
    from_json = read_annotations(root, "train")
    _index(root)

    def refuse(path: Path) -> dict[str, Any]:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(swig, "read_json_object", refuse)
    assert list(read_annotations(root, "train")) == list(from_json)


CHANGES = [
    ("the records", lambda root: annotation_path(root, "train").write_text(json.dumps({"new.jpg": barking()}))),
    (
        "the records, to others of the same size",
        lambda root: annotation_path(root, "train").write_text(
            annotation_path(root, "train").read_text().replace("barking_1", "barking_9")
        ),
    ),
    ("the frames", lambda root: space_path(root).write_text(space_path(root).read_text() + " ")),
    ("the index, cut off", lambda root: os.truncate(index_path(root, "train"), 400)),
    ("the index, to something else", lambda root: index_path(root, "train").write_text("no tensors")),
]


@pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=[name for name, _ in CHANGES])
def test_an_index_that_does_not_fit_is_not_used(write_swig: Write, change: Any) -> None:
    root = write_swig()
    _index(root)
    change(root)
    images = read_annotations(root, "train")
    assert not isinstance(images, AnnotatedImages)
    assert images == parse_annotations(root, "train", stop=True)[0]


def test_a_copied_data_set_keeps_its_index(write_swig: Write, tmp_path: Path) -> None:
    root = write_swig()
    _index(root)
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    for path in (annotation_path(copy, "train"), space_path(copy)):
        os.utime(path, (1, 1))
    assert isinstance(read_annotations(copy, "train"), AnnotatedImages)


def test_faulty_records_are_left_out_and_told_of(write_swig: Write) -> None:
    incomplete = throwing()
    del incomplete["frames"][1]["place"]
    records = {"a.jpg": barking(), "b.jpg": barking() | {"verb": "flying"}, "c.jpg": incomplete}
    root = write_swig(train=records)
    path = annotation_path(root, "train")
    told = [
        f"{path}: b.jpg: 'verb' is 'flying', which imsitu_space.json does not list; add it there",
        f"{path}: c.jpg: annotator 2 in 'frames' lacks the role 'place' of imsitu_space.json; add it, '' if empty",
    ]
    for _ in ("from JSON", "from the index"):
        faults: list[str] = []
        assert [image.file_name for image in read_annotations(root, "train", faults)] == ["a.jpg"]
        assert faults == told
        with pytest.raises(DataError, match=r"train\.json: b\.jpg: 'verb' is 'flying'"):
            read_annotations(root, "train")
        _index(root)
    assert isinstance(read_annotations(root, "train", []), AnnotatedImages)


def test_targets_from_an_index_are_those_from_json(sketch_root: Path, tmp_path: Path) -> None:
    vocabulary = swig.read_vocabulary(sketch_root)
    for fold in FOLDS:
        images = parse_annotations(sketch_root, fold, stop=True)[0]
        path = tmp_path / f"{fold}.safetensors"
        write_index(path, images, (), ())
        opened = open_index(path, ())
        assert opened is not None
        split = VerbSplit("half", seen=vocabulary.verb_names[::2], rare=vocabulary.verb_names[1::4], rare_pictures=1)
        chosen, kept = opened[0].of_split(split, fold), split.pictures(images, fold)
        assert list(chosen) == list(kept)
        found, expected = (encode_all_targets(these, vocabulary, 8) for these in (chosen, kept))
        for name in ("verb_index", "role_mask", "noun_index", "boxes_cxcywh", "grounded"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
