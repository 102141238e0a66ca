from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from ovgsr.data import prepare
from ovgsr.data.annotation_table import AnnotatedImages
from ovgsr.data.errors import DataError
from ovgsr.data.prepare import PrepareReport, prepare_swig, read_unreadable
from ovgsr.data.swig import annotation_path, image_folder, read_annotations, resized_folder
from ovgsr.models.preprocess import load_image

from .conftest import Write, barking, throwing


def _open(path: Path, size: int) -> Image.Image:
    return load_image(path, min_side=(size + 1) // 2)


def _prepare(root: Path, **options: object) -> PrepareReport:
    return prepare_swig(root, **{"original": False, "open_image": _open, **options})  # type: ignore[arg-type]


def test_it_says_what_is_missing_and_where_it_goes(write_swig: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        _prepare(tmp_path)
    for part in (
        "SWiG_jsons/train.json",
        "images_512/",
        "github.com/allenai/swig",
        "images_512.zip",
        f"into {tmp_path}",
    ):
        assert part in str(error.value)
    root = write_swig()
    annotation_path(root, "dev").unlink()
    with pytest.raises(DataError, match=r"lacks SWiG_jsons/dev\.json; take SWiG_jsons/ from"):
        _prepare(root)


def test_the_original_must_be_whole(write_swig: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_swig()
    with pytest.raises(DataError, match="504 verbs, 190 roles and 1788 verb-role pairs"):
        _prepare(root, original=True)
    monkeypatch.setattr(prepare, "verify_original", lambda vocabulary: None)
    monkeypatch.setattr(prepare, "SWIG_PICTURES", {"train": 2, "dev": 1, "test": 3})
    with pytest.raises(DataError, match=r"test\.json: has 1 records, the original SWiG 3"):
        _prepare(root, original=True)
    monkeypatch.setattr(prepare, "SWIG_PICTURES", {"train": 2, "dev": 1, "test": 1})
    assert _prepare(root, original=True) == PrepareReport({"train": 2, "dev": 1, "test": 1}, (), {}, ())
    assert isinstance(read_annotations(root, "test"), AnnotatedImages)


def test_an_index_that_is_up_to_date_is_not_written_again(write_swig: Write) -> None:
    root = write_swig()
    _prepare(root)
    index = root / "ovgsr_index" / "train.safetensors"
    before = index.stat().st_mtime_ns
    _prepare(root)
    assert index.stat().st_mtime_ns == before
    annotation_path(root, "train").write_text("{}")
    assert _prepare(root).pictures == {"train": 0, "dev": 1, "test": 1}


def test_problems_are_named(write_swig: Write) -> None:
    beyond, inverted, half = barking(), barking(), throwing()
    beyond["bb"]["agent"] = [30, 5, 45, 20]
    inverted["bb"]["agent"] = [20, 5, 10, 20]
    half["bb"]["item"] = [-1, 5, 10, 20]
    records = {"a.jpg": beyond, "b.jpg": inverted, "c.jpg": half, "d.jpg": barking() | {"verb": "flying"}}
    root = write_swig(train=records)
    (image_folder(root) / "a.jpg").unlink()
    (image_folder(root) / "b.jpg").write_bytes(b"")
    report = _prepare(root)
    train, folder = annotation_path(root, "train"), image_folder(root)
    assert report.boxes == (
        f"{train}: a.jpg: bb.agent: [30.0, 5.0, 45.0, 20.0] reaches outside the picture of 40 x 20 pixels",
        f"{train}: b.jpg: bb.agent: [20.0, 5.0, 10.0, 20.0] is inverted or empty; x2 must be above x1 and y2 above y1",
        f"{train}: c.jpg: bb.item: [-1.0, 5.0, 10.0, 20.0] has -1 for x1 only; a role without a box has four -1, "
        "a box none",
    )
    assert [fault.startswith(f"{train}: d.jpg: 'verb' is 'flying'") for fault in report.faults] == [True]
    assert report.unreadable == read_unreadable(root)
    assert report.unreadable == {
        "a.jpg": f"{folder / 'a.jpg'}: there is no such file; unpack or copy the pictures again",
        "b.jpg": f"{folder / 'b.jpg'}: the file is empty (zero bytes); copy or download it again",
    }
    assert _prepare(root, resize=10).resized == 0  # first the problems
    assert _prepare(root, resize=10, on_error="skip").resized == 3  # c.jpg, and those of dev and test


def test_copies_are_small_upright_and_made_once(write_swig: Write) -> None:
    root = write_swig()
    turned = Image.new("RGB", (90, 60), (200, 0, 0))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(image_folder(root) / "throwing_1.jpg", exif=exif)
    names = ["throwing_1.jpg", "barking_1.jpg", "throwing_2.jpg", "barking_2.jpg"]
    assert _prepare(root, resize=16).resized == 4
    copies = [resized_folder(root, 16) / name for name in names]
    assert sorted(path.name for path in resized_folder(root, 16).iterdir()) == sorted(names)
    sizes = [Image.open(path).size for path in copies]
    assert sizes == [(16, 24), (32, 16), (32, 16), (32, 16)]  # 90 x 60 turned by 90 degrees; 40 x 20
    before = [path.stat().st_mtime_ns for path in copies]
    copies[1].write_bytes(b"")  # what a power cut may leave
    later = before[2] + 10**9
    os.utime(image_folder(root) / names[2], ns=(later, later))  # a newer original
    assert _prepare(root, resize=16).resized == 4
    after = [path.stat().st_mtime_ns for path in copies]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False, True]
    assert _prepare(root, resize=64).resized == 4
    assert Image.open(resized_folder(root, 64) / names[1]).size == (40, 20)  # nothing is enlarged


def test_a_damaged_picture_stops_the_copying_or_is_left_out(write_swig: Write) -> None:
    root = write_swig()
    path = image_folder(root) / "barking_1.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"barking_1\.jpg: the picture"):
        _prepare(root, resize=16)
    report = _prepare(root, resize=16, on_error="skip")
    assert (report.resized, list(report.unreadable)) == (3, ["barking_1.jpg"])
    assert "barking_1.jpg" in read_unreadable(root)


def test_a_picture_of_two_folds_is_copied_once(write_swig: Write) -> None:
    root = write_swig()
    shown = annotation_path(root, "train")
    annotation_path(root, "dev").write_text(shown.read_text())
    opened: list[str] = []

    def noted(path: Path, size: int) -> Image.Image:
        opened.append(path.name)
        return _open(path, size)

    report = _prepare(root, resize=16, open_image=noted)
    assert report.pictures == {"train": 2, "dev": 2, "test": 1}
    assert len(opened) == len(set(opened)) == report.resized == 3
