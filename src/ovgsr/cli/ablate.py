"""``ovgsr ablate``: the whole ablation table by one command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovgsr.training.ablation import Ablation, Cell, Execute


def ablate(
    data: Annotated[
        Path, typer.Option(help="Folder of the data set, in the layout of SWiG (with a verb split) or of HICO-DET.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the runs, their scores and the table.")],
    plan: Annotated[
        str, typer.Argument(help="A YAML file, or a plan of the package: sketch, sketch_hoi, swig, hico_det.")
    ] = "sketch",
    rows: Annotated[str | None, typer.Option(help="Only these rows: a,b. Default: all of the plan.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Only these seeds: 0,1. Default: the plan's.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; above 1 each has a process and one thread.")] = 1,
    split: Annotated[
        str | None, typer.Option(help="Who is unseen: a file, ov_swig, rf_uc ...; default: the plan's or the data's.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option(help="A setting for every row, section.key=value; may be repeated.")
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="Multimodal LLM to learn from: folder, hub name, or 'sketch'.")
    ] = "sketch",
    device: Annotated[str | None, typer.Option(help="Of evaluation and teacher: cpu, cuda, ...")] = None,
    only_cell: Annotated[str | None, typer.Option(hidden=True)] = None,
    only_signals: Annotated[bool, typer.Option("--only-signals", hidden=True)] = False,
) -> None:
    """Train and score every row of an ablation with several seeds, and write the table after each of them.

    A finished cell (a row with a seed) is not run again, a stopped one goes on. The table is in OUT/ablation.md,
    ablation.csv and ablation.html: means, paired differences with intervals, and pictures on which rows differ.
    """
    from ovgsr.training.ablation import Ablation
    from ovgsr.training.ablation_plan import load_plan

    changes = [*(override or ()), *([] if split is None else [f"data.split={json.dumps(split)}"])]
    ablation = Ablation(load_plan(plan), data, out, tuple(changes), teacher, device)
    if only_cell is not None:
        _one_cell(ablation, only_cell, only_signals)
        return
    names = None if rows is None else [name.strip() for name in rows.split(",") if name.strip()]
    cells = ablation.cells(names, _numbers(seeds))
    ablation.require_recipes(ablation.shown(cells))
    options = ["--data", str(data), "--out", str(out), "--teacher", teacher]
    options += [part for change in changes for part in ("--override", change)]
    options += [] if device is None else ["--device", device]
    asked = [part for name, text in (("--rows", rows), ("--seeds", seeds)) if text is not None for part in (name, text)]
    command = shlex.join(["ovgsr", "ablate", plan, *options, *asked])
    _run(ablation, cells, jobs, command, [plan, *options])


def _numbers(seeds: str | None) -> list[int] | None:
    from ovgsr.training.ablation_plan import AblationError

    if seeds is None:
        return None
    parts = [part.strip() for part in seeds.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise AblationError(f"--seeds must be whole numbers, such as 0,1,2, not {seeds!r}")
    return [int(part) for part in parts]


def _run(ablation: Ablation, cells: Sequence[Cell], jobs: int, command: str, arguments: Sequence[str]) -> None:
    """Fills the table, printing one line that moves, and ends with exit code 1 where a cell failed."""
    from ovgsr.cli.progress import console
    from ovgsr.training.ablation_report import paths, write_tables

    def write() -> None:
        write_tables(ablation, cells, command=command)

    write()  # a damaged cell is told before hours of work
    failed = fill_cells(ablation, cells, jobs, arguments, write)
    write()
    _print_table(ablation, cells)
    console.print("table: " + ", ".join(map(str, paths(ablation.out))), soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def fill_cells(
    ablation: Ablation, cells: Sequence[Cell], jobs: int, arguments: Sequence[str], write: Callable[[], None]
) -> list[Cell]:
    """Runs what is left of the cells under one bar, calling ``write`` after each; returns those that failed.

    ``arguments`` are those of ``ovgsr ablate`` that name this ablation, for cells in processes of their own.
    """
    from ovgsr.cli.ablation_bar import AblationBar, CellProcesses
    from ovgsr.training.ablation import run_cells
    from ovgsr.training.ablation_cell import run_cell

    with AblationBar(cells, jobs, write) as bar:
        if jobs == 1:
            return run_cells(cells, lambda cell, progress: run_cell(ablation, cell, progress), bar)
        processes = CellProcesses(arguments)
        execute: Execute = processes.execute
        return run_cells(cells, execute, bar, jobs=jobs, stop=processes.stop)


def _print_table(ablation: Ablation, cells: Sequence[Cell]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ovgsr.cli.progress import console
    from ovgsr.training.ablation_report import result_cells
    from ovgsr.training.ablation_table import read_table

    results = read_table(ablation, cells, draws=1)
    summary = results.scoring.summary
    header, rows = result_cells(results, summary.columns)
    title = f"{ablation.plan.title}. {summary.title}; {ablation.plan.fold}, percent"
    table = Table(title=title, title_justify="left")
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)).replace("\N{NO-BREAK SPACE}", "") for cell in row))
    console.print(table)


def _one_cell(ablation: Ablation, name: str, only_signals: bool) -> None:
    """A cell in a process of its own: its progress goes to standard output, a JSON object a line."""
    from ovgsr.training.ablation_cell import prepared, run_cell
    from ovgsr.training.ablation_plan import AblationError

    row, _, seed = name.partition("/")
    if not seed.isdecimal():
        raise AblationError(f"--only-cell must be ROW/SEED, not {name!r}")
    cell = ablation.cell(row, int(seed))

    def tell(stage: str, done: int, total: int) -> None:
        print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)

    if only_signals:
        prepared(ablation, cell, tell)
    else:
        run_cell(ablation, cell, tell)
