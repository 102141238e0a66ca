"""Pictures through a teacher into a visual-token cache: read, hashed and decoded ahead, in batches, resumable."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ovgsr.errors import OvgsrError
from ovgsr.teacher.tokens.cache import CacheKey, PictureTokens, VisualTeacher
from ovgsr.teacher.tokens.shards import TokenCacheError, pack
from ovgsr.teacher.tokens.writer import SHARD_BYTES, SHARD_PICTURES, Part, TokenWriter, pictures_of_part

Decode = Callable[[bytes, str], Image.Image]
"""A file's bytes and its name to a picture; OvgsrError where it is none."""

_BATCH_PIXELS = 40_000_000
"""Large photos go through one by one, so that memory does not grow with their size times the batch's."""
_GIVE_UP_AFTER = 16
"""When there are no tokens of the first so many pictures, it is not the pictures."""


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a run did. ``relative_error`` is the mean over the pictures written (see ``pack``), NaN without any."""

    pictures: int
    written: int
    known: int
    failures: tuple[tuple[str, str], ...]
    repaired: int
    bytes: int
    seconds: float
    relative_error: float


def write_tokens(
    folder: Path,
    key: CacheKey,
    teacher: VisualTeacher,
    pictures: Sequence[tuple[str, Path]],
    decode: Decode,
    *,
    part: Part = (1, 1),
    batch: int = 8,
    threads: int = 2,
    shard_pictures: int = SHARD_PICTURES,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int, int], None] | None = None,
    on_failure: Callable[[str], None] | None = None,
) -> WriteReport:
    """Puts the teacher's tokens of every picture of this part into the cache ``folder``.

    ``pictures`` are (file name in the cache, path) pairs. Their files are read, hashed and decoded by ``threads``
    threads ahead of the teacher; those whose content is there already are neither decoded nor shown to it. A shard
    ends at ``shard_pictures`` or ``shard_bytes``, whichever comes first. ``progress`` hears (done, total, bytes of
    tokens a picture). A picture that cannot be read, or that the teacher refuses, is told to ``on_failure`` and left
    out.

    Raises TokenCacheError as :class:`TokenWriter` does, and where the disk is too small for what is left.
    """
    mine = pictures_of_part(pictures, part)
    with TokenWriter(folder, key, part=part, shard_pictures=shard_pictures, shard_bytes=shard_bytes) as writer:
        run = _Run(writer, teacher, batch, on_failure or (lambda sentence: None))
        run.left = sum(name not in writer.known for name, _ in mine)
        started = time.perf_counter()
        for done, item in enumerate(_prepared(mine, decode, writer.stored, threads), start=1):
            run.take(item)
            if progress is not None:
                progress(done, len(mine), run.bytes_per_picture)
        run.encode()
        writer.flush()
        seconds = time.perf_counter() - started
    failed = len(run.failures)
    return WriteReport(
        pictures=len(mine),
        written=run.written,
        known=len(mine) - failed - run.written,
        failures=tuple(run.failures),
        repaired=writer.repaired,
        bytes=writer.bytes,
        seconds=seconds,
        relative_error=run.error / run.written if run.written else float("nan"),
    )


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file that was read: its content, and the picture unless the content is known; or why it cannot be used."""

    name: str
    content: str = ""
    image: Image.Image | None = None
    failure: str = ""


