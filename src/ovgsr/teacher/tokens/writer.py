"""The open end of a visual-token cache: shards go in whole, whatever kills the process, and beside other processes.

Every shard counts from the moment its record is written, so a kill at any point loses at most the shard in the making.
Each process takes a part i/n of the pictures and writes shards of its own names, into one folder or into several that
``token_merge`` joins. ``token_making`` has the loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from ovgsr.teacher.tokens.cache import CacheKey, latest_names, write_key
from ovgsr.teacher.tokens.shards import (
    KEY_FILE,
    PackedPicture,
    ShardRecord,
    TokenCacheError,
    check_shard,
    read_records,
    shard_path,
    write_record,
    write_shard,
)

Part = tuple[int, int]
"""i of n, from 1."""

SHARD_PICTURES, SHARD_BYTES = 512, 256_000_000


def parse_part(text: str) -> Part:
    """ "2/8" as (2, 8). Raises TokenCacheError for anything that is no part."""
    first, _, count = text.partition("/")
    if first.isascii() and first.isdigit() and count.isascii() and count.isdigit() and 1 <= int(first) <= int(count):
        return int(first), int(count)
    raise TokenCacheError(f"--shard {text!r} is no part; write i/n with i from 1 to n, e.g. 1/4")


def pictures_of_part(pictures: Sequence[tuple[str, Path]], part: Part) -> list[tuple[str, Path]]:
    """Every n-th of the (file name, path) pairs in the order of their names, from the i-th on.

    Raises TokenCacheError where one name stands for two files.
    """
    paths: dict[str, Path] = {}
    for name, path in pictures:
        if paths.setdefault(name, path) != path:
            raise TokenCacheError(
                f"{paths[name]} and {path} would both be known as {name!r}; name the folder above both, or make two "
                "caches"
            )
    index, count = part
    return sorted(paths.items())[index - 1 :: count]


class TokenWriter:
    """The open end of a cache folder, for one part; a context manager that ends with everything received on disk.

    Raises TokenCacheError where the folder is a cache of other tokens or no cache but not empty, or where another
    process writes the same part. Shards that a kill or a power cut left unfinished or damaged are removed.
    """

    def __init__(
        self,
        folder: Path,
        key: CacheKey,
        *,
        part: Part = (1, 1),
        shard_pictures: int = SHARD_PICTURES,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self.folder, self.key, self.part = folder, key, part
        self._limits = (shard_pictures, shard_bytes)
        self._pending: list[PackedPicture] = []
        self._names: dict[str, str] = {}
        self.stored: set[str] = set()
        """Contents that need no tokens any more, this shard's included."""
        self.known: dict[str, str] = {}
        """File name -> content, as on disk."""
        self.repaired = 0
        """Damaged shards that were removed, to be done anew."""
        self.bytes = 0
        """Written by this writer."""
        self.generation = 0
        """Above that of every record there was."""

    def __enter__(self) -> TokenWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        visible = {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}
        if visible and KEY_FILE not in visible:
            raise TokenCacheError(f"{self.folder}: not empty and no token cache; give another folder with --out")
        write_key(self.folder, self.key)
        self._lock = writing(self.folder, f"{self.part[0]}-of-{self.part[1]}", self._remove_leftovers)
        self._lock.__enter__()
        try:
            records = self._sound_records()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        self.generation = 1 + max((record.generation for record in records), default=-1)
        self.stored = {content for record in records if record.shard for content in record.shard.contents}
        self.known = {name: c for name, c in latest_names(records).items() if c in self.stored}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not isinstance(error, OSError):  # a full disk would only fail again
                self.flush()
        finally:
            self._lock.__exit__(kind, error, trace)

    def name(self, file_name: str, content: str) -> None:
        """Remembers what a file holds; it is written with the next shard that the content is in or before."""
        if self.known.get(file_name) != content:
            self._names[file_name] = content

    def add(self, picture: PackedPicture) -> None:
        """Takes a picture's tokens; a full shard goes to disk."""
        self._pending.append(picture)
        self.stored.add(picture.content)
        pictures, size = self._limits
        if len(self._pending) >= pictures or sum(p.bytes for p in self._pending) >= size:
            self.flush()

    def flush(self) -> None:
        """Writes what is waiting: the shard, then its record."""
        names = {name: content for name, content in self._names.items() if content in self.stored}
        if not self._pending and not names:
            return
        text = "".join(picture.content for picture in self._pending) or repr((self.generation, sorted(names.items())))
        kind = "tokens" if self._pending else "names"
        label = f"{self.part[0]}of{self.part[1]}"
        stem = f"{kind}-{label}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        facts = write_shard(self.folder, stem, self._pending) if self._pending else None
        write_record(self.folder, ShardRecord(stem, self.generation, names, facts))
        self.bytes += facts.bytes if facts else 0
        self._pending = []
        self.known |= names
        self._names = {name: content for name, content in self._names.items() if name not in names}

    def _sound_records(self) -> list[ShardRecord]:
        sound = []
        for record in read_records(self.folder):
            shard = shard_path(self.folder, record.stem)
            try:
                if record.shard is not None:
                    check_shard(shard, record.shard, self.key.dtype)
            except TokenCacheError:
                (self.folder / f"{record.stem}.json").unlink(missing_ok=True)  # first: it is what makes a shard count
                shard.unlink(missing_ok=True)
                self.repaired += 1
            else:
                sound.append(record)
        return sound

    def _remove_leftovers(self) -> None:
        """What killed writers left: half files, and shards whose record was not written."""
        for pattern in (".tokens-*.part", ".names-*.part", f".{KEY_FILE}.*.part"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        stems = {record.stem for record in self._sound_records()}
        for path in self.folder.glob("tokens-*.safetensors"):
            if path.stem not in stems:
                path.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path, label: str, clean: Callable[[], None]) -> Iterator[None]:
    """Holds a cache folder open for writing. ``clean`` is called first where nobody else is writing to it.

    The locks end with the process, whatever ends it. Where the file system has none, nothing is cleaned. Raises
    TokenCacheError where another process works under the same label.
    """
    try:
        import fcntl
    except ImportError:  # not on POSIX
        yield
        return

    def lock(file: IO[bytes], how: int) -> bool:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return file is own
        return True

    with (folder / ".writing.lock").open("ab") as shared, (folder / f".writing-{label}.lock").open("ab") as own:
        if not lock(own, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise TokenCacheError(
                f"{folder}: another process is writing the part {label} of this cache; wait for it, or give each "
                "process its own --shard i/n"
            )
        if lock(shared, fcntl.LOCK_EX | fcntl.LOCK_NB):
            clean()
        lock(shared, fcntl.LOCK_SH)  # from here on no newcomer is alone
        yield
