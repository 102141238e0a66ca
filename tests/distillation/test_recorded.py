"""A teacher as stage 2 meets it: files made by hand, readings by name, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ovgsr.config import DistillSettings
from ovgsr.distillation.recorded import RecordedReadings, readings_or_none
from ovgsr.distillation.signal_info import SignalInfo
from ovgsr.distillation.signal_store import SignalError, SignalWriter
from ovgsr.distillation.view_store import ViewStore, write_views
from ovgsr.models.preprocess import load_image
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.tokens.cache import CacheKey
from ovgsr.teacher.tokens.making import write_tokens
from ovgsr.teacher.visual_tokens import VisualTokens

NAMES = ("a.jpg", "b.jpg", "c.jpg")
SPACE = {"text_fingerprint": "minilm:123:mean", "text_width": 2}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    folder = tmp_path_factory.mktemp("pictures")
    nouns = {"agent": GroundedNoun("n1", (5, 5, 20, 20)), "item": GroundedNoun("n2", (20, 5, 35, 25))}
    images = [AnnotatedImage(f"{n}.png", 40, 30, (Situation("throwing", nouns),)) for n in range(3)]
    for number, image in enumerate(images):
        Image.new("RGB", (40, 30), (40 * number, 90, 200)).save(folder / image.file_name)
    return write_views(folder / "views", images, folder, count=4, seed=1, open_image=load_image)


def _write(folder: Path, view_names: tuple[str, ...] = (), **fields: Any) -> str:
    """Readings of a and c; their mean is nothing, so that they stay as they are."""
    plain = {"kind": "fixed", "teacher": "t", "text_fingerprint": "minilm:123:mean", "width": 2} | fields
    writer = SignalWriter(folder, SignalInfo(**plain), ("a.jpg", "c.jpg"), view_names)
    roles = None
    if plain.get("role_width"):
        roles = torch.tensor([[[1.0, 0, 0], [0, 0, 0]], [[-1.0, 0, 0], [0, 0, 0]]])
    writer.add(["a.jpg", "c.jpg"], torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), roles)
    if view_names:
        angles = torch.arange(len(view_names), dtype=torch.float32)
        writer.add_views(view_names, torch.stack([angles.cos(), angles.sin()], dim=-1))
    writer.finish()
    return str(folder)


def _read(**settings: Any) -> RecordedReadings:
    return RecordedReadings(NAMES, DistillSettings(**settings), **SPACE)  # type: ignore[arg-type]


def test_readings_by_the_pictures_place_and_zeros_where_there_are_none(tmp_path: Path) -> None:
    readings = _read(signals=_write(tmp_path / "s", role_width=3, max_roles=2))
    assert (readings.missing, readings.role_width, readings.token_width) == (1, 3, 0)
    scenes = [readings.signals(index).scene for index in range(3)]
    assert [None if scene is None else scene.tolist() for scene in scenes] == [[[1, 0]], [[0, 0]], [[-1, 0]]]
    roles = readings.signals(2).roles
    assert roles is not None
    assert roles.tolist() == [[[-1, 0, 0], [0, 0, 0]]]
    missing = readings.signals(1).roles
    assert missing is not None
    assert missing.shape == (1, 2, 3)
    assert not missing.any()
    assert readings.signals(0).tokens is None
    assert readings.views(np.random.default_rng(0)) == []


def test_a_teacher_that_reads_no_roles_gives_none(tmp_path: Path) -> None:
    readings = _read(signals=_write(tmp_path / "s"))
    assert readings.role_width == 0
    assert readings.signals(0).roles is None


def test_readings_go_to_worker_processes(tmp_path: Path, views: ViewStore) -> None:
    folder = _write(tmp_path / "s", views.names, views_digest=views.digest)
    readings = _read(signals=folder, views=1, view_store=str(views.folder))
    first = readings.views(np.random.default_rng(3))
    copied = pickle.loads(pickle.dumps(readings))
    assert torch.equal(copied.signals(2).scene, readings.signals(2).scene)
    (picture, scene, _), (again, read, _) = first[0], copied.views(np.random.default_rng(3))[0]
    assert picture.tobytes() == again.tobytes()
    assert torch.equal(scene, read)


def test_views_come_with_their_own_readings_and_as_often_as_asked_for(tmp_path: Path, views: ViewStore) -> None:
    folder = _write(tmp_path / "s", views.names, views_digest=views.digest)
    by_content = {views.picture(name).tobytes(): number for number, name in enumerate(views.names)}
    assert len(by_content) == 4
    for share in (0.25, 1.5):
        readings = _read(signals=folder, views=share, view_store=str(views.folder))
        counts, drawn = [], set()
        for seed in range(200):
            shown = readings.views(np.random.default_rng(seed))
            counts.append(len(shown))
            for picture, scene, _ in shown:
                number = by_content[picture.tobytes()]
                angle = torch.tensor(float(number))
                torch.testing.assert_close(scene, torch.stack([angle.cos(), angle.sin()]), atol=1e-3, rtol=0)
                drawn.add(number)
        assert set(counts) == {int(share), int(share) + 1}
        assert sum(counts) / 200 == pytest.approx(share, abs=0.12)
        assert drawn == {0, 1, 2, 3}
    assert _read(signals=folder).views(np.random.default_rng(0)) == [], "none are asked for"


class Tokens:
    """A teacher whose tokens say how bright a picture is."""

    name = fingerprint = "tokens"

    def visual_tokens(self, images: list[Image.Image], *, layer: int | None = None) -> list[VisualTokens]:
        return [VisualTokens(torch.full((6, 4), float(image.getpixel((0, 0))[0])), (2, 3)) for image in images]  # type: ignore[index]


def _token_cache(folder: Path, names: tuple[str, ...]) -> str:
    pictures = []
    for name in names:
        path = folder / name.replace("jpg", "png")
        Image.new("RGB", (8, 8), (10 * ord(name[0]) % 256, 0, 0)).save(path)
        pictures.append((name, path))
    write_tokens(
        folder / "cache",
        CacheKey("tokens"),
        Tokens(),
        pictures,
        lambda content, name: Image.open(folder / Path(name).name),
    )
    return str(folder / "cache")


def test_tokens_of_a_cache(tmp_path: Path) -> None:
    readings = _read(tokens=1.0, token_cache=_token_cache(tmp_path, NAMES))
    assert (readings.token_width, readings.role_width, readings.missing) == (4, 0, 0)
    found = readings.signals(1)
    assert (found.scene, found.roles, found.tokens_grid) == (None, None, (2, 3))
    assert found.tokens is not None
    torch.testing.assert_close(found.tokens.float(), torch.full((1, 6, 4), 980.0 % 256))


def test_what_is_refused(tmp_path: Path, views: ViewStore) -> None:
    folder = _write(tmp_path / "s", views.names, views_digest=views.digest)
    with pytest.raises(SignalError, match=r"s: readings in the space of the text encoder 'minilm:123:mean' \(2 numb"):
        RecordedReadings(NAMES, DistillSettings(signals=folder), text_fingerprint="clip:9:cls", text_width=2)
    with pytest.raises(SignalError, match=r"but the student reads words embedded by .* \(3\)"):
        RecordedReadings(NAMES, DistillSettings(signals=folder), text_fingerprint="minilm:123:mean", text_width=3)
    with pytest.raises(SignalError, match="holds no reading of any of the 2 training pictures; write them"):
        RecordedReadings(("x.jpg", "y.jpg"), DistillSettings(signals=folder), **SPACE)  # type: ignore[arg-type]
    fewer = _write(tmp_path / "fewer", views.names[:3])
    with pytest.raises(SignalError, match=r"its readings are not of the views in .*ovgsr teacher signals"):
        _read(signals=fewer, views=1, view_store=str(views.folder))
    with pytest.raises(SignalError, match=r"lacks the tokens of 1 training pictures, c\.jpg first; write them with"):
        _read(tokens=1.0, token_cache=_token_cache(tmp_path, NAMES[:2]))


def test_the_same_encoder_under_another_name_is_the_same(tmp_path: Path) -> None:
    folder = _write(tmp_path / "s")
    readings = RecordedReadings(
        NAMES, DistillSettings(signals=folder), text_fingerprint="my-copy:123:mean", text_width=2
    )
    assert readings.missing == 1


def test_no_teacher_no_readings() -> None:
    assert readings_or_none(NAMES, DistillSettings(), **SPACE) is None  # type: ignore[arg-type]
    assert readings_or_none(NAMES, DistillSettings(label_text=True), **SPACE) is None  # type: ignore[arg-type]
