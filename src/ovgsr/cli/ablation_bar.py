"""The one progress line of ``ovgsr ablate``, and the processes that its cells run in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import IO

from rich.progress import BarColumn, Progress, TextColumn

from ovgsr.cli.progress import messages
from ovgsr.errors import OvgsrError
from ovgsr.training.ablation import Cell
from ovgsr.training.ablation import Progress as Tell

PROGRAM = ("-m", "ovgsr.cli.main")
"""What Python runs a cell by."""


class CellFailedError(OvgsrError):
    """A cell's process ended badly; the message is its last word."""


class AblationBar:
    """Cells done of all, the running cell with its steps, and the time left by the cells measured so far.

    After every cell ``write`` is called, one call at a time.
    """

    def __init__(self, cells: Sequence[Cell], jobs: int, write: Callable[[], None]) -> None:
        self.total, self.jobs, self.write = len(cells), jobs, write
        self.done = sum(cell.finished for cell in cells)
        self.seconds = [seconds for cell in cells if cell.finished and (seconds := _measured(cell)) is not None]
        self._lock = threading.Lock()
        columns = (
            TextColumn("{task.fields[cells]}"),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Progress(*columns, console=messages, transient=not messages.is_terminal)
        self._task = self._bar.add_task("", total=None, cells="", steps="", left="")

    def __enter__(self) -> AblationBar:
        self._bar.start()
        self._show_count()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def started(self, cell: Cell) -> None:
        """A cell is begun."""
        self._bar.update(self._task, description=cell.name, steps="", completed=0, total=None)

    def progress(self, cell: Cell, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` pieces of a stage of a cell."""
        self._bar.update(
            self._task,
            description=f"{cell.name}, {stage}",
            completed=done,
            total=total or None,
            steps=f"{done}/{total}",
        )

    def finished(self, cell: Cell, seconds: float) -> None:
        """A cell is done."""
        with self._lock:
            self.done += 1
            self.seconds.append(seconds)
            messages.print(f"{cell.name} done in {_spoken(seconds)}", highlight=False, markup=False)
            self.write()
        self._show_count()

    def failed(self, cell: Cell, reason: str) -> None:
        """A cell has failed; the others go on."""
        with self._lock:
            messages.print(f"{cell.name} failed: {reason}", highlight=False, markup=False)
            self.write()
        self._show_count()

    def time_left(self) -> float | None:
        """Seconds for the cells that are not done, by the mean of those measured; None before the first."""
        if not self.seconds:
            return None
        return (self.total - self.done) * sum(self.seconds) / len(self.seconds) / self.jobs

    def _show_count(self) -> None:
        left = self.time_left()
        text = "" if left is None else f"{_spoken(left)} left"
        self._bar.update(self._task, cells=f"{self.done}/{self.total} cells", left=text)


def _measured(cell: Cell) -> float | None:
    try:
        return float(json.loads(cell.timing.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # an estimate can do without


def _spoken(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class CellProcesses:
    """Runs cells in processes of this very program, one thread each."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """``arguments``: those of ``ovgsr ablate`` that every cell shares."""
        self.arguments = list(arguments)
        self._running: set[subprocess.Popen[str]] = set()
        self._teacher = threading.Lock()
        self._prepared: set[str] = set()
        self._stopped = False

    def execute(self, cell: Cell, progress: Tell) -> None:
        """Carries out a cell. Raises CellFailedError with what its process said last.

        The teacher's stage of a kind of signals runs once and by itself: rows and seeds share what it leaves, and two
        must not write it at a time.
        """
        kind = cell.row.signals
        if kind is not None and kind not in self._prepared:  # a kind that is there need not wait for another's stage
            with self._teacher:
                if kind not in self._prepared:
                    self._run(cell, progress, "--only-signals")
                    self._prepared.add(kind)
        self._run(cell, progress)

    def stop(self) -> None:
        """Ends the processes that still run."""
        self._stopped = True
        for process in tuple(self._running):
            process.terminate()

    def _run(self, cell: Cell, progress: Tell, *options: str) -> None:
        if self._stopped:
            raise CellFailedError("stopped")
        command = [
            sys.executable,
            *PROGRAM,
            "ablate",
            *self.arguments,
            "--only-cell",
            cell.name,
            *options,
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        cell.folder.mkdir(parents=True, exist_ok=True)
        log = cell.folder / "log.txt"
        began = log.stat().st_size if log.exists() else 0
        with log.open("a", encoding="utf-8") as words:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True, env=environment)
            self._running.add(process)
            try:
                assert process.stdout is not None
                _listen(process.stdout, progress)
                code = process.wait()
            finally:
                self._running.discard(process)
        if code != 0:
            said = log.read_bytes()[began:].decode("utf-8", errors="replace").splitlines()
            words_alone = [line.strip() for line in said if any(map(str.isalnum, line))]
            last = words_alone[-1].removeprefix("error: ") if words_alone else f"its process ended with code {code}"
            raise CellFailedError(f"{last} (all it said: {log})")


def _listen(lines: IO[str], progress: Tell) -> None:
    for line in lines:
        try:
            heard = json.loads(line)
            progress(str(heard["stage"]), int(heard["done"]), int(heard["total"]))
        except (ValueError, KeyError, TypeError):
            continue  # a library's own word
