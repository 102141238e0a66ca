from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ovgsr.errors import OvgsrError
from ovgsr.models import preprocess
from ovgsr.models.preprocess import ImageError, Preprocess, decode_image, image_size, load_image

Pixel = tuple[int, int, int]
ORANGE = (240, 120, 20)


def _save(image: Image.Image, **options: object) -> Callable[[Path], None]:
    return lambda path: image.save(path, **options)


def _deep_grey(dtype: type[np.generic], value: float) -> Image.Image:
    return Image.fromarray(np.full((6, 8), value, dtype))


def _palette(transparent: bool) -> Callable[[Path], None]:
    image = Image.new("P", (8, 6), 1)
    image.putpalette([0, 0, 0, *ORANGE])
    return _save(image, **({"transparency": 1} if transparent else {}))


def _animation(path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in (ORANGE, (0, 0, 255))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)


def _rgb_with_transparent_colour(path: Path) -> None:
    Image.new("RGB", (8, 6), ORANGE).save(path, transparency=ORANGE)


def _damaged_exif(path: Path) -> None:
    Image.new("RGB", (8, 6), ORANGE).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage", quality=95)


USABLE: list[tuple[str, str, Callable[[Path], None], Pixel]] = [
    # what it is, file name, how to make it, the colour it must have (within JPEG's error)
    ("plain JPEG", "a.jpg", _save(Image.new("RGB", (8, 6), ORANGE), quality=95), ORANGE),
    ("PNG under a JPEG's name", "a.jpeg", _save(Image.new("RGB", (8, 6), ORANGE), format="PNG"), ORANGE),
    ("CMYK JPEG: no cyan, half magenta", "a.jpg", _save(Image.new("CMYK", (8, 6), (0, 128, 0, 0))), (255, 127, 255)),
    ("16-bit grey, mid", "a.png", _save(_deep_grey(np.uint16, 32896)), (128, 128, 128)),
    ("16-bit grey, dark: clipping would make it white", "a.png", _save(_deep_grey(np.uint16, 2570)), (10, 10, 10)),
    ("16-bit grey TIFF, big-endian", "a.tif", _save(_deep_grey(np.uint16, 51400)), (200, 200, 200)),
    ("32-bit grey that uses 16 bits", "a.tif", _save(_deep_grey(np.int32, 51400)), (200, 200, 200)),
    ("float grey in 0..1", "a.tif", _save(_deep_grey(np.float32, 0.4)), (102, 102, 102)),
    ("float grey in 0..255", "a.tif", _save(_deep_grey(np.float32, 102.0)), (102, 102, 102)),
    ("1-bit", "a.png", _save(Image.new("1", (8, 6), 1)), (255, 255, 255)),
    ("grey", "a.jpg", _save(Image.new("L", (8, 6), 77)), (77, 77, 77)),
    ("palette", "a.png", _palette(transparent=False), ORANGE),
    ("palette, transparent", "a.png", _palette(transparent=True), (255, 255, 255)),
    ("RGBA, half transparent on white", "a.png", _save(Image.new("RGBA", (8, 6), (0, 0, 0, 128))), (127, 127, 127)),
    ("grey with alpha", "a.png", _save(Image.new("LA", (8, 6), (0, 0))), (255, 255, 255)),
    ("RGB with one transparent colour", "a.png", _rgb_with_transparent_colour, (255, 255, 255)),
    ("animation: its first frame", "a.gif", _animation, ORANGE),
    ("animated WebP", "a.webp", _animation, ORANGE),
    ("damaged EXIF, sound pixels", "a.jpg", _damaged_exif, ORANGE),
    ("YCbCr TIFF", "a.tif", _save(Image.new("RGB", (8, 6), ORANGE).convert("YCbCr"), compression="tiff_lzw"), ORANGE),
    ("LAB TIFF", "a.tif", _save(Image.new("LAB", (8, 6), (255, 128, 128))), (255, 255, 255)),
    ("one pixel", "a.png", _save(Image.new("RGB", (1, 1), ORANGE)), ORANGE),
    ("one row", "a.png", _save(Image.new("RGB", (4000, 1), ORANGE)), ORANGE),
]


