"""Everything that is wrong with a data set in the HICO-DET format, and a summary of what is in it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path

from ovgsr.data.check_pictures import Picture, check_pictures
from ovgsr.data.errors import DataError
from ovgsr.data.hico_det import HicoDetFold, annotation_path, data_root, fold_of, image_folder, read_hico_det, read_json
from ovgsr.data.hoi_pairs import box_of, merge_rows, object_of
from ovgsr.data.hoi_splits import read_hoi_split, require_known_interactions, split_path
from ovgsr.data.problems import CheckReport, Problem
from ovgsr.data.swig import FOLDS, Fold, space_path
from ovgsr.hoi_vocabulary import hico_det_interactions, hico_det_rare
from ovgsr.interactions import HUMAN, OBJECT
from ovgsr.situation import AnnotatedImage


def holds_interactions(source: Path) -> bool:
    """Whether data are in the HICO-DET format; False: a folder in that of SWiG. Raises DataError for anything else."""
    source = Path(source)
    if source.is_file() and source.name == split_path(source).name:
        raise DataError(f"{source}: a split has no pictures of its own; name the folder it is in")
    if annotated_folds(source):
        return True
    if not space_path(source).parent.is_dir():
        raise DataError(f"{source}: neither SWiG_jsons/ nor HICO-DET's instances_test2015.json or lists are there")
    return False


def annotated_folds(source: Path) -> tuple[Fold, ...]:
    """The folds that a folder or file in the HICO-DET format has; none where it is no such thing."""
    source = Path(source)
    if source.is_file():
        return (fold_of(source),)
    return tuple(fold for fold in FOLDS if source.is_dir() and _has(source, fold))


def check_hico_det(source: Path, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Read every row and decode every picture of a data set folder, or of the one fold of a file.

    Never raises for what it finds in them. The pictures of a lone file are looked at where they lie beside it.
    ``progress`` is called with (pictures done, pictures in all).
    """
    source = Path(source)
    root = data_root(source)
    problems: list[Problem] = []
    summary: list[str] = []
    folds: dict[Fold, HicoDetFold] = {}
    for fold in annotated_folds(source):
        path = annotation_path(source, fold)
        try:
            folds[fold] = read_hico_det(source, fold)
        except DataError as error:
            problems.append(Problem(_relative(root, path), "", _without_path(error, path)))
            continue
        summary.append(f"{path.name}: {_summary(folds[fold])}")
        problems += _check_fold(_relative(root, path), path, folds[fold])
    problems += _check_agreement(folds)
    problems += _check_split(source, root, folds, summary)
    pictures: list[Picture] = []
    for fold, read in folds.items():
        folder = image_folder(source, fold)
        if folder.is_dir():
            shown = _relative(root, folder)
            pictures += (Picture(shown, folder, i.file_name, fold, (i.width, i.height)) for i in read.images)
        elif source.is_dir():
            problems.append(Problem(_relative(root, folder), "", "is missing; the pictures belong there"))
        else:
            summary.append(f"the pictures were not looked at: {folder} is missing")
    problems += check_pictures(pictures, progress)
    return CheckReport(source, tuple(problems), {f: len(read.images) for f, read in folds.items()}, tuple(summary))


def _has(source: Path, fold: Fold) -> bool:
    try:
        annotation_path(source, fold)
    except DataError:
        return False
    return True


def _summary(fold: HicoDetFold) -> str:
    rows = sum(len(image.situations) for image in fold.images)
    empty = sum(not image.situations for image in fold.images)
    pairs = sum(len(merge_rows(image)) for image in fold.images)
    return (
        f"{len(fold.images)} pictures, {empty} of them without a row; {rows} rows of {pairs} pairs; "
        f"{len(fold.interactions)} interactions, {len(fold.rare)} of them rare"
    )


def _check_fold(file: str, path: Path, fold: HicoDetFold) -> Iterator[Problem]:
    yield from (Problem(file, row.place, row.message) for row in fold.broken)
    yield from _check_lists(file, path, fold)
    left_out: dict[str, set[int | None]] = defaultdict(set)
    for broken in fold.broken:
        left_out[broken.picture].add(broken.row)
    for image in fold.images:
        rows = (row for row in count() if row not in left_out[image.file_name])
        yield from (Problem(file, f"{image.file_name}: {place}", text) for place, text in _check_rows(image, rows))


def _check_lists(file: str, path: Path, fold: HicoDetFold) -> Iterator[Problem]:
    """The lists of an instances file that follow from its other fields."""
    record = read_json(path)
    if not isinstance(record, dict):
        return
    entries = enumerate(record["annotation"])
    empty = [number for number, entry in entries if isinstance(entry, dict) and entry.get("hoi") == []]
    if record.get("empty", empty) != empty:
        yield Problem(file, "empty", f"must list the positions of the {len(empty)} pictures without a row, ascending")
    others, rare = record.get("non_rare", []), record.get("rare", [])
    if not isinstance(others, list) or any(hoi in rare for hoi in others):
        yield Problem(file, "non_rare", "must be a list of interactions, none of which 'rare' lists too")
    if fold.interactions == hico_det_interactions() and fold.rare != hico_det_rare():
        yield Problem(file, "rare", f"differs from HICO-DET's own {len(hico_det_rare())} rare interactions")


def _check_rows(image: AnnotatedImage, rows: Iterable[int]) -> Iterator[tuple[str, str]]:
    """(place, sentence) of what a reader takes and yet is wrong; ``rows`` are the situations' numbers in the file."""
    known: dict[tuple[object, ...], int] = {}
    for row, situation in zip(rows, image.situations, strict=False):
        boxes = {role: box_of(situation, role) for role in (HUMAN, OBJECT)}
        for role, box in boxes.items():
            if min(box) < 0 or box[2] > image.width or box[3] > image.height:
                size = f"{image.width} x {image.height} pixels"
                yield f"row {row}: {role}", f"the box {box} reaches outside the picture of {size}"
        first = known.setdefault((situation.verb, object_of(situation), *boxes.values()), row)
        if first != row:
            yield f"row {row}", f"repeats row {first}: the same interaction with the same boxes"


def _check_agreement(folds: Mapping[Fold, HicoDetFold]) -> Iterator[Problem]:
    if len({fold.interactions for fold in folds.values()}) > 1:
        yield Problem(" and ".join(folds), "", "list different interactions, or in another order; a HOI id means one")


def _check_split(source: Path, root: Path, folds: Mapping[Fold, HicoDetFold], summary: list[str]) -> Iterator[Problem]:
    path = split_path(source)
    file = _relative(root, path)
    try:
        split = read_hoi_split(source)
        if split is None:
            return
        for fold in folds.values():
            require_known_interactions(split, fold.interactions)
    except DataError as error:
        yield Problem(file, "", _without_path(error, path))
        return
    training = folds["train"].images if "train" in folds else ()
    rows = [(s.verb, object_of(s)) for image in training for s in image.situations]
    held = sum(row in split.held_out for row in rows)
    if held:
        summary.append(f"{file}: it keeps {held} of {len(rows)} training rows from training, which skips them")


def _without_path(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _relative(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
