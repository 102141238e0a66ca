"""An ablation as one resumable folder: rows that differ in a few settings, each trained and scored with several seeds.

A cell is one row with one seed. ``OUT/ROW/SEED`` holds it, ``OUT/signals/KIND`` what the teacher left for the rows that
learn from it (``ablation_cell.py`` fills both).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ovgsr.config import Config, load_config
from ovgsr.files import write_text_atomically
from ovgsr.training.ablation_plan import DEFAULTS, SIGNALS, VIEWS, AblationError, AblationPlan, Row, checked_overrides
from ovgsr.training.earlier_settings import completed
from ovgsr.training.run_dir import RunDir


@dataclass(frozen=True)
class Cell:
    """One row with one seed, and its folder."""

    row: Row
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """``ROW/SEED``."""
        return f"{self.row.name}/{self.seed}"

    @property
    def run(self) -> RunDir:
        """The training run."""
        return RunDir(self.folder / "run")

    @property
    def asked(self) -> Path:
        """The settings that the cell was made with."""
        return self.folder / "cell.json"

    @property
    def results(self) -> Path:
        """The results file; where it is, the cell is finished."""
        return self.folder / "results.json"

    @property
    def pictures(self) -> Path:
        """What each test picture scored."""
        return self.folder / "pictures.json"

    @property
    def classes(self) -> Path:
        """What each interaction scored, where the task is interactions."""
        return self.folder / "classes.json"

    @property
    def samples(self) -> Path:
        """Predictions of some test pictures, for showing."""
        return self.folder / "samples.jsonl"

    @property
    def timing(self) -> Path:
        """How long it took."""
        return self.folder / "timing.json"

    @property
    def failure(self) -> Path:
        """Why the last attempt failed, where it did."""
        return self.folder / "failure.txt"

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.results.is_file()


@dataclass(frozen=True)
class Ablation:
    """A plan with where and how it is carried out."""

    plan: AblationPlan
    data: Path
    out: Path
    overrides: tuple[str, ...] = ()
    """On top of the plan's own, for every row."""
    teacher: str = "sketch"
    device: str | None = None
    """Of evaluation and teacher; training takes the machine's accelerator where there is one."""

    def __post_init__(self) -> None:
        try:
            checked_overrides(self.overrides)
        except ValueError as error:
            raise AblationError(str(error)) from None
        # The same cell from another working directory is the same cell.
        object.__setattr__(self, "data", self.data.resolve())
        object.__setattr__(self, "out", self.out.resolve())

    @property
    def work(self) -> Path:
        """The folder of the teacher's stage, shared by all rows."""
        return self.out / SIGNALS

    @property
    def common(self) -> tuple[str, ...]:
        """The changes that all rows share."""
        return (*self.plan.overrides, *self.overrides)

    @property
    def task(self) -> str:
        """What all rows are trained for: that of the row that others are compared with."""
        return self.config(self.cell(self.plan.against, self.plan.seeds[0])).task

    def cell(self, row: str, seed: int) -> Cell:
        """A row with a seed. Raises AblationError for a row that the plan does not have."""
        return Cell(self.plan.row(row), seed, self.out / row / str(seed))

    def cells(self, rows: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> list[Cell]:
        """The chosen cells (default: all): every row has its first seed before any row has its second.

        Prompting a teacher draws nothing by chance: its row has one cell, of the plan's first seed.
        """
        names = list(dict.fromkeys(rows)) if rows else [row.name for row in self.plan.rows]
        wanted = list(dict.fromkeys(seeds)) if seeds else list(self.plan.seeds)
        chosen = []
        for position, seed in enumerate(wanted):
            cells = [self.cell(name, seed) for name in names]
            chosen += [cell for cell in cells if not cell.row.teacher_only]
            if position == 0:
                chosen += [self.cell(cell.row.name, self.plan.seeds[0]) for cell in cells if cell.row.teacher_only]
        return chosen

    def shown(self, asked: Sequence[Cell]) -> list[Cell]:
        """The cells of the table: the asked ones and whatever else of the plan is finished."""
        seeds = sorted({*self.plan.seeds, *(cell.seed for cell in asked)})
        known = {cell.name for cell in asked}
        every = [self.cell(row.name, seed) for row in self.plan.rows for seed in seeds]
        return [cell for cell in every if cell.name in known or cell.finished]

    def config(self, cell: Cell, signals: Path | None = None) -> Config:
        """The settings of a cell's run; ``signals`` is the folder that the teacher's stage left.

        Raises ConfigError for a setting that does not exist.
        """
        row = cell.row
        changes = [*self.plan.overrides, *row.overrides, *self.overrides]
        changes += [f"data.root={json.dumps(str(self.data))}", f"train.seed={cell.seed}"]
        if row.signals is not None:
            setting = "distill.token_cache" if row.signals == "tokens" else "distill.signals"
            changes.append(f"{setting}={json.dumps(str(signals or self.work / row.signals))}")
            if row.signals != "tokens":
                changes.append(f"distill.view_store={json.dumps(str(self.work / VIEWS))}")
        return load_config(None if row.recipe == DEFAULTS else row.recipe, changes)

    def require_recipes(self, cells: Sequence[Cell]) -> None:
        """Raises ConfigError or AblationError before hours of work: a misspelt setting, a cell made with others, a row
        for another task."""
        task = self.task
        for cell in cells:
            record = self.record(cell)
            if cell.row.teacher_only:
                if task == "interactions":
                    raise AblationError(
                        f"the row {cell.row.name!r}: no teacher is prompted for interactions; remove it"
                    )
            elif record["config"]["task"] != task:
                raise AblationError(
                    f"the row {cell.row.name!r} is for {record['config']['task']}, {self.plan.against!r} for {task}; "
                    "one table holds one task"
                )
            if cell.asked.is_file():
                self._require_same(cell, record)

    def record(self, cell: Cell) -> dict[str, Any]:
        """What the cell's numbers depend on, as its ``cell.json`` keeps it."""
        row = cell.row
        record: dict[str, Any] = {"fold": self.plan.fold, "signals": row.signals}
        if row.signals is not None or row.teacher_only:
            record["teacher"] = self.teacher
        if row.teacher_only:
            split = load_config(None, self.common).data.split
            return record | {"data": str(self.data), "split": split, "teacher_roles": row.teacher_roles}
        config = self.config(cell).model_dump(mode="json")
        if row.signals is not None:  # where the teacher's folders lie changes nothing; their kind does
            config["distill"] |= dict.fromkeys(("signals", "token_cache", "view_store"))
        return record | {"config": config}

    def open(self, cell: Cell) -> None:
        """Makes the cell's folder, or goes on with it. Raises AblationError where its settings differ."""
        record = self.record(cell)
        if cell.asked.is_file():
            self._require_same(cell, record)
        else:
            write_text_atomically(cell.asked, json.dumps(record, indent=2, sort_keys=True))

    def _require_same(self, cell: Cell, record: dict[str, Any]) -> None:
        try:
            kept = json.loads(cell.asked.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise AblationError(f"{cell.asked}: not readable ({error}); delete the folder {cell.folder}") from None
        if "config" in kept and isinstance(kept["config"], dict):  # as an earlier version may have written it
            kept["config"] = completed(kept["config"], taught=cell.row.signals is not None)
        difference = first_difference(kept, json.loads(json.dumps(record)))
        if difference is not None:
            setting, there, now = difference
            raise AblationError(
                f"{cell.asked}: the cell {cell.name} was made with {setting.removeprefix('config.')}={there}, not "
                f"{now}; ask for the same, give another folder with --out, or delete {cell.folder}"
            )


def first_difference(kept: Any, asked: Any, place: str = "") -> tuple[str, str, str] | None:
    """(dotted name, kept, asked) of the first setting in which two nested maps differ; None where none does."""
    if isinstance(kept, dict) and isinstance(asked, dict):
        for key in sorted(kept.keys() | asked.keys()):
            found = first_difference(kept.get(key), asked.get(key), f"{place}.{key}".lstrip("."))
            if found is not None:
                return found
        return None
    return None if kept == asked else (place, json.dumps(kept), json.dumps(asked))


class Watcher(Protocol):
    """Whoever watches the table being made; called from the threads that make it."""

    def started(self, cell: Cell) -> None:
        """A cell is begun."""

    def progress(self, cell: Cell, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` pieces of a stage (training, predicting, ...) of a cell."""

    def finished(self, cell: Cell, seconds: float) -> None:
        """A cell is done."""

    def failed(self, cell: Cell, reason: str) -> None:
        """A cell has failed; the others go on."""


Progress = Callable[[str, int, int], None]
"""Hears stage, done and total."""
Execute = Callable[[Cell, Progress], None]
"""Carries out one cell; raises where it fails."""


def run_cells(
    cells: Sequence[Cell], execute: Execute, watcher: Watcher, *, jobs: int = 1, stop: Callable[[], None] | None = None
) -> list[Cell]:
    """Carries out the cells that are not finished, ``jobs`` at a time, and returns those that failed.

    A failure leaves its reason in the cell's ``failure.txt``; the next attempt removes it. ``stop`` is called when
    the whole is interrupted, to end what still runs in other processes.
    """
    todo = [cell for cell in cells if not cell.finished]
    if jobs == 1:
        return [cell for cell in todo if not _attempt(cell, execute, watcher)]
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(_attempt, cell, execute, watcher): cell for cell in todo}
        try:
            failed = [futures[future] for future in as_completed(futures) if not future.result()]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            if stop is not None:
                stop()
            raise
    return sorted(failed, key=todo.index)


def _attempt(cell: Cell, execute: Execute, watcher: Watcher) -> bool:
    watcher.started(cell)
    began = time.monotonic()
    try:
        cell.failure.unlink(missing_ok=True)
        execute(cell, lambda stage, done, total: watcher.progress(cell, stage, done, total))
    except Exception as error:  # whatever it is, the other cells are not to blame
        reason = " ".join(str(error).split()) or type(error).__name__
        write_text_atomically(cell.failure, reason + "\n")
        watcher.failed(cell, reason)
        return False
    watcher.finished(cell, time.monotonic() - began)
    return True
