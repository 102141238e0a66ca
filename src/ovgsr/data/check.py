"""Everything that is wrong with a data set in the SWiG format, before a training run finds it one fault at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovgsr.data.check_pictures import Picture, check_pictures
from ovgsr.data.errors import DataError
from ovgsr.data.problems import CheckReport, Problem
from ovgsr.data.swig import (
    ANNOTATORS,
    FOLDS,
    NOT_GROUNDED,
    annotation_path,
    image_folder,
    read_json_object,
    read_split_file,
    space_path,
    split_path,
)
from ovgsr.situation import EMPTY_NOUN
from ovgsr.verb_split import VerbSplit

_SIDES = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class _Space:
    """What imsitu_space.json allows; None where it could not be read."""

    frames: Mapping[str, tuple[str, ...]] | None = None
    nouns: frozenset[str] | None = None


def check_swig(root: Path, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Read every record and decode every picture of a data set; never raises for what it finds in them.

    ``progress`` is called with (pictures done, pictures in all).
    """
    root = Path(root)
    problems: list[Problem] = []
    space = _check_space(root, problems)
    folds: dict[str, dict[str, Any]] = {}
    for fold in FOLDS:
        records = _read(root, annotation_path(root, fold), problems)
        if records is not None:
            folds[fold] = records
            file = _relative(root, annotation_path(root, fold))
            for name, record in records.items():
                problems += (Problem(file, f"{name}{place}", text) for place, text in _check_record(record, space))
    summary: list[str] = []
    problems += _check_split(root, folds, space, summary)
    folder = image_folder(root)
    shown = _relative(root, folder)
    problems += check_pictures(
        [
            Picture(shown, folder, name, fold, _annotated_size(record))
            for fold, records in folds.items()
            for name, record in records.items()
        ],
        progress,
    )
    pictures = {fold: len(records) for fold, records in folds.items()}
    return CheckReport(root, tuple(problems), pictures, tuple(summary))


def _check_space(root: Path, problems: list[Problem]) -> _Space:
    path = space_path(root)
    record = _read(root, path, problems)
    if record is None:
        return _Space()
    file = _relative(root, path)
    frames: dict[str, tuple[str, ...]] | None = None
    if isinstance(record.get("verbs"), dict):
        frames = {}
        for verb, entry in record["verbs"].items():
            order = entry.get("order") if isinstance(entry, dict) else None
            if not isinstance(order, list) or not order or not all(isinstance(role, str) and role for role in order):
                problems.append(Problem(file, f"verbs.{verb}.order", "must be a list of role names, at least one"))
                continue
            frames[verb] = tuple(order)
            if len(set(order)) != len(order):
                problems.append(Problem(file, f"verbs.{verb}.order", "names a role twice"))
            roles = entry.get("roles")
            if isinstance(roles, dict) and set(roles) != set(order):
                differing = ", ".join(sorted(set(roles) ^ set(order)))
                problems.append(Problem(file, f"verbs.{verb}.roles", f"disagrees with 'order' about {differing}"))
    else:
        problems.append(Problem(file, "verbs", "is missing or no object"))
    nouns = record.get("nouns")
    if not isinstance(nouns, dict):
        problems.append(Problem(file, "nouns", "is missing or no object"))
        return _Space(frames)
    for key, entry in nouns.items():
        gloss = entry.get("gloss") if isinstance(entry, dict) else None
        if not isinstance(gloss, list) or not gloss or not all(isinstance(word, str) for word in gloss):
            problems.append(Problem(file, f"nouns.{key}.gloss", "must be a list of words, at least one"))
    return _Space(frames, frozenset(nouns))


def _check_record(record: Any, space: _Space) -> Iterator[tuple[str, str]]:
    """(place within the record, sentence) of each fault."""
    if not isinstance(record, dict):
        yield "", "must be an object with verb, height, width, frames and bb"
        return
    verb = record.get("verb")
    order: tuple[str, ...] | None = None
    if not isinstance(verb, str):
        yield ".verb", "is missing or no text"
    elif space.frames is not None:
        order = space.frames.get(verb)
        if order is None:
            yield ".verb", f"{verb!r} is not among the verbs of imsitu_space.json"
    size: list[int | None] = []
    for side in ("width", "height"):
        value = record.get(side)
        good = type(value) is int and value > 0
        size.append(value if good else None)
        if not good:
            yield f".{side}", f"must be a whole number of pixels above zero, not {value!r}"
    frames = record.get("frames")
    if not isinstance(frames, list):
        yield ".frames", "is missing or no list"
    else:
        if len(frames) != ANNOTATORS:
            yield ".frames", f"holds {len(frames)} annotators' answers, {ANNOTATORS} are expected"
        for number, frame in enumerate(frames):
            yield from _check_frame(f".frames[{number}]", frame, verb, order, space.nouns)
    boxes = record.get("bb")
    if not isinstance(boxes, dict):
        yield ".bb", "is missing or no object"
        return
    yield from _check_roles(".bb", boxes, verb, order)
    for role, box in boxes.items():
        for sentence in box_faults(box, size[0], size[1]):
            yield f".bb.{role}", sentence


