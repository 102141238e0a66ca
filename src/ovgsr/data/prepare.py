"""From downloaded files to a data set that opens at once: checked, indexed and, if wished, with smaller pictures.

Every step can be killed and run again: an index that is up to date and a copy that is newer than its original stay.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ovgsr.data.annotation_table import AnnotatedImages, open_index, write_index
from ovgsr.data.check import box_faults
from ovgsr.data.errors import DataError
from ovgsr.data.swig import (
    FOLDS,
    Fold,
    annotation_path,
    image_folder,
    index_path,
    parse_annotations,
    read_vocabulary,
    resized_folder,
    space_path,
    verify_original,
)
from ovgsr.errors import OvgsrError
from ovgsr.files import write_atomically, write_text_atomically

SWIG_PICTURES = {"train": 75_702, "dev": 25_200, "test": 25_200}
"""Pictures of the original SWiG (Pratt et al. 2020; dev and test hold 50 of each verb)."""
SWIG_REPOSITORY = "https://github.com/allenai/swig"
SWIG_ARCHIVE = "https://swig-data-weights.s3.us-east-2.amazonaws.com/images_512.zip"
_QUALITY = 92
_BATCH = 256

OnError = Literal["stop", "skip"]
Progress = Callable[[str, int, int], None]
"""Hears the part, and how much of how much of it is done."""


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What was found, and what is left out where errors are skipped."""

    pictures: Mapping[str, int]
    """Fold -> usable records."""
    faults: tuple[str, ...]
    """What is wrong with records; they are not among ``pictures``."""
    unreadable: Mapping[str, str]
    """A picture -> why it cannot be read."""
    boxes: tuple[str, ...]
    """Boxes that are inverted or reach outside: what lies inside is used, a box with nothing inside is none."""
    resized: int = 0
    """Copies there are, old and new."""


def prepare_swig(
    root: Path,
    *,
    original: bool = True,
    resize: int | None = None,
    on_error: OnError = "stop",
    open_image: Callable[[Path, int], Image.Image],
    progress: Progress = lambda part, done, total: None,
) -> PrepareReport:
    """Checks the files, writes ``ovgsr_index/`` and, with ``resize``, copies of that many pixels on the shorter side.

    ``original``: the folder must hold the original SWiG, all of it. ``open_image`` reads a picture that need not be
    larger than the given number of pixels a side (``models.preprocess.load_image``).

    Raises DataError where files are missing or their numbers are not SWiG's, and with ``on_error`` "stop" where a
    picture cannot be copied. Other problems are in the report.
    """
    root = Path(root)
    require_files(root)
    if original:
        verify_original(read_vocabulary(root))
    folds: dict[str, AnnotatedImages] = {}
    faults: list[str] = []
    for done, fold in enumerate(FOLDS):
        progress("index", done, len(FOLDS))
        folds[fold], found = _indexed(root, fold)
        records = len(folds[fold]) + len(found)
        if original and records != SWIG_PICTURES[fold]:
            raise DataError(
                f"{annotation_path(root, fold)}: has {records} records, the original SWiG {SWIG_PICTURES[fold]}; take "
                f"the file from {SWIG_REPOSITORY}, or prepare the folder as a custom data set"
            )
        faults += (f"{annotation_path(root, fold)}: {fault}" for fault in found)
    progress("index", len(FOLDS), len(FOLDS))
    boxes = [f"{annotation_path(root, fold)}: {text}" for fold, images in folds.items() for text in _odd_boxes(images)]
    unreadable = _absent(root, folds)
    copies = 0
    if resize is not None and not (on_error == "stop" and (faults or unreadable)):
        # A picture of two folds is copied once: two threads at one file would take each other's temporary.
        named = dict.fromkeys(name for images in folds.values() for name in images.file_names)
        names = [name for name in named if name not in unreadable]
        copies, damaged = _resize(root, names, resize, on_error, open_image, progress)
        unreadable |= damaged
    write_text_atomically(_unreadable_path(root), json.dumps(unreadable, indent=1))
    pictures = {fold: len(images) for fold, images in folds.items()}
    return PrepareReport(pictures, tuple(faults), unreadable, tuple(boxes), copies)


