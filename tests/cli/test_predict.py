"""``ovgsr predict`` on real files: what it writes, and every kind of picture that must work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Command

from ovgsr.cli.picture_files import find_pictures, output_names, with_ending

ORANGE = (240, 120, 20)


def _rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (40, 20), ORANGE).save(path, exif=exif)


def _animated(path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (10, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


PICTURES: dict[str, Callable[[Path], None]] = {
    "one_pixel.png": lambda path: Image.new("RGB", (1, 1), ORANGE).save(path),
    "forty_megapixels.jpg": lambda path: Image.new("RGB", (8000, 5000), ORANGE).save(path, quality=30),
    "cmyk.jpg": lambda path: Image.new("CMYK", (30, 20), (0, 128, 0, 0)).save(path),
    "sixteen_bit.png": lambda path: Image.fromarray(np.full((20, 30), 30000, np.uint16)).save(path),
    "palette.gif": lambda path: Image.new("RGB", (30, 20), ORANGE).quantize(4).save(path),
    "transparent.png": lambda path: Image.new("RGBA", (30, 20), (*ORANGE, 90)).save(path),
    "turned.jpg": _rotated,
    "animated.gif": _animated,
}


def test_every_kind_of_picture(ovgsr: Command, trained_run: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, make in PICTURES.items():
        make(folder / name)
    result = ovgsr("predict", folder, "--model", trained_run / "student", "--out", out)
    assert result.returncode == 0, result.stderr
    for name in PICTURES:
        record = json.loads((out / name).with_suffix(".json").read_text())
        assert record["caption"]
        assert sum(verb["score"] for verb in record["verbs"]) == pytest.approx(1, abs=1e-3)
        with Image.open((out / name).with_suffix(".png")) as drawn:
            assert drawn.width >= 640
    turned = json.loads((out / "turned.json").read_text())
    assert (turned["width"], turned["height"]) == (20, 40)  # as a person sees it


def test_own_words(ovgsr: Command, sketch_root: Path, trained_run: Path, tmp_path: Path) -> None:
    picture = min((sketch_root / "images_512").glob("*.jpg"))
    arguments = ["--verbs", "feeding,yodeling,flying a kite", "--nouns", "dog,gizmo", "--top-k", 3]
    result = ovgsr("predict", picture, "--model", trained_run / "student", "--out", tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / picture.stem).with_suffix(".json").read_text())
    assert {verb["verb"] for verb in record["verbs"]} == {"feeding", "yodeling", "flying a kite"}
    assert set(record["frames_borrowed_from"]) == {"yodeling", "flying a kite"}  # no frame of their own in SWiG
    assert list(record["frames"]["feeding"]) == ["agent", "food", "source", "eater", "place"]
    words = {answer["words"] for frame in record["frames"].values() for answer in frame.values()}
    assert words <= {"dog", "gizmo", "nothing"}
    assert record["notices"]  # a student of drawn pictures says so
    assert "drawn pictures only" in result.stderr


def test_done_pictures_are_left_out_on_request(
    ovgsr: Command, sketch_root: Path, trained_run: Path, tmp_path: Path
) -> None:
    pictures = sorted((sketch_root / "images_512").glob("*.jpg"))[:2]
    model = ["--model", trained_run / "student", "--out", tmp_path, "--no-draw", "--skip-done"]
    assert "1 of 1 pictures" in ovgsr("predict", pictures[0], *model).stdout
    assert "1 of 1 pictures" in ovgsr("predict", *pictures, *model).stdout
    assert not list(tmp_path.glob("*.png"))


def test_pictures_are_found_in_folders_and_named_apart(tmp_path: Path) -> None:
    for name in ("a/x.jpg", "b/x.PNG", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures([tmp_path])
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["a/x.jpg", "b/x.PNG"]
    assert [target.name for _, target in output_names(found, tmp_path)] == ["x", "x_2"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/x.jpg", "b/x.jpg", "x_2.jpg"], ["x.json", "x_2.json", "x_2_2.json"]),  # a picture that is itself x_2
        (["x_2.jpg", "a/x.jpg", "b/x.jpg"], ["x_2.json", "x.json", "x_3.json"]),
        (["holiday.1.jpg", "holiday.2.jpg"], ["holiday.1.json", "holiday.2.json"]),  # a dot in the name
    ],
)
def test_no_picture_overwrites_anothers_result(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    targets = [target for _, target in output_names([Path(name) for name in names], tmp_path)]
    assert [with_ending(target, ".json").name for target in targets] == expected


@pytest.mark.parametrize(
    ("folder", "out", "expected"),
    [
        (".", "results", ["pictures/a.jpg"]),  # drawn by an earlier run
        (".", "{root}/results", ["pictures/a.jpg"]),
        ("{root}", "results", ["pictures/a.jpg"]),
        ("pictures", ".", ["pictures/a.jpg"]),  # above the pictures: none of them is a result
        ("pictures", "pictures", ["pictures/a.jpg"]),
    ],
)
def test_results_of_an_earlier_run_are_no_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, out: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pictures/a.jpg", "results/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = find_pictures([Path(folder.format(root=tmp_path))], Path(out.format(root=tmp_path)))
    assert [file.resolve().relative_to(tmp_path).as_posix() for file in found] == expected


def test_a_drawn_result_never_takes_a_pictures_place(ovgsr: Command, trained_run: Path, tmp_path: Path) -> None:
    picture, other = tmp_path / "a.png", tmp_path / "b.jpg"
    for path in (picture, other):
        Image.new("RGB", (30, 20), ORANGE).save(path)
    before = picture.read_bytes()
    options = ["--model", trained_run / "student", "--out", tmp_path]
    for given in ([picture], [tmp_path], [other, picture]):
        result = ovgsr("predict", *given, *options)
        assert result.returncode == 1
        assert "a.png: this picture would be overwritten" in result.stderr
    assert picture.read_bytes() == before
    result = ovgsr("predict", picture, *options, "--no-draw")
    assert result.returncode == 0, result.stderr
    assert picture.read_bytes() == before
    assert json.loads((tmp_path / "a.json").read_text())["width"] == 30


def test_a_result_of_another_picture_of_that_name_is_not_done(
    ovgsr: Command, trained_run: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"
    for path, width in ((first, 30), (second, 40)):
        path.parent.mkdir()
        Image.new("RGB", (width, 20), ORANGE).save(path)
    options = ["--model", trained_run / "student", "--out", tmp_path / "out", "--no-draw", "--skip-done"]
    assert "1 of 1 pictures" in ovgsr("predict", second, *options).stdout
    assert "2 of 2 pictures" in ovgsr("predict", first, second, *options).stdout
    widths = [json.loads((tmp_path / "out" / name).read_text())["width"] for name in ("x.json", "x_2.json")]
    assert widths == [30, 40]
