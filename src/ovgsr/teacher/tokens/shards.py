"""One shard of a visual-token cache: a safetensors file of tokens, and a JSON record beside it that makes it count.

The shard is written first, its record last, each atomically: a shard without a record is no part of the cache. The
record holds the shard's size and SHA-256, the pictures in it by content, and the file names known to have such content.
A record may also hold names only, of pictures whose content was there already.

A shard's tensors, for P pictures with N tokens of width D in all::

    tokens    (N, D) float16 or int8   one picture after the other, no padding
    scales    (N,) float16             int8 only: what a token's integers are multiplied with
    offsets   (P + 1,) int64           the rows of picture p are offsets[p] .. offsets[p + 1]
    grids     (P, 3) int32             rows and columns (0 and 0 where the teacher gives no grid), and levels
    contents  (P, 32) uint8            SHA-256 of each picture file's bytes

Levels are 1, and more for teachers that add vectors at the picture's positions after the LLM's first blocks (Qwen3-VL:
DeepStack): a picture's M tokens are then followed by M rows for each such block.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ovgsr.errors import OvgsrError
from ovgsr.files import write_atomically, write_text_atomically

FORMAT = "ovgsr-visual-tokens-1"
KEY_FILE = "cache.json"
TokenDtype = Literal["float16", "int8"]

DIGEST_BYTES = 32
_LARGEST = 65504.0  # of float16
_IN_CACHE = 2**18  # numbers
_SAFETENSORS_NAMES = {"float16": "F16", "int8": "I8"}


class TokenCacheError(OvgsrError):
    """A token cache that cannot be used; the message names the file, the field and the remedy."""


@dataclass(frozen=True, slots=True)
class PackedPicture:
    """One picture's tokens, all ``levels`` of them, in the form they are stored in."""

    content: str
    tokens: Tensor  # (levels * M, D) float16 or int8
    scales: Tensor | None  # (levels * M,) float16 for int8 tokens, else None
    grid: tuple[int, int] | None
    levels: int
    relative_error: float

    @property
    def bytes(self) -> int:
        """What the tokens take on disk."""
        return self.tokens.nbytes + (0 if self.scales is None else self.scales.nbytes)


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What a record says of its shard. ``relative_error`` is the mean over the pictures in it."""

    bytes: int
    sha256: str
    contents: tuple[str, ...]
    relative_error: float


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A JSON file of a cache: file names with the content of each, and the shard of the same stem, if any.

    Where two records disagree about a name, the one of the higher ``generation`` (the later run) is right.
    """

    stem: str
    generation: int
    names: Mapping[str, str]
    shard: ShardFacts | None


def pack(
    content: str, tokens: Tensor, grid: tuple[int, int] | None, dtype: TokenDtype, deep: Tensor | None = None
) -> PackedPicture:
    """Tokens (M, D) of any float type, and ``deep`` (blocks, M, D), as they are stored, with the error this makes.

    int8 is symmetric with one float16 scale a token, its largest absolute value / 127. ``relative_error`` is
    |stored - given| / |given| in the Euclidean norm, averaged over the tokens. Raises TokenCacheError for tokens that
    are not finite or beyond float16's range.
    """
    levels = 1 if deep is None else 1 + len(deep)
    given = tokens.detach().to("cpu", torch.float32)
    if deep is not None:
        given = torch.cat([given, deep.detach().to("cpu", torch.float32).flatten(0, 1)])
    if given.dim() != 2 or 0 in given.shape:
        raise TokenCacheError(f"the teacher gave tokens of shape {tuple(given.shape)}; (tokens, width) is expected")
    if not bool(torch.isfinite(given).all()):
        raise TokenCacheError("the teacher gave tokens that are not finite; choose another --precision (bf16 or fp32)")
    if float(given.abs().max()) > _LARGEST:
        raise TokenCacheError("the teacher's tokens leave the range of float16; choose another --layer")
    if dtype == "float16":
        stored, scales = given.half(), None
    else:
        stored, scales = quantise(given)
    error = (restore(stored, scales, torch.float32) - given).norm(dim=-1)
    relative = (error / given.norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)).mean()
    return PackedPicture(content, stored.contiguous(), scales, grid, levels, float(relative))


