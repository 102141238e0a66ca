"""A folder of rationales on disk: append-only, safe to kill at any moment, quick to open.

Layout::

    store.json                          what the rationales were made from; another make is refused
    rationales.jsonl                    one record a line; of two records of a picture the later line counts
    rationales.2-of-4.jsonl             the same, written by ``--shard 2/4``; all such files are read together
    quarantine.jsonl, .2-of-4.jsonl     pictures that got no usable rationales: why, and the last reply
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ovgsr.files import write_atomically, write_text_atomically
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.rationales import PictureRationales, RationaleError, annotation_sha256
from ovgsr.teacher.jrg.record_lines import (
    FileLock,
    RecordPlace,
    append_lines,
    cut_unfinished_tail,
    index_records,
    locked,
    record_line,
)
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

FORMAT = "ovgsr-rationales-1"
STORE_FILE = "store.json"
RATIONALES, QUARANTINE = "rationales", "quarantine"
KEPT_REPLY = 4096
"""Characters of a bad reply that the quarantine keeps."""

_BATCH_RECORDS, _BATCH_SECONDS = 32, 1.0

_IS_OURS = re.compile(rf"(?:{RATIONALES}|{QUARANTINE})(?:\.\d+-of-\d+)?\.jsonl")

_Index = dict[str, tuple[RecordPlace, ...]]


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """What a store's rationales were made from. Two stores with one identity may be mixed, others never."""

    template: str
    template_sha256: str
    model: str
    is_llm: bool
    split: str
    split_sha256: str
    data: str
    data_sha256: str
    k: int
    seed: int

    def difference(self, other: StoreIdentity) -> str:
        """The first field that differs, with both values, as part of a sentence; empty where all agree.

        The names of the data set and of the split are for people only: a folder may be renamed.
        """
        for field in fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            if field.name not in ("data", "split") and mine != others:
                return f"{field.name!r} is {mine!r} there and {others!r} here"
        return ""


