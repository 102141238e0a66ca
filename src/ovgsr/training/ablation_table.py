"""The finished cells of an ablation as numbers: a row's value of every column and seed, and the differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovgsr.training.ablation import Ablation, Cell
from ovgsr.training.ablation_cell import SCORINGS
from ovgsr.training.ablation_plan import AblationError, Row
from ovgsr.training.ablation_scoring import Column, Scoring, columns_of
from ovgsr.training.ablation_statistics import DRAWS, Difference, Interval, deviation, mean, paired_difference
from ovgsr.training.run_dir import machine_of


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
    scoring: Scoring[Any]
    rows: tuple[TableRow, ...]
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]]
    """Row compared with -> row -> column -> difference."""
    machines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What trained -> the finished cells that it trained."""

    def row(self, name: str) -> TableRow | None:
        """The row of that name, None where it has no cell yet."""
        return next((row for row in self.rows if row.row.name == name), None)


def read_table(ablation: Ablation, cells: Sequence[Cell], *, draws: int = DRAWS) -> AblationTable:
    """The table of the ``cells`` asked for and of everything else that is finished.

    Raises AblationError where a cell's file is damaged.
    """
    scoring, shown = SCORINGS[ablation.task], ablation.shown(cells)
    rows = []
    for row in ablation.plan.rows:
        own = [cell for cell in shown if cell.row == row]
        if own:
            rows.append(_read_row(row, own, columns_of(scoring)))
    by_name = {row.row.name: row for row in rows}
    records = {row.row.name: _records(ablation, scoring, row) for row in rows}
    compared = [column.key for part in scoring.parts if part.compared for column in part.columns]
    differences: dict[str, dict[str, dict[str, Difference]]] = {}
    for base in (ablation.plan.against, *ablation.plan.also_against):
        if base in by_name and by_name[base].seeds:
            others = [row for row in rows if row.row.name != base and row.seeds]
            differences[base] = {
                row.row.name: _differences(
                    row, by_name[base], compared, scoring.intervals(records[row.row.name], records[base], draws)
                )
                for row in others
            }
    return AblationTable(ablation, scoring, tuple(rows), differences, _machines(shown))


def _machines(cells: Sequence[Cell]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for cell in cells:
        machine = machine_of(cell.run) if cell.finished else None
        if machine is not None:
            found[machine] = (*found.get(machine, ()), cell.name)
    return found


def _read_row(row: Row, cells: Sequence[Cell], columns: Sequence[Column]) -> TableRow:
    values: dict[str, dict[int, float]] = {column.key: {} for column in columns}
    for cell in cells:
        if not cell.finished:
            continue
        results = _results(cell)
        for column in columns:
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


def _records(ablation: Ablation, scoring: Scoring[Any], row: TableRow) -> dict[int, Any]:
    found = {seed: scoring.records(ablation.cell(row.row.name, seed)) for seed in row.seeds}
    return {seed: records for seed, records in found.items() if records is not None}


def _differences(
    row: TableRow, base: TableRow, compared: Sequence[str], drawn: Mapping[str, Interval]
) -> dict[str, Difference]:
    found = {}
    for key in compared:
        difference = paired_difference(row.values[key], base.values[key], drawn.get(key))
        if difference is not None:
            found[key] = difference
    return found
