"""From a file to the pixels the student reads: decoding any picture a user may have, and resizing it.

Training and prediction share this file, so a picture looks the same to both.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from ovgsr.config import Resize
from ovgsr.errors import OvgsrError

MAX_PIXELS = 250_000_000
"""Larger pictures are refused: 250 megapixels decode to 750 MB."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_WHITE = (255, 255, 255, 255)
_ORIENTATION_TAG = 0x0112
# EXIF 2.3, tag 274: what undoes each orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_limit_lock = threading.Lock()


class ImageError(OvgsrError):
    """A file that is no usable picture; the sentence names the file and what to do."""


def load_image(path: str | os.PathLike[str], *, min_side: int | None = None) -> Image.Image:
    """The picture in a file, upright (EXIF), as RGB; transparency on white, an animation's first frame.

    ``min_side``: what the model will resize it to. A much larger picture may then come back reduced, still at least
    twice that on both sides, which decodes JPEG several times faster; :func:`image_size` tells the true size.

    Raises ImageError for a missing file, a folder, and anything that does not decode completely.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path}: this is a folder, not a picture; name a file in it")
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise ImageError(f"{path}: the file is empty (zero bytes); copy or download it again")
            return decode_image(stream, str(path), min_side=min_side)
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file; check the path") from None
    except PermissionError:
        raise ImageError(f"{path}: the file may not be read; check its permissions") from None


def decode_image(stream: BinaryIO, name: str, *, min_side: int | None = None) -> Image.Image:
    """Like :func:`load_image` for an open binary stream, e.g. an upload; ``name`` stands in error messages."""
    with _open(stream, name) as image:
        orientation = _orientation(image)
        if min_side is not None:
            image.draft("RGB", (2 * min_side, 2 * min_side))  # a no-op for all formats but JPEG
        try:
            image.load()
            rgb = _to_rgb(image)
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, ArithmeticError, MemoryError) as error:
            raise ImageError(
                f"{name}: the picture does not decode completely ({_reason(error)}); it is probably damaged or cut "
                "off, so copy or download it again"
            ) from None
    if min_side is not None:
        factor = min(rgb.size) // (2 * min_side)
        rgb = rgb.reduce(factor) if factor > 1 else rgb
    return rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of the upright picture, from the file's head only. Raises ImageError as load_image does."""
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: there is no such file; check the path")
    with path.open("rb") as stream, _open(stream, str(path)) as image:
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


@contextmanager
def _open(stream: BinaryIO, name: str) -> Iterator[Image.Image]:
    """The undecoded picture, with Pillow's limit of 89 megapixels raised to ours while its head is read."""
    with _limit_lock:
        pillow_limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS
        try:
            image = Image.open(stream)
        except Image.DecompressionBombError:
            raise ImageError(_too_large(name, "more than 500")) from None
        except UnidentifiedImageError:
            raise ImageError(
                f"{name}: this is not a picture in a format that Pillow reads; save it as JPEG or PNG"
            ) from None
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, ArithmeticError) as error:
            raise ImageError(f"{name}: the picture cannot be opened ({_reason(error)}); save it again") from None
        finally:
            Image.MAX_IMAGE_PIXELS = pillow_limit
    with image:
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise ImageError(_too_large(name, f"{pixels / 1e6:.0f}"))
        yield image


def _too_large(name: str, megapixels: str) -> str:
    return f"{name}: {megapixels} megapixels are over the limit of {MAX_PIXELS // 1_000_000}; make it smaller first"


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block raises anything from struct.error to KeyError; the pixels may be fine
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Decoded pixels of any mode as 8-bit RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        # A plain copy: the plugin's own object keeps the file.
        return image.copy() if isinstance(image, ImageFile.ImageFile) else image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_eight_bits(np.asarray(image)), "L").convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Deep grey values scaled to 0..255. Pillow's own conversion clips them, which turns most of a scan white.

    16-bit files use 0..65535. 32-bit integers and floats do not say their range: the smallest usual one that holds
    the picture's largest value is taken (for floats 0..1 first).
    """
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if values.dtype.itemsize == 2:
        top = 65535.0
    else:
        ranges = ((1.0,) if values.dtype.kind == "f" else ()) + (255.0, 65535.0, 4294967295.0)
        largest = float(numbers.max(initial=0.0))
        top = next((limit for limit in ranges if largest <= limit), largest)
    return np.clip(np.rint(numbers * (255.0 / top)), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """RGB picture of any size to the student's input.

    The input is a square. ``squash`` stretches the picture to it: boxes are normalised by width and height, so they
    stay right, and nothing is cropped away or padded. ``letterbox`` keeps the picture's proportions: it lies in the
    upper left corner and the rest is padding, which the student does not look at (``models/placement.py``).
    """

    size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize: Resize = "squash"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise OvgsrError(f"the field 'size' must be at least 1 pixel, not {self.size}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise OvgsrError("the fields 'mean' and 'std' must be three numbers each, 'std' positive")
        if self.resize not in get_args(Resize):
            raise OvgsrError(f"the field 'resize' must be one of {', '.join(get_args(Resize))}, not {self.resize!r}")

    def __call__(self, image: Image.Image) -> Tensor:
        """The picture as a float tensor (3, size, size), normalised.

        Letterboxed it is (4, size, size): the fourth channel is 1 on the picture and 0 on the padding, where the
        colours are 0, the mean colour.
        """
        image = _to_rgb(image)  # a caller's own picture may have any mode
        shown = self._shown(*image.size)
        if image.size != shown:
            image = image.resize(shown, Image.Resampling.BICUBIC, reducing_gap=3.0)
        # Planes first: arithmetic on interleaved colours takes three times as long.
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float()
        pixels.sub_(torch.tensor(self.mean).mul_(255).view(3, 1, 1))
        pixels.div_(torch.tensor(self.std).mul_(255).view(3, 1, 1))
        if self.resize == "squash":
            return pixels
        canvas = torch.zeros(4, self.size, self.size)
        canvas[:3, : shown[1], : shown[0]] = pixels
        canvas[3, : shown[1], : shown[0]] = 1
        return canvas

    def open(self, path: Path, *, zoom: float = 1.0) -> Image.Image:
        """The picture in a file, decoded no larger than this input needs: large JPEGs then take a fraction of the time.

        ``zoom`` is the smallest part of a side that an augmentation may show. Raises ImageError as load_image does.
        """
        return load_image(path, min_side=math.ceil(self.size / zoom / 2))

    def _shown(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the picture on the canvas."""
        if self.resize == "squash":
            return self.size, self.size
        scale = self.size / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Preprocess:
        """The inverse of :meth:`to_dict`. Raises OvgsrError with the field at fault."""
        unknown = sorted(set(record) - {"size", "mean", "std", "resize"})
        if unknown or "size" not in record:
            raise OvgsrError(f"preprocessing needs 'size', 'mean' and 'std'; unknown: {', '.join(unknown) or 'none'}")
        mean, std = (tuple(float(v) for v in record.get(k, d)) for k, d in _DEFAULTS)
        if len(mean) != 3 or len(std) != 3:
            raise OvgsrError("the fields 'mean' and 'std' must be three numbers each")
        resize = record.get("resize", "squash")  # which earlier checkpoints do not mention
        return cls(int(record["size"]), (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), resize)


_DEFAULTS = (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD))