def _prepared(
    pictures: Sequence[tuple[str, Path]], decode: Decode, stored: set[str], threads: int
) -> Iterator[_Prepared]:
    """Reads, hashes and decodes ahead, in the order given."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Prepared]] = deque()
        try:
            for name, path in pictures:
                waiting.append(pool.submit(_prepare, name, path, decode, stored))
                if len(waiting) > 4 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _prepare(name: str, path: Path, decode: Decode, stored: set[str]) -> _Prepared:
    try:
        data = path.read_bytes()
        content = hashlib.sha256(data).hexdigest()
        return _Prepared(name, content, None if content in stored else decode(data, str(path)))
    except OSError as error:
        return _Prepared(name, failure=f"{path}: this picture cannot be read ({error.strerror}); check the path")
    except OvgsrError as error:
        return _Prepared(name, failure=str(error))


class _Run:
    """Collects pictures into batches, shows them to the teacher and hands the tokens on."""

    def __init__(self, writer: TokenWriter, teacher: VisualTeacher, size: int, on_failure: Callable[[str], None]):
        self.writer, self.teacher, self.size, self.on_failure = writer, teacher, size, on_failure
        self.batch: dict[str, _Prepared] = {}
        self.failures: list[tuple[str, str]] = []
        self.refused: dict[str, str] = {}
        self.twins: dict[str, list[str]] = {}
        """Content that waits for its batch -> other names of it."""
        self.written, self.token_bytes, self.left, self.error = 0, 0, 0, 0.0

    @property
    def bytes_per_picture(self) -> int:
        """Of tokens, as stored."""
        return self.token_bytes // max(self.written, 1)

    def take(self, item: _Prepared) -> None:
        """One file; its picture waits for the batch to fill, unless the content is there or waiting already."""
        if item.failure or item.content in self.refused:
            self._fail(item.name, item.failure or self.refused[item.content])
            return
        self.writer.name(item.name, item.content)
        if item.content in self.batch:
            self.twins.setdefault(item.content, []).append(item.name)
            return
        if item.image is None or item.content in self.writer.stored:
            return
        self.batch[item.content] = item
        pixels = sum(waiting.image.width * waiting.image.height for waiting in self.batch.values() if waiting.image)
        if len(self.batch) >= self.size or pixels > _BATCH_PIXELS:
            self.encode()

    def encode(self) -> None:
        """The waiting pictures through the teacher and into the cache; a refused batch is tried one by one."""
        batch, self.batch = list(self.batch.values()), {}
        if not batch:
            return
        try:
            found = self._tokens(batch)
        except (ValueError, torch.OutOfMemoryError):
            found = []
        if found:
            for item, tokens in zip(batch, found, strict=True):
                self._store(item, tokens)
        else:
            for item in batch:
                self._encode_alone(item)

    def _encode_alone(self, item: _Prepared) -> None:
        try:
            tokens = self._tokens([item])[0]
        except (ValueError, torch.OutOfMemoryError) as error:
            self._refuse(item, f"the teacher cannot take this picture: {error}")
            return
        self._store(item, tokens)

    def _tokens(self, batch: Sequence[_Prepared]) -> Sequence[PictureTokens]:
        key = self.writer.key
        images = [item.image for item in batch if item.image is not None]
        layer = key.layer if isinstance(key.layer, int) else None
        found = self.teacher.visual_tokens(images, layer=layer)
        return found if key.grid is None else [tokens.pooled(*key.grid) for tokens in found]

    def _store(self, item: _Prepared, tokens: PictureTokens) -> None:
        try:
            packed = pack(item.content, tokens.tokens, tokens.grid, self.writer.key.dtype, tokens.deep)
        except TokenCacheError as error:
            self._refuse(item, str(error))
            return
        if self.written == 0:
            self._require_space(packed.bytes)
        self.writer.add(packed)
        self.written += 1
        self.token_bytes += packed.bytes
        self.error += packed.relative_error

    def _require_space(self, size: int) -> None:
        """Raises TokenCacheError before hours of work where the disk will not hold the result."""
        free, needed = shutil.disk_usage(self.writer.folder).free, size * self.left
        if needed > free:
            raise TokenCacheError(
                f"{self.writer.folder}: the tokens need some {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
                "choose a coarser --grid, --dtype int8 or another --out"
            )

    def _refuse(self, item: _Prepared, reason: str) -> None:
        """Leaves a picture out under each of its names. Raises TokenCacheError where no picture was taken yet."""
        if self.written == 0 and len(self.refused) + 1 >= _GIVE_UP_AFTER:
            raise TokenCacheError(
                f"the teacher {self.teacher.name} gave usable tokens of none of the first {_GIVE_UP_AFTER} pictures, "
                f"{item.name} among them: {reason}"
            )
        self.refused[item.content] = f"{item.name}: {reason}"
        for name in (item.name, *self.twins.pop(item.content, [])):
            self._fail(name, self.refused[item.content])

    def _fail(self, name: str, sentence: str) -> None:
        self.failures.append((name, sentence))
        self.on_failure(sentence)
