"""Files of records, one JSON object a line, that are appended to and that a kill at any moment cannot spoil.

Each record begins with its picture's name and the fingerprint of the annotation it was made from, so that an index of
hundreds of megabytes is made by looking at the beginning of each line. Lines are pure ASCII (``json.dumps`` escapes
everything else): nothing inside a text can end a line.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovgsr.teacher.jrg.rationales import RationaleError

# Windows has no such module: two processes that write one shard are not told of each other there.
_fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

_HEAD = re.compile(rb'\{"file_name": ("(?:[^"\\]|\\.)*"), "annotation_sha256": "([0-9a-f]{64})", .*\}\n', re.DOTALL)


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record lies: bytes ``offset`` to ``offset + length`` of a file."""

    path: Path
    offset: int
    length: int
    annotation_sha256: str

    def read(self) -> dict[str, Any]:
        """The record. Raises RationaleError where its line is damaged."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            line = stream.read(self.length)
        try:
            record = json.loads(line)
        except ValueError:
            raise damaged_line(self.path, self.offset) from None
        if not isinstance(record, dict):
            raise damaged_line(self.path, self.offset)
        return record


def damaged_line(path: Path, offset: int) -> RationaleError:
    """The error for a line that is no record."""
    return RationaleError(
        f"{path}: the line at byte {offset} is damaged; delete that line and run ovgsr teacher rationales again, "
        "which writes what is missing"
    )


def record_line(record: Mapping[str, Any]) -> bytes:
    """A record as a line. Raises RationaleError where it does not begin with picture and fingerprint."""
    line = json.dumps(record).encode("ascii") + b"\n"
    if not _HEAD.fullmatch(line):
        raise RationaleError(f"the record of {record.get('file_name')!r} lacks its annotation's fingerprint")
    return line


def index_records(path: Path) -> dict[str, RecordPlace]:
    """The last record of each picture. An unfinished last line is passed over.

    Raises RationaleError for any other line that does not look like a record. The texts are not parsed.
    """
    found: dict[str, RecordPlace] = {}
    fault: int | None = None
    for offset, line in _lines(path):
        if fault is not None:  # not the last line: no kill leaves that
            raise damaged_line(path, fault)
        head = _HEAD.fullmatch(line)
        if head is None:
            fault = offset
            continue
        name = json.loads(head[1])
        found.pop(name, None)  # the later line counts, and stands where it was written
        found[name] = RecordPlace(path, offset, len(line), head[2].decode("ascii"))
    return found


def cut_unfinished_tail(path: Path) -> int:
    """Cuts off a last line that a kill left unfinished; returns how many bytes went."""
    if not path.is_file():
        return 0
    start, last = 0, b""
    for offset, line in _lines(path):
        start, last = offset, line
    if not last or _is_record(last):
        return 0
    with path.open("rb+") as stream:
        stream.truncate(start)
        os.fsync(stream.fileno())
    return len(last)


def append_lines(path: Path, lines: list[bytes]) -> None:
    """Appends lines, forces them to disk and empties the list.

    Where that fails (a full disk) or is interrupted, the file is cut back to what it was.
    """
    with path.open("ab", buffering=0) as stream:
        start = stream.seek(0, os.SEEK_END)
        try:
            left = memoryview(b"".join(lines))
            while left:
                left = left[os.write(stream.fileno(), left) :]
            os.fsync(stream.fileno())
            lines.clear()
        except BaseException:
            os.ftruncate(stream.fileno(), start)
            raise


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each line of the file as it is now: another process may be adding to it."""
    offset = 0
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        while offset < size:
            line = stream.readline(size - offset)
            yield offset, line
            offset += len(line)


def _is_record(line: bytes) -> bool:
    if not _HEAD.fullmatch(line):
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


class FileLock:
    """Held by one process at a time; the system lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path, *, wait: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if _fcntl is None:
            return
        try:
            _fcntl.flock(self._file, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
        except BlockingIOError:
            self.release()
            raise RationaleError(
                f"{path}: another process is writing here; wait for it to end, or give each process its own --shard"
            ) from None
        except OSError as error:
            self.release()
            raise RationaleError(
                f"{path}: this file cannot be locked ({error.strerror}); use a folder on a disk that has file locks"
            ) from None

    @property
    def held(self) -> bool:
        """Whether it was not released yet."""
        return self._file is not None

    def release(self) -> None:
        """Lets the next one in."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits until no other process is in a block with this path."""
    lock = FileLock(path, wait=True)
    try:
        yield
    finally:
        lock.release()
