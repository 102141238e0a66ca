"""Text embeddings on disk, found by content: the same text under the same encoder is embedded once.

A cache folder holds shards, one safetensors file for each batch of new texts, named by the SHA-256 of its bytes. So a
damaged file is noticed and dropped, and two processes that write at the same time never meet in one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ovgsr.files import write_bytes_atomically

_KEY_BYTES = 32
_MERGE_ABOVE = 32
"""With more shards than this, they are merged into one."""


def cache_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Where caches live: the folder given, else the environment variable OVGSR_CACHE, else ~/.cache/ovgsr."""
    chosen = folder or os.environ.get("OVGSR_CACHE") or Path.home() / ".cache" / "ovgsr"
    return Path(chosen).expanduser()


class EmbeddingCache:
    """The embeddings of one encoder, keyed by text. Not being able to write is no error: texts are embedded again."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._folder = folder / "text-embeddings" / hashlib.sha256(fingerprint.encode()).hexdigest()[:24]
        self._rows: dict[bytes, Tensor] = {}
        self._read: set[str] = set()

    def find(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Text -> embedding (D,), of those texts that are known."""
        keys = [self._key(text) for text in texts]
        if any(key not in self._rows for key in keys):
            self._read_new_shards()
        return {text: self._rows[key] for text, key in zip(texts, keys, strict=True) if key in self._rows}

    def add(self, texts: Sequence[str], embeddings: Tensor) -> None:
        """Remember the embeddings (n, D) of texts, here and on disk."""
        keys = [self._key(text) for text in texts]
        self._rows.update(zip(keys, embeddings, strict=True))
        try:
            self._write(keys, embeddings)
            if len(list(self._folder.glob("*.safetensors"))) > _MERGE_ABOVE:
                self._merge()
        except OSError as error:
            warnings.warn(f"{self._folder}: text embeddings cannot be kept there: {error}", stacklevel=3)

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._fingerprint}\0{text}".encode()).digest()

    def _write(self, keys: Sequence[bytes], embeddings: Tensor) -> Path:
        packed = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(len(keys), _KEY_BYTES)
        content = save({"keys": packed, "embeddings": embeddings.contiguous()}, {"encoder": self._fingerprint})
        path = self._folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        if not path.exists():
            write_bytes_atomically(path, content)
        self._read.add(path.name)
        return path

    def _read_new_shards(self) -> None:
        try:
            paths = sorted(self._folder.glob("*.safetensors"))
        except OSError:
            return
        for path in paths:
            if path.name not in self._read:
                self._read.add(path.name)
                self._read_shard(path)

    def _read_shard(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError:
            return  # another process has just merged it away
        try:
            if hashlib.sha256(content).hexdigest() != path.stem:
                raise ValueError("its bytes have changed")
            tensors = load(content)
            keys, embeddings = tensors["keys"], tensors["embeddings"]
            if keys.dtype != torch.uint8 or keys.shape != (len(embeddings), _KEY_BYTES) or embeddings.dim() != 2:
                raise ValueError("it holds tensors of other shapes")
        except (SafetensorError, KeyError, ValueError) as error:
            warnings.warn(f"{path}: this cache file is damaged ({error}); it is written anew", stacklevel=5)
            with contextlib.suppress(OSError):
                path.unlink()
            self._read.discard(path.name)
            return
        packed = keys.numpy().tobytes()
        for row, embedding in enumerate(embeddings):
            self._rows[packed[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]] = embedding

    def _merge(self) -> None:
        """All shards as one. The old ones go only after the new one is there, so nobody misses a text for long."""
        self._read_new_shards()
        old = list(self._folder.glob("*.safetensors"))
        known = [path for path in old if path.name in self._read]
        merged = self._write(list(self._rows), torch.stack(list(self._rows.values())))
        for path in known:
            if path != merged:
                path.unlink(missing_ok=True)
