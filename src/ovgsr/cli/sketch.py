"""``ovgsr sketch``: draws the embedded data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sketch(
    out: Annotated[Path, typer.Option(help="Folder to write the data set to.")],
    seed: Annotated[int, typer.Option(help="Other seeds draw other pictures of the same world.")] = 0,
    train: Annotated[int, typer.Option(min=1, help="Training pictures in all.")] = 8000,
    dev_per_verb: Annotated[int, typer.Option(min=1, help="Development pictures a verb.")] = 25,
    test_per_verb: Annotated[int, typer.Option(min=1, help="Test pictures a verb.")] = 50,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
) -> None:
    """Draw SketchSWiG: situations as pictures, in the layout of SWiG, with seen, rare and unseen verbs.

    The same seed gives the same bytes on every machine. A killed run is finished by running the command again.
    """
    from ovgsr.cli.progress import console, progress_bar
    from ovgsr.sketch.write import write_sketch_swig

    with progress_bar("drawing") as progress:
        write_sketch_swig(
            out,
            seed=seed,
            train=train,
            dev_per_verb=dev_per_verb,
            test_per_verb=test_per_verb,
            progress=progress,
            workers=workers,
        )
    console.print(f"SketchSWiG is in {out}; next: ovgsr data check {out}")
