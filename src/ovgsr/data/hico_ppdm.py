"""HICO-DET as lists of pictures: ``trainval_hico.json`` and ``test_hico.json`` of PPDM, used by GEN-VLKT and others.

A picture has ``annotations`` (boxes with COCO category ids) and ``hoi_annotation`` (rows that point into them, with
verbs from 1 to 117 and interactions from 1 to 600, as HICO-DET numbers them). Three things are not written in the
files: what the numbers mean, which is HICO-DET's own vocabulary; the size of the pictures, which is read from them;
and whether the first pixel is 0 or 1, which the boxes tell that touch the left or the upper edge. Pixels are inclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from ovgsr.data.errors import DataError
from ovgsr.data.hoi_rows import BrokenRow, RowFault, continuous_corners, index_in, interaction_situation
from ovgsr.data.swig import is_plain_name
from ovgsr.hoi_vocabulary import coco91_ids, hico_det_interactions, hico_det_vocabulary
from ovgsr.interactions import PERSON
from ovgsr.situation import AnnotatedImage, Situation

FILES = {"train": "trainval_hico.json", "test": "test_hico.json"}


def read_ppdm(path: Path, records: Sequence[Any], folder: Path) -> tuple[tuple[AnnotatedImage, ...], list[BrokenRow]]:
    """The pictures of a list file, whose pictures lie in ``folder``, and the rows that are left out.

    A row that points past the end of ``annotations`` is left out alone; PPDM leaves out its whole picture.
    Raises DataError where a record or a picture cannot be read.
    """
    origin = _first_pixel(path, records)
    images: dict[str, AnnotatedImage] = {}
    broken: list[BrokenRow] = []
    for position, record in enumerate(records):
        name = record.get("file_name") if isinstance(record, dict) else None
        if not isinstance(name, str) or not is_plain_name(name) or name in images:
            raise DataError(f"{path}: entry {position}: 'file_name' must be a relative name, given once, not {name!r}")
        width, height = _size(path, folder / name)
        found = []
        if not isinstance(record.get("hoi_annotation"), list):
            broken.append(BrokenRow(path.name, name, None, "hoi_annotation", "is missing or no list"))
        for row, annotation in enumerate(_entries(record, "hoi_annotation")):
            try:
                found.append(_situation(annotation, _entries(record, "annotations"), origin))
            except RowFault as fault:
                broken.append(BrokenRow(path.name, name, row, fault.field, str(fault)))
        images[name] = AnnotatedImage(name, width, height, tuple(found))
    return tuple(images.values()), broken


def _situation(row: Any, boxes: Sequence[Any], origin: int) -> Situation:
    interactions, verbs = hico_det_interactions(), hico_det_vocabulary().verb_names
    corners, things = [], []
    for field in ("subject_id", "object_id"):
        box = boxes[index_in(_value(row, field), field, len(boxes))]
        category = _value(box, "category_id")
        name = _coco_names().get(category) if type(category) is int else None
        if name is None:
            raise RowFault(field, f"its box has the category {category!r}, which is none of COCO's")
        things.append(name)
        corners.append(continuous_corners(_value(box, "bbox"), field, origin))
    if things[0] != PERSON:
        raise RowFault("subject_id", f"its box is a {things[0]}, not a person")
    verb, thing = interactions[index_in(_value(row, "hoi_category_id"), "hoi_category_id", len(interactions), 1)]
    if verbs[index_in(_value(row, "category_id"), "category_id", len(verbs), 1)] != verb:
        raise RowFault("category_id", f"is not the verb {verb!r} of interaction {row['hoi_category_id']}")
    if things[1] != thing:
        raise RowFault(
            "object_id", f"its box is a {things[1]}, not the {thing} of interaction {row['hoi_category_id']}"
        )
    return interaction_situation(verb, thing, corners[0], corners[1])


@cache
def _coco_names() -> Mapping[int, str]:
    return {number: name for name, number in coco91_ids().items()}


def _value(record: Any, field: str) -> Any:
    """A field; numbers may be written as text with a line feed, as PPDM's files do."""
    value = record.get(field) if isinstance(record, Mapping) else None
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value


def _entries(record: Mapping[str, Any], field: str) -> list[Any]:
    entries = record.get(field)
    return entries if isinstance(entries, list) else []


def _first_pixel(path: Path, records: Sequence[Any]) -> int:
    """0 or 1, whichever more boxes start at: many touch an edge. Raises DataError where none does."""
    starts = [start for record in records if isinstance(record, dict) for start in _starts(record)]
    zeros, ones = starts.count(0), starts.count(1)
    if zeros == ones and starts:
        raise DataError(
            f"{path}: no telling whether its pixels count from 0 or from 1, since {zeros} boxes start at either; "
            "use HICO-DET's instances files"
        )
    return int(ones > zeros)


def _starts(record: Mapping[str, Any]) -> Iterator[Any]:
    for annotation in _entries(record, "annotations"):
        box = _value(annotation, "bbox")
        if isinstance(box, list):
            yield from box[:2]


def _size(path: Path, picture: Path) -> tuple[int, int]:
    try:
        with Image.open(picture) as image:
            return image.size
    except Exception as error:  # damaged files make Pillow's plugins raise nearly anything
        raise DataError(
            f"{picture}: the picture cannot be read ({error}); {path.name} does not tell sizes, so its pictures are "
            "needed: put them there"
        ) from None
