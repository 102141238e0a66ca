"""``ovgsr data split``: seen, rare and unseen verbs of a data set, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from ovgsr.data.split_summary import SplitSummary
    from ovgsr.verb_split import VerbSplit


def split(
    root: Annotated[Path, typer.Argument(help="Folder with SWiG_jsons/; pictures are not opened.")],
    out: Annotated[Path, typer.Option(help="Write the split here; then --split takes it.")],
    refined: Annotated[
        bool, typer.Option("--refined", help="Drop pictures whose annotators disagree or whose boxes are broken.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Other seeds choose other verbs, nouns and pictures of rare verbs.")] = 0,
    framenet: Annotated[
        bool, typer.Option("--framenet", help="Spread unseen verbs over the FrameNet frames of imsitu_space.json.")
    ] = False,
) -> None:
    """Divide a data set's verbs into seen, rare, unseen and dev-unseen ones, and choose unseen nouns.

    SWiG's verbs get the split that the package carries (--split ov_swig) unless --seed or --framenet asks for another.
    """
    import json

    from ovgsr.cli.progress import console
    from ovgsr.data.ov_swig import make_split
    from ovgsr.data.split_summary import summarise
    from ovgsr.files import write_text_atomically

    made, pictures = make_split(root, embed=_embed, seed=seed, framenet=framenet, refined=refined)
    write_text_atomically(out, json.dumps(made.to_json(), indent=1) + "\n")
    _print(made, summarise(made, pictures))
    console.print(f"split: {out}", highlight=False, markup=False, soft_wrap=True)


def _embed(sentences: Sequence[str]) -> npt.NDArray[np.float32]:
    from ovgsr.models.text_encoder import load_text_encoder

    return load_text_encoder().encode(sentences).numpy()


def _print(split: VerbSplit, summary: SplitSummary) -> None:
    from rich.table import Table

    from ovgsr.cli.progress import console

    table = Table(title=f"{split.name}: verbs and their pictures", title_justify="left")
    for heading in ("", "verbs", "train", "dev", "test"):
        table.add_column(heading, justify="right" if heading else "left")
    for part, pictures in summary.pictures.items():
        table.add_row(part.replace("_", "-"), str(len(getattr(split, part))), *map(str, pictures.values()))
    console.print(table)
    told = [f"{count} {reason}" for reason, count in summary.left_out.items()]
    lines = [f"not in training: {', '.join(told)}"]
    lines += [
        f"dropped for {reason}: {', '.join(f'{count} of {fold}' for fold, count in counts.items())}"
        for reason, counts in summary.dropped.items()
    ]
    if summary.answers_met is not None:
        lines.append(f"nouns answered for test pictures of unseen verbs: {summary.answers_met:.1%} are met in training")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
