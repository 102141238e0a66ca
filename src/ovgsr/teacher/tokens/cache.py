"""The visual tokens of a frozen teacher on disk, made once and read in shuffled batches.

A cache is a folder with ``cache.json``, which says what the tokens are (:class:`CacheKey`), and shards
(``token_shards``). Pictures are kept by content, the SHA-256 of the file's bytes, with the file names beside it: a
renamed or copied picture costs nothing, and a changed one is noticed. ``token_writer`` makes and joins caches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from PIL import Image
from torch import Tensor

from ovgsr.files import write_text_atomically
from ovgsr.teacher.tokens.shards import (
    FORMAT,
    KEY_FILE,
    MappedShard,
    ShardFacts,
    ShardRecord,
    TokenCacheError,
    TokenDtype,
    check_digest,
    check_shard,
    read_json,
    read_records,
    shard_path,
)
from ovgsr.teacher.visual_tokens import VisualTokens

Layer = Literal["projector"] | int
Verify = Literal["full", "quick"]
PREPROCESSING = "upright-rgb-on-white-1"
"""How a file becomes a picture before the teacher's own processor, which the teacher's fingerprint covers."""


class PictureTokens(Protocol):
    """The visual tokens of one picture."""

    @property
    def tokens(self) -> Tensor:
        """(M, D)."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns, M = rows * columns; None where the teacher gives no single grid."""

    @property
    def deep(self) -> Tensor | None:
        """(blocks, M, D): what is added at the picture's positions after the LLM's first blocks, if anything."""

    def pooled(self, rows: int, columns: int, /) -> PictureTokens:
        """Averaged to another grid."""


class VisualTeacher(Protocol):
    """What a cache needs of a teacher."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def fingerprint(self) -> str:
        """Changes with weights, configuration and processor."""

    def visual_tokens(self, images: Sequence[Image.Image], *, layer: int | None = None) -> Sequence[PictureTokens]:
        """Per picture its tokens after the projector (None) or after a block of the language model."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What the tokens of a cache are; caches with equal keys may be mixed. The teacher's name is not compared.

    ``grid`` is None where pictures keep the tokens that the teacher gives. ``weights`` is "full" for every float
    precision: their tokens differ by rounding only, those of quantised weights by more.
    """

    teacher: str  # the fingerprint
    layer: Layer = "projector"
    grid: tuple[int, int] | None = None
    dtype: TokenDtype = "float16"
    weights: Literal["full", "int8", "int4"] = "full"
    preprocessing: str = PREPROCESSING
    teacher_name: str = field(default="", compare=False)

    @classmethod
    def of(
        cls,
        teacher: VisualTeacher,
        *,
        layer: Layer = "projector",
        grid: tuple[int, int] | None = None,
        dtype: TokenDtype = "float16",
        weights: Literal["full", "int8", "int4"] = "full",
    ) -> CacheKey:
        """The key of a teacher's tokens."""
        return cls(teacher.fingerprint, layer, grid, dtype, weights, teacher_name=teacher.name)

    def difference(self, other: CacheKey) -> str | None:
        """The first field that differs, with both values; None for equal keys."""
        for entry in fields(self):
            mine, theirs = getattr(self, entry.name), getattr(other, entry.name)
            if entry.compare and mine != theirs:
                names = f" ({self.teacher_name} and {other.teacher_name})" if entry.name == "teacher" else ""
                return f"the field {entry.name!r} is {mine!r} here and {theirs!r} there{names}"
        return None


def read_key(folder: Path) -> CacheKey:
    """What the tokens in a folder are. Raises TokenCacheError where it is no cache."""
    path = folder / KEY_FILE
    key: Any = read_json(path).get("key")
    try:
        found = dict(key)
        grid = found.get("grid")
        made = CacheKey(**found | {"grid": None if grid is None else (int(grid[0]), int(grid[1]))})
        texts = (made.teacher, made.preprocessing, made.teacher_name)
        known = made.dtype in ("float16", "int8") and made.weights in ("full", "int8", "int4")
        layered = made.layer == "projector" or type(made.layer) is int
        if not known or not layered or not all(isinstance(text, str) for text in texts):
            raise ValueError("a field has a value of another kind")
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise TokenCacheError(f"{path}: the field 'key' is not usable ({error}); make the cache anew") from None
    return made


