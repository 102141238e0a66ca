"""Views on disk: what a folder holds, that a kill at any moment changes nothing, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovgsr.distillation import view_store
from ovgsr.distillation.view_store import ViewStore, source_fingerprint, write_views
from ovgsr.distillation.views import ViewError, compose, plan_views
from ovgsr.models.preprocess import ImageError, load_image
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation

NAMES = ("0.png", "1.png", "2.png")


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut cannot be tested here, and a busy disk takes long to be sure."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def annotated(name: str, shift: int) -> AnnotatedImage:
    nouns = {
        "agent": GroundedNoun("person", box_xyxy=(10 + shift, 5, 25 + shift, 40)),
        "tool": GroundedNoun("axe", box_xyxy=(30, 10 + shift, 42, 25 + shift)),
    }
    return AnnotatedImage(name, 64, 48, (Situation("chopping", nouns),))


IMAGES = tuple(annotated(name, 3 * index) for index, name in enumerate(NAMES))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in NAMES:
        coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 48)).save(folder / name)
    return folder


@pytest.fixture
def write(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ViewStore]:
    """``write_views`` of the pictures above, in batches of 4."""
    monkeypatch.setattr(view_store, "BATCH", 4)

    def make(folder: Path, **changes: Any) -> ViewStore:
        settings: dict[str, Any] = {"count": 10, "seed": 3, "open_image": load_image} | changes
        return write_views(folder, settings.pop("images", IMAGES), pictures, **settings)

    return make


def bright(candidates: list[Image.Image]) -> list[bool]:
    """Keeps the brighter half, roughly."""
    return [float(np.asarray(picture).mean()) > 128 for picture in candidates]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_candidate_is_kept_where_nobody_chooses(tmp_path: Path, pictures: Path, write: Any) -> None:
    heard: list[tuple[int, int]] = []
    store = write(tmp_path / "views", progress=lambda done, total: heard.append((done, total)))
    assert len(store) == store.drawn == 10
    assert store.names == tuple(f"{n:06d}.jpg" for n in range(10))
    assert [view.plan for view in store.views] == list(plan_views(IMAGES, 10, seed=3))
    assert {view.novel for view in store.views} == {None}
    assert heard == [(0, 10), (4, 10), (8, 10), (10, 10)]
    assert set(content(tmp_path / "views")) == {"views.json", *(f"images/{name}" for name in store.names)}
    for view in store.views:
        composed = compose(view.plan, IMAGES, lambda index: load_image(pictures / NAMES[index]))
        shown = store.picture(view.name)
        assert (shown.mode, shown.size) == ("RGB", (64, 48))
        difference = np.abs(np.asarray(shown, dtype=int) - np.asarray(composed, dtype=int))
        assert difference.mean() < 3  # of 255: what JPEG costs


def test_the_same_settings_give_the_same_files(tmp_path: Path, write: Any) -> None:
    first, second, other = write(tmp_path / "a"), write(tmp_path / "b"), write(tmp_path / "c", seed=4)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert first.digest == second.digest != other.digest
    assert first == replace(second, folder=first.folder)


def test_choosing_goes_on_until_there_are_enough(tmp_path: Path, write: Any) -> None:
    shown: list[Image.Image] = []

    def choose(candidates: list[Image.Image]) -> list[bool]:
        shown.extend(candidates)
        return bright(candidates)

    store = write(tmp_path / "views", choose=choose, chosen_by="somebody", candidates_per_view=5.0)
    assert len(store) == 10
    assert store.drawn == len(shown)
    assert 10 < store.drawn < 50
    assert store.drawn % 4 == 0  # batch by batch
    assert {view.novel for view in store.views} == {True}
    kept = [picture for picture, keep in zip(shown, bright(shown), strict=True) if keep][:10]
    # What was chosen from is what is stored, to the pixel.
    assert [picture.tobytes() for picture in kept] == [store.picture(name).tobytes() for name in store.names]


def test_choosing_ends_with_the_candidates(tmp_path: Path, write: Any) -> None:
    store = write(tmp_path / "views", choose=lambda batch: [True] + [False] * (len(batch) - 1), candidates_per_view=1.3)
    assert (len(store), store.drawn) == (4, 13)  # batches of 4, 4, 4 and 1
    every = write(tmp_path / "every", count=6, choose=lambda batch: [True] * len(batch), candidates_per_view=2.0)
    assert (len(every), every.drawn) == (6, 8)  # two of the second batch are too many
    assert len(write(tmp_path / "none", choose=lambda batch: [False] * len(batch))) == 0


@pytest.mark.parametrize("choose", [None, bright])
def test_a_kill_at_any_moment_changes_nothing(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch, choose: Any
) -> None:
    """Killed before each of its writes (pictures, lines, index), and half-way through each appended line."""
    settings = {"count": 6, "choose": choose, "candidates_per_view": 4.0}
    write(tmp_path / "whole", **settings)
    wanted = content(tmp_path / "whole")
    kills = 0
    for half in (False, True):
        for moment in range(100):
            folder, left = tmp_path / f"{half}-{moment}", [moment]

            def dying(name: str, left: list[int] = left, half: bool = half) -> Any:
                write_it = getattr(view_store, name)

                def call(path: Path, data: Any) -> None:
                    if not left[0]:
                        if half and name == "append_lines":
                            with path.open("ab") as stream:
                                stream.write(data[0][: len(data[0]) // 2])
                        if half and name != "append_lines":
                            path.parent.mkdir(parents=True, exist_ok=True)
                            path.with_name(f".{path.name}.1.part").write_bytes(b"half")
                        raise Killed
                    left[0] -= 1
                    write_it(path, data)

                return call

            with monkeypatch.context() as patch:
                for name in ("write_bytes_atomically", "append_lines", "write_text_atomically"):
                    patch.setattr(view_store, name, dying(name))
                try:
                    write(folder, **settings)
                    break
                except Killed:
                    kills += 1
            write(folder, **settings)
            assert content(folder) == wanted, (half, moment)
    assert kills >= 2 * (6 + 2 + 1)


def test_a_run_killed_again_and_again_gets_there(tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each start makes one batch durable and dies half-way through the line of the next."""
    wanted = content(write(tmp_path / "whole").folder)
    append = view_store.append_lines
    lines = 0

    def dying(path: Path, data: list[bytes]) -> None:
        nonlocal lines
        lines += 1
        if lines % 2 == 0:
            with path.open("ab") as stream:
                stream.write(data[0][: len(data[0]) // 2])
            raise Killed
        append(path, data)

    monkeypatch.setattr(view_store, "append_lines", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            write(tmp_path / "cut")
    write(tmp_path / "cut")  # the third batch of three
    assert content(tmp_path / "cut") == wanted


def test_a_power_cut_that_lost_a_picture_is_made_good(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = content(write(tmp_path / "whole").folder)

    def dying(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(view_store, "_finish", dying)
        with pytest.raises(Killed):
            write(tmp_path / "cut")
    (tmp_path / "cut" / "images" / "000005.jpg").write_bytes(b"")
    with pytest.raises(ViewError, match=r"views\.json: there is no such file; the views are not finished"):
        ViewStore.open(tmp_path / "cut")
    write(tmp_path / "cut")
    assert content(tmp_path / "cut") == wanted


def test_a_finished_folder_is_taken_as_it_is(tmp_path: Path, write: Any) -> None:
    first = write(tmp_path / "views", choose=bright, candidates_per_view=5.0)

    # As a kill between the index and the removal of the part file leaves it.
    (tmp_path / "views" / view_store.PART_FILE).write_text("anything\n")

    def nobody(batch: list[Image.Image]) -> list[bool]:
        raise AssertionError("nothing is left to choose")

    assert write(tmp_path / "views", choose=nobody, candidates_per_view=5.0) == first
    assert not (tmp_path / "views" / view_store.PART_FILE).exists()
    assert pickle.loads(pickle.dumps(first)) == first


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": 4}, "'seed' is 3 there and 4 now"),
        ({"count": 11}, "'count' is 10 there and 11 now"),
        ({"images": IMAGES[:2]}, "'data'"),
        ({"choose": bright}, "'chosen_by' is None there and 'unnamed' now"),
        ({"choose": bright, "candidates_per_view": 2.0}, "'candidates' is 10 there and 20 now"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused(
    tmp_path: Path, write: Any, changes: dict[str, Any], field: str, finished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if not finished:
            patch.setattr(view_store, "_finish", lambda *_: None)
        try:
            write(tmp_path / "views")
        except ViewError:
            assert not finished  # there is no index yet
    before = content(tmp_path / "views")
    with pytest.raises(ViewError, match=f"the field {field}.*another folder"):
        write(tmp_path / "views", **changes)
    assert content(tmp_path / "views") == before


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        (IMAGES, False),
        ((replace(IMAGES[0], file_name="x.png"), *IMAGES[1:]), True),
        ((IMAGES[1], IMAGES[0], IMAGES[2]), True),  # plans name positions
        ((annotated("0.png", 1), *IMAGES[1:]), True),  # a box moved
        ((replace(IMAGES[0], width=65), *IMAGES[1:]), True),  # boxes are relative to the annotated size
        # The verb and the nouns decide what is drawn how often.
        ((replace(IMAGES[0], situations=(Situation("cutting", IMAGES[0].situation.nouns),)), *IMAGES[1:]), True),
    ],
)
def test_the_fingerprint_covers_what_views_depend_on(changed: tuple[AnnotatedImage, ...], differs: bool) -> None:
    assert (source_fingerprint(changed) != source_fingerprint(IMAGES)) == differs


def test_an_unreadable_picture_is_named(tmp_path: Path, pictures: Path, write: Any) -> None:
    (pictures / "1.png").write_bytes(b"no picture")
    with pytest.raises(ViewError, match=r"1\.png.*\(picture 1 of those that views are made of\)"):
        write(tmp_path / "views")

    def plain(path: Path) -> Image.Image:
        raise OSError("disk on fire")

    with pytest.raises(ViewError, match=r"\.png: disk on fire \(picture"):
        write(tmp_path / "plain", open_image=plain)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"count": 0}, "0 views with 1 candidates each cannot be made"),
        ({"candidates_per_view": 0.5}, "10 views with 0.5 candidates each"),
        ({"candidates_per_view": float("inf")}, "10 views with inf candidates each"),
        ({"images": ()}, "none of the 0 pictures has a box"),
    ],
)
def test_impossible_wishes_leave_no_folder(tmp_path: Path, write: Any, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ViewError, match=sentence):
        write(tmp_path / "views", **changes)
    assert not (tmp_path / "views").exists()


def test_an_answer_too_few_is_the_callers_fault(tmp_path: Path, write: Any) -> None:
    with pytest.raises(ValueError, match="each of 4 candidates, it gave 3"):
        write(tmp_path / "views", choose=lambda batch: [True] * (len(batch) - 1))


def test_a_folder_of_other_pictures_is_left_alone(tmp_path: Path, write: Any) -> None:
    (tmp_path / "views" / "images").mkdir(parents=True)
    (tmp_path / "views" / "images" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ViewError, match=r"there are pictures, but no views\.json; choose an empty folder"):
        write(tmp_path / "views")
    assert content(tmp_path / "views") == {"images/holiday.jpg": b"mine"}


def damage(folder: Path, how: str) -> None:
    index = folder / "views.json"
    record = json.loads(index.read_bytes())
    if how == "absent":
        index.unlink()
    elif how == "half":
        index.write_bytes(index.read_bytes()[:200])
    elif how == "picture":
        (folder / "images" / "000003.jpg").unlink()
    else:
        {"version": record["settings"], "plan": record["views"][2]["plan"]}[how].update({"format": "x", "kind": "x"})
        index.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("absent", r"views\.json: there is no such file; check the folder"),
        ("half", r"views\.json: the field 'content' is not usable"),
        ("version", r"views\.json: the field 'settings\.\w+' is not usable"),
        ("plan", r"views\.json: the field 'views\.2\.plan\.kind' is not usable"),
        ("picture", r"1 of 10 views are missing \(000003\.jpg\)"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, write: Any, how: str, sentence: str) -> None:
    store = write(tmp_path / "views")
    damage(store.folder, how)
    with pytest.raises(ViewError, match=sentence):
        ViewStore.open(store.folder)


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path: Path, write: Any) -> None:
    store = write(tmp_path / "views")
    store.path("000001.jpg").write_bytes(store.path("000001.jpg").read_bytes()[:300])
    with pytest.raises(ImageError, match=r"000001\.jpg"):
        store.picture("000001.jpg")


def test_a_part_file_of_something_else_is_refused(tmp_path: Path, write: Any) -> None:
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / view_store.PART_FILE).write_text("hello\n")
    with pytest.raises(ViewError, match=r"views\.part\.jsonl: the field 'content' is not usable .* delete"):
        write(tmp_path / "views")


def test_views_are_jpeg_files_without_chroma_subsampling(tmp_path: Path, write: Any) -> None:
    store = write(tmp_path / "views", count=1)
    with Image.open(BytesIO(store.path("000000.jpg").read_bytes())) as picture:
        assert picture.format == "JPEG"
        assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
