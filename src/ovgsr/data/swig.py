"""The SWiG format: JSON files and a folder of pictures to annotated images, a vocabulary and a verb split.

Layout of a data set folder (Pratt et al., "Grounded Situation Recognition", ECCV 2020)::

    images_512/<verb>_<n>.jpg
    SWiG_jsons/train.json, dev.json, test.json      file name -> verb, height, width, frames, bb
    SWiG_jsons/imsitu_space.json                    the verbs' frames, the nouns' words
    SWiG_jsons/open_vocabulary_split.json           optional: seen, rare and unseen verbs
    SWiG_jsons/other_verbs.json                     optional: file name -> verbs that are true of it besides its own
    ovgsr_index/                                    optional: what ovgsr data prepare wrote (annotation_table)

Three rules that other readers break: the verb comes from the record, not from the file name; roles are indexed by
``order`` of imsitu_space.json; a role is not grounded where all four coordinates are -1, so 0 is a coordinate.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ovgsr.data.annotation_table import open_index
from ovgsr.data.errors import DataError
from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, Situation, SituationError
from ovgsr.verb_split import SplitError, VerbSplit
from ovgsr.vocabulary import (
    SWIG_ROLES,
    SWIG_VERB_ROLE_PAIRS,
    SWIG_VERBS,
    Noun,
    Verb,
    Vocabulary,
    VocabularyError,
    swig_nouns,
)

Fold = Literal["train", "dev", "test"]
FOLDS: tuple[Fold, ...] = ("train", "dev", "test")
ANNOTATORS = 3
"""How many people answer for each picture."""

SHIPPED_SPLITS = ("ov_swig",)
"""Splits that the package carries (``docs/ov_swig.md``); a file of such a name needs its ending, ``.json``."""

NOT_GROUNDED = [-1, -1, -1, -1]
_WORDNET_SIZED = 20_000
"""An imsitu_space.json with more nouns than this lists all of WordNet (82,000), not what the pictures show."""


def annotation_path(root: Path, fold: str) -> Path:
    """Where a fold's records are. Raises DataError for an unknown fold."""
    if fold not in FOLDS:
        raise DataError(f"there is no fold {fold!r}; the folds are {', '.join(FOLDS)}")
    return root / "SWiG_jsons" / f"{fold}.json"


def space_path(root: Path) -> Path:
    """Where the frames and nouns are."""
    return root / "SWiG_jsons" / "imsitu_space.json"


def split_path(root: Path) -> Path:
    """Where the split into seen, rare and unseen verbs is, if the data set has one."""
    return root / "SWiG_jsons" / "open_vocabulary_split.json"


def other_verbs_path(root: Path) -> Path:
    """Where the verbs are that are true of a picture besides its own, if anybody noted any."""
    return root / "SWiG_jsons" / "other_verbs.json"


def read_other_verbs(root: Path) -> Mapping[str, tuple[str, ...]]:
    """File name -> verbs that are true of the picture besides its own: no judgement may call them wrong."""
    path = other_verbs_path(Path(root))
    if not path.is_file():
        return {}
    found = read_json_object(path)
    for name, verbs in found.items():
        if not isinstance(verbs, list) or not all(isinstance(verb, str) for verb in verbs):
            raise DataError(f"{path}: {name} must have a list of verbs, not {verbs!r}")
    return {name: tuple(verbs) for name, verbs in found.items()}


def index_path(root: Path, fold: str) -> Path:
    """Where the index of a fold's records is, if there is one."""
    return root / "ovgsr_index" / f"{fold}.safetensors"


def image_folder(root: Path) -> Path:
    """Where the pictures are."""
    return root / "images_512"


def resized_folder(root: Path, size: int) -> Path:
    """Where copies of the pictures are whose shorter side has ``size`` pixels, if there are any."""
    return root / f"resized_{size}"


def image_path(root: Path, file_name: str) -> Path:
    """The file of a picture. Raises DataError for a name that leads out of the picture folder."""
    if not is_plain_name(file_name):
        raise DataError(f"the picture name {file_name!r} leads out of {image_folder(root)}; use a relative name")
    return image_folder(root) / file_name


