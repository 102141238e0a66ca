"""An ablation's table as Markdown, CSV and one HTML page, written anew after every cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ovgsr.evaluation.predictions import read_predictions
from ovgsr.files import write_text_atomically
from ovgsr.report import Cell as TableCell
from ovgsr.report import PictureSection, Report, TableSection, write_report
from ovgsr.training.ablation import Ablation, Cell
from ovgsr.training.ablation_cell import read_fold
from ovgsr.training.ablation_statistics import Difference, Interval
from ovgsr.training.ablation_table import COLUMNS, PARTS, AblationTable, Column, Part, TableRow, columns_of, read_table
from ovgsr.training.comparison import compare_pictures

PICTURES_A_SIDE = 6
_SPACE = "\N{NO-BREAK SPACE}"
_COMPARED: tuple[Part, ...] = ("verbs", "calibrated", "roles")
_PART_NOTES: Mapping[Part, str] = MappingProxyType(
    {
        "verbs": "Without the constants. AUSUC and unseen among unseen owe nothing to one.",
        "calibrated": "The constants were chosen on dev pictures alone.",
        "roles": "Value and grounded value in the annotated verb's frame; the last column asks for the verb as well, "
        "with the constants.",
        "cost": "ms a training step: the median over the run's log, on the machine that ran it.",
    }
)
METHOD = "mipd"
"""The row whose pictures are shown beside those of the plan's ``against``; without it the last row stands in."""


def write_tables(ablation: Ablation, cells: Sequence[Cell], *, command: str = "", pictures: bool = True) -> None:
    """Writes ``ablation.md``, ``ablation.csv`` and ``ablation.html`` of what is finished, each atomically.

    ``pictures`` adds to the page pictures on which two rows differ. Raises AblationError where a cell is damaged.
    """
    table = read_table(ablation, cells)
    write_text_atomically(ablation.out / "ablation.md", markdown(table, command))
    write_text_atomically(ablation.out / "ablation.csv", csv_text(table))
    write_report(ablation.out / "ablation.html", page(table, command, pictures=pictures))


def markdown(table: AblationTable, command: str = "") -> str:
    """The table, the differences and how they were made."""
    plan = table.ablation.plan
    parts = [f"# {plan.title}", note(table)]
    for part, title in PARTS.items():
        parts += [f"## {title}", _lines(*result_cells(table, columns_of(part))), _PART_NOTES[part]]
    parts += [f"**{name}**: {reason}" for name, reason in failures(table)]
    for base in table.differences:
        parts += [f"## Minus {_title(table, base)}", difference_note(table, base)]
        for part in _COMPARED:
            parts += [f"### {PARTS[part]}", _lines(*difference_cells(table, base, part))]
    parts.append("## The rows")
    parts.append("\n".join(f"- **{row.row.title}** (`{row.row.name}`): {row.row.says}" for row in table.rows))
    if command:
        parts.append(f"```\n{command}\n```")
    return "\n\n".join(parts) + "\n"


def csv_text(table: AblationTable) -> str:
    """One line a row and seed, then its mean and standard deviation; full precision, empty where there is nothing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row", "seed", "state", *(column.key for column in COLUMNS)])
    for row in table.rows:
        for seed in sorted({*row.seeds, *row.failed, *row.missing}):
            state = "failed" if seed in row.failed else "missing" if seed in row.missing else "finished"
            numbers = [row.values[column.key].get(seed) for column in COLUMNS]
            writer.writerow([row.row.name, seed, state, *map(_plain, numbers)])
        for name, numbers in (
            ("mean", [row.mean(column.key) for column in COLUMNS]),
            ("deviation", [row.deviation(column.key) for column in COLUMNS]),
        ):
            writer.writerow([row.row.name, name, "", *map(_plain, numbers)])
    return buffer.getvalue()


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def page(table: AblationTable, command: str = "", *, pictures: bool = True) -> Report:
    """The HTML page."""
    plan = table.ablation.plan
    sections: list[TableSection | PictureSection] = []
    for part, title in PARTS.items():
        columns, rows = result_cells(table, columns_of(part))
        sections.append(TableSection(title, columns, rows, _PART_NOTES[part]))
    if failures(table):
        sections.append(TableSection("Failed cells", ("cell", "reason"), failures(table)))
    for base in table.differences:
        for part in _COMPARED:
            columns, rows = difference_cells(table, base, part)
            explained = difference_note(table, base) if part == _COMPARED[0] else ""
            sections.append(TableSection(f"Minus {_title(table, base)}: {PARTS[part]}", columns, rows, explained))
    said = [(row.row.title, row.row.name, row.row.says, _made(row)) for row in table.rows]
    sections.append(TableSection("How each row was made", ("row", "name", "what it is", "settings"), said))
    if pictures:
        sections += differing_pictures(table)
    return Report(
        title=plan.title,
        paragraphs=[note(table)],
        sections=sections,
        command=command,
        config=plan.model_dump_json(indent=2),
    )


def _made(row: TableRow) -> str:
    if row.row.teacher_only:
        return f"the teacher, prompted; roles by {row.row.teacher_roles}"
    signals = [] if row.row.signals is None else [f"teacher's signals: {row.row.signals}"]
    return "; ".join([f"recipe {row.row.recipe}", *row.row.overrides, *signals])


def note(table: AblationTable) -> str:
    """What the table's numbers are."""
    plan = table.ablation.plan
    seeds = max((len(row.seeds) for row in table.rows), default=0)
    spread = "± is the standard deviation over seeds (n - 1)." if seeds > 1 else "One seed: no spread."
    return (
        f"Pictures of {plan.fold}, percent, official profile. {spread} The constants for unseen and rare verbs were "
        "chosen on dev; stage 1 was run once for all seeds; a row without any (a closed vocabulary, the teacher) has "
        "the same numbers with and without."
    )


