"""A data set that is drawn into a folder: the folder holds one set, and a killed run is finished by the next one."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ovgsr.files import write_bytes_atomically
from ovgsr.sketch.split import SketchError

UNFINISHED = "unfinished"
"""Folder of the records of the chunks that are done, until the set is complete."""


class Chunk(Protocol):
    """Some pictures of a set that are drawn one after the other."""

    @property
    def amount(self) -> int:
        """Number of pictures."""
        ...

    @property
    def name(self) -> str:
        """Name of the file that keeps the records until the set is complete; its presence marks the chunk as done."""
        ...


C = TypeVar("C", bound=Chunk)
WriteChunk = Callable[[Path, C], Iterator[int]]
"""Draws a chunk into a folder, yielding after each picture; its last deed is to write its records."""


def as_json(value: object, indent: int | None = None) -> bytes:
    """The value as one line of JSON, or indented, with a line feed at the end."""
    return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode("utf-8")


def open_folder(out: Path, plan_file: str, plan: dict[str, object], name: str) -> None:
    """Make the folder, or check that what is there is an unfinished or finished set of the same settings.

    Raises:
        SketchError: the folder holds something else.
    """
    plan_path = out / plan_file
    if plan_path.exists():
        try:
            found = json.loads(plan_path.read_text(encoding="utf-8"))
        except ValueError:
            raise SketchError(f"{plan_path} is damaged; delete this folder and draw it again.") from None
        if not isinstance(found, dict):
            found = {}
        others = [f"{key} {found.get(key)}, not {value}" for key, value in plan.items() if found.get(key) != value]
        if others:
            raise SketchError(
                f"{plan_path} says that this folder holds a {name} with other settings ({'; '.join(others)}); "
                "choose another folder, give its settings or delete it."
            )
        return
    if out.exists() and (not out.is_dir() or any(not p.match(f".{plan_file}.*.part") for p in out.iterdir())):
        raise SketchError(f"{out} exists and holds something that is no {name}; choose a new or empty folder.")
    out.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(plan_path, as_json(plan, indent=2))


def draw_set(
    out: Path,
    chunks: Sequence[C],
    write_chunk: WriteChunk[C],
    tables: Callable[[Mapping[str, Any]], Mapping[str, bytes]],
    *,
    files: Sequence[str],
    folders: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> None:
    """Draw what is not drawn yet of the set whose folder was opened, and write its tables; a whole set is left alone.

    Args:
        out: folder of the set.
        chunks: all chunks of the set.
        write_chunk: a function at the top of a module, so that another process can call it.
        tables: from the records of each chunk by its name to the content of each of ``files``.
        files: what a whole set holds beside its pictures, relative to ``out``.
        folders: where the pictures go, relative to ``out``.
        progress: called with (pictures done, pictures in all).
        workers: processes that draw.
    """
    unfinished = out / UNFINISHED
    if not unfinished.exists() and all((out / file).exists() for file in files):
        if progress is not None:
            progress(total := sum(chunk.amount for chunk in chunks), total)
        return
    for folder in (*folders, UNFINISHED):
        (out / folder).mkdir(parents=True, exist_ok=True)
    _draw_chunks(out, chunks, write_chunk, progress, workers)
    records = {chunk.name: json.loads((unfinished / chunk.name).read_text(encoding="utf-8")) for chunk in chunks}
    contents = tables(records)
    for file in files:
        write_bytes_atomically(out / file, contents[file])
    for folder in folders:
        for stale in (out / folder).glob(".*.part"):
            stale.unlink()
    shutil.rmtree(unfinished)


def _draw_chunks(
    out: Path,
    chunks: Sequence[C],
    write_chunk: WriteChunk[C],
    progress: Callable[[int, int], None] | None,
    workers: int,
) -> None:
    report = progress or (lambda done, total: None)
    left = [chunk for chunk in chunks if not (out / UNFINISHED / chunk.name).exists()]
    total = sum(chunk.amount for chunk in chunks)
    done = total - sum(chunk.amount for chunk in left)
    if workers == 1:
        for chunk in left:
            for _ in write_chunk(out, chunk):
                done += 1
                report(done, total)
        return
    # Spawned, not forked: the caller may hold threads (torch) that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, os.cpu_count() or 1), mp_context=context) as pool:
        for future in as_completed([pool.submit(_draw_whole, out, chunk, write_chunk) for chunk in left]):
            done += future.result()
            report(done, total)


def _draw_whole(out: Path, chunk: C, write_chunk: WriteChunk[C]) -> int:
    for _ in write_chunk(out, chunk):
        pass
    return chunk.amount