def is_plain_name(file_name: str) -> bool:
    """Whether a picture's name stays inside the picture folder."""
    path = PurePosixPath(file_name)
    odd = "\\" in file_name or "\0" in file_name
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not odd


def read_annotations(root: Path, fold: Fold, faults: list[str] | None = None) -> Sequence[AnnotatedImage]:
    """Every record of a fold, in file order: from the index of ``ovgsr data prepare`` where it is up to date.

    Each role's noun is the annotators' majority answer, the first one's on ties. A box with some coordinates -1 keeps
    them. Raises DataError naming the file, the picture and the field at the first fault; where a list is given, faulty
    records are left out and what is wrong with them is added to it. ``ovgsr.data.check`` lists all problems.
    """
    root = Path(root)
    path = annotation_path(root, fold)
    indexed = open_index(index_path(root, fold), (path, space_path(root)))
    images, found = parse_annotations(root, fold, stop=faults is None) if indexed is None else indexed
    if faults is not None:
        faults += [f"{path}: {fault}" for fault in found]
    elif found:
        raise DataError(f"{path}: {found[0]}")
    return images


def parse_annotations(root: Path, fold: Fold, *, stop: bool) -> tuple[tuple[AnnotatedImage, ...], tuple[str, ...]]:
    """The usable records of a fold's JSON, and what is wrong with the others: picture, field and remedy.

    Raises DataError at the first fault where ``stop`` says so.
    """
    path = annotation_path(root, fold)
    frames = read_frames(root)
    images: list[AnnotatedImage] = []
    faults: list[str] = []
    with _paused_garbage_collection():
        for name, record in read_json_object(path).items():
            try:
                images.append(_annotated_image(name, record, frames))
            except DataError as error:
                if stop:
                    raise DataError(f"{path}: {error}") from None
                faults.append(str(error))
        return tuple(images), tuple(faults)


def read_vocabulary(root: Path) -> Vocabulary:
    """The verbs with their frames and the nouns of a data set's imsitu_space.json.

    A noun's hypernym comes from the built-in list where its synset is known there. A file that lists all of WordNet,
    as the original does, offers only the 9,926 built-in nouns, with the file's words and definitions.
    """
    path = space_path(Path(root))
    space = read_json_object(path)
    verbs = tuple(_verb(path, name, entry) for name, entry in _object(path, space, "verbs").items())
    entries = _object(path, space, "nouns")
    known = swig_nouns()
    keys: Iterable[str] = known if len(entries) > _WORDNET_SIZED else (key for key in entries if key)
    nouns = tuple(_noun(path, key, entries[key], known) if key in entries else known[key] for key in keys)
    original = len(verbs) == SWIG_VERBS and len(entries) > _WORDNET_SIZED
    try:
        return Vocabulary(verbs, nouns, "SWiG" if original else Path(root).resolve().name)
    except VocabularyError as error:
        raise DataError(f"{path}: {error}") from None


def verify_original(vocabulary: Vocabulary) -> None:
    """Raises DataError unless this is the original SWiG's 504 verbs, 190 roles and 1,788 verb-role pairs."""
    found = (len(vocabulary.verbs), len(vocabulary.roles), sum(len(verb.roles) for verb in vocabulary.verbs))
    if found != (SWIG_VERBS, SWIG_ROLES, SWIG_VERB_ROLE_PAIRS):
        raise DataError(
            f"{vocabulary.name}: the original SWiG has {SWIG_VERBS} verbs, {SWIG_ROLES} roles and "
            f"{SWIG_VERB_ROLE_PAIRS} verb-role pairs; this imsitu_space.json has {found[0]}, {found[1]} and "
            f"{found[2]}. Download it again from the SWiG project"
        )


