"""What distilling costs a training step: the same pictures, with and without a teacher's readings, in one run.

python benchmarks/bench_distillation.py [--pictures 512] [--rounds 3] [--threads 1]

Draws a small SketchSWiG, lets random vectors stand for a teacher's readings (speed does not depend on what they say),
and times whole optimiser steps of 64 pictures, and the loading of their batches apart from them. Rows: no teacher;
scene and role readings from disk; the same with 48 of 112 pictures being composite views, beside plain steps of 112
pictures. Ratios are medians over rounds in which the rows take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from ovgsr.config import Config, load_config
from ovgsr.data.swig import image_folder
from ovgsr.distillation.signal_info import SignalInfo
from ovgsr.distillation.signal_store import SignalWriter
from ovgsr.distillation.view_store import write_views
from ovgsr.models.preprocess import load_image
from ovgsr.models.text_encoder import load_text_encoder
from ovgsr.sketch.write import write_sketch_swig
from ovgsr.tensors import Batch
from ovgsr.training.build import Parts, build_parts, build_task
from ovgsr.training.optim import build_optimizer
from ovgsr.training.training_data import read_training_data

STEPS = 6


def random_signals(folder: Path, data: Path, views: int) -> None:
    """A folder of views and one of readings: unit vectors at random."""
    config = load_config("sketch_open", [f"data.root={data}"])
    read = read_training_data(config.data)
    store = write_views(folder / "views", read.train, image_folder(data), count=views, seed=0, open_image=load_image)
    encoder = load_text_encoder()
    roles = read.vocabulary.max_roles
    info = SignalInfo(
        kind="random",
        teacher="none",
        text_fingerprint=encoder.fingerprint,
        width=encoder.width,
        role_width=encoder.width,
        max_roles=roles,
        views_digest=store.digest,
    )
    names = [image.file_name for image in read.train]
    writer = SignalWriter(folder / "signals", info, names, store.names)
    generator = torch.Generator().manual_seed(0)
    writer.add(
        names,
        torch.randn(len(names), encoder.width, generator=generator),
        torch.randn(len(names), roles, encoder.width, generator=generator),
    )
    writer.add_views(list(store.names), torch.randn(len(store), encoder.width, generator=generator))
    writer.finish()


class Row:
    """One kind of run, ready to take steps."""

    def __init__(self, config: Config) -> None:
        self.parts: Parts = build_parts(config)
        self.task = build_task(config, self.parts)
        self.optimizer = build_optimizer(self.task, config.optim)
        self._batches = self._forever()
        self.loading: list[float] = []
        self.stepping: list[float] = []

    def _forever(self) -> Iterator[Batch]:
        epoch = 0
        while True:
            self.parts.sampler.begin(epoch)
            self.parts.dataset.set_epoch(epoch)
            yield from self.parts.loader
            epoch += 1

    def step(self, keep: bool) -> None:
        """Loads a batch and takes an optimiser step; ``keep`` writes the times down."""
        started = time.perf_counter()
        batch = next(self._batches)
        loaded = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            losses, _ = self.task(batch, self.parts.text, self.parts.verb_counts)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        if keep:
            self.loading.append(loaded - started)
            self.stepping.append(time.perf_counter() - loaded)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        data, work = Path(folder) / "data", Path(folder) / "work"
        write_sketch_swig(data, seed=0, train=options.pictures, dev_per_verb=1, test_per_verb=1)
        random_signals(work, data, 256)
        common = [f"data.root={data}", "model.distilled_readout=true", "train.threads=null"]
        taught = [*common, f"distill.signals={work / 'signals'}"]
        rows = {
            "no teacher, 64 pictures": Row(load_config("sketch_open", common)),
            "scene and role readings, 64 pictures": Row(load_config("sketch_open", taught)),
            "no teacher, 112 pictures": Row(load_config("sketch_open", [*common, "train.batch_size=112"])),
            "readings, 64 pictures and 48 views": Row(
                load_config("sketch_open", [*taught, "distill.views=0.75", f"distill.view_store={work / 'views'}"])
            ),
        }
        for turn in range(options.rounds + 1):
            for row in rows.values():
                for _ in range(STEPS):
                    row.step(keep=turn > 0)
    base = {"64": "no teacher, 64 pictures", "112": "no teacher, 112 pictures"}
    print("| step | ms | ms to load the batch | against no teacher, as many pictures |")
    print("| --- | --- | --- | --- |")
    for name, row in rows.items():
        reference = rows[base["112" if "48 views" in name or "112" in name else "64"]]
        ratio = statistics.median(row.stepping) / statistics.median(reference.stepping)
        print(
            f"| {name} | {1000 * statistics.median(row.stepping):.0f} | {1000 * statistics.median(row.loading):.0f} "
            f"| {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
