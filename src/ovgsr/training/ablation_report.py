"""An ablation's table as Markdown, CSV and one HTML page, written anew after every cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ovgsr.files import write_text_atomically
from ovgsr.report import Cell as TableCell
from ovgsr.report import PictureSection, Report, TableSection, write_report
from ovgsr.training.ablation import Ablation, Cell
from ovgsr.training.ablation_scoring import Column, Part, columns_of
from ovgsr.training.ablation_statistics import Difference, Interval
from ovgsr.training.ablation_table import AblationTable, TableRow, read_table

PICTURES_A_SIDE = 6
_SPACE = "\N{NO-BREAK SPACE}"
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
    for part in table.scoring.parts:
        parts += [f"## {part.title}", _lines(*result_cells(table, part.columns)), part.note]
    parts += [f"**{name}**: {reason}" for name, reason in failures(table)]
    for base in table.differences:
        parts += [f"## Minus {_title(table, base)}", difference_note(table, base)]
        for part in _compared(table):
            parts += [f"### {part.title}", _lines(*difference_cells(table, base, part))]
    parts.append("## The rows")
    parts.append("\n".join(f"- **{row.row.title}** (`{row.row.name}`): {row.row.says}" for row in table.rows))
    if command:
        parts.append(f"```\n{command}\n```")
    return "\n\n".join(parts) + "\n"


def csv_text(table: AblationTable) -> str:
    """One line a row and seed, then its mean and standard deviation; full precision, empty where there is nothing."""
    keys = [column.key for column in columns_of(table.scoring)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row", "seed", "state", *keys])
    for row in table.rows:
        for seed in sorted({*row.seeds, *row.failed, *row.missing}):
            state = "failed" if seed in row.failed else "missing" if seed in row.missing else "finished"
            numbers = [row.values[key].get(seed) for key in keys]
            writer.writerow([row.row.name, seed, state, *map(_plain, numbers)])
        for name, numbers in (
            ("mean", [row.mean(key) for key in keys]),
            ("deviation", [row.deviation(key) for key in keys]),
        ):
            writer.writerow([row.row.name, name, "", *map(_plain, numbers)])
    return buffer.getvalue()


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def page(table: AblationTable, command: str = "", *, pictures: bool = True) -> Report:
    """The HTML page."""
    plan = table.ablation.plan
    sections: list[TableSection | PictureSection] = []
    for part in table.scoring.parts:
        columns, rows = result_cells(table, part.columns)
        sections.append(TableSection(part.title, columns, rows, part.note))
    if failures(table):
        sections.append(TableSection("Failed cells", ("cell", "reason"), failures(table)))
    for base in table.differences:
        for place, part in enumerate(_compared(table)):
            columns, rows = difference_cells(table, base, part)
            explained = "" if place else difference_note(table, base)
            sections.append(TableSection(f"Minus {_title(table, base)}: {part.title}", columns, rows, explained))
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


def _compared(table: AblationTable) -> list[Part]:
    return [part for part in table.scoring.parts if part.compared]


def _made(row: TableRow) -> str:
    if row.row.teacher_only:
        return f"the teacher, prompted; roles by {row.row.teacher_roles}"
    signals = [] if row.row.signals is None else [f"teacher's signals: {row.row.signals}"]
    return "; ".join([f"recipe {row.row.recipe}", *row.row.overrides, *signals])


def note(table: AblationTable) -> str:
    """What the table's numbers are."""
    seeds = max((len(row.seeds) for row in table.rows), default=0)
    spread = "± is the standard deviation over seeds (n - 1)." if seeds > 1 else "One seed: no spread."
    made = "; ".join(f"{machine}: {', '.join(names)}" for machine, names in table.machines.items())
    apart = f" Not all on one machine, so costs do not compare ({made})." if len(table.machines) > 1 else ""
    return (
        f"Pictures of {table.ablation.plan.fold}, percent. {table.scoring.note} {spread} Stage 1 was run once for all "
        f"seeds.{apart}"
    )


def difference_note(table: AblationTable, base: str) -> str:
    """What the differences and their intervals are."""
    return (
        f"Points more than {_title(table, base)}, paired by seed. First bracket: 95 % interval by Student's t over the "
        f"seeds; a dash where one seed is common. Second, {table.scoring.drawn}, both rows on the same draws. Three "
        "seeds make the first wide; the second then understates how much seeds differ."
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
    return ("row", *(column.title for column in part.columns)), [
        (_title(table, name), *(_difference(by_column.get(column.key), column.digits) for column in part.columns))
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


def _difference(difference: Difference | None, digits: int) -> str:
    if difference is None:
        return "-"
    parts = [_signed(difference.mean, digits), _bracket(difference.t_interval, digits)]
    if difference.bootstrap is not None:
        parts.append(_bracket(difference.bootstrap, digits))
    return " ".join(parts)


def _bracket(interval: Interval | None, digits: int) -> str:
    return "-" if interval is None else f"[{_signed(interval[0], digits)},{_SPACE}{_signed(interval[1], digits)}]"


def _signed(points: float, digits: int) -> str:
    return f"{round(points, digits) + 0.0:+.{digits}f}"  # no minus zero


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
    if not common:
        return []
    cells = (ablation.cell(method.row.name, common[0]), ablation.cell(base.row.name, common[0]))
    if not all(cell.samples.is_file() for cell in cells):
        return []
    titles = (method.row.title, base.row.title)
    return list(table.scoring.differing_pictures(ablation, cells, titles, PICTURES_A_SIDE))


def paths(out: Path) -> tuple[Path, Path, Path]:
    """Where the table is: Markdown, CSV, HTML."""
    return out / "ablation.md", out / "ablation.csv", out / "ablation.html"
