"""The HICO-DET format: human-object interactions as JSON to annotated images with several situations each.

Layout of a data set folder (Chao et al., "Learning to Detect Human-Object Interactions", WACV 2018; the files are
those of github.com/fredzzhang/hicodet)::

    instances_train2015.json, instances_test2015.json      perhaps instances_dev2015.json
    hico_20160224_det/images/{train2015,test2015}/<name>.jpg, or images/{train2015,test2015}/<name>.jpg
    hoi_split.json                                         optional: interactions that training must not meet

In place of the instances files, the folder or its ``annotations/`` may hold the lists of ``hico_ppdm``.

Four rules that other readers break: boxes are 1-based inclusive pixels, so the continuous corners are x1 - 1, y1 - 1,
x2, y2; objects go by name, because copies of the file number them differently; pictures without a row stay, because
the official evaluation counts what is found in them; an index in the file is not the number in a picture's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovgsr.data import hico_ppdm
from ovgsr.data.errors import DataError
from ovgsr.data.hoi_rows import BrokenRow, RowFault, continuous_corners, index_in, interaction_situation
from ovgsr.data.swig import FOLDS, Fold, is_plain_name
from ovgsr.hoi_vocabulary import (
    Interaction,
    hico_det_interactions,
    hico_det_rare,
    hico_det_vocabulary,
    object_noun,
)
from ovgsr.inflections import gerund
from ovgsr.interactions import HUMAN, OBJECT
from ovgsr.situation import AnnotatedImage, Situation
from ovgsr.vocabulary import Verb, Vocabulary, VocabularyError

ROW_FIELDS = ("boxes_h", "boxes_o", "hoi", "object", "verb")
"""The parallel lists of a picture's entry; one position in all of them is a row."""


@dataclass(frozen=True, slots=True)
class HicoDetFold:
    """The pictures of one file, each with one situation a row, in file order, and the words of that file.

    ``images`` holds the pictures without a row too. ``interactions`` are the combinations that the file lists, in its
    order (600 in HICO-DET, whose HOI ids are the positions). ``broken`` tells of the rows that are left out.
    """

    images: tuple[AnnotatedImage, ...]
    vocabulary: Vocabulary
    interactions: tuple[Interaction, ...]
    rare: frozenset[Interaction]
    broken: tuple[BrokenRow, ...] = ()


def fold_of(source: Path, otherwise: Fold = "test") -> Fold:
    """The fold that a file's name tells of, or the other where it tells of none, as for a folder."""
    name = Path(source).name
    return next((fold for fold in FOLDS if fold in name and not Path(source).is_dir()), otherwise)


def annotation_path(source: Path, fold: Fold) -> Path:
    """The file of a fold: ``source`` itself where it is a file. Raises DataError where the folder has none."""
    source = Path(source)
    if not source.is_dir():
        return source
    files = [source / f"instances_{fold}2015.json"]
    if fold in hico_ppdm.FILES:
        folders = (source, source / "annotations", source / "hico_20160224_det" / "annotations")
        files += [folder / hico_ppdm.FILES[fold] for folder in folders]
    for file in files:
        if file.is_file():
            return file
    raise DataError(f"{files[0]}: there is no such file; name a folder that holds it, or the file itself")


def data_root(source: Path) -> Path:
    """The data set folder: ``source`` itself, or that of a file in it or in its ``annotations/``."""
    source = Path(source)
    if source.is_dir():
        return source
    return source.parent.parent if source.parent.name == "annotations" else source.parent


def image_folder(source: Path, fold: Fold) -> Path:
    """Where the pictures of a fold are, for a data set folder or a file in it; the first layout where there is none."""
    root = data_root(source)
    folders = [root / "hico_20160224_det" / "images" / f"{fold}2015", root / "images" / f"{fold}2015"]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def read_hico_det(source: Path, fold: Fold | None = None) -> HicoDetFold:
    """Every picture of a file, or of a fold of a data set folder (by default ``fold_of`` it).

    A row that cannot be used (a number out of range, an inverted box, an interaction that contradicts its verb or
    object) is left out and told of in ``broken``. Raises DataError where the file as a whole cannot be read.
    """
    fold = fold or fold_of(source)
    path = annotation_path(source, fold)
    record = read_json(path)
    if isinstance(record, list):
        images, broken = hico_ppdm.read_ppdm(path, record, image_folder(source, fold))
        return HicoDetFold(images, hico_det_vocabulary(), hico_det_interactions(), hico_det_rare(), tuple(broken))
    if isinstance(record, dict):
        return _read_instances(path, record)
    raise DataError(f"{path}: a JSON object or list is expected; is it HICO-DET's instances_{fold}2015.json?")


def _read_instances(path: Path, record: Mapping[str, Any]) -> HicoDetFold:
    verbs, objects = (_names(path, record, field) for field in ("verbs", "objects"))
    interactions = _interactions(path, record, verbs, objects)
    tables = _Tables(path.name, verbs, objects, interactions)
    entries, sizes, names = (_list(path, record, field) for field in ("annotation", "size", "filenames"))
    if not len(entries) == len(sizes) == len(names):
        raise DataError(
            f"{path}: 'annotation', 'size' and 'filenames' must be equally long, one entry a picture, not "
            f"{len(entries)}, {len(sizes)} and {len(names)}; download the file again"
        )
    images: dict[str, AnnotatedImage] = {}
    broken: list[BrokenRow] = []
    for position, (name, size, entry) in enumerate(zip(names, sizes, entries, strict=True)):
        width, height = _checked_picture(path, position, name, size, images)
        images[name] = AnnotatedImage(name, width, height, tables.situations(name, entry, broken))
    vocabulary = _vocabulary(path, verbs, objects, interactions)
    return HicoDetFold(
        tuple(images.values()), vocabulary, interactions, _rare(path, record, interactions), tuple(broken)
    )


