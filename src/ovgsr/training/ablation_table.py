"""The finished cells of an ablation as numbers: a row's value of every column and seed, and the differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ovgsr.training.ablation import Ablation, Cell
from ovgsr.training.ablation_cell import read_records
from ovgsr.training.ablation_plan import AblationError, Row
from ovgsr.training.ablation_statistics import (
    DRAWS,
    Difference,
    Interval,
    PictureRecords,
    bootstrap_ausuc,
    bootstrap_top1,
    deviation,
    mean,
    paired_difference,
)

Drawn = Literal["seen", "rare", "unseen", "ausuc"]
Part = Literal["verbs", "calibrated", "roles", "cost"]
PARTS: Mapping[Part, str] = MappingProxyType(
    {
        "verbs": "Verbs, all of them competing",
        "calibrated": "Verbs, with the constants for unseen and rare verbs",
        "roles": "Roles",
        "cost": "What a row costs",
    }
)
"""The table in parts narrow enough to read, with their titles."""


@dataclass(frozen=True)
class Column:
    """One number of a cell: what it is called, where its results file has it, and what may be drawn anew for it."""

    part: Part
    key: str
    title: str
    path: tuple[str, ...]
    calibrated: bool = False
    """Read with the constants for unseen and rare verbs where the results file has it."""
    digits: int = 1
    drawn: Drawn | None = None
    """Of which pictures verb top-1 is drawn anew for the bootstrap; "ausuc" for that area."""

    @property
    def compared(self) -> bool:
        """Whether rows are compared by it."""
        return self.part != "cost"


_GROUPS: tuple[Literal["seen", "rare", "unseen"], ...] = ("seen", "rare", "unseen")
COLUMNS = (
    *(Column("verbs", f"top1_{g}", f"top-1, {g}", (g, "verb_top1"), drawn=g) for g in _GROUPS),
    *(
        Column("calibrated", f"top1_{g}_calibrated", f"top-1, {g}", (g, "verb_top1"), calibrated=True, drawn=g)
        for g in _GROUPS
    ),
    Column("calibrated", "top5_unseen", "top-5, unseen", ("unseen", "verb_top5"), calibrated=True),
    Column("calibrated", "harmonic_mean", "harmonic mean", ("harmonic_mean_verb_top1",), calibrated=True),
    Column("verbs", "ausuc", "AUSUC", ("open_vocabulary", "ausuc"), drawn="ausuc"),
    Column("verbs", "unseen_among_unseen", "unseen among unseen", ("open_vocabulary", "unseen_among_unseen_verb_top1")),
    *(Column("roles", f"value_{g}", f"value, {g}", (g, "ground_truth_verb", "value")) for g in _GROUPS),
    *(
        Column("roles", f"grounded_{g}", f"grounded, {g}", (g, "ground_truth_verb", "grnd_value"))
        for g in ("seen", "unseen")
    ),
    Column("roles", "value_top1", "value behind the verb, all", ("all", "top1", "value"), calibrated=True),
    Column("cost", "step_ms", "ms a training step", ("timing", "step_ms")),
    Column("cost", "pictures", "training pictures", ("cost", "pictures"), digits=0),
    Column("cost", "steps", "training steps", ("cost", "steps"), digits=0),
    Column("cost", "parameters", "student parameters", ("cost", "parameters"), digits=0),
)
"""Percent but for the costs; value and its kin under the official profile."""


def columns_of(part: Part) -> tuple[Column, ...]:
    """The columns of a part."""
    return tuple(column for column in COLUMNS if column.part == part)


@dataclass(frozen=True)
class TableRow:
    """A row with what its finished cells say."""

    row: Row
    values: Mapping[str, Mapping[int, float]]
    """Column key -> seed -> number; a number that a cell does not have is left out."""
    failed: Mapping[int, str]
    """Seed -> the reason of a failed cell's last attempt."""
    missing: tuple[int, ...]
    """Seeds asked for whose cell is neither finished nor failed."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the finished cells."""
        return tuple(sorted({seed for by_seed in self.values.values() for seed in by_seed}))

    def mean(self, column: str) -> float | None:
        """Over the seeds."""
        return mean(list(self.values[column].values()))

    def deviation(self, column: str) -> float | None:
        """Of a sample of seeds; None of one seed."""
        return deviation(list(self.values[column].values()))


