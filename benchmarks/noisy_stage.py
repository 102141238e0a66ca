"""A teacher that sees badly, for a whole ablation: copies a first stage with noise on every visual token.

Run: python benchmarks/noisy_stage.py --work runs/ablation/signals --out runs/noisy/signals --noise 4
     ovgsr ablate sketch --data data/sketch_swig --out runs/noisy --override prompts.dev_pictures=0 \
         --rows no_teacher,fixed_views,no_negatives,mipd

``--work`` is a folder of ``ovgsr teacher signals`` or the ``signals`` of ``ovgsr ablate``. Its visual tokens (of the
pictures, the views and the mirrored views) get Gaussian noise, in units of the standard deviation of a picture's own
tokens; rationales and views are copied. All kinds of readings that are then made in ``--out`` are made from those
tokens, the hand-written prompt's and the learned ones' alike. The dev pictures on which prompts are watched while they
are tuned are seen without noise, so ``prompts.dev_pictures=0`` leaves that out. A killed run is finished by running it
again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from ovgsr.teacher.tokens.cache import TokenCache
from ovgsr.teacher.tokens.shards import pack
from ovgsr.teacher.tokens.writer import TokenWriter

TOKENS = ("tokens", "view_tokens", "view_tokens_mirrored")
COPIED = ("rationales", "views")
BATCH = 500


def noisy_copy(source: Path, target: Path, noise: float) -> None:
    """The same pictures in a cache of the same kind, each with noise drawn from its content."""
    cache = TokenCache.open(source)
    with TokenWriter(target, cache.key) as writer:
        left = [name for name in cache.contents if name not in writer.known]
        for names in _batches(left):
            read = cache.read(names, dtype=torch.float32).visual()
            for name, visual in zip(names, read, strict=True):
                content = cache.contents[name]
                writer.name(name, content)
                if content in writer.stored:
                    continue
                drawn = torch.Generator().manual_seed(int(content[:15], 16))
                levels = [visual.tokens, *(() if visual.deep is None else visual.deep)]
                tokens, *deep = (one + noise * one.std() * torch.randn(one.shape, generator=drawn) for one in levels)
                writer.add(pack(content, tokens, visual.grid, cache.key.dtype, torch.stack(deep) if deep else None))


def _batches(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), BATCH):
        yield names[start : start + BATCH]


def main() -> None:
    """Writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--noise", type=float, default=4.0)
    options = parser.parse_args()
    for name in COPIED:
        shutil.copytree(options.work / name, options.out / name, dirs_exist_ok=True)
    for name in TOKENS:
        noisy_copy(options.work / name, options.out / name, options.noise)
        print(f"{options.out / name}: noise of {options.noise:g} standard deviations", flush=True)


if __name__ == "__main__":
    main()
