"""The folder that SketchSWiG is written to: layout, split, disagreement, resuming."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL
import pytest
from PIL import Image

from ovgsr.sketch import write
from ovgsr.sketch.contact_sheet import contact_sheet
from ovgsr.sketch.fillers import unseen_synsets
from ovgsr.sketch.split import DEV_UNSEEN, RARE, SEEN, UNSEEN, VERBS, SketchError, train_counts
from ovgsr.sketch.write import write_sketch_swig

Progress = Callable[[int, int], None]


def write_small(
    out: Path, *, seed: int = 7, train: int = 132, progress: Progress | None = None, workers: int = 1
) -> None:
    """52 dev, 112 test and 132 train pictures."""
    write_sketch_swig(out, seed=seed, train=train, dev_per_verb=1, test_per_verb=2, progress=progress, workers=workers)


def load(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "SWiG_jsons" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def digests(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small") / "sketch"
    write_small(out)
    return out


def test_layout_is_that_of_swig(small: Path) -> None:
    assert {p.name for p in small.iterdir()} == {"README.txt", "SWiG_jsons", "images_512", "sketch_swig.json"}
    assert {p.name for p in (small / "SWiG_jsons").iterdir()} == {
        "train.json",
        "dev.json",
        "test.json",
        "imsitu_space.json",
        "open_vocabulary_split.json",
    }
    assert "Apache License 2.0" in (small / "README.txt").read_text(encoding="utf-8")


def test_records_are_complete_and_point_to_pictures(small: Path) -> None:
    space = load(small, "imsitu_space")
    pictures = {p.name for p in (small / "images_512").iterdir()}
    names: list[str] = []
    for split in ("train", "dev", "test"):
        for name, record in load(small, split).items():
            names.append(name)
            assert set(record) == {"verb", "height", "width", "frames", "bb"}
            assert name.rsplit("_", 1)[0] == record["verb"]
            roles = set(space["verbs"][record["verb"]]["order"])
            assert roles == set(record["bb"]) == set(space["verbs"][record["verb"]]["roles"])
            assert len(record["frames"]) == 3 and all(set(frame) == roles for frame in record["frames"])
            for frame in record["frames"]:
                assert all(noun == "" or noun in space["nouns"] for noun in frame.values())
            for box in record["bb"].values():
                inside = 0 <= box[0] < box[2] <= record["width"] and 0 <= box[1] < box[3] <= record["height"]
                assert box == [-1, -1, -1, -1] or inside, box
            assert record["bb"]["place"] == [-1, -1, -1, -1]
    assert len(names) == len(set(names)) and set(names) == pictures
    with Image.open(small / "images_512" / names[0]) as image:
        assert image.size == (96, 96) and image.format == "JPEG"


def test_imsitu_space_has_swigs_fields(small: Path) -> None:
    space = load(small, "imsitu_space")
    assert set(space) == {"nouns", "verbs"} and len(space["verbs"]) == 64
    assert set(space["verbs"]["pouring"]) == {"framenet", "def", "abstract", "order", "roles"}
    assert set(space["verbs"]["pouring"]["roles"]["source"]) == {"framenet", "def"}
    assert set(space["nouns"]["n02084071"]) == {"gloss", "def"} and space["nouns"]["n02084071"]["gloss"][0] == "dog"


def test_each_split_holds_its_verbs_only(small: Path) -> None:
    verbs = {s: Counter(r["verb"] for r in load(small, s).values()) for s in ("train", "dev", "test")}
    assert set(verbs["train"]) == set(SEEN + RARE)
    assert set(verbs["dev"]) == set(SEEN + RARE + DEV_UNSEEN)
    assert set(verbs["test"]) == set(SEEN + RARE + UNSEEN)
    assert verbs["train"].total() == 132
    assert set(verbs["dev"].values()) == {1} and set(verbs["test"].values()) == {2}
    split = load(small, "open_vocabulary_split")
    assert split["format"] == "ovgsr-split-1"
    assert [len(split[k]) for k in ("seen", "rare", "unseen", "dev_unseen", "unseen_nouns")] == [32, 12, 12, 8, 8]


def test_unseen_nouns_are_in_no_training_record(small: Path) -> None:
    used = {noun for r in load(small, "train").values() for frame in r["frames"] for noun in frame.values()}
    assert not used & unseen_synsets()


@pytest.mark.parametrize(
    ("pictures", "seen", "rare"),
    [
        (8000, {246, 247}, {8, 9, 10}),  # 12 rare verbs take 108, (8000 - 108) / 32 = 246.6
        (2000, {59, 60}, {8, 9, 10}),  # (2000 - 108) / 32 = 59.1
        (88, {2, 3}, {1}),  # a tiny set: rare verbs get one picture each, 76 / 32 = 2.4
    ],
)
def test_training_counts(pictures: int, seen: set[int], rare: set[int]) -> None:
    counts = train_counts(pictures)
    assert sum(counts.values()) == pictures
    assert {counts[verb] for verb in SEEN} == seen and {counts[verb] for verb in RARE} == rare


def test_too_small_a_training_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SketchError, match="at least 44 pictures"):
        write_sketch_swig(tmp_path / "x", seed=0, train=10)


def test_annotators_disagree_about_as_swigs(tmp_path: Path) -> None:
    records = [write.draw_picture(11, "train", verb, i)[2] for verb in SEEN for i in range(25)]
    slots = [[frame[role] for frame in r["frames"]] for r in records for role in r["bb"]]  # type: ignore[attr-defined]
    share = {n: sum(len(set(s)) == n for s in slots) / len(slots) for n in (1, 2, 3)}
    # Rates of 2,000 imSitu records; about 3,000 slots here, so the standard error is below one point.
    assert share[1] == pytest.approx(0.315, abs=0.04)
    assert share[2] == pytest.approx(0.447, abs=0.04)
    assert share[3] == pytest.approx(0.238, abs=0.04)
    assert sum("" in s for s in slots) / len(slots) == pytest.approx(0.199, abs=0.04)
    assert sum(set(s) == {""} for s in slots) / len(slots) == pytest.approx(0.034, abs=0.02)


def test_a_bigger_set_begins_with_the_pictures_of_a_smaller_one(small: Path, tmp_path: Path) -> None:
    write_small(tmp_path / "bigger", train=200)
    smaller, bigger = digests(small / "images_512"), digests(tmp_path / "bigger" / "images_512")
    assert len(bigger) == len(smaller) + 68
    assert smaller.items() <= bigger.items()


def test_a_killed_run_is_finished_by_the_next(small: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 150:
            raise Killed

    out = tmp_path / "killed"
    with pytest.raises(Killed):
        write_small(out, progress=stop)
    assert not (out / "SWiG_jsons" / "train.json").exists()
    (out / "images_512" / ".throwing_9.jpg.part").write_bytes(b"half a picture")
    seen: list[tuple[int, int]] = []
    write_small(out, progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] > 100 and seen[-1] == (296, 296)
    assert digests(out) == digests(small)


def test_a_finished_set_is_left_alone(small: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in small.rglob("*")}
    write_small(small)
    assert {p: p.stat().st_mtime_ns for p in small.rglob("*")} == before


def test_other_settings_and_foreign_folders_are_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(SketchError, match=r"with other settings \(seed 7, not 8\); choose another folder"):
        write_small(small, seed=8)
    (tmp_path / "letter.txt").write_text("not yours")
    with pytest.raises(SketchError, match="no SketchSWiG"):
        write_small(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_two_processes_write_the_same_files(small: Path, tmp_path: Path) -> None:
    write_small(tmp_path / "two", workers=2)
    assert digests(tmp_path / "two") == digests(small)


# SHA-256 for the settings of write_small. The records do not depend on the version of Pillow, the pictures do: see the
# note at GOLDEN_PIXELS in test_scenes.py.
GOLDEN_RECORDS = {
    "SWiG_jsons/train.json": "bd766acb8cfa570839f4eb8b839f86a3f26de7c0d97b90cf5d70c2e116493ad5",
    "SWiG_jsons/dev.json": "2920a7c93d8fa124e6974635caabca72beacaa350f993d508ee8922289349b27",
    "SWiG_jsons/test.json": "71c9d22009a518d41b637f3b92e85611a40ed3624ac4c14bcf02df73e9a3df51",
}
GOLDEN_PILLOW = "12.3.0"
GOLDEN_PICTURES = {
    "images_512/throwing_4.jpg": "6390abdb974848e8b571684e4e701b1db5512ffb57947c5172892c32991dd1f6",
    "images_512/rowing_2.jpg": "90e028aa4678e71d147b5e6215d6ded4bb3a21f2d123118637ddfaa2d442a307",
    "images_512/stacking_1.jpg": "ba08e97a86f5ba46a0c2f5a047ff8ecad284a33b7ff7bb3a339a1d8fd29555a0",
}


def test_golden_records(small: Path) -> None:
    found = digests(small)
    assert {name: found[name] for name in GOLDEN_RECORDS} == GOLDEN_RECORDS


@pytest.mark.skipif(PIL.__version__ != GOLDEN_PILLOW, reason=f"pictures are pinned for Pillow {GOLDEN_PILLOW}")
def test_golden_pictures(small: Path) -> None:
    found = digests(small)
    assert {name: found[name] for name in GOLDEN_PICTURES} == GOLDEN_PICTURES


def test_contact_sheet_has_a_row_of_pictures_for_each_verb() -> None:
    page = contact_sheet(VERBS[:6], per_verb=2, scale=1)
    # 6 verbs in 4 columns are 2 rows; a column is 2 * 97 + 4 wide, a row 96 + 19 high.
    assert page.size == (4 * 198, 2 * 115)
    assert page.getpixel((50, 50)) != (255, 255, 255)
