"""The folder that SketchHOI is written to: HICO-DET's layout, rows with boxes of their own, split, resuming."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL
import pytest
from PIL import Image

from ovgsr.data.hico_det import read_hico_det
from ovgsr.data.hoi_pairs import merge_rows
from ovgsr.data.hoi_splits import read_hoi_split, training_fold
from ovgsr.sketch.hoi_acts import NO_INTERACTION, combinations
from ovgsr.sketch.hoi_picture import draw_hoi_picture
from ovgsr.sketch.hoi_sheet import hoi_sheet
from ovgsr.sketch.hoi_write import annotate_hoi, jittered_box, write_sketch_hoi
from ovgsr.sketch.split import SketchError

Progress = Callable[[int, int], None]
SIZES = {"train": 60, "dev": 16, "test": 24}


def write_small(out: Path, *, seed: int = 7, progress: Progress | None = None) -> None:
    """60 training, 16 dev and 24 test pictures."""
    write_sketch_hoi(out, seed=seed, train=SIZES["train"], dev=SIZES["dev"], test=SIZES["test"], progress=progress)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small") / "hoi"
    write_small(out)
    return out


def load(folder: Path, fold: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"instances_{fold}2015.json").read_text(encoding="utf-8"))
    return content


def shown(record: dict[str, Any]) -> set[tuple[str, str]]:
    """Every combination of a file's rows, through its names."""
    return {
        (record["verbs"][verb], record["objects"][thing])
        for entry in record["annotation"]
        for verb, thing in zip(entry["verb"], entry["object"], strict=True)
    }