def write_key(folder: Path, key: CacheKey) -> None:
    """Makes the folder a cache of this kind. Raises TokenCacheError where it is one of another kind."""
    if not (folder / KEY_FILE).exists():
        content = {"format": FORMAT, "key": asdict(key)}
        write_text_atomically(folder / KEY_FILE, json.dumps(content, indent=2))
    require_key(folder, read_key(folder), key)


def require_key(folder: Path, found: CacheKey, expected: CacheKey) -> None:
    """Raises TokenCacheError naming the field that differs."""
    difference = found.difference(expected)
    if difference is not None:
        raise TokenCacheError(
            f"{folder / KEY_FILE}: these tokens are not the ones asked for: {difference}; name the cache made with "
            "these settings, or make one in another folder"
        )


@dataclass(frozen=True, slots=True)
class CachedBatch:
    """Tokens of B pictures, padded with zeros to the longest of them.

    ``grids`` holds each picture's rows and columns; ``grid`` the one that all of them share, else None. ``deep`` is
    None but for teachers that add vectors after the LLM's first blocks (Qwen3-VL).
    """

    tokens: Tensor  # (B, M, D)
    mask: Tensor  # (B, M) bool, True for tokens, False for padding
    grids: tuple[tuple[int, int] | None, ...]
    deep: Tensor | None = None  # (blocks, B, M, D)

    @property
    def grid(self) -> tuple[int, int] | None:
        """The rows and columns of every picture in the batch, None where they differ or there are none."""
        return self.grids[0] if len(set(self.grids)) == 1 else None

    def visual(self) -> list[VisualTokens]:
        """One entry a picture without padding, views of the batch: what a ``MultimodalLLM`` takes as ``visual``."""
        counts = self.mask.sum(-1).tolist()
        return [
            VisualTokens(self.tokens[b, :m], grid, None if self.deep is None else self.deep[:, b, :m])
            for b, (m, grid) in enumerate(zip(counts, self.grids, strict=True))
        ]