def read_split(root: Path, file: str | Path | None = None) -> VerbSplit | None:
    """The split in ``file`` or of that name (SHIPPED_SPLITS), by default the data set's own; None without one."""
    if file is not None:
        return read_split_file(Path(file))
    path = split_path(Path(root))
    return read_split_file(path) if path.is_file() else None


def read_split_file(path: Path) -> VerbSplit:
    """A split from a file, or one of SHIPPED_SPLITS by its name. Raises DataError with the field at fault."""
    if str(path) in SHIPPED_SPLITS:
        with as_file(files("ovgsr") / "assets" / "splits" / f"{path}.json") as shipped:
            return read_split_file(shipped)
    if not path.is_file():
        raise DataError(f"{path}: there is no such split file; the package carries {', '.join(SHIPPED_SPLITS)}")
    try:
        return VerbSplit.from_json(read_json_object(path))
    except SplitError as error:
        raise DataError(f"{path}: {error}") from None


def require_known_verbs(split: VerbSplit, vocabulary: Vocabulary) -> None:
    """Raises DataError where the split names a verb that the data set does not have.

    A misspelt verb would otherwise compete without a frame, and its pictures would silently be left out.
    """
    unknown = [v for v in (*split.training, *split.unseen, *split.dev_unseen) if v not in vocabulary]
    if unknown:
        raise DataError(
            f"the split {split.name!r} names {unknown[0]!r} (and {len(unknown) - 1} more), which the imsitu_space.json "
            f"of {vocabulary.name!r} does not list; correct the names in the split file"
        )


def with_verbs(images: Iterable[AnnotatedImage], verbs: Iterable[str]) -> tuple[AnnotatedImage, ...]:
    """The pictures whose verb is among ``verbs``, e.g. a split's training verbs, in the order given."""
    wanted = frozenset(verbs)
    return tuple(image for image in images if image.situation.verb in wanted)