@dataclass(frozen=True, slots=True)
class _Tables:
    """What the numbers of a file mean."""

    file: str
    verbs: tuple[str, ...]
    objects: tuple[str, ...]
    interactions: tuple[Interaction, ...]

    def situations(self, picture: str, entry: Any, broken: list[BrokenRow]) -> tuple[Situation, ...]:
        """The usable rows of a picture; the others are added to ``broken``."""
        for field in ROW_FIELDS:
            if not isinstance(entry, dict) or not isinstance(entry.get(field), list):
                broken.append(BrokenRow(self.file, picture, None, field, "is missing or no list"))
                return ()
        found = []
        for row in range(max(len(entry[field]) for field in ROW_FIELDS)):
            try:
                found.append(self._situation(entry, row))
            except RowFault as fault:
                broken.append(BrokenRow(self.file, picture, row, fault.field, str(fault)))
        return tuple(found)

    def _situation(self, entry: Mapping[str, list[Any]], row: int) -> Situation:
        for field in ROW_FIELDS:
            if row >= len(entry[field]):
                raise RowFault(field, f"has {len(entry[field])} entries only, fewer than the lists beside it")
        verb, thing = self.interactions[index_in(entry["hoi"][row], "hoi", len(self.interactions))]
        if self.verbs[index_in(entry["verb"][row], "verb", len(self.verbs))] != verb:
            raise RowFault("verb", f"{entry['verb'][row]} is not the verb {verb!r} of interaction {entry['hoi'][row]}")
        if self.objects[index_in(entry["object"][row], "object", len(self.objects))] != thing:
            raise RowFault(
                "object", f"{entry['object'][row]} is not the object {thing!r} of interaction {entry['hoi'][row]}"
            )
        human, other = (continuous_corners(entry[field][row], field) for field in ("boxes_h", "boxes_o"))
        return interaction_situation(verb, thing, human, other)


def read_json(path: Path) -> Any:
    """A JSON file. Raises DataError where it is none."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; check the path") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: this is no valid JSON ({error}); copy or download the file again") from None


def _list(path: Path, record: Mapping[str, Any], field: str) -> list[Any]:
    value = record.get(field)
    if not isinstance(value, list):
        raise DataError(f"{path}: the field {field!r} is missing or no list; is it HICO-DET's instances file?")
    return value


def _names(path: Path, record: Mapping[str, Any], field: str) -> tuple[str, ...]:
    names = _list(path, record, field)
    if not all(isinstance(name, str) and name.strip() for name in names) or len(set(names)) != len(names):
        raise DataError(f"{path}: the field {field!r} must be a list of different names; correct it")
    return tuple(name.replace(" ", "_") for name in names)


def _interactions(
    path: Path, record: Mapping[str, Any], verbs: tuple[str, ...], objects: tuple[str, ...]
) -> tuple[Interaction, ...]:
    found: list[Interaction] = []
    for position, triple in enumerate(_list(path, record, "correspondence")):
        try:
            hoi, thing, verb = triple
            if hoi != position:
                raise ValueError
            found.append((verbs[index_in(verb, "", len(verbs))], objects[index_in(thing, "", len(objects))]))
        except (TypeError, ValueError, RowFault):
            raise DataError(
                f"{path}: correspondence[{position}] must be [{position}, object, verb] with positions in 'objects' "
                f"and 'verbs', not {triple!r}; correct it"
            ) from None
    if len(set(found)) != len(found):
        raise DataError(f"{path}: the field 'correspondence' lists an interaction twice; remove one")
    return tuple(found)


def _checked_picture(
    path: Path, position: int, name: Any, size: Any, known: Mapping[str, AnnotatedImage]
) -> tuple[int, int]:
    if not isinstance(name, str) or not is_plain_name(name) or name in known:
        raise DataError(f"{path}: filenames[{position}] must be a relative name, given once, not {name!r}; correct it")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise DataError(f"{path}: {name}: size[{position}] must be [width, height] in whole pixels, not {size!r}")
    return size[0], size[1]


def _vocabulary(
    path: Path, verbs: tuple[str, ...], objects: tuple[str, ...], interactions: tuple[Interaction, ...]
) -> Vocabulary:
    original = hico_det_vocabulary()
    name = original.name if interactions == hico_det_interactions() else path.resolve().parent.name
    try:
        return Vocabulary(
            tuple(
                original.verb(verb) if verb in original else Verb(verb, (HUMAN, OBJECT), gerund=gerund(verb))
                for verb in verbs
            ),
            tuple(object_noun(thing) for thing in objects),
            name,
        )
    except VocabularyError as error:
        raise DataError(f"{path}: {error}") from None


def _rare(path: Path, record: Mapping[str, Any], interactions: tuple[Interaction, ...]) -> frozenset[Interaction]:
    """The file's own list; older copies of HICO-DET have none, but it is known which ones are rare there."""
    if "rare" not in record:
        return hico_det_rare() if interactions == hico_det_interactions() else frozenset()
    try:
        return frozenset(interactions[index_in(hoi, "rare", len(interactions))] for hoi in _list(path, record, "rare"))
    except RowFault as fault:
        raise DataError(f"{path}: the field 'rare' {fault}; correct it") from None
