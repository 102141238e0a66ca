"""``ovgsr evaluate`` on human-object interactions: how data are recognised, what is printed and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from scipy.io import savemat
from typer.testing import CliRunner

from ovgsr.cli.main import app
from ovgsr.data.errors import DataError
from ovgsr.data.hico_labels import labelled_objects
from ovgsr.hoi_vocabulary import Interaction, hico_det_interactions
from ovgsr.mat_files import MatFileError

RIDE, FEED, HOLD = LISTED = (("ride", "horse"), ("feed", "horse"), ("hold", "cup"))
HUMAN, THING = [1, 1, 100, 100], [201, 1, 300, 100]
BOXES = {"human_box": [0, 0, 100, 100], "object_box": [200, 0, 300, 100]}


def instances(folder: Path, interactions: tuple[Interaction, ...], pictures: dict[str, Interaction | None]) -> Path:
    """A test file with one row a picture, or none."""
    verbs, objects = (sorted({interaction[part] for interaction in interactions}) for part in (0, 1))
    triples = [[hoi, objects.index(o), verbs.index(v)] for hoi, (v, o) in enumerate(interactions)]
    entries: list[dict[str, list[Any]]] = []
    for chosen in pictures.values():
        hoi, thing, verb = triples[interactions.index(chosen)] if chosen else (0, 0, 0)
        row = {"boxes_h": HUMAN, "boxes_o": THING, "hoi": hoi, "object": thing, "verb": verb}
        entries.append({field: [value] * (chosen is not None) for field, value in row.items()})
    record = {
        "filenames": list(pictures),
        "size": [[640, 480]] * len(pictures),
        "annotation": entries,
        "empty": [i for i, chosen in enumerate(pictures.values()) if chosen is None],
        "correspondence": triples,
        "objects": objects,
        "verbs": verbs,
    }
    path = folder / "instances_test2015.json"
    path.write_text(json.dumps(record))
    return path


def lines(folder: Path, found: dict[str, list[tuple[Interaction, float]]]) -> Path:
    path = folder / "pairs.jsonl"
    records = (
        {"image": name, "pairs": [{**BOXES, "verb": verb, "object": o, "score": s} for (verb, o), s in pairs]}
        for name, pairs in found.items()
    )
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_data_of_ones_own_with_a_split(tmp_path: Path) -> None:
    data = instances(tmp_path, LISTED, {"a.jpg": RIDE, "b.jpg": HOLD, "c.jpg": None, "d.jpg": FEED})
    split = {"format": "ovgsr-hoi-split-1", "name": "mine", "unseen": [RIDE], "dev_unseen": [FEED]}
    (tmp_path / "hoi_split.json").write_text(json.dumps(split))
    predictions = lines(tmp_path, {"a.jpg": [(RIDE, 0.8)], "c.jpg": [(RIDE, 0.9)], "d.jpg": [(FEED, 0.9)]})
    result = evaluate("--predictions", predictions, "--data", tmp_path, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["mode"] == "official"
    # feeding, which dev tests and training does not meet, is neither seen nor unseen
    assert record["default"]["mine"] == {"map_unseen": 50.0, "map_seen": 0.0, "harmonic_mean": 0.0, "map_full": 25.0}
    assert record["default"]["map_full"] == pytest.approx(150 / 3)
    assert record["known_object"]["mine"]["map_unseen"] == 100.0, "c.jpg has no horse"
    assert record["modes"]["upt"]["default"]["map_full"] == pytest.approx(200 / 3)
    assert (record["classes"]["mine_unseen"], record["classes"]["mine_seen"]) == (1, 1)
    assert len(record["warnings"]) == 1, "b.jpg is missing"
    for words in ("official", "gen-vlkt", "mine unseen", "largest difference 0e+00", "objects of its annotated rows"):
        assert words in result.output
    alone = evaluate("--predictions", predictions, "--data", data, "--mode", "upt", "--json", tmp_path / "upt.json")
    assert alone.exit_code == 0
    record = json.loads((tmp_path / "upt.json").read_text())
    assert (record["mode"], "modes" in record, record["default"]["mine"]["map_unseen"]) == ("upt", False, 100.0)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """HICO-DET's 600 classes on three pictures, and its image-level labels."""
    listed = hico_det_interactions()
    instances(tmp_path, listed, {"a.jpg": listed[0], "b.jpg": None, "c.jpg": listed[24]})
    labels = np.full((600, 3), -1, dtype=np.int8)
    labels[[0, 1, 24], [0, 1, 2]] = 1
    labels[5, 2] = 0
    names = np.array([["a.jpg"], ["b.jpg"], ["c.jpg"]], dtype=object)
    (tmp_path / "hico_20160224_det").mkdir()
    savemat(tmp_path / "hico_20160224_det" / "anno.mat", {"list_test": names, "anno_test": labels})
    return tmp_path


