"""``ovgsr data check``: is this data set whole?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(
    root: Annotated[Path, typer.Argument(help="Folder of SWiG or HICO-DET, or one HICO-DET file.")],
    show: Annotated[int, typer.Option(min=0, help="How many problems to print; 0 prints all.")] = 50,
) -> None:
    """Verify a data set in the layout of SWiG or HICO-DET: every picture is opened, every annotation compared.

    Prints each problem with file and field; the exit code is 1 where there is one.
    """
    from ovgsr.cli.progress import console, messages, progress_bar
    from ovgsr.data.check import check_swig
    from ovgsr.data.hoi_check import check_hico_det, holds_interactions

    verify = check_hico_det if holds_interactions(root) else check_swig
    with progress_bar("checking") as progress:
        report = verify(root, progress)
    for sentence in report.summary:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
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
