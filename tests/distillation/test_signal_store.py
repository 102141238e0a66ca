"""Signals on disk: hand-worked centring, kills that change nothing, refusals, and reading in worker processes."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ovgsr.distillation import signal_store
from ovgsr.distillation.signal_info import INFO_FILE, PARTS, PICTURES_FILE, VIEWS_FILE
from ovgsr.distillation.signal_store import SignalError, SignalInfo, SignalStore, SignalWriter, estimate_bytes

INFO = SignalInfo(
    kind="fixed",
    teacher="t:abc",
    teacher_name="tiny",
    text_fingerprint="minilm:123:mean",
    width=2,
    role_width=3,
    max_roles=2,
    views_digest="v1",
    details={"prompt": "what is happening?", "grid": (4, 4)},
)
NAMES = tuple(f"{n}.jpg" for n in range(7))
VIEWS = tuple(f"{n:06d}.jpg" for n in range(5))


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut cannot be tested here, and a busy disk takes long to be sure."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def readings() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scene, views = torch.randn(7, 2, generator=generator), torch.randn(5, 2, generator=generator)
    roles = torch.randn(7, 2, 3, generator=generator)
    roles[2] = 0
    roles[4, 1] = 0
    return scene, roles, views


def write(folder: Path, *, batch: int = 2, info: SignalInfo = INFO, **settings: Any) -> SignalStore:
    """What a caller does: asks what is missing, reads it in batches, finishes."""
    scene, roles, views = readings()
    writer = SignalWriter(folder, info, NAMES, VIEWS, **{"pictures_a_part": 3} | settings)
    missing = writer.missing()
    for names in (missing[start : start + batch] for start in range(0, len(missing), batch)):
        rows = [NAMES.index(name) for name in names]
        writer.add(names, scene[rows], roles[rows])
    missing = writer.missing_views()
    for names in (missing[start : start + batch] for start in range(0, len(missing), batch)):
        writer.add_views(names, views[[VIEWS.index(name) for name in names]])
    return writer.finish()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_means_and_directions_worked_out_by_hand(tmp_path: Path) -> None:
    writer = SignalWriter(tmp_path, INFO, ["a", "b", "c"], ["v"])
    # Mean (2, 2). Centred: (3, 4) of length 5, (-3, -4), and nothing.
    writer.add(
        ["a", "b", "c"],
        torch.tensor([[5.0, 6.0], [-1.0, -2.0], [2.0, 2.0]]),
        # Three rows exist: mean (1, 1, 4). Centred: (0, 0, -4), (0, 0, 5), (0, 0, -1).
        torch.tensor([[[1.0, 1, 0], [0, 0, 0]], [[1, 1, 9], [1, 1, 3]], [[0, 0, 0], [0, 0, 0]]]),
    )
    writer.add_views(["v"], torch.tensor([[2.0, 9.0]]))  # the pictures' mean: (0, 7)
    store = writer.finish()
    assert store.info.scene_mean == (2, 2)
    assert store.info.role_mean == (1, 1, 4)
    expected = [[0.6, 0.8], [-0.6, -0.8], [0, 0]]
    assert torch.allclose(torch.stack([store.scene(n) for n in "abc"]), torch.tensor(expected), atol=5e-4)
    assert store.roles("a").tolist() == [[0, 0, -1], [0, 0, 0]]
    assert store.roles("b").tolist() == [[0, 0, 1], [0, 0, -1]]
    assert store.roles("c").tolist() == [[0, 0, 0], [0, 0, 0]]
    assert store.view_scene(0).tolist() == [0, 1]


def test_what_the_teacher_did_not_read_stays_zero_and_out_of_the_mean(tmp_path: Path) -> None:
    writer = SignalWriter(tmp_path, INFO, ["a", "b", "c"])
    writer.add(["a"], torch.tensor([[3.0, 0.0]]))  # no roles at all
    writer.add(["b"], torch.zeros(1, 2), torch.ones(1, 1, 3))  # fewer roles than there may be
    writer.add(["c"], torch.tensor([[1.0, 0.0]]), torch.full((1, 1, 3), -1.0))
    store = writer.finish()
    assert store.info.scene_mean == (2, 0)
    assert store.info.role_mean == (0, 0, 0)
    assert [store.scene(n).tolist() for n in "abc"] == [[1, 0], [0, 0], [-1, 0]]
    assert store.roles("a").tolist() == [[0, 0, 0], [0, 0, 0]]
    assert torch.allclose(store.roles("b"), torch.tensor([[3**-0.5] * 3, [0.0] * 3]), atol=5e-4)


def test_everything_is_stored_as_float16_of_unit_length(tmp_path: Path) -> None:
    store = write(tmp_path)
    pictures, views = load_file(tmp_path / PICTURES_FILE), load_file(tmp_path / VIEWS_FILE)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in pictures.items()} == {
        "scene": (torch.float16, (7, 2)),
        "roles": (torch.float16, (7, 2, 3)),
    }
    assert (views["scene"].dtype, views["scene"].shape) == (torch.float16, (5, 2))
    lengths = pictures["roles"].float().norm(dim=-1)
    assert lengths[2].tolist() == [0, 0]
    assert lengths[4, 1] == 0
    assert torch.allclose(lengths[lengths > 0], torch.ones(11), atol=1e-3)
    assert torch.allclose(views["scene"].float().norm(dim=-1), torch.ones(5), atol=1e-3)
    scene, roles, _ = readings()
    direction = torch.nn.functional.normalize(scene - scene.mean(0), dim=-1)
    assert torch.allclose(pictures["scene"].float(), direction, atol=1e-3)
    there = roles.abs().sum(-1) > 0
    mean = roles[there].mean(0)
    assert torch.allclose(
        pictures["roles"][there].float(), torch.nn.functional.normalize(roles[there] - mean, dim=-1), atol=1e-3
    )
    assert store.info.scene_mean == pytest.approx(scene.mean(0).tolist(), abs=1e-6)
    assert set(content(tmp_path)) == {INFO_FILE, PICTURES_FILE, VIEWS_FILE}  # the parts are gone


def test_a_store_reads_what_it_was_given(tmp_path: Path) -> None:
    store = write(tmp_path)
    assert (len(store), store.views, store.view_names) == (7, 5, VIEWS)
    assert "3.jpg" in store
    assert "x.jpg" not in store
    assert store.missing(["3.jpg", "x.jpg", "0.jpg", "y.jpg"]) == ["x.jpg", "y.jpg"]
    assert store.rows(["3.jpg", "x.jpg", "0.jpg"]).tolist() == [3, -1, 0]
    batch = store.read(["3.jpg", "x.jpg", "0.jpg"])
    assert batch.scene is not None
    assert batch.roles is not None
    assert (batch.scene.dtype, tuple(batch.scene.shape)) == (torch.float32, (3, 2))
    assert tuple(batch.roles.shape) == (3, 2, 3)
    assert batch.scene[0].equal(store.scene("3.jpg"))
    assert batch.roles[2].equal(store.roles("0.jpg"))
    assert batch.scene[0].abs().sum() > 0
    # Without signals: zeros, which training passes over.
    assert not batch.scene[1].any()
    assert not batch.roles[1].any()
    assert not store.scene("x.jpg").any()
    assert not store.roles("x.jpg").any()
    with pytest.raises(IndexError, match="there are 5 views, none at 5"):
        store.view_scene(5)
    with pytest.raises(IndexError, match="none at -1"):
        store.view_scene(-1)
    store.scene("3.jpg").zero_()  # a copy: the store is as it was
    assert store.scene("3.jpg").any()
    assert store.info.details == {"prompt": "what is happening?", "grid": [4, 4]}
    assert store.bytes_per_picture == pytest.approx((tmp_path / PICTURES_FILE).stat().st_size / 7, abs=0.1)


def test_without_roles_and_views(tmp_path: Path) -> None:
    info = INFO.model_copy(update={"max_roles": 0, "role_width": 0})
    writer = SignalWriter(tmp_path, info, ["a", "b"])
    writer.add(["a", "b"], torch.eye(2))
    store = writer.finish()
    assert set(content(tmp_path)) == {INFO_FILE, PICTURES_FILE}
    assert store.views == 0
    assert store.read(["a"]).roles is None
    assert store.roles("a").shape == (0, 0)
    assert store.scene("a").tolist() == pytest.approx([2**-0.5, -(2**-0.5)], abs=5e-4)


def test_the_order_of_reading_plays_no_part(tmp_path: Path) -> None:
    wanted = content(write(tmp_path / "a").folder)
    scene, roles, views = readings()
    writer = SignalWriter(tmp_path / "b", INFO, NAMES, VIEWS, pictures_a_part=2)
    writer.add_views(VIEWS[::-1], views.flip(0))
    for row in (6, 0, 3, 2, 5, 1, 4):
        writer.add([NAMES[row]], scene[[row]].double(), roles[[row]])
    writer.finish()
    assert content(tmp_path / "b") == wanted


def test_the_callers_tensors_may_be_used_again(tmp_path: Path) -> None:
    writer = SignalWriter(tmp_path, INFO, ["a", "b"])
    scene = torch.tensor([[1.0, 0.0]])
    writer.add(["a"], scene)
    scene[:] = torch.tensor([[-1.0, 0.0]])
    writer.add(["b"], scene)
    assert writer.finish().scene("a").tolist() == [1, 0]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_kill_at_any_moment_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Killed before each file is written, the description of the parts, every part and every final file."""
    wanted = content(write(tmp_path / "whole").folder)
    kills = 0
    for moment in range(30):
        left = [moment]

        def dying(name: str, left: list[int] = left) -> Callable[..., None]:
            write_it = getattr(signal_store, name)

            def call(path: Path, data: Any) -> None:
                if not left[0]:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.with_name(f".{path.name}.1.part").write_bytes(b"half")
                    raise Killed
                left[0] -= 1
                write_it(path, data)

            return call

        folder = tmp_path / str(moment)
        with monkeypatch.context() as patch:
            for name in ("save_tensors", "write_text_atomically"):
                patch.setattr(signal_store, name, dying(name))
            try:
                write(folder, batch=batch)
                break
            except Killed:
                kills += 1
        with pytest.raises(SignalError, match=r"signals\.json: there is no such file"):
            SignalStore.open(folder)
        write(folder, batch=batch)
        assert content(folder) == wanted, moment
    assert kills == 1 + 3 + 2 + 2 + 1  # description, parts of pictures, of views, two files, signals.json


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    scene, roles, _ = readings()
    writer = SignalWriter(tmp_path, INFO, NAMES, VIEWS, pictures_a_part=3)
    writer.add(NAMES[:4], scene[:4], roles[:4])
    assert writer.missing() == list(NAMES[4:])
    # A kill now loses the fourth, which was not yet on disk.
    assert SignalWriter(tmp_path, INFO, NAMES, VIEWS).missing() == list(NAMES[3:])
    writer.flush()
    again = SignalWriter(tmp_path, INFO, NAMES, VIEWS)
    assert again.missing() == list(NAMES[4:])
    assert again.missing_views() == list(VIEWS)
    assert not again.finished