def test_hico_det_has_its_splits_and_its_labels(original: Path, tmp_path: Path) -> None:
    airplane = hico_det_interactions()[0]
    predictions = lines(tmp_path, {"a.jpg": [(airplane, 0.8)], "b.jpg": [(airplane, 0.9)], "c.jpg": [(airplane, 0.9)]})
    arguments = ("--predictions", predictions, "--data", original, "--json", tmp_path / "out.json")
    result = evaluate(*arguments, "--mode", "official")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out.json").read_text())
    blocks = {name for name in record["default"] if not name.startswith("map")}
    assert blocks == {"rf_uc", "nf_uc", "uo", "uv", "uc", "uc0", "uc1", "uc2", "uc3", "uc4"}
    # by b.jpg's label its airplane counts, though no row is annotated there; c.jpg has none
    assert record["default"]["map_full"] == pytest.approx(100 / 3 / 2)
    assert record["known_object"]["map_full"] == pytest.approx(100 / 2 / 2)
    assert record["known_objects"] == "a picture has the objects of its positive labels in anno.mat"
    assert "uc harmonic mean" in result.output
    assert "uc0 unseen" not in result.output
    one = evaluate(*arguments, "--split", "uc0")
    assert one.exit_code == 0, one.output
    assert "uc0 unseen" in one.output
    record = json.loads((tmp_path / "out.json").read_text())
    assert {name for name in record["default"] if not name.startswith("map")} == {"uc0"}


def test_labels_that_are_not_hicos(original: Path) -> None:
    path, listed = original / "hico_20160224_det" / "anno.mat", hico_det_interactions()
    assert labelled_objects(path, "test", listed)["b.jpg"] == {"airplane"}
    with pytest.raises(DataError, match=r"anno\.mat: the variable 'list_train' is missing"):
        labelled_objects(path, "train", listed)
    with pytest.raises(DataError, match="'anno_test' must be 599 interactions x 3 pictures, not 600 x 3"):
        labelled_objects(path, "test", listed[1:])
    path.write_bytes(b"nothing")
    with pytest.raises(MatFileError, match=r"anno\.mat: cannot be read as a \.mat file"):
        labelled_objects(path, "test", listed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mode", "matlab"), "choose from official, upt, gen-vlkt"),
        (("--profile", "official"), "are scored with --model or --predictions"),
        (("--split", "rf_uc"), "the split 'rf_uc' names"),
        (("--fold", "dev"), "instances_dev2015.json: there is no such file"),
        (("--fold", "tests"), "the fold 'tests' does not exist"),
    ],
)
def test_what_does_not_fit_interactions_is_said(tmp_path: Path, options: tuple[str, str], message: str) -> None:
    instances(tmp_path, LISTED, {"a.jpg": RIDE})
    result = evaluate("--predictions", lines(tmp_path, {"a.jpg": [(RIDE, 1.0)]}), "--data", tmp_path, *options)
    assert message in str(result.exception)


def test_a_file_is_of_the_fold_that_it_is_named_for(tmp_path: Path) -> None:
    instances(tmp_path, LISTED, {"a.jpg": RIDE})
    file = (tmp_path / "instances_test2015.json").rename(tmp_path / "instances_dev2015.json")
    arguments = ("--predictions", lines(tmp_path, {"a.jpg": [(RIDE, 1.0)]}), "--data")
    for options in ((), ("--fold", "dev")):
        assert "dev, Default" in evaluate(*arguments, file, *options).output
    said = str(evaluate(*arguments, file, "--fold", "test").exception)
    assert "this file's name says dev, --fold says test; give the file of that fold" in said
    mine = file.rename(tmp_path / "mine.json")
    assert "dev, Default" in evaluate(*arguments, mine, "--fold", "dev").output
    assert "test, Default" in evaluate(*arguments, mine).output


def test_what_is_no_data_set_is_said_for_both_layouts(tmp_path: Path) -> None:
    said = str(evaluate("--predictions", "pairs.jsonl", "--data", tmp_path / "nowhere").exception)
    assert "nowhere: neither SWiG_jsons/ nor HICO-DET's" in said


def test_modes_are_not_for_swig(tmp_path: Path) -> None:
    (tmp_path / "SWiG_jsons").mkdir()
    result = evaluate("--predictions", "pairs.jsonl", "--data", tmp_path, "--mode", "upt")
    assert "SWiG has --profile" in str(result.exception)