@pytest.mark.parametrize(("what", "name", "make", "expected"), USABLE, ids=[row[0] for row in USABLE])
def test_every_kind_of_picture_becomes_rgb(
    tmp_path: Path, what: str, name: str, make: Callable[[Path], None], expected: Pixel
) -> None:
    path = tmp_path / name
    make(path)
    image = load_image(path)
    assert image.mode == "RGB"
    pixels = np.asarray(image).reshape(-1, 3).astype(int)
    assert np.abs(pixels - np.array(expected)).max() <= 3, what
    assert image_size(path) == image.size
    assert Preprocess(16)(image).shape == (3, 16, 16)


def test_sixteen_bits_keep_their_steps(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "ramp.png")
    # value / 257, rounded: 128/257 is 0.498, 129/257 is 0.502
    assert np.asarray(load_image(tmp_path / "ramp.png"))[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


# The picture is 4 x 2: red, green, blue, white on top, black below. Upright, each orientation must give this again.
UPRIGHT = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], [[0, 0, 0]] * 4], np.uint8)
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],  # mirrored
    3: UPRIGHT[::-1, ::-1],  # upside down
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT, 1),  # "rotate 90 clockwise to view"
    7: UPRIGHT.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", sorted(STORED))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(path, exif=exif)
    assert image_size(path) == (4, 2)
    np.testing.assert_array_equal(np.asarray(load_image(path)), UPRIGHT)


def _noise(path: Path, keep: float) -> None:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(stream, "JPEG" if path.suffix == ".jpg" else "PNG")
    path.write_bytes(stream.getvalue()[: int(len(stream.getvalue()) * keep)])


UNUSABLE: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("missing", "a.jpg", lambda path: None, "there is no such file"),
    ("folder", "a.jpg", lambda path: path.mkdir(), "this is a folder"),
    ("text called JPEG", "a.jpg", lambda path: path.write_text("hello"), "not a picture in a format"),
    ("zero bytes", "a.jpg", lambda path: path.write_bytes(b""), "zero bytes"),
    ("truncated JPEG", "a.jpg", lambda path: _noise(path, 0.5), "does not decode completely.*truncated"),
    ("truncated PNG", "a.png", lambda path: _noise(path, 0.5), "does not decode completely"),
    ("JPEG head only", "a.jpg", lambda path: _noise(path, 0.05), "."),
    ("SVG", "a.svg", lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"), "save it as JPEG"),
]


@pytest.mark.parametrize(("what", "name", "make", "message"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
@pytest.mark.parametrize("min_side", [None, 8])
def test_an_unusable_file_is_a_sentence(
    tmp_path: Path, what: str, name: str, make: Callable[[Path], object], message: str, min_side: int | None
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(ImageError, match=message) as caught:
        load_image(path, min_side=min_side)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_forty_megapixel_picture_works_and_a_reduced_one_is_quick(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    gradient = Image.linear_gradient("L").resize((8000, 5000)).convert("RGB")
    gradient.save(path, quality=60)
    limit = Image.MAX_IMAGE_PIXELS
    start = time.perf_counter()
    full = load_image(path)
    full_seconds = time.perf_counter() - start
    assert full.size == (8000, 5000)
    start = time.perf_counter()
    reduced = load_image(path, min_side=224)
    reduced_seconds = time.perf_counter() - start
    assert 448 <= min(reduced.size) < 1000
    assert reduced_seconds < full_seconds
    assert image_size(path) == (8000, 5000)
    assert limit == Image.MAX_IMAGE_PIXELS
    # Both ways lead to the same input, up to a rounding step.
    assert (Preprocess(224)(full) - Preprocess(224)(reduced)).abs().max() < 0.1


def test_a_picture_over_the_limit_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (300, 100)).save(path)
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 20_000)  # 30,000 pixels: Pillow itself would only warn
    with pytest.raises(ImageError, match="megapixels are over the limit"):
        load_image(path)
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 10_000)  # more than twice the limit: Pillow's own error
    with pytest.raises(ImageError, match="megapixels are over the limit"):
        load_image(path)


def test_a_large_but_allowed_picture_gives_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "scan.png"
    Image.new("1", (10_000, 10_000)).save(path)  # 100 megapixels: over Pillow's limit, under ours
    assert image_size(path) == (10_000, 10_000)
    assert not [warning for warning in recwarn if "decompression bomb" in str(warning.message).lower()]


def test_a_stream_is_decoded_too() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), ORANGE).save(stream, "PNG")
    stream.seek(0)
    assert decode_image(stream, "upload").getpixel((0, 0)) == ORANGE
    with pytest.raises(ImageError, match="upload: this is not a picture"):
        decode_image(io.BytesIO(b"not a picture at all"), "upload")