def read_frames(root: Path) -> Mapping[str, tuple[str, ...]]:
    """Verb -> its roles in the canonical order. Read once per version of the file."""
    path = space_path(Path(root))
    try:
        status = path.stat()
    except OSError:
        raise DataError(_missing(path)) from None
    return _frames(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _frames(path: Path, modified_ns: int, size: int) -> Mapping[str, tuple[str, ...]]:
    verbs = _object(path, read_json_object(path), "verbs")
    return {name: _verb(path, name, entry).roles for name, entry in verbs.items()}


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object. Raises DataError where it does not."""
    try:
        value = json.loads(path.read_bytes())
    except OSError:
        raise DataError(_missing(path)) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: this is no valid JSON ({error}); copy or download the file again") from None
    except RecursionError:
        raise DataError(f"{path}: this JSON is nested too deeply to be a SWiG file") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: a JSON object is expected, not a {type(value).__name__}; is it the right file?")
    return value


def grounded_box(box: Any) -> BoxXyxy | None:
    """A ``bb`` entry as a box, None where all four coordinates are -1. Raises ValueError for anything else."""
    if box == NOT_GROUNDED:
        return None
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"must be four numbers, not {box!r}")
    for coordinate in box:
        if isinstance(coordinate, bool) or not isinstance(coordinate, int | float):
            raise ValueError(f"must be four numbers, not {box!r}")
    return (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def majority(answers: Sequence[str]) -> str:
    """The commonest answer, the first one given on ties."""
    return max(answers, key=answers.count)  # max keeps the first of equals


def _annotated_image(name: str, record: Any, frames: Mapping[str, tuple[str, ...]]) -> AnnotatedImage:
    try:
        verb, width, height, boxes = record["verb"], record["width"], record["height"], record["bb"]
        answers = record["frames"]
    except (KeyError, TypeError) as error:
        field = error.args[0] if isinstance(error, KeyError) else "the whole record"
        raise DataError(
            f"{name}: the field {field!r} is missing; records need verb, height, width, frames and bb "
            "(imSitu's own files have no boxes: use those of SWiG)"
        ) from None
    roles = frames.get(verb) if isinstance(verb, str) else None
    if roles is None:
        raise DataError(f"{name}: 'verb' is {verb!r}, which imsitu_space.json does not list; add it there")
    if type(width) is not int or type(height) is not int or width <= 0 or height <= 0:
        raise DataError(f"{name}: 'width' and 'height' must be whole numbers of pixels above zero")
    if not is_plain_name(name):
        raise DataError(f"{name!r}: a picture's name must stay inside images_512; use a relative name")
    if not isinstance(answers, list) or not answers or not all(isinstance(frame, dict) for frame in answers):
        raise DataError(f"{name}: 'frames' must be a list of maps from role to noun, one an annotator")
    nouns: dict[str, GroundedNoun] = {}
    for role in roles:
        try:
            given = tuple([frame[role] for frame in answers])
            nouns[role] = GroundedNoun(majority(given), grounded_box(boxes[role]), annotators=given)
        except (KeyError, TypeError):
            raise DataError(f"{name}: {_role_fault(role, answers, boxes)}") from None
        except (ValueError, SituationError) as error:
            raise DataError(f"{name}: 'bb.{role}' {error}") from None
        if not all(type(answer) is str for answer in given):
            raise DataError(f"{name}: 'frames' must give {role!r} a synset or '' each, not {given!r}")
    if any(len(frame) != len(roles) for frame in (*answers, boxes)):
        extra = sorted({role for frame in (*answers, boxes) for role in frame} - set(roles))
        raise DataError(f"{name}: {', '.join(extra)} is no role of {verb!r} in imsitu_space.json")
    return AnnotatedImage(name, width, height, (Situation(verb, nouns),))


def _role_fault(role: str, answers: Sequence[Mapping[str, Any]], boxes: Any) -> str:
    for number, frame in enumerate(answers, start=1):
        if role not in frame:
            return f"annotator {number} in 'frames' lacks the role {role!r} of imsitu_space.json; add it, '' if empty"
    if not isinstance(boxes, dict) or role not in boxes:
        return f"'bb' lacks the role {role!r}; add it, [-1, -1, -1, -1] where it is not grounded"
    return f"'frames' must give {role!r} a synset or '' for each annotator"


def _verb(path: Path, name: str, entry: Any) -> Verb:
    order = entry.get("order") if isinstance(entry, dict) else None
    if not isinstance(order, list) or not order or not all(isinstance(role, str) and role for role in order):
        raise DataError(f"{path}: verbs.{name}.order must be a list of role names, at least one")
    if len(set(order)) != len(order):
        raise DataError(f"{path}: verbs.{name}.order names a role twice: {', '.join(order)}")
    roles = entry.get("roles", {})
    definitions = {
        role: str(roles[role].get("def", ""))
        for role in order
        if isinstance(roles, dict) and isinstance(roles.get(role), dict)
    }
    return Verb(name, tuple(order), str(entry.get("def", "")), str(entry.get("abstract", "")), definitions)


def _noun(path: Path, key: str, entry: Any, known: Mapping[str, Noun]) -> Noun:
    gloss = entry.get("gloss") if isinstance(entry, dict) else None
    if not isinstance(gloss, list) or not gloss or not all(isinstance(word, str) for word in gloss):
        raise DataError(f"{path}: nouns.{key}.gloss must be a list of words, at least one")
    hypernym = known[key].hypernym if key in known else ""
    return Noun(key, tuple(gloss), hypernym, str(entry.get("def", "")))


def _object(path: Path, value: Mapping[str, Any], field: str) -> dict[str, Any]:
    found = value.get(field)
    if not isinstance(found, dict):
        raise DataError(f"{path}: the field {field!r} is missing or no object; is it SWiG's imsitu_space.json?")
    return found


def _missing(path: Path) -> str:
    if path.parent.name == "SWiG_jsons" and not path.parent.is_dir():
        return f"{path}: there is no such file; name the folder that holds SWiG_jsons and images_512"
    return f"{path}: there is no such file, or it may not be read; check the data set folder"


@contextmanager
def _paused_garbage_collection() -> Iterator[None]:
    """Half a million small objects that all stay: without this the collector walks them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