def data_sha256(vocabulary: Vocabulary) -> str:
    """A fingerprint of a data set's words: verbs, frames, definitions, nouns. Annotations have one of their own."""
    words = {name: entries for name, entries in vocabulary.to_json().items() if name in ("verbs", "nouns")}
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number`` (from 1) of ``of``: a picture belongs to the same part whatever else the data set holds."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``2/4``. Raises RationaleError for anything else."""
        found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text.strip())
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise RationaleError(f"the shard {text!r} must be i/n with i from 1 to n, for example 2/4")
        return cls(int(found[1]), int(found[2]))

    def __contains__(self, file_name: object) -> bool:
        digest = hashlib.sha256(str(file_name).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    @property
    def suffix(self) -> str:
        """What stands between a file's name and its ending; nothing where there is only one part."""
        return f".{self.number}-of-{self.of}" if self.of > 1 else ""


WHOLE = Shard(1, 1)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A picture without usable rationales. ``reasons`` are pairs of a short code and a sentence."""

    file_name: str
    annotation_sha256: str
    reasons: tuple[tuple[str, str], ...]
    reply: str
    attempts: int

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Quarantined:
        """From a line of the store. Raises RationaleError where a field is missing or of the wrong kind."""
        try:
            reasons = tuple((str(code), str(sentence)) for code, sentence in record["reasons"])
            name, sha256, reply = (str(record[field]) for field in ("file_name", "annotation_sha256", "reply"))
            return cls(name, sha256, reasons, reply, int(record["attempts"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RationaleError(f"a quarantined picture's record cannot be read: {error}") from None

    @property
    def codes(self) -> tuple[str, ...]:
        """The short codes, each once."""
        return tuple(dict.fromkeys(code for code, _ in self.reasons))


class _Records(Mapping[str, PictureRationales]):
    """Rationales by picture, each parsed when it is asked for."""

    def __init__(self, index: Mapping[str, RecordPlace]) -> None:
        self._index = index

    def __getitem__(self, file_name: str) -> PictureRationales:
        record = self._index[file_name].read()
        try:
            return PictureRationales.from_json(record)
        except RationaleError as error:
            raise RationaleError(f"{self._index[file_name].path}: {file_name}: {error}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, file_name: object) -> bool:
        return file_name in self._index


class RationaleStore:
    """A store as training reads it. Made by :meth:`open`; sees what was there at that moment."""

    def __init__(self, folder: Path, identity: StoreIdentity) -> None:
        self.folder = folder
        self.identity = identity
        self._index = _index(folder, RATIONALES)
        self._quarantine = _index(folder, QUARANTINE)

    @classmethod
    def open(cls, folder: Path, *, split: VerbSplit | None = None) -> RationaleStore:
        """The store of a folder; with ``split``, only if it was made for that split.

        Raises RationaleError where the folder is no store, a line is damaged or the split is another one. A last line
        that a killed run left unfinished is passed over.
        """
        folder = Path(folder)
        identity = read_identity(folder)
        if split is not None and split.fingerprint != identity.split_sha256:
            raise RationaleError(
                f"{folder / STORE_FILE}: these rationales were made for the split {identity.split!r} "
                f"(sha256 {identity.split_sha256[:12]}), not for {split.name!r} (sha256 {split.fingerprint[:12]}); "
                "a verb unseen here may be named in them. Make rationales for this split in another folder"
            )
        return cls(folder, identity)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, file_name: object) -> bool:
        return file_name in self._index

    def read(self, images: Iterable[AnnotatedImage] | None = None) -> Mapping[str, PictureRationales]:
        """Rationales by picture, read lazily; with ``images``, only theirs, and only those of today's annotation."""
        if images is None:
            return _Records({name: places[-1] for name, places in self._index.items()})
        return _Records({i.file_name: place for i in images if (place := _current(self._index, i)) is not None})

    def missing(self, images: Iterable[AnnotatedImage]) -> tuple[AnnotatedImage, ...]:
        """The pictures without rationales, or with rationales of another annotation than today's only."""
        return tuple(image for image in images if _current(self._index, image) is None)

    def stale(self, images: Iterable[AnnotatedImage]) -> tuple[str, ...]:
        """The pictures whose rationales were all written for another annotation."""
        return tuple(image.file_name for image in self.missing(images) if image.file_name in self._index)

    def quarantined(self, images: Iterable[AnnotatedImage] | None = None) -> Mapping[str, Quarantined]:
        """Why pictures have no rationales, those left out that got some since.

        With ``images``, only theirs, and only where their annotation has not changed since.
        """
        if images is None:
            places = {name: places[-1] for name, places in self._quarantine.items()}
        else:
            places = {i.file_name: place for i in images if (place := _current(self._quarantine, i)) is not None}
        return {
            name: Quarantined.from_json(place.read())
            for name, place in places.items()
            if all(record.annotation_sha256 != place.annotation_sha256 for record in self._index.get(name, ()))
        }

    def counts(self) -> dict[str, int]:
        """``pictures`` with rationales, ``quarantined`` ones, and these by reason code."""
        quarantined = self.quarantined()
        codes = Counter(code for entry in quarantined.values() for code in entry.codes)
        return {"pictures": len(self), "quarantined": len(quarantined), **dict(codes.most_common())}


def _current(index: _Index, image: AnnotatedImage) -> RecordPlace | None:
    """The newest record that was made from the annotation as it is now."""
    places = index.get(image.file_name)
    if places is None:
        return None
    sha256 = annotation_sha256(image)
    return next((place for place in reversed(places) if place.annotation_sha256 == sha256), None)


class StoreWriter:
    """Appends to a store. One process a shard; a second one for the same shard is refused.

    Records are written and forced to disk in batches of 32 or of a second; ``close`` (or leaving the ``with`` block,
    also by Ctrl-C) writes what is left. After a kill the next writer cuts off an unfinished last line.
    """

    def __init__(self, folder: Path, identity: StoreIdentity, shard: Shard = WHOLE) -> None:
        self.folder = Path(folder)
        self.identity = identity
        self.shard = shard
        self._buffers: dict[Path, list[bytes]] = {self._path(RATIONALES): [], self._path(QUARANTINE): []}
        self._flushed = time.monotonic()
        self._lock = FileLock(self._path(RATIONALES).with_suffix(".lock"), wait=False)
        try:
            with locked(self.folder / "store.lock"):  # two first writers at once must not both win
                if (self.folder / STORE_FILE).is_file():
                    _require_same(self.folder, read_identity(self.folder), identity)
                else:
                    _write_identity(self.folder, identity)
            for path in self._buffers:
                cut_unfinished_tail(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self) -> RationaleStore:
        """What is on disk, of every shard."""
        return RationaleStore.open(self.folder)

    def add(self, record: PictureRationales) -> None:
        """Keeps a picture's rationales."""
        self._append(self._path(RATIONALES), record.to_json())

    def quarantine(self, entry: Quarantined) -> None:
        """Keeps why a picture has none."""
        plain = asdict(entry) | {"reply": entry.reply[:KEPT_REPLY]}
        self._append(self._path(QUARANTINE), plain)

    def flush(self) -> None:
        """Forces everything to disk."""
        for path, lines in self._buffers.items():
            if lines:
                append_lines(path, lines)
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Flushes and lets another process write this shard."""
        if self._lock.held:
            try:
                self.flush()
            finally:
                self._lock.release()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{self.shard.suffix}.jsonl"

    def _append(self, path: Path, record: Mapping[str, Any]) -> None:
        if not self._lock.held:
            raise RationaleError(f"{self.folder}: this store was closed; open it again to write to it")
        self._buffers[path].append(record_line(record))
        full = sum(map(len, self._buffers.values())) >= _BATCH_RECORDS
        if full or time.monotonic() - self._flushed >= _BATCH_SECONDS:
            self.flush()


def merge_stores(out: Path, sources: Iterable[Path]) -> RationaleStore:
    """Joins stores of one make, e.g. of shards written on several machines, into one file in ``out``, sorted.

    Half a merge never stands in ``out``. A picture that several sources have is taken from the first. Raises
    RationaleError where the makes differ, or where two sources wrote about different annotations of one picture.
    """
    stores = [RationaleStore.open(source) for source in sources]
    if not stores:
        raise RationaleError("there is no store to merge; name at least one")
    out = Path(out).absolute()
    if out.is_dir() and any(out.iterdir()):
        raise RationaleError(f"{out}: there is a store already, or other files; merge into a new folder")
    chosen: dict[str, tuple[RationaleStore, RecordPlace]] = {}
    for store in stores:
        _require_same(store.folder, store.identity, stores[0].identity)
        for name, places in store._index.items():
            first, place = chosen.setdefault(name, (store, places[-1]))
            if place.annotation_sha256 != places[-1].annotation_sha256:
                raise RationaleError(
                    f"{first.folder} and {store.folder} were made from different annotations of {name}; "
                    "make one of them again from today's annotations"
                )
    refused: dict[str, Quarantined] = {}
    for store in stores:
        refused.update({name: entry for name, entry in store.quarantined().items() if name not in chosen})

    def write(unfinished: Path) -> None:
        try:
            with StoreWriter(unfinished, stores[0].identity) as writer:
                for name in sorted(chosen):
                    writer.add(PictureRationales.from_json(chosen[name][1].read()))
                for name in sorted(refused):
                    writer.quarantine(refused[name])
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    write_atomically(out, write)
    return RationaleStore.open(out)


def store_files(folder: Path, name: str) -> list[Path]:
    """The files of ``rationales`` or of the ``quarantine``: the whole one and those of shards."""
    return sorted(p for p in Path(folder).glob(f"{name}*.jsonl") if _IS_OURS.fullmatch(p.name))


def _index(folder: Path, name: str) -> _Index:
    """Each picture's records, the newest file's last: a shard may have written anew what the whole file has stale."""
    found: _Index = {}
    for path in sorted(store_files(folder, name), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        for file_name, place in index_records(path).items():
            found[file_name] = (*found.get(file_name, ()), place)
    return found


def read_identity(folder: Path) -> StoreIdentity:
    """What a store was made from. Raises RationaleError where the folder is no store."""
    path = Path(folder) / STORE_FILE
    try:
        record = json.loads(path.read_bytes())
        if record["format"] != FORMAT:
            raise RationaleError(f"{path}: the field 'format' is {record['format']!r}; this version reads {FORMAT!r}")
        return StoreIdentity(**{field.name: record[field.name] for field in fields(StoreIdentity)})
    except OSError:
        raise RationaleError(f"{path}: there is no such file; make a store with: ovgsr teacher rationales") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, RationaleError):
            raise
        raise RationaleError(f"{path}: this is no store's description ({error}); restore the file") from None


def _write_identity(folder: Path, identity: StoreIdentity) -> None:
    if store_files(folder, RATIONALES):
        raise RationaleError(f"{folder}: there are rationales but no {STORE_FILE}; restore it or use another folder")
    write_text_atomically(folder / STORE_FILE, json.dumps({"format": FORMAT, **asdict(identity)}, indent=2) + "\n")


def _require_same(folder: Path, found: StoreIdentity, wanted: StoreIdentity) -> None:
    difference = found.difference(wanted)
    if difference:
        raise RationaleError(
            f"{folder / STORE_FILE}: the rationales in this folder are of another make: {difference}; "
            "use another folder, or the settings the store was made with"
        )
