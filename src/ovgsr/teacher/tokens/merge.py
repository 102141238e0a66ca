"""Joins visual-token caches that were made in parts, by hard links where the file system allows them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovgsr.files import write_atomically
from ovgsr.teacher.tokens.cache import TokenCache, read_key, require_key
from ovgsr.teacher.tokens.shards import (
    KEY_FILE,
    ShardFacts,
    ShardRecord,
    TokenCacheError,
    check_digest,
    shard_path,
    write_record,
)
from ovgsr.teacher.tokens.writer import TokenWriter


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did; ``names`` and ``pictures`` are those of the whole cache afterwards."""

    names: int
    pictures: int
    linked: int
    copied: int
    already: int


def merge_caches(
    parts: Sequence[Path], out: Path, *, progress: Callable[[int, int], None] | None = None
) -> MergeReport:
    """Puts the shards of caches of the same key into ``out``, which may be such a cache itself. May be repeated.

    Shards are hard links where that is possible, else copies, which are compared with their SHA-256. ``progress``
    hears (done, total) shards.

    Raises TokenCacheError, before anything is written, where the keys differ (naming the field), a file name stands
    for different pictures, a picture has another number of tokens in one part than in another, or a shard's size or
    header is not as recorded. The bits of a linked shard are compared when it is first read.
    """
    if not parts:
        raise TokenCacheError("name at least one token cache to merge")
    key = read_key(parts[0])
    caches = []
    for folder in [*parts, *([out] if (out / KEY_FILE).exists() else [])]:
        require_key(folder, read_key(folder), key)
        caches.append(TokenCache.open(folder, verify="quick"))
    _require_agreement(caches)
    linked = copied = already = done = 0
    total = sum(len(cache.shards) for cache in caches)
    with TokenWriter(out, key) as writer:
        for cache in caches:
            for stem, facts in cache.shards.items():
                done += 1
                if writer.stored.issuperset(facts.contents):
                    already += 1
                else:
                    if _bring(cache.folder, stem, facts, out):
                        linked += 1
                    else:
                        copied += 1
                    write_record(out, ShardRecord(stem, writer.generation, {}, facts))
                    writer.stored.update(facts.contents)
                if progress is not None:
                    progress(done, total)
            for name, content in cache.contents.items():
                writer.name(name, content)
        writer.flush()
        return MergeReport(len(writer.known), len(writer.stored), linked, copied, already)


def _require_agreement(caches: Sequence[TokenCache]) -> None:
    names: dict[str, tuple[str, TokenCache]] = {}
    shapes: dict[str, tuple[tuple[int, int], TokenCache]] = {}
    for cache in caches:
        for name, content in cache.contents.items():
            known, other = names.setdefault(name, (content, cache))
            if known != content:
                raise TokenCacheError(
                    f"{name} is one picture in {other.folder} and another in {cache.folder}; make the older cache "
                    "anew, or merge each into a folder of its own"
                )
            shape, first = shapes.setdefault(content, (cache.shape(name), cache))
            if first is not cache and shape != cache.shape(name):
                raise TokenCacheError(
                    f"{name} has {shape[0]} tokens of width {shape[1]} in {first.folder} and "
                    f"{cache.shape(name)[0]} of {cache.shape(name)[1]} in {cache.folder}; make one of the caches anew"
                )


def _bring(source: Path, stem: str, facts: ShardFacts, out: Path) -> bool:
    """The shard into ``out``; whether by a hard link."""
    origin, linked = shard_path(source, stem), []

    def write(temporary: Path) -> None:
        try:
            os.link(origin, temporary)
            linked.append(True)
        except OSError:
            shutil.copyfile(origin, temporary)
            check_digest(temporary, facts)

    write_atomically(shard_path(out, stem), write)
    return bool(linked)
