"""Readings of pairs as stage 2 meets them: in the order of the targets, and views where their bases were cut out."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.toy_hoi import write_toy_hoi

from ovgsr.boxes import cxcywh_to_xyxy
from ovgsr.config import DistillSettings
from ovgsr.data.hico_det import HicoDetFold, image_folder, read_hico_det
from ovgsr.data.hoi_rows import interaction_situation
from ovgsr.data.pair_targets import AllPairs
from ovgsr.distillation.pair_cuts import cut_name, training_cuts, write_pair_cuts
from ovgsr.distillation.recorded_pairs import RecordedPairs
from ovgsr.distillation.signal_info import SignalInfo
from ovgsr.distillation.signal_store import SignalError, SignalWriter
from ovgsr.distillation.view_store import ViewStore, source_fingerprint, write_views
from ovgsr.hoi_vocabulary import NO_INTERACTION, object_noun
from ovgsr.models.preprocess import load_image
from ovgsr.situation import AnnotatedImage
from ovgsr.vocabulary import Verb, Vocabulary

SPACE: dict[str, Any] = {"text_fingerprint": "minilm:123:mean", "text_width": 3}
VIEWS = 40


@dataclass(frozen=True)
class Opener:
    """Training pictures by name, a part of their size."""

    folder: Path
    part: int = 1

    def __call__(self, name: str) -> Image.Image:
        picture = load_image(self.folder / name)
        return picture.resize((picture.width // self.part, picture.height // self.part))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_hoi(tmp_path_factory.mktemp("toy") / "data", train=12, dev=1, test=1)


@pytest.fixture(scope="module")
def views(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    cuts = write_pair_cuts(root, tmp_path_factory.mktemp("stage") / "cuts")
    images = [cut.image for cut in training_cuts(read_hico_det(root, "train"))]
    return write_views(cuts.parent / "views", images, cuts / "images_512", count=VIEWS, seed=1, open_image=load_image)


def write_readings(
    folder: Path,
    train: HicoDetFold,
    views: ViewStore | None = None,
    readings: torch.Tensor | None = None,
    **details: Any,
) -> str:
    """Of every cut the reading given, else one that says which cut it is; of view k the k-th angle."""
    cuts = training_cuts(train)
    info = SignalInfo(
        kind="fixed",
        teacher="t",
        text_fingerprint="minilm:123:mean",
        width=3,
        views_digest="" if views is None else views.digest,
        details={"pictures": source_fingerprint([cut.image for cut in cuts])} | details,
    )
    writer = SignalWriter(folder, info, [cut.name for cut in cuts], () if views is None else views.names)
    angles = torch.linspace(0, 6, len(cuts))
    writer.add([cut.name for cut in cuts], _at(angles) if readings is None else readings)
    if views is not None:
        writer.add_views(views.names, _at(torch.linspace(0, 3, len(views))))
    writer.finish()
    return str(folder)


def _at(angles: torch.Tensor) -> torch.Tensor:
    return torch.stack([angles.cos(), angles.sin(), 0.1 * angles], dim=-1)


def _read(
    train: HicoDetFold, opener: Opener | None = None, told_verbs: torch.Tensor | None = None, **settings: Any
) -> RecordedPairs:
    pairs = AllPairs(train.images, train.vocabulary)
    opener = opener or Opener(Path())
    return RecordedPairs(train, pairs, DistillSettings(**settings), open_picture=opener, told_verbs=told_verbs, **SPACE)


def two_pictures() -> HicoDetFold:
    """In the second a pair outside its picture and one without interaction come first, of four in all."""
    inside, outside, thing = (2.0, 2.0, 20.0, 38.0), (60.0, 5.0, 70.0, 30.0), (18.0, 10.0, 38.0, 36.0)
    rows = (
        interaction_situation("hold", "ball", outside, (61.0, 6.0, 65.0, 9.0)),
        interaction_situation(NO_INTERACTION, "crate", inside, (30.0, 2.0, 39.0, 9.0)),
        interaction_situation("kick", "ball", inside, thing),
        interaction_situation("hold", "crate", inside, (0.0, 20.0, 12.0, 39.0)),
    )
    words = Vocabulary(
        tuple(Verb(name, ("human", "object"), gerund=name) for name in ("hold", "kick", NO_INTERACTION)),
        tuple(object_noun(name) for name in ("ball", "crate", "person")),
    )
    images = (AnnotatedImage("a.png", 40, 40, rows[2:3]), AnnotatedImage("b.png", 40, 40, rows))
    return HicoDetFold(images, words, tuple({(s.verb, s.nouns["object"].noun) for s in rows}), frozenset(), ())


def test_readings_follow_the_pairs_of_the_targets(tmp_path: Path) -> None:
    """A pair outside its picture has no target, one without interaction no reading."""
    train = two_pictures()
    images, rows = train.images, train.images[1].situations
    readings = _read(train, signals=write_readings(tmp_path / "s", train))
    pairs = AllPairs(images, train.vocabulary)
    assert pairs.numbers == [(0,), (1, 2, 3)]
    found = readings.signals(1).pairs
    assert found is not None
    assert found.shape == (1, *pairs[1].mask.shape[1:], 3)
    assert pairs[1].verbs[0].tolist() == [[False, False, True], [False, True, False], [True, False, False]]
    stored = readings._store
    assert list(stored.info.pictures) == [cut_name("a.png", 0), cut_name("b.png", 2), cut_name("b.png", 3)]
    assert not found[0, 0].any(), "nobody read a pair without interaction"
    for place, number in ((1, 2), (2, 3)):
        assert found[0, place].any()
        assert torch.equal(found[0, place], stored.scene(cut_name("b.png", number)))
    assert readings.views(np.random.default_rng(0)) == []
    signals = write_readings(tmp_path / "u", train, unnamed_verbs=["hold"])
    unnamed = _read(train, signals=signals).signals(1).pairs
    assert unnamed is not None
    assert torch.equal(unnamed[0, 1], found[0, 1])
    assert not unnamed[0, 2].any(), "the teacher has no word for it"
    nobody = replace(images[0], situations=rows[:1])
    empty = _read(replace(train, images=(*images, nobody)), signals=write_readings(tmp_path / "e", train))
    assert empty.signals(2).pairs.shape == (1, 0, 3), "no pair, no reading"  # type: ignore[union-attr]


def test_a_reading_that_contradicts_the_annotation_is_left_out(tmp_path: Path) -> None:
    """Verbs lie along the axes: hold, kick, no_interaction. The pairs' verbs are kick, kick, hold."""
    train = two_pictures()
    said = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    signals = write_readings(tmp_path / "s", train, readings=said)
    everything, agreeing = _read(train, signals=signals), _read(train, signals=signals, told_verbs=torch.eye(3))
    has = [
        [bool(row.any()) for k in (0, 1) for row in readings.signals(k).pairs[0]]  # type: ignore[index]
        for readings in (everything, agreeing)
    ]
    assert has == [[True, False, True, True], [True, False, False, True]]
    assert torch.equal(agreeing.signals(0).pairs, everything.signals(0).pairs)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [1, 2])