def difference_note(table: AblationTable, base: str) -> str:
    """What the differences and their intervals are."""
    return (
        f"Points more than {_title(table, base)}, paired by seed. First bracket: 95 % interval by Student's t over the "
        "seeds; a dash where one seed is common. Second, for verb top-1 and AUSUC: 95 % bootstrap interval, seeds and "
        "test pictures drawn anew, both rows on the same draws. Three seeds make the first wide; the second then "
        "understates how much seeds differ."
    )


def result_cells(
    table: AblationTable, columns: Sequence[Column]
) -> tuple[tuple[str, ...], list[tuple[TableCell, ...]]]:
    """Header and rows of text: mean ± standard deviation of each column."""
    header = ("row", "seeds", *(column.title for column in columns))
    return header, [
        (_marked(row), _seeds(row), *(_mean_and_spread(row, column) for column in columns)) for row in table.rows
    ]


def difference_cells(
    table: AblationTable, base: str, part: Part
) -> tuple[tuple[str, ...], list[tuple[TableCell, ...]]]:
    """Header and rows of text: the differences of a part's columns from the row ``base``."""
    columns = columns_of(part)
    return ("row", *(column.title for column in columns)), [
        (_title(table, name), *(_difference(by_column.get(column.key)) for column in columns))
        for name, by_column in table.differences[base].items()
    ]


def failures(table: AblationTable) -> list[tuple[str, str]]:
    """(cell, reason) of every failed one."""
    return [(f"{row.row.name}/{seed}", reason) for row in table.rows for seed, reason in sorted(row.failed.items())]


def _marked(row: TableRow) -> str:
    return f"{row.row.title} (failed)" if row.failed else row.row.title


def _seeds(row: TableRow) -> str:
    parts = [str(len(row.seeds))]
    if row.failed:
        parts.append(f"{len(row.failed)} failed")
    if row.missing:
        parts.append(f"{len(row.missing)} to come")
    return ", ".join(parts)


def _mean_and_spread(row: TableRow, column: Column) -> str:
    centre, spread = row.mean(column.key), row.deviation(column.key)
    if centre is None:
        return "-"
    if not column.digits:
        return f"{centre:,.0f}"  # pictures, steps and parameters are settings: no seed moves them
    if spread is None:
        return f"{centre:.{column.digits}f}{_SPACE}±{_SPACE}-"
    return f"{centre:.{column.digits}f}{_SPACE}±{_SPACE}{spread:.{column.digits}f}"


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    parts = [_signed(difference.mean), _bracket(difference.t_interval)]
    if difference.bootstrap is not None:
        parts.append(_bracket(difference.bootstrap))
    return " ".join(parts)


def _bracket(interval: Interval | None) -> str:
    return "-" if interval is None else f"[{_signed(interval[0])},{_SPACE}{_signed(interval[1])}]"


def _signed(points: float) -> str:
    return f"{round(points, 1) + 0.0:+.1f}"  # no minus zero


def _title(table: AblationTable, name: str) -> str:
    return table.ablation.plan.row(name).title


def _lines(header: Sequence[str], rows: Sequence[Sequence[TableCell]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def differing_pictures(table: AblationTable) -> list[PictureSection]:
    """Pictures on which the method and the plan's ``against`` differ, of the first seed that both have finished."""
    ablation = table.ablation
    base = table.row(ablation.plan.against)
    students = [row for row in table.rows if not row.row.teacher_only and row.seeds and row is not base]
    method = next((row for row in students if row.row.name == METHOD), students[-1] if students else None)
    if base is None or method is None:
        return []
    common = sorted(set(base.seeds) & set(method.seeds))
    cells = [ablation.cell(row.row.name, common[0]) for row in (method, base)] if common else []
    if not cells or not all(cell.samples.is_file() for cell in cells):
        return []
    fold = read_fold(ablation.data, ablation.config(cells[1]).data.split, ablation.plan.fold)
    ours, theirs = (list(read_predictions(cell.samples)) for cell in cells)
    titles = (method.row.title, base.row.title)
    return compare_pictures(
        ablation.data, fold.vocabulary, fold.split, fold.images, ours, theirs, titles, PICTURES_A_SIDE, fold=fold.name
    )


def paths(out: Path) -> tuple[Path, Path, Path]:
    """Where the table is: Markdown, CSV, HTML."""
    return out / "ablation.md", out / "ablation.csv", out / "ablation.html"