def test_preprocess_normalises_and_squashes() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 1] = (255, 51, 102)
    tensor = Preprocess(2, (0.5, 0.2, 0.4), (0.5, 0.1, 0.2))(Image.fromarray(pixels))
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    # (1 - .5) / .5, (.2 - .2) / .1, (.4 - .4) / .2 where the colour is, -mean / std elsewhere; same size: no resampling
    torch.testing.assert_close(tensor[:, 0, 1], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(tensor[:, 0, 0], torch.tensor([-1.0, -2.0, -2.0]))
    # 40 x 10, left half white: the left half stays white when squashed to a square
    wide = Image.new("RGB", (40, 10))
    wide.paste((255, 255, 255), (0, 0, 20, 10))
    squashed = Preprocess(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))(wide)
    assert squashed.shape == (3, 8, 8)
    assert squashed[:, :, :3].min() > 0.95
    assert squashed[:, :, 5:].max() < 0.05


LETTERBOXED = [
    # width and height of the picture, rows and columns it takes of a canvas of 8
    ((40, 10), 2, 8),
    ((10, 40), 8, 2),
    ((3, 3), 8, 8),  # enlarged as well
    ((4000, 1), 1, 8),  # never less than a pixel
]


@pytest.mark.parametrize(("size", "rows", "columns"), LETTERBOXED)
def test_letterboxing_keeps_proportions_and_says_what_is_padding(
    size: tuple[int, int], rows: int, columns: int
) -> None:
    tensor = Preprocess(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "letterbox")(Image.new("RGB", size, (255, 0, 0)))
    assert tensor.shape == (4, 8, 8)
    shown = torch.zeros(8, 8)
    shown[:rows, :columns] = 1
    assert torch.equal(tensor[3], shown)
    torch.testing.assert_close(tensor[0], shown)  # red is 1 on the picture; padding is 0, the mean colour
    torch.testing.assert_close(tensor[1], -shown)


def test_preprocess_settings_survive_a_dictionary() -> None:
    settings = Preprocess(96, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert Preprocess.from_dict(settings.to_dict()) == settings
    letterbox = Preprocess(96, resize="letterbox")
    assert Preprocess.from_dict(letterbox.to_dict()) == letterbox
    assert Preprocess.from_dict({"size": 96, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}) == settings  # from JSON


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "needs 'size'"),
        ({"size": 96, "crop": 1}, "unknown: crop"),
        ({"size": 0}, "'size' must be at least 1"),
        ({"size": 96, "mean": [0.1]}, "three numbers"),
        ({"size": 96, "std": [0.0, 1, 1]}, "'std' positive"),
        ({"size": 96, "resize": "stretch"}, "'resize' must be one of squash, letterbox, not 'stretch'"),
    ],
)
def test_bad_preprocess_settings_are_refused(record: dict[str, object], message: str) -> None:
    with pytest.raises(OvgsrError, match=message):
        Preprocess.from_dict(record)


def test_a_callers_own_picture_looks_as_if_it_came_from_a_file() -> None:
    """Pillow's own conversion shows transparent pixels as black and clips deep grey to white."""
    plain = Preprocess(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    clear = plain(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))
    assert torch.equal(clear, torch.ones(3, 4, 4))  # on white, as load_image has it
    grey = plain(Image.fromarray(np.full((4, 4), 32896, np.uint16)))
    torch.testing.assert_close(grey, torch.full((3, 4, 4), 128 / 255))  # 32896 / 65535 of 255


def test_a_file_is_decoded_as_large_as_the_input_needs(tmp_path: Path) -> None:
    path, small = tmp_path / "large.jpg", tmp_path / "small.png"
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    coarse.resize((960, 640), Image.Resampling.BICUBIC).save(path, quality=95)
    coarse.save(small)
    preprocess = Preprocess(144, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert preprocess.open(path).size == (240, 160)  # a quarter: half of that would be too few rows
    assert preprocess.open(path, zoom=0.8).size == (480, 320)  # a window of 0.8 of 160 rows would be
    assert preprocess.open(small).size == (96, 64)
    difference = (preprocess(preprocess.open(path)) - preprocess(load_image(path))).abs().mean()
    assert float(difference) < 2 / 255
