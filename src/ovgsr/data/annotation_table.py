"""Annotated pictures as columns, in memory or mapped from an index file: no object a picture until one is asked for.

An index is one safetensors file a fold. Opening it maps the file: no column is read before it is used, processes share
its pages, and 75,702 training pictures are there in milliseconds. Arrow would do the same at the price of a dependency
that nothing else here needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ovgsr.files import write_bytes_atomically
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.verb_split import VerbSplit

NONE = -1
"""Where a slot of ``answers`` or ``annotators`` holds no noun."""
_FORMAT = "ovgsr-index-1"
_CHUNK = 512
_NO_BOX = (0.0, 0.0, 0.0, 0.0)
_Key = TypeVar("_Key")


@dataclass(frozen=True, eq=False)
class AnnotationTable:
    """The columns of N pictures; R roles of the longest frame, A annotators."""

    names: Tensor  # (bytes,) uint8, the file names in UTF-8, one after the other
    name_ends: Tensor  # (N,) int64
    sizes_wh: Tensor  # (N, 2) int64, pixels as annotated
    frame: Tensor  # (N,) int32, into ``frames``
    answers: Tensor  # (N, R) int32, into ``nouns``
    annotators: Tensor  # (N, R, A) int32, into ``nouns``
    boxes_xyxy: Tensor  # (N, R, 4) float64, pixels as annotated; 0 where not grounded
    grounded: Tensor  # (N, R) bool
    frames: tuple[tuple[str, tuple[str, ...]], ...]  # a verb and its roles
    nouns: tuple[str, ...]


class AnnotatedImages(Sequence[AnnotatedImage]):
    """Pictures of a table, all or some, in order. Each access builds its :class:`AnnotatedImage` anew."""

    def __init__(self, table: AnnotationTable, rows: NDArray[np.int64] | None = None) -> None:
        self.table = table
        self.rows: NDArray[np.int64] = np.arange(len(table.frame)) if rows is None else rows

    @classmethod
    def of(cls, images: Iterable[AnnotatedImage]) -> AnnotatedImages:
        """The same pictures as columns; as they are where they come from a table. Each must show one situation."""
        return images if isinstance(images, cls) else cls(_table(list(images)))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> AnnotatedImage: ...
    @overload
    def __getitem__(self, index: slice) -> AnnotatedImages: ...
    def __getitem__(self, index: int | slice) -> AnnotatedImage | AnnotatedImages:
        """A picture, or for a slice the same table with fewer rows."""
        chosen = self.rows[index]
        if isinstance(index, slice):
            return AnnotatedImages(self.table, chosen)
        return next(self._built(np.array([chosen])))

    def __iter__(self) -> Iterator[AnnotatedImage]:
        """The pictures in order, built some hundreds at a time."""
        for start in range(0, len(self.rows), _CHUNK):
            yield from self._built(self.rows[start : start + _CHUNK])

    @property
    def file_names(self) -> list[str]:
        """The pictures' names in order."""
        return self._names(self.rows)

    @property
    def verbs(self) -> list[str]:
        """The pictures' verbs in order."""
        return [self.table.frames[frame][0] for frame in self.table.frame.numpy()[self.rows].tolist()]

    @property
    def nouns(self) -> set[str]:
        """Every answer that some annotator of these pictures gave, the empty one included."""
        slots = self.table.annotators.numpy()[self.rows]
        return {self.table.nouns[index] for index in np.unique(slots[slots != NONE]).tolist()}

    def of_split(self, split: VerbSplit, fold: str) -> AnnotatedImages:
        """The pictures that a split leaves in a fold (``VerbSplit.pictures``), no object built."""
        unseen = frozenset(split.unseen_nouns)
        told = np.array([noun in unseen for noun in self.table.nouns] + [False])  # the last stands for NONE
        slots = (self.table.answers.numpy()[self.rows, :, None], self.table.annotators.numpy()[self.rows])
        shows = told[np.concatenate(slots, axis=-1)].any(axis=(1, 2))
        return AnnotatedImages(
            self.table, self.rows[split.positions(self.file_names, self.verbs, fold, lambda row: bool(shows[row]))]
        )

    def without(self, file_names: Iterable[str]) -> AnnotatedImages:
        """The pictures but for those of these names."""
        refused = frozenset(file_names)
        return AnnotatedImages(self.table, self.rows[[name not in refused for name in self.file_names]])

    def _names(self, rows: NDArray[np.int64]) -> list[str]:
        ends, content = self.table.name_ends.numpy(), self.table.names.numpy()
        starts = np.where(rows > 0, ends[rows - 1], 0)
        pairs = zip(starts.tolist(), ends[rows].tolist(), strict=True)
        return [content[start:end].tobytes().decode("utf-8", "surrogatepass") for start, end in pairs]

    def _built(self, rows: NDArray[np.int64]) -> Iterator[AnnotatedImage]:
        table, nouns = self.table, self.table.nouns

        def listed(column: Tensor) -> list[Any]:
            chosen: list[Any] = column.numpy()[rows].tolist()
            return chosen

        columns = (table.sizes_wh, table.frame, table.answers, table.annotators, table.boxes_xyxy, table.grounded)
        for name, (width, height), frame, *slots in zip(self._names(rows), *map(listed, columns), strict=True):
            verb, roles = table.frames[frame]
            filled = {
                role: GroundedNoun(
                    nouns[answer],
                    tuple(box) if grounded else None,
                    annotators=tuple([nouns[noun] for noun in given if noun != NONE]),
                )
                for role, answer, given, box, grounded in zip(roles, *slots, strict=False)
            }
            yield AnnotatedImage(name, width, height, (Situation(verb, filled),))


