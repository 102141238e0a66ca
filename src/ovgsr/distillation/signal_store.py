"""What a frozen teacher left on disk for training the student: a few vectors a picture, and no visual tokens.

A folder with ``signals.json`` (:class:`SignalInfo`), ``pictures.safetensors`` with ``scene`` (N, D) and ``roles``
(N, R, Dr), and, where there are views, ``views.safetensors`` with ``scene`` (Nv, D). Vectors are float16, of unit
length after the mean over the training pictures was taken off; zero rows stand for what the teacher did not read.
While it is being made, raw readings wait in ``parts/``.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ovgsr.distillation.signal_info import (
    INFO_FILE,
    PARTS,
    PICTURES_FILE,
    VIEWS_FILE,
    SignalError,
    SignalInfo,
    damaged,
    estimate_bytes,
    read_info,
    require_same,
    save_tensors,
)
from ovgsr.errors import first_line
from ovgsr.files import write_text_atomically
from ovgsr.models.text_encoder import same_encoder
from ovgsr.tensors import TeacherSignals

__all__ = ["SignalError", "SignalInfo", "SignalStore", "SignalWriter", "estimate_bytes"]

PICTURES_A_PART = 1000
_CHUNK = 4096  # rows that are normalised at a time

_Which = Literal["pictures", "views"]


class SignalWriter:
    """Takes raw readings, in any order, and makes them a store.

    ``info`` says what the readings are. Names are the training pictures' and the views' file names, in the order of
    the store. Readings are kept on disk in parts of ``pictures_a_part``: a killed run asks :meth:`missing` and goes
    on. One process writes at a time.

    Raises SignalError where the folder holds signals of another make.
    """

    def __init__(
        self,
        folder: str | Path,
        info: SignalInfo,
        names: Sequence[str],
        view_names: Sequence[str] = (),
        *,
        pictures_a_part: int = PICTURES_A_PART,
    ) -> None:
        self.folder = Path(folder)
        info = info.model_copy(update={"pictures": tuple(names), "views": tuple(view_names)})
        self.info = SignalInfo.model_validate_json(info.model_dump_json())  # as it is read again: tuples are lists
        self._parts = self.folder / PARTS
        self._a_part = pictures_a_part
        self._rows: dict[_Which, dict[str, int]] = {
            "pictures": _positions(names, "pictures"),
            "views": _positions(view_names, "views"),
        }
        if not names:
            raise SignalError(f"{folder}: signals need at least one picture; check the list of pictures")
        self._done: dict[_Which, set[str]] = {"pictures": set(), "views": set()}
        self._waiting: dict[_Which, list[tuple[int, Tensor, Tensor | None]]] = {"pictures": [], "views": []}
        self._next_part = 0
        self.finished = (self.folder / INFO_FILE).exists()
        """Whether the folder is a store already."""
        if self.finished:
            require_same(self.folder / INFO_FILE, read_info(self.folder / INFO_FILE), self.info)
            self._done = {which: set(rows) for which, rows in self._rows.items()}
        else:
            self._resume()

    def missing(self) -> list[str]:
        """The pictures still to be read, in the order of the store."""
        return [name for name in self._rows["pictures"] if name not in self._done["pictures"]]

    def missing_views(self) -> list[str]:
        """The views still to be read, in order."""
        return [name for name in self._rows["views"] if name not in self._done["views"]]

    def add(self, names: Sequence[str], scene: Tensor, roles: Tensor | None = None) -> None:
        """Raw readings of n pictures: ``scene`` (n, D), ``roles`` (n, R', Dr) with R' <= R; all-zero rows = nothing.

        Raises SignalError for an unknown picture, one that is there already, another shape, or numbers that are not
        finite.
        """
        self._add("pictures", names, scene, roles)

    def add_views(self, names: Sequence[str], scene: Tensor) -> None:
        """Raw readings of n views: ``scene`` (n, D). Raises SignalError as :meth:`add` does."""
        self._add("views", names, scene, None)

    def flush(self) -> None:
        """Writes what is waiting to disk."""
        for which, waiting in self._waiting.items():
            if waiting:
                self._write_part(which, waiting)
                waiting.clear()

    def finish(self) -> SignalStore:
        """Centres, normalises and stores what was read, and removes the parts.

        The means are over the training pictures' scenes (for views as well) and over the role rows that exist. Raises
        SignalError where readings are missing.
        """
        self.flush()
        missing = [*self.missing(), *self.missing_views()]
        if missing:
            raise SignalError(
                f"{self.folder}: {len(missing)} readings are missing ({', '.join(missing[:3])}"
                f"{', ...' if len(missing) > 3 else ''}); add them, then finish"
            )
        if not self.finished:
            self._store()
            self.finished = True
        shutil.rmtree(self._parts, ignore_errors=True)
        return SignalStore.open(self.folder)

    def _resume(self) -> None:
        """Finds what the parts hold; a damaged one is removed, so that its pictures are read again."""
        path = self._parts / INFO_FILE
        if path.exists():
            require_same(path, read_info(path), self.info)
        else:
            write_text_atomically(path, self.info.model_dump_json())
        for leftover in (*self._parts.glob(".*.part"), *self.folder.glob(".*.part")):
            leftover.unlink(missing_ok=True)
        for which, rows in self._rows.items():
            names = list(rows)
            for part in sorted(self._parts.glob(f"{which}-*.safetensors")):
                self._next_part = max(self._next_part, 1 + int(part.stem.rpartition("-")[2]))
                try:
                    with safe_open(part, "pt") as file:
                        self._done[which] |= {names[row] for row in file.get_tensor("rows").tolist()}
                except SafetensorError:
                    part.unlink()

    def _add(self, which: _Which, names: Sequence[str], scene: Tensor, roles: Tensor | None) -> None:
        unknown = [name for name in names if name not in self._rows[which]]
        known = [name for name, count in Counter(names).items() if name in self._done[which] or count > 1]
        if unknown or known:
            reason = f"{unknown[0]!r} is not one of its {which}" if unknown else f"{known[0]!r} was read already"
            raise SignalError(f"{self.folder}: {reason}; add only what is missing")
        count, info = len(names), self.info
        fits = list(scene.shape) == [count, info.width]
        if roles is not None:
            fits &= roles.dim() == 3 and len(roles) == count
            fits &= roles.shape[1] <= info.max_roles and roles.shape[2] == info.role_width
        if not fits:
            raise SignalError(
                f"{self.folder}: readings of {count} {which} must have the shapes {info.shape('scene', count)} (scene) "
                f"and at most {info.shape('roles', count)} (roles), not {list(scene.shape)} and "
                f"{None if roles is None else list(roles.shape)}; check 'width', 'role_width' and 'max_roles'"
            )
        # Copies: the caller may go on using its tensors.
        scene = scene.detach().to("cpu", torch.float32, copy=True)
        roles = None if roles is None else roles.detach().to("cpu", torch.float32, copy=True)
        for index, name in enumerate(names):
            row = None if roles is None else roles[index]
            if not bool(torch.isfinite(scene[index]).all()) or not (row is None or bool(torch.isfinite(row).all())):
                raise SignalError(
                    f"{self.folder}: the reading of {name!r} is not finite; read it in a higher precision"
                )
        for index, name in enumerate(names):
            self._waiting[which].append(
                (self._rows[which][name], scene[index], None if roles is None else roles[index])
            )
            self._done[which].add(name)
            if len(self._waiting[which]) >= self._a_part:
                self._write_part(which, self._waiting[which])
                self._waiting[which].clear()

    def _write_part(self, which: _Which, waiting: Sequence[tuple[int, Tensor, Tensor | None]]) -> None:
        tensors = {
            "rows": torch.tensor([row for row, _, _ in waiting]),
            "scene": torch.stack([scene for _, scene, _ in waiting]),
        }
        if which == "pictures" and self.info.has_roles:
            tensors["roles"] = torch.zeros(self.info.shape("roles", len(waiting)))
            for index, (_, _, roles) in enumerate(waiting):
                if roles is not None:
                    tensors["roles"][index, : len(roles)] = roles
        save_tensors(self._parts / f"{which}-{self._next_part:06d}.safetensors", tensors)
        self._next_part += 1

    def _store(self) -> None:
        """Everything in the order of the names, whatever the order of the parts: the same readings, the same bytes."""
        info = self.info
        scenes = self._gather("pictures", "scene")
        mean = _mean(scenes)
        pictures = {"scene": _stored(scenes, mean)}
        role_mean: tuple[float, ...] = ()
        if info.has_roles:
            roles = self._gather("pictures", "roles")
            mean_of_roles = _mean(roles)
            pictures["roles"] = _stored(roles, mean_of_roles)
            role_mean = tuple(mean_of_roles.tolist())
        save_tensors(self.folder / PICTURES_FILE, pictures)
        if info.views:
            save_tensors(self.folder / VIEWS_FILE, {"scene": _stored(self._gather("views", "scene"), mean)})
        size = (self.folder / PICTURES_FILE).stat().st_size / len(info.pictures)
        means = {"scene_mean": tuple(mean.tolist()), "role_mean": role_mean}
        info = info.model_copy(update=means | {"bytes_per_picture": round(size, 1)})
        # Last: a folder without it is unfinished.
        write_text_atomically(self.folder / INFO_FILE, info.model_dump_json(indent=1) + "\n")

    def _gather(self, which: _Which, tensor: Literal["scene", "roles"]) -> NDArray[np.float32]:
        """The raw readings in the order of the names, in a file: SWiG's roles would take 0.7 GB of memory."""
        shape = tuple(self.info.shape(tensor, len(self._rows[which])))
        gathered = np.memmap(self._parts / f"{which}-{tensor}.raw", np.float32, "w+", shape=shape)
        for part in sorted(self._parts.glob(f"{which}-*.safetensors")):
            with safe_open(part, "pt") as file:
                gathered[file.get_tensor("rows").numpy()] = file.get_tensor(tensor).numpy()
        return gathered


def _mean(raw: NDArray[np.float32]) -> Tensor:
    """The mean (D) of the rows (..., D) that are not all zero, summed in float64; zeros where there are none."""
    total, count = np.zeros(raw.shape[-1]), 0
    for rows in _chunks(raw):
        there = rows[rows.any(axis=-1)]
        total += there.sum(axis=0, dtype=np.float64)
        count += len(there)
    return torch.from_numpy(total / max(count, 1)).float()


def _stored(raw: NDArray[np.float32], mean: Tensor) -> Tensor:
    """Rows (..., D) as they are stored: minus the mean, of unit length, float16; zero rows stay zero."""
    stored = torch.zeros(raw.shape, dtype=torch.float16)
    flat, done = stored.view(-1, raw.shape[-1]), 0
    for chunk in _chunks(raw):
        rows = torch.from_numpy(chunk)
        centred = torch.where(rows.any(dim=-1, keepdim=True), rows - mean, 0.0)
        flat[done : done + len(rows)] = torch.nn.functional.normalize(centred, dim=-1).half()
        done += len(rows)
    return stored


def _chunks(raw: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    flat = raw.reshape(-1, raw.shape[-1])
    for start in range(0, len(flat), _CHUNK):
        yield np.array(flat[start : start + _CHUNK])


class SignalStore:
    """Reads signals; the files are mapped, not loaded. May be pickled: a data loader's workers take it along."""

    def __init__(self, folder: Path, info: SignalInfo) -> None:
        self.folder, self.info = folder, info
        self._rows = {name: row for row, name in enumerate(info.pictures)}
        self._mapped: dict[_Which, dict[str, Tensor]] = {}

    @classmethod
    def open(cls, folder: str | Path, *, text_fingerprint: str | None = None) -> SignalStore:
        """``text_fingerprint`` (of a text encoder, or of embeddings made with it) must be the signals' own.

        Raises SignalError where it is not, and for missing, cut off or foreign files.
        """
        folder = Path(folder)
        store = cls(folder, read_info(folder / INFO_FILE))
        info = store.info
        if text_fingerprint is not None and not same_encoder(
            _encoder(text_fingerprint), _encoder(info.text_fingerprint)
        ):
            raise SignalError(
                f"{folder / INFO_FILE}: the field 'text_fingerprint' is {info.text_fingerprint!r}, the student's is "
                f"{text_fingerprint!r}; use the same text encoder, or make the signals anew"
            )
        means = (len(info.scene_mean), len(info.role_mean))
        if means != (info.width, info.role_width if info.has_roles else 0) or len(store._rows) != len(info.pictures):
            raise SignalError(
                f"{folder / INFO_FILE}: its fields contradict each other (means of {means[0]} and {means[1]} numbers, "
                f"{len(store._rows)} different pictures of {len(info.pictures)}); make the signals anew"
            )
        store._check(PICTURES_FILE, len(info.pictures), ("scene", "roles") if info.has_roles else ("scene",))
        if info.views:
            store._check(VIEWS_FILE, len(info.views), ("scene",))
        return store

    def __len__(self) -> int:
        """How many pictures have signals."""
        return len(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    @property
    def bytes_per_picture(self) -> float:
        """Disk space a picture, without views."""
        return self.info.bytes_per_picture

    @property
    def views(self) -> int:
        """How many views have signals."""
        return len(self.info.views)

    @property
    def view_names(self) -> tuple[str, ...]:
        """The views' file names, in order."""
        return self.info.views

    def missing(self, names: Sequence[str]) -> list[str]:
        """Those of the names that have no signals, in the order given."""
        return [name for name in names if name not in self._rows]

    def rows(self, names: Sequence[str]) -> Tensor:
        """Each picture's row (n,) int64, -1 where it has no signals."""
        return torch.tensor([self._rows.get(name, -1) for name in names], dtype=torch.long)

    def scene(self, name: str) -> Tensor:
        """(D,) float32, zeros for a picture without signals."""
        return self._one("pictures", "scene", self._rows.get(name, -1))

    def roles(self, name: str) -> Tensor:
        """(R, Dr) float32, zeros where there are none."""
        return self._one("pictures", "roles", self._rows.get(name, -1))

    def read(self, names: Sequence[str]) -> TeacherSignals:
        """The signals of a batch, float32; ``roles`` is None where the store has none."""
        rows = self.rows(names)
        roles = self._read("pictures", "roles", rows) if self.info.has_roles else None
        return TeacherSignals(scene=self._read("pictures", "scene", rows), roles=roles)

    def view_scene(self, index: int) -> Tensor:
        """(D,) float32 of the view at this position. Raises IndexError beyond the last."""
        if not 0 <= index < self.views:
            raise IndexError(f"there are {self.views} views, none at {index}")
        return self._one("views", "scene", index)

    def _one(self, which: _Which, tensor: Literal["scene", "roles"], row: int) -> Tensor:
        shape = self.info.shape(tensor, 1)[1:]
        return self._map(which)[tensor][row].float() if row >= 0 and 0 not in shape else torch.zeros(shape)

    def _read(self, which: _Which, tensor: Literal["scene", "roles"], rows: Tensor) -> Tensor:
        found = torch.zeros(self.info.shape(tensor, len(rows)))
        if found.numel():
            there = rows >= 0
            found[there] = self._map(which)[tensor][rows[there]].float()
        return found

    def _map(self, which: _Which) -> dict[str, Tensor]:
        if which not in self._mapped:
            path = self.folder / (PICTURES_FILE if which == "pictures" else VIEWS_FILE)
            try:
                with safe_open(path, "pt") as file:
                    self._mapped[which] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            except (SafetensorError, OSError) as error:
                raise damaged(path, first_line(error)) from None
        return self._mapped[which]

    def _check(self, file_name: str, rows: int, tensors: Sequence[Literal["scene", "roles"]]) -> None:
        path = self.folder / file_name
        try:
            with safe_open(path, "pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                found = {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
        except FileNotFoundError:
            raise damaged(path, "there is no such file") from None
        except (SafetensorError, OSError) as error:
            raise damaged(path, first_line(error)) from None
        expected = {name: ("F16", self.info.shape(name, rows)) for name in tensors}
        if found != expected:
            raise damaged(path, f"its tensors are {found}, {INFO_FILE} says {expected}")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": {}}  # a pickle would hold the vectors themselves


def _positions(names: Sequence[str], which: _Which) -> dict[str, int]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SignalError(f"the {which} name {twice[0]!r} twice; give every file once")
    return {name: row for row, name in enumerate(names)}


def _encoder(fingerprint: str) -> str:
    """An encoder's fingerprint; embeddings' fingerprints add the version of the sentences, which plays no part here."""
    return fingerprint.partition(";templates-")[0]
