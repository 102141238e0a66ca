"""Pairs cut out of pictures: where a cut lies, what it is called, and that nothing held back is among them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.hico_files import APPLE, BICYCLE, HUMAN, entry, record, write

from ovgsr.data.errors import DataError
from ovgsr.data.hoi_pairs import InteractionPair
from ovgsr.data.swig import image_path, read_annotations, read_other_verbs, read_split, read_vocabulary
from ovgsr.distillation.pair_cuts import PLAN_FILE, cut_box, cut_name, write_pair_cuts
from ovgsr.situation import BoxXyxy

ONE, TWO, THREE = (f"HICO_train2015_0000000{n}.jpg" for n in (1, 2, 5))


@pytest.mark.parametrize(
    ("human", "thing", "size", "cut"),
    [
        # 40 x 20 together: a square of 1.3 * 40 = 52 about the middle (60, 30)
        ((40, 20, 60, 40), (60, 20, 80, 40), (200, 100), (34, 4, 86, 56)),
        # the same in a corner: moved inside
        ((0, 0, 20, 20), (20, 0, 40, 20), (200, 100), (0, 0, 52, 52)),
        ((160, 80, 180, 100), (180, 80, 200, 100), (200, 100), (148, 48, 200, 100)),
        # 100 wide: a square of 130 is higher than the picture
        ((50, 40, 70, 60), (130, 40, 150, 60), (200, 100), (35, 0, 165, 100)),
    ],
)
def test_a_cut_is_a_square_about_the_pair(human: BoxXyxy, thing: BoxXyxy, size: tuple[int, int], cut: BoxXyxy) -> None:
    pair = InteractionPair(human, thing, "bicycle", ("ride",), (0,))
    assert cut_box(pair, *size) == cut


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pair that is ridden and held, one without interaction, one that is held and also eaten: unseen; dev alike."""
    rows = [
        entry((HUMAN, BICYCLE, 4), (HUMAN, BICYCLE, 2)),
        entry((HUMAN, BICYCLE, 3)),
        entry((HUMAN, BICYCLE, 2), (HUMAN, APPLE, 1), (HUMAN, APPLE, 0)),
    ]
    folds = {fold: record(fold, annotation=rows) for fold in ("train", "dev")}
    root = write(tmp_path / "hoi", **folds)
    split = {"format": "ovgsr-hoi-split-1", "name": "mine", "unseen": [["eat", "apple"]], "dev_unseen": []}
    (root / "hoi_split.json").write_text(json.dumps(split))
    for fold in ("train", "dev"):
        Image.effect_noise((40, 50), 60).convert("RGB").save(
            root / "images" / f"{fold}2015" / f"HICO_{fold}2015_00000001.jpg", quality=95
        )
    return root


def test_pairs_become_pictures_of_one_situation(root: Path, tmp_path: Path) -> None:
    cuts = write_pair_cuts(root, tmp_path / "cuts")
    images = {image.file_name: image for image in read_annotations(cuts, "train")}
    assert list(images) == [cut_name(ONE, 0), cut_name(THREE, 0)]
    first = images[cut_name(ONE, 0)]
    # The boxes reach from 0 to 40 in both directions: 1.3 * 40 = 52 is wider and higher than the picture.
    assert (first.width, first.height) == (40, 50)
    assert first.situation.verb == "riding", "ridden in one picture, held in two: the rarer verb names it"
    assert read_other_verbs(cuts) == {
        cut_name(ONE, 0): ("holding",),
        cut_name(ONE.replace("train", "dev"), 0): ("holding",),
    }
    assert {role: (noun.noun, noun.box_xyxy) for role, noun in first.situation.nouns.items()} == {
        "human": ("person", (0, 0, 20, 30)),
        "object": ("bicycle", (10, 20, 40, 40)),
    }
    picture = np.asarray(Image.open(root / "images" / "train2015" / ONE), dtype=float)
    shown = np.asarray(Image.open(image_path(cuts, cut_name(ONE, 0))), dtype=float)
    assert np.abs(picture - shown).mean() < 4, "the same pixels, but for JPEG"
    assert images[cut_name(THREE, 0)].situation.verb == "holding"


def test_nothing_held_back_is_cut_out(root: Path, tmp_path: Path) -> None:
    cuts = write_pair_cuts(root, tmp_path / "cuts")
    split = read_split(cuts)
    assert split is not None
    assert (split.seen, split.unseen, split.dev_unseen) == (("holding", "riding"), ("eating",), ())
    assert [noun.key for noun in read_vocabulary(cuts).nouns] == ["bicycle", "person"], "no training pair with an apple"
    for fold in ("train", "dev"):
        assert {image.situation.nouns["object"].noun for image in read_annotations(cuts, fold)} == {"bicycle"}  # type: ignore[arg-type]
    assert "apple" not in "".join(path.read_text() for path in (cuts / "SWiG_jsons").glob("*.json"))
    whole = write_pair_cuts(root, tmp_path / "rows", drop="rows")
    assert cut_name(THREE, 1) in {image.file_name for image in read_annotations(whole, "train")}, "its seen row stays"


def test_a_stopped_run_is_finished_and_another_split_refused(root: Path, tmp_path: Path) -> None:
    cuts = write_pair_cuts(root, tmp_path / "cuts")
    files = {path: path.read_bytes() for path in cuts.rglob("*") if path.is_file()}
    image_path(cuts, cut_name(THREE, 0)).unlink()
    (cuts / "SWiG_jsons" / "train.json").unlink()
    seen: list[tuple[int, int]] = []
    write_pair_cuts(root, cuts, progress=lambda done, total: seen.append((done, total)))
    assert {path: path.read_bytes() for path in cuts.rglob("*") if path.is_file()} == files
    assert seen == [(n, 4) for n in (1, 2, 3, 4)]
    with pytest.raises(DataError, match=f"{PLAN_FILE}: these are the pairs of another data set or split"):
        write_pair_cuts(root, cuts, drop="rows")
