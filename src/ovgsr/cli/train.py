"""``ovgsr train``: runs a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

_SHOWN = 20


def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe that the package carries.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings to change: section.key=value ...")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data set (data.root).")] = None,
    split: Annotated[
        str | None, typer.Option(help="Seen / rare / unseen verbs (data.split): a file, or ov_swig.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed (train.seed).")] = None,
    on_error: Annotated[
        Literal["stop", "skip"] | None,
        typer.Option(help="Pictures and records that cannot be used: an error, or left out (data.on_error)."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run would take, from a few batches; nothing is written.")
    ] = False,
    teraflops: Annotated[
        float, typer.Option(help="With --dry-run: TFLOP/s that the GPU to plan for sustains (an assumption).")
    ] = 50.0,
) -> None:
    """Train a student. The folder explains itself, and a stopped run goes on with --resume as if never stopped."""
    from ovgsr.cli.progress import console, messages
    from ovgsr.cli.training_bar import TrainingBar
    from ovgsr.config import load_config

    changes = list(overrides or [])
    if data is not None:
        changes.append(f"data.root={json.dumps(str(data))}")  # quoted: a folder called 2024 is no number
    if split is not None:
        changes.append(f"data.split={json.dumps(split)}")
    if seed is not None:
        changes.append(f"train.seed={seed}")
    if on_error is not None:
        changes.append(f"data.on_error={on_error}")
    config = load_config(recipe, changes)
    if dry_run:
        from ovgsr.cli.dry_run import show
        from ovgsr.training.estimate import estimate

        show(config, estimate(config), teraflops)
        return
    if out is None:
        raise typer.BadParameter("a run needs a folder", param_hint="--out")
    from ovgsr.data.skipped import Skipped
    from ovgsr.training.loop import train as run_recipe  # seconds to import: a misspelt setting is told before
    from ovgsr.training.run_dir import RunDir

    with TrainingBar(config.name) as bar:
        run_recipe(config, out, resume=resume, observer=bar)
    skipped = Skipped(RunDir(out).skipped).read()
    for sentence in skipped[:_SHOWN]:
        messages.print(sentence, highlight=False, markup=False)
    if skipped:
        messages.print(f"{len(skipped)} pictures and records could not be used; all are named in {RunDir(out).skipped}")
    console.print(
        f"The student is in {out / 'student'}; next: ovgsr evaluate --model {out / 'student'} --data {config.data.root}"
    )