def _table(images: Sequence[AnnotatedImage]) -> AnnotationTable:
    roles = max((len(image.situation.nouns) for image in images), default=1)
    people = max((len(noun.annotators) for image in images for noun in image.situation.nouns.values()), default=0)
    count = len(images)
    answers = np.full((count, roles), NONE, np.int32)
    annotators = np.full((count, roles, max(people, 1)), NONE, np.int32)
    boxes_xyxy = np.zeros((count, roles, 4))
    grounded = np.zeros((count, roles), np.bool_)
    frame = np.zeros(count, np.int32)
    frames: dict[tuple[str, tuple[str, ...]], int] = {}
    nouns: dict[str, int] = {}
    for row, image in enumerate(images):
        situation = image.situation
        frame[row] = _number(frames, (situation.verb, situation.roles))
        for column, noun in enumerate(situation.nouns.values()):
            answers[row, column] = _number(nouns, noun.noun)
            annotators[row, column, : len(noun.annotators)] = [_number(nouns, key) for key in noun.annotators]
            boxes_xyxy[row, column] = noun.box_xyxy or _NO_BOX
            grounded[row, column] = noun.box_xyxy is not None
    names = [image.file_name.encode("utf-8", "surrogatepass") for image in images]
    return AnnotationTable(
        names=torch.from_numpy(np.frombuffer(b"".join(names), np.uint8).copy()),
        name_ends=torch.tensor([len(name) for name in names], dtype=torch.int64).cumsum(0),
        sizes_wh=torch.tensor([(image.width, image.height) for image in images], dtype=torch.int64).reshape(-1, 2),
        frame=torch.from_numpy(frame),
        answers=torch.from_numpy(answers),
        annotators=torch.from_numpy(annotators),
        boxes_xyxy=torch.from_numpy(boxes_xyxy),
        grounded=torch.from_numpy(grounded),
        frames=tuple(frames),
        nouns=tuple(nouns),
    )


def _number(known: dict[_Key, int], key: _Key) -> int:
    return known.setdefault(key, len(known))


def write_index(path: Path, images: Sequence[AnnotatedImage], sources: Sequence[Path], faults: Sequence[str]) -> None:
    """Writes the pictures with what they were read from, and the faults of the records that were left out."""
    table = AnnotatedImages.of(images).table
    columns = {name: value for name, value in _columns(table).items() if isinstance(value, Tensor)}
    metadata = {
        "format": _FORMAT,
        "frames": json.dumps(table.frames),
        "nouns": json.dumps(table.nouns),
        "faults": json.dumps(list(faults)),
        "sources": json.dumps([_stamp(source) for source in sources]),
    }
    # Not save_file, whose files nobody but their owner may read: data sets are shared.
    write_bytes_atomically(path, save(columns, metadata))


def open_index(path: Path, sources: Sequence[Path]) -> tuple[AnnotatedImages, tuple[str, ...]] | None:
    """The pictures and the faults of the records left out; None where the index is absent, damaged or out of date.

    It is up to date where each source has the size and time it had then, or, after a copy, the same SHA-256.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT or not _current(json.loads(metadata["sources"]), sources):
                return None
            columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        frames = tuple((verb, tuple(roles)) for verb, roles in json.loads(metadata["frames"]))
        table = AnnotationTable(**columns, frames=frames, nouns=tuple(json.loads(metadata["nouns"])))
        return AnnotatedImages(table), tuple(json.loads(metadata["faults"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def _columns(table: AnnotationTable) -> dict[str, Any]:
    return {item.name: getattr(table, item.name) for item in fields(table)}


def _stamp(source: Path) -> dict[str, Any]:
    status = source.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sha256": _sha256(source)}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _current(stamps: Sequence[dict[str, Any]], sources: Sequence[Path]) -> bool:
    for stamp, source in zip(stamps, sources, strict=True):
        status = source.stat()
        if status.st_size != stamp["bytes"]:
            return False
        if status.st_mtime_ns != stamp["modified_ns"] and _sha256(source) != stamp["sha256"]:
            return False
    return True