def test_a_damaged_part_is_read_again(tmp_path: Path) -> None:
    wanted = content(write(tmp_path / "whole").folder)
    scene, roles, _ = readings()
    writer = SignalWriter(tmp_path / "cut", INFO, NAMES, VIEWS, pictures_a_part=3)
    writer.add(NAMES[:6], scene[:6], roles[:6])
    part = tmp_path / "cut" / PARTS / "pictures-000000.safetensors"
    part.write_bytes(part.read_bytes()[:-5])
    assert SignalWriter(tmp_path / "cut", INFO, NAMES, VIEWS).missing() == [*NAMES[:3], NAMES[6]]
    write(tmp_path / "cut")
    assert content(tmp_path / "cut") == wanted


def test_a_finished_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path)
    before = content(tmp_path)
    (tmp_path / PARTS).mkdir()  # as a kill between the last file and the removal leaves it
    writer = SignalWriter(tmp_path, INFO.model_copy(update={"teacher_name": "another name"}), NAMES, VIEWS)
    assert writer.finished
    assert writer.missing() == writer.missing_views() == []
    assert len(writer.finish()) == 7
    assert content(tmp_path) == before
    assert not (tmp_path / PARTS).exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "learned"}, "the field 'kind' is 'fixed' there and 'learned' now"),
        ({"teacher": "t:xyz"}, "the field 'teacher' is 't:abc' there and 't:xyz' now"),
        ({"text_fingerprint": "e5:9:cls"}, "the field 'text_fingerprint'"),
        ({"width": 3}, "the field 'width' is 2 there and 3 now"),
        ({"views_digest": "v2"}, "the field 'views_digest'"),
        ({"details": {"prompt": "what?"}}, "the field 'details'"),
        ({"pictures": NAMES[:6]}, "the field 'pictures' is not the same"),
        ({"views": VIEWS[::-1]}, "the field 'views' is not the same"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_make_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str, finished: bool) -> None:
    if finished:
        write(tmp_path)
    else:
        SignalWriter(tmp_path, INFO, NAMES, VIEWS)
    before = content(tmp_path)
    names = (changes.get("pictures", NAMES), changes.get("views", VIEWS))
    with pytest.raises(SignalError, match=f"{sentence}.*use another folder"):
        SignalWriter(tmp_path, INFO.model_copy(update=changes), *names)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("names", "scene", "roles", "sentence"),
    [
        (["x.jpg"], torch.ones(1, 2), None, "'x.jpg' is not one of its pictures"),
        (["0.jpg"], torch.ones(1, 2), None, "'0.jpg' was read already"),
        (["1.jpg", "1.jpg"], torch.ones(2, 2), None, "'1.jpg' was read already"),
        (
            ["1.jpg"],
            torch.ones(1, 3),
            None,
            r"shapes \[1, 2\] \(scene\) and at most \[1, 2, 3\] \(roles\), not \[1, 3\]",
        ),
        (["1.jpg"], torch.ones(2, 2), None, r"not \[2, 2\]"),
        (["1.jpg"], torch.ones(2), None, r"not \[2\]"),
        (["1.jpg"], torch.ones(1, 2), torch.ones(1, 3, 3), r"not \[1, 2\] and \[1, 3, 3\]"),  # three roles
        (["1.jpg"], torch.ones(1, 2), torch.ones(1, 2, 4), r"and \[1, 2, 4\]"),
        (["1.jpg"], torch.ones(1, 2), torch.ones(1, 3), r"and \[1, 3\]"),
        (["1.jpg", "2.jpg"], torch.tensor([[1, 1], [1, torch.nan]]), None, "the reading of '2.jpg' is not finite"),
        (["1.jpg"], torch.ones(1, 2), torch.full((1, 1, 3), torch.inf), "the reading of '1.jpg' is not finite"),
    ],
)
def test_readings_that_do_not_fit_are_refused(
    tmp_path: Path, names: list[str], scene: Tensor, roles: Tensor | None, sentence: str
) -> None:
    writer = SignalWriter(tmp_path, INFO, NAMES)
    writer.add(["0.jpg"], torch.ones(1, 2))
    with pytest.raises(SignalError, match=sentence):
        writer.add(names, scene, roles)
    assert writer.missing() == list(NAMES[1:])  # nothing of the call was taken