def read_unreadable(root: Path) -> dict[str, str]:
    """The pictures that could not be read when the data set was prepared, each with the reason."""
    try:
        found: dict[str, str] = json.loads(_unreadable_path(root).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _unreadable_path(root: Path) -> Path:
    return index_path(root, "train").with_name("unreadable.json")


def require_files(root: Path) -> None:
    """Raises DataError that says what is missing, where to get it and where it goes."""
    needed = [space_path(root), *(annotation_path(root, fold) for fold in FOLDS)]
    missing = [path.relative_to(root).as_posix() for path in needed if not path.is_file()]
    remedies = [f"take SWiG_jsons/ from {SWIG_REPOSITORY}"] if missing else []
    folder = image_folder(root)
    if not folder.is_dir() or next(folder.iterdir(), None) is None:
        missing.append(f"{folder.name}/ (the pictures)")
        remedies.append(f"unpack {SWIG_ARCHIVE}")
    if missing:
        raise DataError(f"{root}: lacks {', '.join(missing)}; {' and '.join(remedies)} into {root}")


def _indexed(root: Path, fold: Fold) -> tuple[AnnotatedImages, tuple[str, ...]]:
    sources = (annotation_path(root, fold), space_path(root))
    path = index_path(root, fold)
    found = open_index(path, sources)
    if found is None:
        images, faults = parse_annotations(root, fold, stop=False)
        write_index(path, images, sources, faults)
        found = open_index(path, sources)
        if found is None:
            raise DataError(f"{path}: changed, or its sources did, while it was written; prepare the data set again")
    return found


def _odd_boxes(images: AnnotatedImages) -> Iterator[str]:
    """A sentence for each box that is not wholly inside its picture, or is no box."""
    boxes_xyxy = images.table.boxes_xyxy.numpy()
    width, height = images.table.sizes_wh.numpy().T[:, :, None]
    left, top, right, bottom = np.moveaxis(boxes_xyxy, -1, 0)
    odd = (right <= left) | (bottom <= top) | (left < 0) | (top < 0) | (right > width) | (bottom > height)
    for row, slot in np.argwhere(odd & images.table.grounded.numpy()).tolist():
        image = images[row]
        role = image.situation.roles[slot]
        for sentence in box_faults(boxes_xyxy[row, slot].tolist(), image.width, image.height):
            yield f"{image.file_name}: bb.{role}: {sentence}"


def _absent(root: Path, folds: Mapping[str, AnnotatedImages]) -> dict[str, str]:
    """The pictures that are missing or empty, by what the folder says: no picture is opened."""
    folder = image_folder(root)
    absent: dict[str, str] = {}
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    for images in folds.values():
        for name in images.file_names:
            size = sizes.get(name)
            if size is None and "/" in name and (folder / name).is_file():
                size = (folder / name).stat().st_size
            if size is None:
                absent[name] = f"{folder / name}: there is no such file; unpack or copy the pictures again"
            elif size == 0:
                absent[name] = f"{folder / name}: the file is empty (zero bytes); copy or download it again"
    return absent


def _resize(
    root: Path,
    names: Sequence[str],
    size: int,
    on_error: OnError,
    open_image: Callable[[Path, int], Image.Image],
    progress: Progress,
) -> tuple[int, dict[str, str]]:
    """How many copies there are, and why others could not be made."""
    source, target = image_folder(root), resized_folder(root, size)

    def copy(name: str) -> str | None:
        try:
            _copy(source / name, target / name, size, open_image)
        except OvgsrError as error:
            return str(error)
        return None

    damaged: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:  # Pillow decodes and encodes without the GIL
        for start in range(0, len(names), _BATCH):
            progress(f"copies of {size} pixels", start, len(names))
            part = names[start : start + _BATCH]
            for name, fault in zip(part, pool.map(copy, part), strict=True):
                if fault is not None and on_error == "stop":
                    raise DataError(fault)
                if fault is not None:
                    damaged[name] = fault
        progress(f"copies of {size} pixels", len(names), len(names))
    return len(names) - len(damaged), damaged


def _copy(source: Path, target: Path, size: int, open_image: Callable[[Path, int], Image.Image]) -> None:
    if target.is_file():
        there = target.stat()
        if there.st_size and there.st_mtime_ns >= source.stat().st_mtime_ns:
            return
    image = open_image(source, size)
    scale = size / min(image.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    write_atomically(target, lambda temporary: image.save(temporary, "JPEG", quality=_QUALITY))
