"""Bad pictures while training: what can be read is read, what cannot is named and replaced, the same every time."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from ovgsr.data.augment import Augmentation
from ovgsr.data.collate import collate
from ovgsr.data.dataset import SituationDataset
from ovgsr.data.errors import DataError
from ovgsr.data.skipped import Skipped
from ovgsr.data.swig import image_folder, read_annotations, read_vocabulary
from ovgsr.models import preprocess
from ovgsr.models.preprocess import Preprocess, load_image

from .conftest import Write, barking

NAMES = [f"{number}.jpg" for number in range(6)]


def _file(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _turned() -> bytes:
    image = Image.new("RGB", (20, 40), (128, 128, 128))
    exif = image.getexif()
    exif[0x0112] = 6
    return _file(image, exif=exif)


GREY = Image.new("RGB", (40, 20), (128, 128, 128))
READABLE: list[tuple[str, Callable[[], bytes]]] = [
    ("grey", lambda: _file(GREY.convert("L"))),
    ("CMYK", lambda: _file(GREY.convert("CMYK"))),
    ("palette", lambda: _file(GREY.convert("P", palette=Image.Palette.ADAPTIVE), "PNG")),
    ("16 bits", lambda: _file(Image.fromarray(np.full((20, 40), 128 * 257, np.uint16)), "PNG")),
    ("turned by EXIF", _turned),
    ("large", lambda: _file(GREY.resize((4000, 2000)))),
]
UNREADABLE: list[tuple[str, Callable[[], bytes], str]] = [
    ("truncated", lambda: _file(Image.effect_noise((40, 20), 90))[:-300], "damaged or cut off"),
    ("zero bytes", lambda: b"", "is empty"),
    ("no picture", lambda: b"<html>404</html>" * 9, "not a picture"),
    ("huge", lambda: _file(Image.new("L", (1200, 1000))), "over the limit"),
]


@pytest.fixture
def root(write_swig: Write) -> Path:
    return write_swig(train=dict.fromkeys(NAMES, barking()))


def _dataset(root: Path, **options: object) -> SituationDataset:
    settings = {"vocabulary": read_vocabulary(root), "seed": 3, "augmentation": Augmentation()} | options
    images = read_annotations(root, "train")
    return SituationDataset(images, image_folder(root), open_image=load_image, preprocess=Preprocess(8), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "content"), READABLE, ids=[name for name, _ in READABLE])
def test_every_kind_of_picture_is_read(root: Path, kind: str, content: Callable[[], bytes]) -> None:
    (image_folder(root) / NAMES[0]).write_bytes(content())
    pixels = _dataset(root, augmentation=None)[0].pixels
    expected = Preprocess(8)(GREY)
    torch.testing.assert_close(pixels, expected, atol=0.05, rtol=0)


@pytest.mark.parametrize(("kind", "content", "reason"), UNREADABLE, ids=[name for name, _, _ in UNREADABLE])
def test_an_unreadable_picture_is_an_error_or_replaced(
    root: Path, tmp_path: Path, kind: str, content: Callable[[], bytes], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 10**6)
    (image_folder(root) / NAMES[5]).write_bytes(content())
    with pytest.raises(DataError, match=rf"5\.jpg.*{reason}"):
        _dataset(root)[5]
    skipped = Skipped(tmp_path / "skipped.jsonl")
    dataset, whole = _dataset(root, skipped=skipped), _dataset(root)
    for _ in range(2):
        shown, first = dataset[5], whole[0]  # the next after the last is the first
        assert shown.index == 0
        assert torch.equal(shown.pixels, first.pixels)
        assert shown.targets is not None and first.targets is not None
        assert torch.equal(shown.targets.boxes_cxcywh, first.targets.boxes_cxcywh)
    (sentence,) = skipped.read()
    assert str(image_folder(root) / NAMES[5]) in sentence


def test_batches_do_not_depend_on_the_workers(root: Path, tmp_path: Path) -> None:
    for name in NAMES[1:3]:
        (image_folder(root) / name).write_bytes(b"")
    batches = []
    for workers in (0, 2):
        skipped = Skipped(tmp_path / f"{workers}.jsonl")
        loader = DataLoader(
            _dataset(root, skipped=skipped),
            batch_size=3,
            num_workers=workers,
            collate_fn=collate,
            multiprocessing_context="fork" if workers else None,
        )
        batches.append(list(loader))
        assert sorted(Path(sentence.split(":")[0]).name for sentence in skipped.read()) == NAMES[1:3]
    for alone, shared in zip(*batches, strict=True):
        assert torch.equal(alone.pixels, shared.pixels)
        assert alone.indices.tolist() == shared.indices.tolist()
    assert batches[0][0].indices.tolist() == [0, 3, 3]


def test_a_picture_that_is_to_be_scored_is_seen_as_a_grey_one(root: Path, tmp_path: Path) -> None:
    (image_folder(root) / NAMES[2]).unlink()
    dataset = _dataset(root, vocabulary=None, augmentation=None, skipped=Skipped(tmp_path / "skipped.jsonl"))
    example = dataset[2]
    assert (example.index, example.size_wh) == (2, (40, 20))
    assert float(example.pixels.abs().max()) < 0.02  # the mean of ImageNet


def test_a_folder_without_pictures_ends_the_run(root: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (image_folder(root) / name).unlink()
    with pytest.raises(DataError, match="100 pictures in a row cannot be read"):
        _dataset(root, skipped=Skipped(tmp_path / "skipped.jsonl"))[0]


def test_the_list_survives_a_kill(tmp_path: Path) -> None:
    skipped = Skipped(tmp_path / "skipped.jsonl")
    assert skipped.read() == []
    skipped.note("a", "b")
    with skipped.path.open("a") as file:
        file.write('"hal')
    Skipped(skipped.path).note("b", "c")
    assert skipped.read() == ["a", "b", "c"]
