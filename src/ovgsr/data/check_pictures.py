"""Every picture of a data set opened: is it there, whole, of the annotated size, and in one fold only?"""

from __future__ import annotations

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ovgsr.data.problems import Problem
from ovgsr.data.swig import is_plain_name

_ROTATED = (5, 6, 7, 8)
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as its record names it: ``folder`` holds it, ``shown`` is that folder relative to the data set.

    ``size`` is what the record says about width and height, None where it says nothing.
    """

    shown: str
    folder: Path
    name: str
    fold: str
    size: tuple[Any, Any] | None

    def problem(self, sentence: str) -> Problem:
        """A fault of this picture."""
        return Problem(f"{self.shown}/{self.name}", "", sentence)


def check_pictures(
    pictures: Sequence[Picture], progress: Callable[[int, int], None] | None = None
) -> Iterator[Problem]:
    """Everything that is wrong with the files; each is decoded once, whatever folds name it.

    ``progress`` is called with (pictures done, pictures in all).
    """
    where: dict[Path, list[Picture]] = defaultdict(list)
    for picture in pictures:
        where[picture.folder / picture.name].append(picture)
    for named in where.values():
        if len(named) > 1:
            yield named[0].problem(f"is in more than one fold: {' and '.join(picture.fold for picture in named)}")
    by_content: dict[str, list[Picture]] = defaultdict(list)
    jobs = [named[0] for named in where.values()]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, (picture, (digest, sentences)) in enumerate(zip(jobs, pool.map(_look_at, jobs), strict=True), 1):
            yield from map(picture.problem, sentences)
            if digest is not None:
                by_content[digest].append(picture)
            if progress is not None:
                progress(done, len(jobs))
    for same in by_content.values():
        folds = {picture.fold for one in same for picture in where[one.folder / one.name]}
        if len(folds) > 1 and len(same) > 1:
            others = " and ".join(f"{picture.name} ({picture.fold})" for picture in same[1:])
            yield same[0].problem(f"is the same file in {same[0].fold} as {others}")


def _look_at(picture: Picture) -> tuple[str | None, list[str]]:
    """The SHA-256 of a picture's file (None where there is none), and what is wrong with it."""
    if not is_plain_name(picture.name):
        return None, ["leads out of the picture folder; use a relative name"]
    try:
        content = (picture.folder / picture.name).read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return None, ["is missing" if missing else f"cannot be read: {error.strerror or error}"]
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        return None, ["is empty (zero bytes)"]
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            size = image.size
            rotated = image.getexif().get(_ORIENTATION_TAG) in _ROTATED
    except Exception as error:  # damaged files make Pillow's plugins raise nearly anything
        return digest, [f"does not decode: {str(error) or type(error).__name__}"]
    expected = picture.size
    upright = (size[1], size[0]) if rotated else size
    if expected is None or upright == expected:
        return digest, []
    if size == expected:
        return digest, [f"is annotated as {size[0]} x {size[1]} pixels, but its EXIF data turn it by 90 degrees"]
    return digest, [f"is {upright[0]} x {upright[1]} pixels, its record says {expected[0]} x {expected[1]}"]