@dataclass(frozen=True)
class AblationTable:
    """All that is known of an ablation's cells at one moment."""

    ablation: Ablation
    rows: tuple[TableRow, ...]
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]]
    """Row compared with -> row -> column -> difference."""

    def row(self, name: str) -> TableRow | None:
        """The row of that name, None where it has no cell yet."""
        return next((row for row in self.rows if row.row.name == name), None)


def read_table(ablation: Ablation, cells: Sequence[Cell], *, draws: int = DRAWS) -> AblationTable:
    """The table of the ``cells`` asked for and of everything else that is finished.

    Raises AblationError where a cell's file is damaged.
    """
    shown = ablation.shown(cells)
    rows = []
    for row in ablation.plan.rows:
        own = [cell for cell in shown if cell.row == row]
        if own:
            rows.append(_read_row(row, own))
    by_name = {row.row.name: row for row in rows}
    pictures = {row.row.name: _pictures(ablation, row) for row in rows}
    differences: dict[str, dict[str, dict[str, Difference]]] = {}
    for base in (ablation.plan.against, *ablation.plan.also_against):
        if base in by_name and by_name[base].seeds:
            others = [row for row in rows if row.row.name != base and row.seeds]
            differences[base] = {
                row.row.name: _differences(row, by_name[base], pictures[row.row.name], pictures[base], draws)
                for row in others
            }
    return AblationTable(ablation, tuple(rows), differences)


def _read_row(row: Row, cells: Sequence[Cell]) -> TableRow:
    values: dict[str, dict[int, float]] = {column.key: {} for column in COLUMNS}
    for cell in cells:
        if not cell.finished:
            continue
        results = _results(cell)
        for column in COLUMNS:
            number = number_of(results, column)
            if number is not None:
                values[column.key][cell.seed] = number
    failed = {cell.seed: _reason(cell) for cell in cells if cell.failure.is_file() and not cell.finished}
    missing = tuple(cell.seed for cell in cells if not cell.finished and cell.seed not in failed)
    return TableRow(row, values, failed, missing)


def number_of(results: Mapping[str, Any], column: Column) -> float | None:
    """A column's number in a results file, None where it is absent.

    Where a system has no constants (a closed vocabulary, a prompted teacher, a constant of 0) its
    results with and without are the same.
    """
    shifted = results.get("with_offset")
    value: Any = shifted if column.calibrated and isinstance(shifted, dict) else results
    for name in column.path:
        value = value.get(name) if isinstance(value, dict) else None
    return None if value is None else float(value)


def _results(cell: Cell) -> dict[str, Any]:
    results = _json(cell, cell.results)
    timing = _json(cell, cell.timing) if cell.timing.is_file() else {}
    seconds = timing.get("seconds_per_step")
    return results | {"timing": {"step_ms": None if seconds is None else 1000 * seconds}}


def _json(cell: Cell, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AblationError(f"{path}: not readable ({error}); delete the cell's folder {cell.folder}") from None
    if not isinstance(record, dict):
        raise AblationError(f"{path}: not what a cell writes; delete the cell's folder {cell.folder}")
    return record


def _reason(cell: Cell) -> str:
    return cell.failure.read_text(encoding="utf-8", errors="replace").strip()


def _pictures(ablation: Ablation, row: TableRow) -> dict[int, PictureRecords]:
    cells = {seed: ablation.cell(row.row.name, seed) for seed in row.seeds}
    return {seed: read_records(cell.pictures) for seed, cell in cells.items() if cell.pictures.is_file()}


def _differences(
    row: TableRow,
    base: TableRow,
    pictures: Mapping[int, PictureRecords],
    against: Mapping[int, PictureRecords],
    draws: int,
) -> dict[str, Difference]:
    found = {}
    for column in COLUMNS:
        if not column.compared:
            continue
        drawn: Interval | None = None
        if column.drawn == "ausuc":
            drawn = bootstrap_ausuc(pictures, against, draws=draws)
        elif column.drawn is not None:
            calibrated = column.calibrated
            drawn = bootstrap_top1(pictures, against, column.drawn, calibrated=calibrated, draws=draws)
        difference = paired_difference(row.values[column.key], base.values[column.key], drawn)
        if difference is not None:
            found[column.key] = difference
    return found
