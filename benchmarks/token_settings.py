"""What each setting of the visual-token cache costs in disk, and in what the teacher still knows from it.

Run: python benchmarks/token_settings.py --data data/sketch_swig [--teacher sketch] [--per-verb 20]

Writes the tokens of SketchSWiG test pictures with every setting, reads them back, and lets the frozen LLM rank the
test verbs by likelihood from the cached tokens alone (no vision tower): top-1 on seen, rare and unseen verbs, all of
which compete. A coarser grid is given to the LLM as fewer tokens, or spread out again to as many as it was trained
with. Prints Markdown.
"""

from __future__ import annotations

import argparse
import io
import itertools
import tempfile
from collections import defaultdict
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ovgsr.data.swig import image_path, read_annotations, read_split
from ovgsr.models.preprocess import decode_image
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.tokens.cache import CacheKey, TokenCache
from ovgsr.teacher.tokens.making import write_tokens
from ovgsr.teacher.tokens.shards import TokenDtype
from ovgsr.teacher.visual_tokens import VisualTokens

QUESTION, START = "what is happening?", "someone is"
BATCH = 32
Grid = tuple[int, int]


def decode(data: bytes, name: str) -> Image.Image:
    """As the command does it."""
    return decode_image(io.BytesIO(data), name)


def spread(tokens: VisualTokens, grid: Grid) -> VisualTokens:
    """Each pooled token repeated over the cells it was pooled from."""
    assert tokens.grid is not None
    (rows, columns), (full_rows, full_columns) = tokens.grid, grid
    cells = tokens.tokens.reshape(rows, columns, -1)
    wide = cells.repeat_interleave(full_rows // rows, 0).repeat_interleave(full_columns // columns, 1)
    return VisualTokens(wide.flatten(0, 1), grid)


def ranks(teacher: MultimodalLLM, cache: TokenCache, names: list[str], verbs: list[str], full: Grid | None) -> Tensor:
    """The best verb (index) of each picture, from its cached tokens."""
    best = []
    for at in range(0, len(names), BATCH):
        visual = cache.read(names[at : at + BATCH], dtype=torch.float32).visual()
        given = visual if full is None else [spread(one, full) for one in visual]
        best.append(teacher.score(None, QUESTION, verbs, answer_start=START, visual=given).argmax(1))
    return torch.cat(best)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", default="sketch")
    parser.add_argument("--per-verb", type=int, default=20)
    options = parser.parse_args()
    teacher = MultimodalLLM.from_pretrained(options.teacher)
    split = read_split(options.data)
    assert split is not None, "the data set must say which verbs are unseen"
    taken: dict[str, int] = defaultdict(int)
    pictures = []
    for image in read_annotations(options.data, "test"):
        taken[image.situation.verb] += 1
        if taken[image.situation.verb] <= options.per_verb:
            pictures.append(image)
    names = [image.file_name for image in pictures]
    paths = [(name, image_path(options.data, name)) for name in names]
    verbs = list(split.candidates("test"))
    truth = torch.tensor([verbs.index(image.situation.verb) for image in pictures])
    full = teacher.visual_tokens([decode(paths[0][1].read_bytes(), names[0])])[0].grid
    assert full is not None, "this table needs a teacher with one grid of tokens a picture"
    sides = [full, *((full[0] // by, full[1] // by) for by in (2, 4, 8) if full[0] >= by and full[1] >= by)]
    dtypes: tuple[TokenDtype, ...] = ("float16", "int8")
    print(f"{len(pictures)} test pictures, {len(verbs)} verbs compete, teacher {options.teacher}\n")
    print("| grid | numbers | the LLM reads | bytes a picture | seen | rare | unseen |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for grid, dtype in itertools.product(sides, dtypes):
        with tempfile.TemporaryDirectory() as folder:
            key = CacheKey.of(teacher, grid=grid, dtype=dtype)
            write_tokens(Path(folder), key, teacher, paths, decode, batch=BATCH)
            cache = TokenCache.open(folder, expect=key)
            for way in (None, full) if grid != full else (None,):
                right = ranks(teacher, cache, names, verbs, way) == truth
                shares = []
                for part in ("seen", "rare", "unseen"):
                    own = torch.tensor([image.situation.verb in split.groups("test")[part] for image in pictures])
                    shares.append(f"{100 * right[own].float().mean():.1f}")
                read = f"{grid[0] * grid[1]} tokens" if way is None else f"spread to {full[0] * full[1]}"
                size = f"{cache.bytes_per_picture:,.0f}"
                print(f"| {grid[0]} x {grid[1]} | {dtype} | {read} | {size} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
