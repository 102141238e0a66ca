"""``ovgsr data prepare``: from downloaded files to a data set that opens at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def prepare(
    kind: Annotated[
        Literal["swig", "custom"],
        typer.Argument(help="swig: the original, all of it; custom: any data set in its layout."),
    ],
    root: Annotated[Path, typer.Option(help="Folder with SWiG_jsons/ and images_512/.")],
    resize: Annotated[
        int | None,
        typer.Option(min=16, help="Also make copies with this many pixels on the shorter side (data.resized)."),
    ] = None,
    on_error: Annotated[
        Literal["stop", "skip"], typer.Option(help="What a record or picture that cannot be used does.")
    ] = "stop",
    show: Annotated[int, typer.Option(min=0, help="How many problems of a kind to print; 0 prints all.")] = 20,
) -> None:
    """Check a data set, index its annotations and, if wished, make smaller copies of its pictures.

    A killed run goes on where it was. The exit code is 1 where something cannot be used, unless it may be skipped.
    """
    from ovgsr.cli.progress import console
    from ovgsr.cli.stage_bar import StageBar
    from ovgsr.data.prepare import prepare_swig
    from ovgsr.models.preprocess import load_image

    with StageBar() as bar:
        report = prepare_swig(
            root,
            original=kind == "swig",
            resize=resize,
            on_error=on_error,
            open_image=lambda path, size: load_image(path, min_side=(size + 1) // 2),
            progress=bar,
        )
    _list("boxes reach outside their picture or are inverted; what lies inside is used", report.boxes, show)
    _list("records cannot be used", report.faults, show)
    _list("pictures cannot be read", tuple(report.unreadable.values()), show)
    left_out = len(report.faults) + len(report.unreadable)
    if left_out and on_error == "stop":
        raise typer.Exit(1)
    folds = ", ".join(f"{count:,} {fold}" for fold, count in report.pictures.items())
    console.print(f"{root}: {folds} pictures indexed" + (f", {report.resized:,} copies" if resize else ""))
    if left_out:
        console.print(f"{left_out} are left out: train with --on-error skip")


def _list(title: str, problems: tuple[str, ...], show: int) -> None:
    from ovgsr.cli.progress import messages

    for problem in problems[: show or None]:
        messages.print(problem, highlight=False, markup=False)
    if problems:
        messages.print(f"{len(problems):,} {title}" + (" (see all with --show 0)" if 0 < show < len(problems) else ""))