def quantise(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (M, D) float32 as int8 (M, D) and scales (M,) float16; off by at most half a scale each."""
    scales = (tokens.abs().amax(dim=-1) / 127).half()
    # A token so small that float16 has no scale for it is stored as zeros.
    divisors = torch.where(scales > 0, scales.float(), torch.inf)
    return (tokens / divisors[:, None]).round().clamp(-127, 127).to(torch.int8), scales


def restore(tokens: Tensor, scales: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Stored tokens (M, D) as float16 or float32."""
    return tokens.to(dtype) if scales is None else tokens.to(dtype) * scales.to(dtype)[:, None]


def write_shard(folder: Path, stem: str, pictures: Sequence[PackedPicture]) -> ShardFacts:
    """Writes ``stem.safetensors`` atomically and returns what its record has to say."""
    grids = [(*(picture.grid or (0, 0)), picture.levels) for picture in pictures]
    counts = torch.tensor([0, *(len(picture.tokens) for picture in pictures)])
    digests = bytearray(b"".join(bytes.fromhex(picture.content) for picture in pictures))
    tensors = {
        "tokens": torch.cat([picture.tokens for picture in pictures]),
        "offsets": counts.cumsum(0),
        "grids": torch.tensor(grids, dtype=torch.int32),
        "contents": torch.frombuffer(digests, dtype=torch.uint8).view(len(pictures), DIGEST_BYTES),
    }
    scales = [picture.scales for picture in pictures if picture.scales is not None]
    if scales:
        tensors["scales"] = torch.cat(scales)
    path = shard_path(folder, stem)
    facts: list[tuple[int, str]] = []

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, {"format": FORMAT})
        except SafetensorError as error:  # its way to say that the disk is full
            raise OSError(errno.EIO, f"cannot be written ({error})", str(path)) from None
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut may keep the record and lose the shard
            facts.append((os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()))

    write_atomically(path, write)
    error = sum(picture.relative_error for picture in pictures) / len(pictures)
    return ShardFacts(*facts[0], tuple(picture.content for picture in pictures), error)


def write_record(folder: Path, record: ShardRecord) -> None:
    """Writes ``stem.json`` atomically: from here on the shard is part of the cache."""
    shard = record.shard and {
        "bytes": record.shard.bytes,
        "sha256": record.shard.sha256,
        "relative_error": record.shard.relative_error,
        "contents": list(record.shard.contents),
    }
    content = {"format": FORMAT, "generation": record.generation, "shard": shard, "names": dict(record.names)}
    write_text_atomically(folder / f"{record.stem}.json", json.dumps(content, indent=0))


def read_records(folder: Path) -> list[ShardRecord]:
    """Every record of a cache folder, in the order of the files' names. Raises TokenCacheError for a damaged one."""
    return [read_record(path) for path in sorted(folder.glob("*.json")) if path.name != KEY_FILE]


def read_record(path: Path) -> ShardRecord:
    """One record. Raises TokenCacheError with the field at fault."""
    content = read_json(path)
    try:
        generation, names, shard = content["generation"], content["names"], content["shard"]
        _require(type(generation) is int and generation >= 0, "generation")
        _require(isinstance(names, dict) and all(_is_digest(digest) for digest in names.values()), "names")
        _require(shard is None or isinstance(shard, dict), "shard")
        facts = None
        if shard is not None:
            contents, error = shard["contents"], shard["relative_error"]
            _require(isinstance(contents, list) and all(_is_digest(digest) for digest in contents), "contents")
            _require(type(shard["bytes"]) is int and shard["bytes"] > 0, "bytes")
            _require(_is_digest(shard["sha256"]), "sha256")
            _require(isinstance(error, float | int), "relative_error")
            facts = ShardFacts(shard["bytes"], shard["sha256"], tuple(contents), float(error))
    except KeyError as error:
        field = error.args[0]
        raise TokenCacheError(
            f"{path}: the field {field!r} is missing or of the wrong kind; delete the file and run "
            "'ovgsr teacher tokens' again: only its pictures are done anew"
        ) from None
    return ShardRecord(path.stem, generation, names, facts)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of this format. Raises TokenCacheError where the file is none."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise TokenCacheError(
            f"{path}: there is no such file; make the cache with 'ovgsr teacher tokens', or check the folder"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise TokenCacheError(
            f"{path}: damaged, this is no valid JSON ({type(error).__name__}); delete the file and run "
            "'ovgsr teacher tokens' again"
        ) from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise TokenCacheError(
            f"{path}: the field 'format' is {found!r}, not {FORMAT!r}; this is no token cache of this version of ovgsr"
        )
    return dict(content)


