"""``ovgsr data check``: is this data set whole?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(
    root: Annotated[Path, typer.Argument(help="Folder with SWiG_jsons/ and images_512/.")],
    show: Annotated[int, typer.Option(min=0, help="How many problems to print; 0 prints all.")] = 50,
) -> None:
    """Verify a data set in SWiG layout: every picture is opened, every annotation compared with its frame.

    Prints each problem with file and field; the exit code is 1 where there is one.
    """
    from ovgsr.cli.progress import console, messages, progress_bar
    from ovgsr.data.check import check_swig

    with progress_bar("checking") as progress:
        report = check_swig(root, progress)
    problems = report.problems
    for problem in problems[: show or None]:
        messages.print(str(problem), highlight=False, markup=False)
    if problems:
        more = len(problems) - (show or len(problems))
        messages.print(
            f"{len(problems)} problems" + (f", {more} not shown; see them with --show 0" if more > 0 else "")
        )
        raise typer.Exit(1)
    console.print(f"{root}: no problem found")
