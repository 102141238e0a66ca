"""What signals are (``signals.json``): which teacher read which pictures, how, and into whose text space."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ovgsr.errors import OvgsrError
from ovgsr.files import write_atomically

FORMAT: Literal["ovgsr-signals-1"] = "ovgsr-signals-1"
UNNAMED = "unnamed_verbs"
"""The field of ``details`` for the training verbs that the teacher has no word for."""
INFO_FILE, PICTURES_FILE, VIEWS_FILE, PARTS = "signals.json", "pictures.safetensors", "views.safetensors", "parts"


class SignalError(OvgsrError):
    """Signals that cannot be used or written; the message names the file, the field and the remedy."""


class SignalInfo(BaseModel):
    """The content of ``signals.json``. The writer fills in names, means and size; the rest is the caller's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["ovgsr-signals-1"] = FORMAT
    kind: str
    """How the teacher was read: "fixed" or "learned" prompts, "embedding", ..."""
    teacher: str
    """The teacher's fingerprint."""
    teacher_name: str = ""
    """For people; not compared."""
    text_fingerprint: str
    """Fingerprint of the text encoder whose space the vectors lie in."""
    width: int = Field(gt=0)
    role_width: int = Field(0, ge=0)
    max_roles: int = Field(0, ge=0)
    pictures: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    views_digest: str = ""
    """:attr:`ViewStore.digest <ovgsr.distillation.view_store.ViewStore.digest>` of the views that were read."""
    details: dict[str, Any] = {}
    """What else decides the readings (prompt, layer, ...), plain JSON; compared when a run goes on."""
    scene_mean: tuple[float, ...] = ()
    role_mean: tuple[float, ...] = ()
    bytes_per_picture: float = 0.0

    def shape(self, tensor: Literal["scene", "roles"], rows: int) -> list[int]:
        """The shape of a tensor for that many pictures."""
        return [rows, self.width] if tensor == "scene" else [rows, self.max_roles, self.role_width]

    @property
    def has_roles(self) -> bool:
        """Whether there are vectors for roles."""
        return self.max_roles > 0 and self.role_width > 0


def estimate_bytes(pictures: int, roles: int, width: int, role_width: int, views: int) -> int:
    """What the vectors take on disk in float16; names and headers come on top.

    SWiG's 75,702 training pictures with 6 roles and 384 numbers a vector: 407 MB.
    """
    return 2 * (pictures * (width + roles * role_width) + views * width)


def read_info(path: Path) -> SignalInfo:
    """The description in a file. Raises SignalError where it is missing or none."""
    try:
        return SignalInfo.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise SignalError(
            f"{path}: there is no such file; check the folder, or make the signals (a run that was cut off goes on)"
        ) from None
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"])) or "content"
        raise SignalError(
            f"{path}: the field {field!r} is not usable ({fault['msg']}); make the signals anew"
        ) from None


def require_same(path: Path, found: SignalInfo, wanted: SignalInfo) -> None:
    """Raises SignalError naming the first field that differs, of those that decide what the signals are."""
    for field in SignalInfo.model_fields:
        here, there = getattr(found, field), getattr(wanted, field)
        if field in ("teacher_name", "scene_mean", "role_mean", "bytes_per_picture") or here == there:
            continue
        values = "not the same" if field in ("pictures", "views") else f"{here!r} there and {there!r} now"
        raise SignalError(
            f"{path}: these signals are of another make: the field {field!r} is {values}; use another folder, or the "
            "settings the signals were made with"
        )


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file, atomically and durably."""

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, {"format": FORMAT})
        except SafetensorError as error:  # its way to say that the disk is full
            raise OSError(errno.EIO, f"cannot be written ({error})", str(path)) from None
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut may keep the name and lose the content

    write_atomically(path, write)


def damaged(path: Path, reason: str) -> SignalError:
    """The error for a file that cannot be read."""
    return SignalError(f"{path}: not usable ({reason}); copy the file again, or make the signals anew")
