"""``ovgsr sketch``: draws the embedded data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sketch(
    out: Annotated[Path, typer.Option(help="Folder to write the data set to; with --contact-sheet, a PNG file.")],
    hoi: Annotated[bool, typer.Option("--hoi", help="Draw SketchHOI, in the layout of HICO-DET, instead.")] = False,
    seed: Annotated[int, typer.Option(help="Other seeds draw other pictures of the same world.")] = 0,
    train: Annotated[
        int | None, typer.Option(min=1, help="Training pictures in all (8,000 by default, with --hoi 3,000).")
    ] = None,
    dev_per_verb: Annotated[
        int | None, typer.Option(min=1, help="Development pictures a verb (25 by default).")
    ] = None,
    test_per_verb: Annotated[int | None, typer.Option(min=1, help="Test pictures a verb (50 by default).")] = None,
    dev: Annotated[int | None, typer.Option(min=1, help="With --hoi: development pictures (300 by default).")] = None,
    test: Annotated[int | None, typer.Option(min=1, help="With --hoi: test pictures (1,000 by default).")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
    sheet: Annotated[bool, typer.Option("--contact-sheet", help="Draw one page of example pictures instead.")] = False,
) -> None:
    """Draw SketchSWiG: situations as pictures, in the layout of SWiG, with seen, rare and unseen verbs.

    With --hoi, SketchHOI: people and what they do with things, in the layout of HICO-DET, with unseen combinations.

    The same seed gives the same bytes everywhere with the pinned Pillow (another version may round a pixel otherwise).
    A killed run is finished by running the command again.
    """
    from ovgsr.cli.progress import console, progress_bar
    from ovgsr.sketch.hoi_write import write_sketch_hoi
    from ovgsr.sketch.split import SketchError
    from ovgsr.sketch.write import write_sketch_swig

    amounts = {"dev": dev, "test": test} if hoi else {"dev_per_verb": dev_per_verb, "test_per_verb": test_per_verb}
    if not hoi and (dev or test):
        raise SketchError("--dev and --test belong to SketchHOI; add --hoi, or use --dev-per-verb and --test-per-verb.")
    if hoi and (dev_per_verb or test_per_verb):
        raise SketchError("--dev-per-verb and --test-per-verb belong to SketchSWiG; with --hoi use --dev and --test.")
    if sheet:
        _contact_sheet(out, seed, hoi)
        console.print(f"contact sheet: {out}")
        return
    given = {name: amount for name, amount in {"train": train, **amounts}.items() if amount}
    with progress_bar("drawing") as progress:
        write = write_sketch_hoi if hoi else write_sketch_swig
        write(out, seed=seed, progress=progress, workers=workers, **given)
    console.print(f"{'SketchHOI' if hoi else 'SketchSWiG'} is in {out}; next: ovgsr data check {out}")


def _contact_sheet(out: Path, seed: int, hoi: bool) -> None:
    """Write a page of examples as a PNG file."""
    from ovgsr.files import write_atomically
    from ovgsr.sketch.contact_sheet import contact_sheet
    from ovgsr.sketch.hoi_sheet import hoi_sheet
    from ovgsr.sketch.split import VERBS

    page = (hoi_sheet(seed=seed) if hoi else contact_sheet(VERBS, 3, seed)).quantize(256)
    write_atomically(out, lambda path: page.save(path, format="PNG", optimize=True))