def test_a_view_is_shown_where_its_base_was_cut_out(root: Path, views: ViewStore, tmp_path: Path, part: int) -> None:
    """Of whatever size the picture is opened; around it the training picture is as it was."""
    train, opener = read_hico_det(root, "train"), Opener(image_folder(root, "train"), part)
    folder = write_readings(tmp_path / "s", train, views)
    readings = _read(train, opener, signals=folder, view_store=str(views.folder), views=2.5)
    cuts = training_cuts(train)
    numbers, counts = set(), []
    for seed in range(60):
        shown = readings.views(np.random.default_rng(seed))
        counts.append(len(shown))
        for picture, reading, targets in shown:
            likely = [k for k in range(VIEWS) if torch.equal(reading, readings._store.view_scene(k))]
            number = likely[0]
            numbers.add(number)
            cut = cuts[views.views[number].plan.base]
            before = np.asarray(opener(cut.picture), dtype=float)
            after = np.asarray(picture, dtype=float)
            left, top, right, bottom = (edge // part for edge in cut.crop)
            outside = np.ones(after.shape[:2], dtype=bool)
            outside[top : bottom + 1, left : right + 1] = False
            assert np.array_equal(before[outside], after[outside])
            view = views.picture(views.names[number])
            size = (
                round(cut.crop[2] / part) - round(cut.crop[0] / part),
                round(cut.crop[3] / part) - round(cut.crop[1] / part),
            )
            pasted = np.asarray(view.resize(size), dtype=float)
            x, y = round(cut.crop[0] / part), round(cut.crop[1] / part)
            assert np.array_equal(after[y : y + size[1], x : x + size[0]], pasted)
            assert targets is not None
            assert targets.mask.tolist() == [[True]]
            assert not targets.verbs.any()
            assert targets.verbs.shape == (1, 1, len(train.vocabulary.verbs))
            _require_shown(np.asarray(view, dtype=float), cut.crop, targets, train)
    assert numbers <= set(range(VIEWS))
    assert len(numbers) > VIEWS / 2
    assert set(counts) == {2, 3}


def _require_shown(view: Any, crop: Any, targets: Any, train: HicoDetFold) -> None:
    """In the object's box there is the colour of the object that is said to be there, or of people (orange)."""
    human, thing = (cxcywh_to_xyxy(targets.boxes_cxcywh[0, 0]) * 48).tolist()
    colour = {"ball": 0, "crate": 2}[train.vocabulary.answers[int(targets.object_index)].key]
    left, top, right, bottom = thing
    patch = view[
        max(0, round(top) - crop[1]) : round(bottom) - crop[1], max(0, round(left) - crop[0]) : round(right) - crop[0]
    ]
    mine = patch[..., colour] > patch[..., 2 - colour] + 60
    orange = (patch[..., 0] > 200) & (patch[..., 1] > 100)
    assert (mine | orange).mean() > 0.5
    assert human[2] > human[0] and human[3] > human[1]


def test_readings_go_to_worker_processes(root: Path, views: ViewStore, tmp_path: Path) -> None:
    train, opener = read_hico_det(root, "train"), Opener(image_folder(root, "train"))
    folder = write_readings(tmp_path / "s", train, views)
    readings = _read(train, opener, signals=folder, view_store=str(views.folder), views=1)
    copied = pickle.loads(pickle.dumps(readings))
    assert torch.equal(copied.signals(3).pairs, readings.signals(3).pairs)
    first, again = (one.views(np.random.default_rng(3))[0] for one in (readings, copied))
    assert first.picture.tobytes() == again.picture.tobytes()
    assert torch.equal(first.reading, again.reading)


def test_readings_of_other_pairs_are_refused(root: Path, views: ViewStore, tmp_path: Path) -> None:
    train = read_hico_det(root, "train")
    folder = write_readings(tmp_path / "s", train, views)
    fewer = replace(train, images=train.images[1:])
    with pytest.raises(SignalError, match=r"readings of other pairs .* with the same data\.split and pairs\.drop"):
        _read(fewer, signals=folder)
    with pytest.raises(SignalError, match="readings in the space of the text encoder"):
        RecordedPairs(
            train,
            AllPairs(train.images, train.vocabulary),
            DistillSettings(signals=folder),
            open_picture=Opener(Path()),
            text_fingerprint="minilm:123:mean",
            text_width=4,
        )
    other = write_readings(tmp_path / "o", train)
    with pytest.raises(SignalError, match="its readings are not of the views in"):
        _read(train, signals=other, view_store=str(views.folder), views=1)