def digests(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("fold", SIZES)
def test_format_is_that_of_hico_det(small: Path, fold: str) -> None:
    record = load(small, fold)
    assert set(record) == {
        "filenames", "annotation", "size", "empty", "objects", "verbs", "correspondence", "rare", "non_rare"
    }  # fmt: skip
    assert len(record["filenames"]) == len(record["annotation"]) == len(record["size"]) == SIZES[fold]
    assert record["objects"] == sorted(record["objects"]) and record["verbs"] == sorted(record["verbs"])
    assert [triple[0] for triple in record["correspondence"]] == list(range(len(combinations())))
    for name, size, entry in zip(record["filenames"], record["size"], record["annotation"], strict=True):
        with Image.open(small / "images" / f"{fold}2015" / name) as image:
            assert image.format == "JPEG" and list(image.size) == size
        assert len({len(values) for values in entry.values()}) == 1
        for hoi, thing, verb in zip(entry["hoi"], entry["object"], entry["verb"], strict=True):
            assert record["correspondence"][hoi] == [hoi, thing, verb]
        for x1, y1, x2, y2 in entry["boxes_h"] + entry["boxes_o"]:
            assert all(type(edge) is int for edge in (x1, y1, x2, y2))
            assert 1 <= x1 < x2 <= size[0] and 1 <= y1 < y2 <= size[1]
    assert record["empty"] == [i for i, entry in enumerate(record["annotation"]) if not entry["hoi"]]


def test_each_fold_keeps_the_promises_of_the_split(small: Path) -> None:
    split = json.loads((small / "hoi_split.json").read_text(encoding="utf-8"))
    assert set(split) == {"format", "name", "unseen", "dev_unseen"} and split["format"] == "ovgsr-hoi-split-1"
    unseen, dev_unseen = ({tuple(pair) for pair in split[name]} for name in ("unseen", "dev_unseen"))
    assert unseen and dev_unseen and not unseen & dev_unseen
    assert not shown(load(small, "train")) & (unseen | dev_unseen)
    assert not shown(load(small, "dev")) & unseen and shown(load(small, "dev")) & dev_unseen
    assert not shown(load(small, "test")) & dev_unseen and shown(load(small, "test")) & unseen


def test_nothing_has_to_be_dropped_for_training(small: Path) -> None:
    fold, split = read_hico_det(small, "train"), read_hoi_split(small)
    assert split is not None
    kept = training_fold(fold, split)
    assert kept.images == tuple(image for image in fold.images if image.situations)
    assert {verb.name for verb in kept.vocabulary.verbs}.isdisjoint({"groom", "lift", "smell", "drag", "paint"})


def test_rare_is_what_training_shows_in_fewer_than_ten_rows(small: Path) -> None:
    rows = [hoi for entry in load(small, "train")["annotation"] for hoi in entry["hoi"]]
    for fold in SIZES:
        record = load(small, fold)
        assert record["rare"] == [h for h in range(len(combinations())) if 1 <= rows.count(h) <= 9]
        assert record["non_rare"] == [h for h in range(len(combinations())) if rows.count(h) >= 10]


def overlap(a: list[int], b: list[int]) -> float:
    """IoU of inclusive boxes by counting pixels."""
    first, second = ({(x, y) for x in range(c[0], c[2] + 1) for y in range(c[1], c[3] + 1)} for c in (a, b))
    return len(first & second) / len(first | second)


def test_rows_of_a_pair_have_boxes_of_their_own_that_overlap() -> None:
    equal = compared = 0
    for index in range(50):
        picture = draw_hoi_picture(7, "train", index)
        rows: Any = annotate_hoi(picture, random.Random(index))
        assert len(rows["hoi"]) == len(picture.interactions)
        for i, first in enumerate(picture.interactions):
            for j, second in enumerate(picture.interactions[:i]):
                if (first.human, first.role) == (second.human, second.role):
                    shares = [overlap(rows[side][i], rows[side][j]) for side in ("boxes_h", "boxes_o")]
                    assert min(shares) >= 0.6
                    compared += 1
                    equal += min(shares) == 1.0
    assert compared > 15 and equal < compared / 2


def test_reader_and_merging_find_what_was_drawn(small: Path) -> None:
    found = drawn = 0
    for fold in ("train", "test"):
        read = read_hico_det(small, "train" if fold == "train" else "test")
        assert not read.broken and read.interactions == combinations()
        for index, image in enumerate(read.images):
            pairs: dict[tuple[str, str], set[str]] = {}
            for row in draw_hoi_picture(7, fold, index).interactions:
                pairs.setdefault((row.human, row.role), set()).add(row.verb)
            merged = sorted(sorted(pair.verbs) for pair in merge_rows(image))
            found += merged == sorted(sorted(verbs) for verbs in pairs.values())
            drawn += 1
    # Two people who sit side by side on one seat may overlap by half, so now and then a row finds the wrong one.
    assert found >= 0.95 * drawn


def test_a_jittered_box_is_one_based_and_inclusive() -> None:
    boxes = [jittered_box((10, 20, 50, 60), random.Random(seed)) for seed in range(200)]
    means = [sum(edges) / 200 for edges in zip(*boxes, strict=True)]
    # Continuous corners 10, 20, 50, 60 are the pixels 11 to 50 and 21 to 60, counted from 1.
    assert means == pytest.approx([11, 21, 50, 60], abs=0.3)
    assert len({tuple(box) for box in boxes}) > 100


def test_bystanders_and_unused_objects_are_told_of(small: Path) -> None:
    assert NO_INTERACTION in {verb for verb, _ in shown(load(small, "train"))}


def test_a_bigger_set_begins_with_the_pictures_of_a_smaller_one(small: Path, tmp_path: Path) -> None:
    write_sketch_hoi(tmp_path / "other", seed=7, train=10, dev=20, test=0)
    smaller, other = digests(small / "images"), digests(tmp_path / "other" / "images")
    assert len(smaller.items() & other.items()) == 10 + 16
    assert load(tmp_path / "other", "train")["annotation"] == load(small, "train")["annotation"][:10]


def test_a_killed_run_is_finished_by_the_next(small: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 50:
            raise Killed

    out = tmp_path / "killed"
    with pytest.raises(Killed):
        write_small(out, progress=stop)
    assert not (out / "instances_train2015.json").exists()
    seen: list[tuple[int, int]] = []
    write_small(out, progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] > 40 and seen[-1] == (100, 100)
    assert digests(out) == digests(small)


def test_other_settings_and_foreign_folders_are_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(SketchError, match="a SketchHOI with other settings"):
        write_small(small, seed=8)
    (tmp_path / "letter.txt").write_text("not yours")
    with pytest.raises(SketchError, match="no SketchHOI"):
        write_small(tmp_path)


def test_contact_sheet_shows_pictures_with_boxes() -> None:
    page = hoi_sheet(pictures=5)
    assert page.width == 4 * (256 + 6) and (214, 60, 20) in {colour for _, colour in page.getcolors(1 << 24) or []}


# SHA-256 for the settings of write_small. The rows do not depend on the version of Pillow, the pictures do. If one of
# these changes, so must HoiPlan.format: no folder may mix drawings of two versions.
GOLDEN_ROWS = {
    "instances_train2015.json": "13302c9bf9cb928d71cada36f3dcb6efe77f3594d946c3eb30d53d23ef7d4f55",
    "instances_dev2015.json": "1f09a6492c763e76c7bf4303bccd400d0db0bb7e96366750869da95289f3c82b",
    "instances_test2015.json": "67358f2b8a912e7577da6470358549f8be7d80247d6f8d8cece8243c5f39cd83",
}
GOLDEN_PILLOW = "12.3.0"
GOLDEN_PICTURES = {
    "train2015/SketchHOI_train2015_00000001.jpg": "1f59ae23c269511fc6006dd12104112faf2e2f481c636a45420fa75a3c612c89",
    "dev2015/SketchHOI_dev2015_00000009.jpg": "4f130bf9c7c466ff293a4d5dacb33a7425282d4660f1ef7350b7393e4359dda4",
    "test2015/SketchHOI_test2015_00000024.jpg": "9724e56633aa82e7b4457b0372e47aea496d129f727cb71f22b44080f0dbe0e7",
}


def test_golden_rows(small: Path) -> None:
    found = digests(small)
    assert {name: found[name] for name in GOLDEN_ROWS} == GOLDEN_ROWS


@pytest.mark.skipif(PIL.__version__ != GOLDEN_PILLOW, reason=f"pictures are pinned for Pillow {GOLDEN_PILLOW}")
def test_golden_pictures(small: Path) -> None:
    found = digests(small / "images")
    assert {name: found[name] for name in GOLDEN_PICTURES} == GOLDEN_PICTURES