def test_lists_of_names_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(SignalError, match=r"the pictures name 'a' twice"):
        SignalWriter(tmp_path / "s", INFO, ["a", "b", "a"])
    with pytest.raises(SignalError, match=r"the views name 'v' twice"):
        SignalWriter(tmp_path / "s", INFO, ["a"], ["v", "v"])
    with pytest.raises(SignalError, match="at least one picture"):
        SignalWriter(tmp_path / "s", INFO, [])
    assert not (tmp_path / "s").exists()


def test_finishing_early_says_what_is_missing(tmp_path: Path) -> None:
    writer = SignalWriter(tmp_path, INFO, NAMES, VIEWS)
    writer.add(NAMES[:5], torch.rand(5, 2))
    with pytest.raises(SignalError, match=r"7 readings are missing \(5\.jpg, 6\.jpg, 000000\.jpg, \.\.\.\)"):
        writer.finish()
    assert not (tmp_path / INFO_FILE).exists()


@pytest.mark.parametrize(
    ("fingerprint", "accepted"),
    [
        (None, True),
        ("minilm:123:mean", True),
        ("/elsewhere/minilm:123:mean", True),  # the first part is for people
        ("minilm:123:mean;templates-1", True),  # of embeddings: the sentences play no part
        ("minilm:124:mean", False),
        ("minilm:123:cls", False),
    ],
)
def test_another_text_encoder_is_refused(tmp_path: Path, fingerprint: str | None, accepted: bool) -> None:
    write(tmp_path)
    if accepted:
        assert len(SignalStore.open(tmp_path, text_fingerprint=fingerprint)) == 7
        return
    with pytest.raises(SignalError, match=f"'text_fingerprint' is 'minilm:123:mean', the student's is '{fingerprint}'"):
        SignalStore.open(tmp_path, text_fingerprint=fingerprint)


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no description": (lambda f: (f / INFO_FILE).unlink(), r"signals\.json: there is no such file"),
    "half a description": (lambda f: cut(f / INFO_FILE), r"signals\.json: the field 'content'"),
    "another version": (lambda f: change(f / INFO_FILE, format="ovgsr-signals-2"), "the field 'format' is not usable"),
    "a field too many": (lambda f: change(f / INFO_FILE, colour="red"), "the field 'colour' is not usable"),
    "a number as text": (lambda f: change(f / INFO_FILE, width="wide"), "the field 'width' is not usable"),
    "a short mean": (lambda f: change(f / INFO_FILE, scene_mean=[1.0]), "its fields contradict each other"),
    "a picture twice": (lambda f: change(f / INFO_FILE, pictures=["a"] * 7), "1 different pictures of 7"),
    "a picture too few": (
        lambda f: change(f / INFO_FILE, pictures=list(NAMES[:6])),
        r"pictures\.safetensors: not usable",
    ),
    "no pictures": (lambda f: (f / PICTURES_FILE).unlink(), r"pictures\.safetensors: .*no such file"),
    "cut off": (lambda f: cut(f / PICTURES_FILE), r"pictures\.safetensors: not usable"),
    "empty": (lambda f: (f / PICTURES_FILE).write_bytes(b""), r"pictures\.safetensors: not usable"),
    "a pickle": (
        lambda f: (f / PICTURES_FILE).write_bytes(pickle.dumps({"scene": 1})),
        r"pictures\.safetensors: not usable",
    ),
    "float32": (
        lambda f: save_file({"scene": torch.zeros(5, 2)}, f / VIEWS_FILE),
        r"views\.safetensors: not usable \(its",
    ),
    "no roles": (
        lambda f: save_file({"scene": torch.zeros(7, 2, dtype=torch.float16)}, f / PICTURES_FILE),
        r"pictures\.safetensors: not usable \(its tensors are",
    ),
    "no views": (lambda f: (f / VIEWS_FILE).unlink(), r"views\.safetensors: .*no such file"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_folder_is_refused(tmp_path: Path, how: str) -> None:
    write(tmp_path)
    damage, sentence = DAMAGES[how]
    damage(tmp_path)
    with pytest.raises(SignalError, match=sentence):
        SignalStore.open(tmp_path)


class Scenes(Dataset[Tensor]):
    """A data set as training has one: it takes the store along to its workers."""

    def __init__(self, store: SignalStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(NAMES)

    def __getitem__(self, index: int) -> Tensor:
        return torch.cat([self.store.scene(NAMES[index]), self.store.roles(NAMES[index]).flatten()])


def test_a_pickle_holds_no_vectors(tmp_path: Path) -> None:
    store = write(tmp_path)
    before = pickle.dumps(store)
    here = store.read(NAMES)
    assert len(pickle.dumps(store)) == len(before)
    there = pickle.loads(before).read(NAMES)
    assert here.scene is not None
    assert there.scene is not None
    assert here.scene.equal(there.scene)


def test_workers_read_the_same(tmp_path: Path) -> None:
    """Forked ones: what spawned ones get is the pickle above, and starting one takes seconds."""
    store = write(tmp_path)
    here = torch.stack([Scenes(store)[index] for index in range(len(NAMES))])  # mapped before the workers start
    loader = DataLoader(Scenes(store), batch_size=2, num_workers=1, multiprocessing_context="fork")
    assert torch.cat(list(loader)).equal(here)


def test_size_on_disk(tmp_path: Path) -> None:
    # 2 bytes * (7 pictures * (2 + 2 * 3) + 5 views * 2)
    assert estimate_bytes(7, 2, 2, 3, 5) == 132
    assert estimate_bytes(75_702, 6, 384, 384, 0) == 406_973_952
    write(tmp_path)
    files = (tmp_path / PICTURES_FILE).stat().st_size + (tmp_path / VIEWS_FILE).stat().st_size
    assert 132 < files < 132 + 2 * 400  # and two headers


def test_many_rows_are_summed_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers whether rows are taken 2 or 4096 at a time, but for the sum's last bits."""
    whole = write(tmp_path / "whole")
    monkeypatch.setattr(signal_store, "_CHUNK", 2)
    chunks = write(tmp_path / "chunks")
    assert np.allclose(whole.info.role_mean, chunks.info.role_mean, atol=1e-6)
    assert load_file(whole.folder / PICTURES_FILE)["roles"].equal(load_file(chunks.folder / PICTURES_FILE)["roles"])
