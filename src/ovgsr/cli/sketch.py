"""``ovgsr sketch``: draws the embedded data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sketch(
    out: Annotated[Path, typer.Option(help="Folder to write the data set to; with --contact-sheet, a PNG file.")],
    seed: Annotated[int, typer.Option(help="Other seeds draw other pictures of the same world.")] = 0,
    train: Annotated[int, typer.Option(min=1, help="Training pictures in all.")] = 8000,
    dev_per_verb: Annotated[int, typer.Option(min=1, help="Development pictures a verb.")] = 25,
    test_per_verb: Annotated[int, typer.Option(min=1, help="Test pictures a verb.")] = 50,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
    sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Draw one page with three pictures of each verb instead.")
    ] = False,
) -> None:
    """Draw SketchSWiG: situations as pictures, in the layout of SWiG, with seen, rare and unseen verbs.

    The same seed gives the same bytes everywhere with the pinned Pillow (another version may round a pixel otherwise).
    A killed run is finished by running the command again.
    """
    from ovgsr.cli.progress import console, progress_bar
    from ovgsr.sketch.write import write_sketch_swig

    if sheet:
        from ovgsr.files import write_atomically
        from ovgsr.sketch.contact_sheet import contact_sheet
        from ovgsr.sketch.split import VERBS

        page = contact_sheet(VERBS, 3, seed).quantize(256)
        write_atomically(out, lambda path: page.save(path, format="PNG", optimize=True))
        console.print(f"contact sheet: {out}")
        return
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
