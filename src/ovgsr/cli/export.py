"""``ovgsr export``: a student as ONNX graphs, for machines without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[
        str, typer.Argument(help="Student: folder, hub name, or 'sketch' (shipped; drawn pictures only).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the graphs, the words and what belongs to them.")],
    opset: Annotated[int, typer.Option(help="ONNX operator set: 18 to 23; older runtimes need a lower one.")] = 18,
    int8: Annotated[bool, typer.Option("--int8", help="Keep the weights of matrix products as 8-bit numbers.")] = False,
) -> None:
    """Write a student's graphs, the embeddings of its words, and JSON with frames, preprocessing and constants.

    Words stay inputs of the graphs. `ovgsr predict --model OUT` and `ovgsr evaluate --model OUT` run an export.
    """
    from ovgsr.cli.progress import console, progress_bar
    from ovgsr.export.onnx import export_onnx
    from ovgsr.recognizers.student import shipped_folder

    with progress_bar("exporting", "graphs") as progress:
        sizes = export_onnx(shipped_folder(model), out, opset=opset, int8=int8, progress=progress)
    for file, size in sizes.items():
        console.print(f"{out / file}: {size / 1e6:.2f} MB", highlight=False, markup=False, soft_wrap=True)