def _check_roles(
    place: str, found: Mapping[str, Any], verb: Any, order: tuple[str, ...] | None
) -> Iterator[tuple[str, str]]:
    if order is not None:
        for role in order:
            if role not in found:
                yield place, f"lacks the role {role!r} of {verb!r}"
        for role in found:
            if role not in order:
                yield f"{place}.{role}", f"is no role of {verb!r}, which has {', '.join(order)}"


def _check_frame(
    place: str, frame: Any, verb: Any, order: tuple[str, ...] | None, nouns: frozenset[str] | None
) -> Iterator[tuple[str, str]]:
    if not isinstance(frame, dict):
        yield place, "must be an object from role to noun"
        return
    yield from _check_roles(place, frame, verb, order)
    for role, noun in frame.items():
        if not isinstance(noun, str):
            yield f"{place}.{role}", f"must be a noun or '', not {noun!r}"
        elif noun != EMPTY_NOUN and nouns is not None and noun not in nouns:
            yield f"{place}.{role}", f"{noun!r} is not among the nouns of imsitu_space.json"


def box_faults(box: Any, width: int | None, height: int | None) -> Iterator[str]:
    """What is wrong with a ``bb`` entry, a sentence each; the sides are None where they are not known."""
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(c, int | float) and not isinstance(c, bool) and abs(c) < float("inf") for c in box)
    ):
        yield f"must be four numbers (x1, y1, x2, y2), not {box!r}"
        return
    if box == NOT_GROUNDED:
        return
    if -1 in box:
        half = ", ".join(side for side, c in zip(_SIDES, box, strict=True) if c == -1)
        yield f"{box} has -1 for {half} only; a role without a box has four -1, a box none"
        return
    if box[2] <= box[0] or box[3] <= box[1]:
        yield f"{box} is inverted or empty; x2 must be above x1 and y2 above y1"
    if min(box[0], box[1]) < 0 or (width is not None and box[2] > width) or (height is not None and box[3] > height):
        yield f"{box} reaches outside the picture of {width} x {height} pixels"


def _check_split(
    root: Path, folds: Mapping[str, Mapping[str, Any]], space: _Space, summary: list[str]
) -> Iterator[Problem]:
    path = split_path(root)
    if not path.is_file():
        return
    file = _relative(root, path)
    try:
        split = read_split_file(path)
    except DataError as error:
        yield Problem(file, "", _without_path(error, path))
        return
    parts = {"seen": split.seen, "rare": split.rare, "unseen": split.unseen, "dev_unseen": split.dev_unseen}
    for part, verbs in parts.items():
        for verb in verbs:
            if space.frames is not None and verb not in space.frames:
                yield Problem(file, part, f"{verb!r} is not among the verbs of imsitu_space.json")
    for noun in split.unseen_nouns:
        if space.nouns is not None and noun not in space.nouns:
            yield Problem(file, "unseen_nouns", f"{noun!r} is not among the nouns of imsitu_space.json")
    summary += _skipped(_relative(root, annotation_path(root, "train")), folds.get("train", {}), split)


def _skipped(file: str, records: Mapping[str, Any], split: VerbSplit) -> Iterator[str]:
    """A sentence on the training pictures that the split leaves out: nothing is wrong with them."""
    whole = {name: record for name, record in records.items() if isinstance(record, dict)}
    names, unseen = list(whole), frozenset(split.unseen_nouns)

    def shows_unseen_noun(position: int) -> bool:
        frames = whole[names[position]].get("frames")
        dictionaries = (frame for frame in frames if isinstance(frame, dict)) if isinstance(frames, list) else ()
        return any(isinstance(noun, str) and noun in unseen for frame in dictionaries for noun in frame.values())

    verbs = [str(record.get("verb")) for record in whole.values()]
    skipped = len(whole) - len(split.positions(names, verbs, "train", shows_unseen_noun))
    if skipped:
        yield f"{file}: the split keeps {skipped} of {len(whole)} pictures from training, which skips them"


def _annotated_size(record: Any) -> tuple[Any, Any] | None:
    return (record.get("width"), record.get("height")) if isinstance(record, dict) else None


def _read(root: Path, path: Path, problems: list[Problem]) -> dict[str, Any] | None:
    """A JSON object; what is wrong with the file, and keys named twice, are added to the problems."""
    file = _relative(root, path)
    try:
        record = read_json_object(path)
    except DataError as error:
        problems.append(Problem(file, "", _without_path(error, path)))
        return None

    def note_twice(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        counted: dict[str, Any] = {}
        for key, value in pairs:
            if key in counted:
                problems.append(Problem(file, key, "is named twice in one object; a reader takes the last one only"))
            counted[key] = value
        return counted

    return dict(json.loads(path.read_bytes(), object_pairs_hook=note_twice)) if record else {}


def _without_path(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
