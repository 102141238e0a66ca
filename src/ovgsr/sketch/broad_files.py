"""The broad corpus on disk: shards of pictures (.npy, uint8) and of what is said about them (JSON Lines).

A killed run is finished by the next one: a shard counts once its text file, which is written last, is there.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovgsr.files import write_bytes_atomically, write_text_atomically
from ovgsr.sketch.broad_corpus import Turn, draw_captioned
from ovgsr.sketch.split import SketchError

SHARD = 2000
PLAN_FILE = "broad_corpus.json"
FORMAT = "ovgsr-broad-corpus-1"


@dataclass(frozen=True)
class BroadCorpus:
    """Pictures (memory-mapped, uint8 RGB 96 x 96) and their turns."""

    shards: tuple[npt.NDArray[np.uint8], ...]
    turns: tuple[tuple[Turn, ...], ...]

    def __len__(self) -> int:
        return len(self.turns)

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Picture (96, 96, 3) number ``index``."""
        picture: npt.NDArray[np.uint8] = self.shards[index // SHARD][index % SHARD]
        return picture

    def conversation(self, index: int) -> tuple[tuple[str, str], ...]:
        """Questions and answers about picture number ``index``."""
        return tuple((turn.question, turn.answer) for turn in self.turns[index])


def _names(out: Path, shard: int) -> tuple[Path, Path]:
    return out / f"pictures-{shard:05d}.npy", out / f"turns-{shard:05d}.jsonl"


def _write_shard(out: Path, seed: int, shard: int, amount: int) -> int:
    drawn = [draw_captioned(seed, shard * SHARD + index) for index in range(amount)]
    pictures, texts = _names(out, shard)
    buffer = io.BytesIO()
    np.save(buffer, np.stack([np.asarray(one.image) for one in drawn]), allow_pickle=False)
    write_bytes_atomically(pictures, buffer.getvalue())
    lines = [json.dumps([[turn.question, turn.answer] for turn in one.turns]) for one in drawn]
    write_text_atomically(texts, "\n".join(lines) + "\n")
    return amount


def write_broad_corpus(
    out: Path, *, seed: int, pictures: int, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> None:
    """Draws the corpus into ``out``, or what a killed run left of it.

    Raises:
        SketchError: the folder holds a corpus with other settings.
    """
    plan = {"format": FORMAT, "seed": seed, "pictures": pictures}
    path = out / PLAN_FILE
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != plan:
        raise SketchError(f"{path} says that this folder holds another corpus; choose another folder or delete it.")
    out.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, json.dumps(plan, indent=1) + "\n")
    amounts = {shard: min(SHARD, pictures - shard * SHARD) for shard in range(-(-pictures // SHARD))}
    left = {shard: amount for shard, amount in amounts.items() if not _names(out, shard)[1].exists()}
    done = pictures - sum(left.values())
    if progress is not None:
        progress(done, pictures)
    # Spawned, not forked: the caller may hold threads (torch) that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, min(workers, os.cpu_count() or 1)), mp_context=context) as pool:
        jobs = [pool.submit(_write_shard, out, seed, shard, amount) for shard, amount in left.items()]
        for job in as_completed(jobs):
            done += job.result()
            if progress is not None:
                progress(done, pictures)


def read_broad_corpus(folder: Path) -> BroadCorpus:
    """Opens a corpus; pictures stay on disk until they are asked for.

    Raises:
        SketchError: no corpus there, an unfinished one, or one with a file that was cut off.
    """
    path = folder / PLAN_FILE
    if not path.exists():
        raise SketchError(f"{folder} holds no broad corpus ({PLAN_FILE} is missing); draw one first.")
    pictures = int(json.loads(path.read_text(encoding="utf-8"))["pictures"])
    shards: list[npt.NDArray[np.uint8]] = []
    turns: list[tuple[Turn, ...]] = []
    for shard in range(-(-pictures // SHARD)):
        array, texts = _names(folder, shard)
        if not texts.exists():
            raise SketchError(f"{texts} is missing: the corpus is unfinished; draw it again to finish it.")
        shards.append(np.load(array, mmap_mode="r", allow_pickle=False))
        lines = texts.read_text(encoding="utf-8").splitlines()
        amount = min(SHARD, pictures - shard * SHARD)
        if len(lines) != amount or len(shards[-1]) != amount:
            raise SketchError(
                f"{texts} has {len(lines)} lines for {len(shards[-1])} pictures, not {amount} each; delete it and draw "
                "the corpus again to finish it."
            )
        turns += [tuple(Turn(question, answer) for question, answer in json.loads(line)) for line in lines]
    return BroadCorpus(tuple(shards), tuple(turns))
