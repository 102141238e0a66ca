"""``ovgsr teacher pretrain``: draws the broad corpus and trains the embedded teacher on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def pretrain(
    out: Annotated[Path, typer.Option(help="Folder for the corpus, the state to resume from, and the teacher.")],
    pictures: Annotated[int, typer.Option(min=1100, help="Pictures of the corpus (28 KB each on disk).")] = 120_000,
    word_steps: Annotated[int, typer.Option(min=0, help="Steps in which the tower alone learns words.")] = 2500,
    caption_steps: Annotated[int, typer.Option(min=1, help="Steps in which everything learns to answer.")] = 4000,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a step and process.")] = 32,
    seed: Annotated[int, typer.Option(help="Decides corpus, first weights and order.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that train together, one a core or GPU.")] = 2,
) -> None:
    """Train the embedded teacher from scratch: hours on two cores, minutes on a GPU.

    A killed run goes on when the command is given again. The teacher is OUT/teacher, a model that
    transformers' AutoModelForImageTextToText opens.
    """
    corpus = out / "corpus"
    if "WORLD_SIZE" in os.environ:  # one of the processes that the branch below started
        _train(corpus, out, word_steps, caption_steps, batch_size, seed)
        return
    from ovgsr.cli.progress import console, progress_bar
    from ovgsr.sketch.broad_files import write_broad_corpus

    with progress_bar("drawing") as progress:
        write_broad_corpus(corpus, seed=seed, pictures=pictures, workers=processes, progress=progress)
    if processes == 1:
        _train(corpus, out, word_steps, caption_steps, batch_size, seed)
    else:
        _start_processes(processes)
    console.print(f"The teacher is in {out / 'teacher'}; next: ovgsr evaluate --teacher {out / 'teacher'} --data ...")


def _train(corpus: Path, out: Path, word_steps: int, caption_steps: int, batch_size: int, seed: int) -> None:
    from ovgsr.cli.progress import progress_bar
    from ovgsr.sketch.broad_files import read_broad_corpus
    from ovgsr.training.teacher_pretraining import Pretraining, PretrainingPlan

    plan = PretrainingPlan(word_steps=word_steps, caption_steps=caption_steps, batch_size=batch_size, seed=seed)
    run = Pretraining(read_broad_corpus(corpus), out, plan, threads=1 if "WORLD_SIZE" in os.environ else None)
    with progress_bar("pretraining", unit="steps") as progress:

        def watch(numbers: dict[str, Any]) -> None:
            note = f"loss {numbers['loss']:.2f}, {numbers['pictures_per_second']:.0f} pictures/s"
            progress(int(numbers["step"]), word_steps + caption_steps, note)

        run.run(watch)


def _start_processes(count: int) -> None:
    """This very command again, ``count`` times at once; torch's launcher ends them all where one fails."""
    import torch

    from ovgsr.errors import OvgsrError

    environment = dict(os.environ)
    if not torch.accelerator.is_available():
        environment["ACCELERATE_USE_CPU"] = "true"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(count), "-m", "ovgsr.cli.main"]
    if subprocess.run([*launcher, *sys.argv[1:]], env=environment, check=False).returncode:
        raise OvgsrError(
            "the pretraining stopped for the reason above; its last state is kept, and the same command goes on"
        )