class TokenCache:
    """Reads a cache. May be pickled, so the workers of a data loader take it along; shards are mapped, not loaded."""

    def __init__(self, folder: Path, key: CacheKey, records: Sequence[ShardRecord], verify: Verify) -> None:
        self.folder, self.key = folder, key
        self._verify: Verify = verify
        self.shards: dict[str, ShardFacts] = {r.stem: r.shard for r in records if r.shard is not None}
        """Stem of the file name -> what its record says."""
        self._verified: set[str] = set()
        self._mapped: dict[str, MappedShard] = {}
        self._places: dict[str, tuple[str, int]] = {}
        for stem, facts in self.shards.items():
            for row, content in enumerate(facts.contents):
                self._places.setdefault(content, (stem, row))
        self.contents: Mapping[str, str] = {n: c for n, c in latest_names(records).items() if c in self._places}
        """File name -> SHA-256 of the picture's bytes."""

    @classmethod
    def open(cls, folder: str | Path, *, expect: CacheKey | None = None, verify: Verify = "full") -> TokenCache:
        """Opens a cache, and checks each shard's size and header: under a millisecond a shard.

        ``verify="full"``: a shard's SHA-256 is compared, too, when it is first read in this process, which reads the
        whole shard once (0.5 to 1.7 GB/s, or the disk's speed). "quick" leaves that out; a flipped bit is then
        not noticed. :meth:`verify` compares all of them at once.

        Raises TokenCacheError where the folder is no cache, the tokens are not those ``expect`` asks for, or a shard
        is damaged.
        """
        folder = Path(folder)
        key = read_key(folder)
        if expect is not None:
            require_key(folder, key, expect)
        cache = cls(folder, key, read_records(folder), verify)
        widths = {check_shard(shard_path(folder, s), f, key.dtype): s for s, f in cache.shards.items()}
        if len(widths) > 1:
            raise TokenCacheError(
                f"{folder}: the shards {' and '.join(sorted(widths.values()))} hold tokens of different widths "
                f"({', '.join(map(str, sorted(widths)))}); they are of two teachers, so make the cache anew"
            )
        cache.width = next(iter(widths), 0)
        return cache

    width: int = 0
    """D, 0 for a cache without pictures."""

    def __len__(self) -> int:
        """How many file names can be read."""
        return len(self.contents)

    def __contains__(self, file_name: str) -> bool:
        return file_name in self.contents

    @property
    def pictures(self) -> int:
        """How many different pictures are stored; two names may have one picture."""
        return len(self._places)

    @property
    def bytes(self) -> int:
        """The size of all shards on disk."""
        return sum(facts.bytes for facts in self.shards.values())

    @property
    def bytes_per_picture(self) -> float:
        """Disk space a stored picture."""
        return self.bytes / max(self.pictures, 1)

    @property
    def relative_error(self) -> float:
        """What storing cost, measured while it was made: mean over pictures and tokens of |stored - given| / |given|.

        NaN for a cache without pictures.
        """
        counted = [(len(facts.contents), facts.relative_error) for facts in self.shards.values()]
        total = sum(count for count, _ in counted)
        return sum(count * error for count, error in counted) / total if total else float("nan")

    def missing(self, file_names: Iterable[str]) -> list[str]:
        """Those of the names that cannot be read, in the order given."""
        return [name for name in file_names if name not in self.contents]

    def shape(self, file_name: str) -> tuple[int, int]:
        """(M, D) of a picture's tokens. Raises TokenCacheError where the picture is missing."""
        self._require([file_name])
        stem, row = self._places[self.contents[file_name]]
        return self._map(stem).count(row), self.width

    def changed(self, pictures: Iterable[tuple[str, Path]]) -> list[str]:
        """Names whose file has another content than the tokens were made from: reads every file named."""
        return [name for name, path in pictures if name in self and self.contents[name] != picture_digest(path)]

    def read(self, file_names: Sequence[str], *, dtype: torch.dtype = torch.float16) -> CachedBatch:
        """The tokens of pictures, in the order given, on the CPU, as float16 or float32.

        Raises TokenCacheError where pictures are missing (how many, the first three) or a shard is damaged.
        """
        self._require(file_names)
        places = [self._places[self.contents[name]] for name in file_names]
        shards = {stem: self._map(stem) for stem, _ in places}
        counts = [shards[stem].count(row) for stem, row in places]
        tokens = torch.empty(len(places), max(counts, default=0), self.width, dtype=dtype)
        levels = max((shards[stem].levels[row] for stem, row in places), default=1)
        deep = torch.zeros(levels - 1, *tokens.shape, dtype=dtype)
        for index, (count, (stem, row)) in enumerate(zip(counts, places, strict=True)):
            shards[stem].copy_to(row, tokens[index, :count])
            tokens[index, count:] = 0
            for level in range(shards[stem].levels[row] - 1):
                shards[stem].copy_to(row, deep[level, index, :count], level + 1)
        mask = torch.arange(tokens.shape[1]) < torch.tensor(counts, dtype=torch.long)[:, None]
        return CachedBatch(
            tokens, mask, tuple(shards[stem].grids[row] for stem, row in places), deep if levels > 1 else None
        )

    def _require(self, file_names: Sequence[str]) -> None:
        missing = self.missing(file_names)
        if missing:
            raise TokenCacheError(
                f"{self.folder}: {len(missing)} of {len(file_names)} pictures are not in this cache "
                f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}); run 'ovgsr teacher tokens' on them "
                "with the same settings and --out"
            )

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Compares the SHA-256 of every shard now. Raises TokenCacheError naming the first damaged one."""
        for done, stem in enumerate(self.shards, start=1):
            self._check_digest(stem)
            if progress is not None:
                progress(done, len(self.shards))

    def _check_digest(self, stem: str) -> None:
        if stem not in self._verified:
            check_digest(shard_path(self.folder, stem), self.shards[stem])
            self._verified.add(stem)

    def _map(self, stem: str) -> MappedShard:
        if stem not in self._mapped:
            if self._verify == "full":
                self._check_digest(stem)
            self._mapped[stem] = MappedShard.open(shard_path(self.folder, stem), self.shards[stem])
        return self._mapped[stem]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": {}}  # a pickle would hold the tokens themselves


def latest_names(records: Sequence[ShardRecord]) -> dict[str, str]:
    """File name -> content; where records disagree, the later run's (then the later file name's) word counts."""
    names: dict[str, str] = {}
    for record in sorted(records, key=lambda record: (record.generation, record.stem)):
        names |= record.names
    return names


def picture_digest(path: Path) -> str:
    """The content by which a picture is known: the SHA-256 of its file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