def shard_path(folder: Path, stem: str) -> Path:
    """Where the tokens of a record are."""
    return folder / f"{stem}.safetensors"


def check_shard(path: Path, facts: ShardFacts, dtype: TokenDtype) -> int:
    """Compares a shard's size and header with its record, under a millisecond; returns the width D of its tokens.

    Raises TokenCacheError where they differ. Damage inside the tokens is found by :func:`check_digest` only.
    """
    try:
        size = path.stat().st_size
        if size != facts.bytes:
            raise _damaged(path, f"{size} bytes long, its record says {facts.bytes}")
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    except FileNotFoundError:
        raise _damaged(path, "missing") from None
    except SafetensorError as error:
        raise _damaged(path, str(error)) from None
    rows, width = (*shapes.get("tokens", ("", []))[1], 0, 0)[:2]
    pictures = len(facts.contents)
    expected = {
        "tokens": (_SAFETENSORS_NAMES[dtype], [rows, width]),
        "offsets": ("I64", [pictures + 1]),
        "grids": ("I32", [pictures, 3]),
        "contents": ("U8", [pictures, DIGEST_BYTES]),
    } | ({"scales": ("F16", [rows])} if dtype == "int8" else {})
    if shapes != expected:
        raise _damaged(path, f"its tensors are {shapes}, not {expected}")
    return int(width)


def check_digest(path: Path, facts: ShardFacts) -> None:
    """Compares a shard's SHA-256 with its record: one pass over the file, 0.5 to 1.7 GB/s a core (measured).

    Raises TokenCacheError where they differ.
    """
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != facts.sha256:
            raise _damaged(path, "its SHA-256 is not the one in its record")


@dataclass(frozen=True, slots=True)
class MappedShard:
    """A shard mapped into memory: nothing is read before its rows are asked for."""

    tokens: Tensor
    scales: Tensor | None
    offsets: tuple[int, ...]
    grids: tuple[tuple[int, int] | None, ...]
    levels: tuple[int, ...]

    @classmethod
    def open(cls, path: Path, facts: ShardFacts) -> MappedShard:
        """Maps the file. Raises TokenCacheError where it does not hold the pictures that its record lists."""
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            offsets = tuple(tensors["offsets"].tolist())
            contents = tensors["contents"].numpy().tobytes().hex()
            grids = tuple((rows, columns) if rows else None for rows, columns, _ in tensors["grids"].tolist())
            levels = tuple(max(1, count) for _, _, count in tensors["grids"].tolist())
            tokens, scales = tensors["tokens"], tensors.get("scales")
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise _damaged(path, str(error)) from None
        rising = all(low < high for low, high in itertools.pairwise(offsets))
        if contents != "".join(facts.contents) or offsets[0] != 0 or offsets[-1] != len(tokens) or not rising:
            raise _damaged(path, "it holds other pictures than its record lists")
        return cls(tokens, scales, offsets, grids, levels)

    def count(self, row: int) -> int:
        """How many tokens the picture in this row has."""
        return (self.offsets[row + 1] - self.offsets[row]) // self.levels[row]

    def copy_to(self, row: int, out: Tensor, level: int = 0) -> None:
        """Writes a picture's tokens of one level to ``out`` (M, D), in its dtype."""
        start = self.offsets[row] + level * len(out)
        if self.scales is None:
            out.copy_(self.tokens[start : start + len(out)])
            return
        step = max(1, _IN_CACHE // out.shape[-1])  # multiplied where the processor's cache holds it: 5 times as fast
        for first in range(0, len(out), step):
            part = out[first : first + step]
            rows = slice(start + first, start + first + len(part))
            part.copy_(self.tokens[rows].float().mul_(self.scales[rows, None].float()))


def _require(holds: bool, field: str) -> None:
    if not holds:
        raise KeyError(field)


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 2 * DIGEST_BYTES and set(value) <= set("0123456789abcdef")


def _damaged(path: Path, reason: str) -> TokenCacheError:
    return TokenCacheError(
        f"{path}: this shard is damaged ({reason}); delete it and run 'ovgsr teacher tokens' again: only its pictures "
        "are done anew"
    )
