"""Reading a teacher's visual tokens from disk against running the teacher again, and what they take on disk.

Run: python benchmarks/bench_tokens.py --teacher PATH_OR_HUB_ID [--pictures 512] [--device cpu] [--grid 6x6]

Draws SketchSWiG pictures to a temporary folder, writes their tokens there in both forms and reads them back in shuffled
batches of 64, from the page cache. Then the same reading for random tokens of LLaVA-1.5's width, and the size of SWiG's
training set for LLaVA-1.5. Prints Markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from ovgsr.models.preprocess import decode_image, load_image
from ovgsr.sketch.split import SEEN
from ovgsr.sketch.write import draw_picture, jpeg_bytes
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.tokens.cache import CacheKey, TokenCache
from ovgsr.teacher.tokens.making import write_tokens
from ovgsr.teacher.tokens.shards import TokenDtype, pack
from ovgsr.teacher.tokens.writer import TokenWriter

SWIG, BATCH = 75_702, 64
LLAVA_WIDTH = 4096
DTYPES: tuple[TokenDtype, ...] = ("float16", "int8")
Named = Sequence[tuple[str, Path]]
Grid = tuple[int, int]


def decode(data: bytes, name: str) -> Image.Image:
    """As the command does it."""
    return decode_image(io.BytesIO(data), name)


def draw(folder: Path, count: int) -> list[tuple[str, Path]]:
    """SketchSWiG training pictures."""
    named = []
    for index in range(count):
        _, rendered, _ = draw_picture(0, "train", SEEN[index % len(SEEN)], index)
        path = folder / f"{index:05d}.jpg"
        path.write_bytes(jpeg_bytes(rendered.image))
        named.append((path.name, path))
    return named


def seconds(work: Callable[[], object]) -> float:
    """The best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def read_all(folder: Path, names: list[str], dtype: torch.dtype) -> None:
    """One epoch in shuffled batches."""
    cache = TokenCache.open(folder, verify="quick")
    shuffled = random.Random(0).sample(names, len(names))
    for start in range(0, len(names), BATCH):
        cache.read(shuffled[start : start + BATCH], dtype=dtype)


def run_teacher(teacher: MultimodalLLM, named: Named, grid: Grid | None) -> None:
    """What a trainer would do without a cache: decode, and run the vision tower and the projector."""
    for start in range(0, len(named), BATCH):
        images = [load_image(path) for _, path in named[start : start + BATCH]]
        for tokens in teacher.visual_tokens(images):
            _ = tokens if grid is None else tokens.pooled(*grid)


def compare(folder: Path, teacher: MultimodalLLM, named: Named, grid: Grid | None) -> None:
    """The first table."""
    names = [name for name, _ in named]
    running = seconds(lambda: run_teacher(teacher, named, grid))
    print("| | pictures/s | against the teacher | kB a picture | stored within |\n| --- | ---: | ---: | ---: | ---: |")
    print(f"| the teacher, decoding included | {len(names) / running:.0f} | 1 | | |")
    for dtype in DTYPES:
        out = folder / dtype
        write_tokens(out, CacheKey.of(teacher, grid=grid, dtype=dtype), teacher, named, decode, batch=BATCH)
        reading = seconds(lambda out=out: read_all(out, names, torch.float16))  # type: ignore[misc]
        cache = TokenCache.open(out, verify="quick")
        print(
            f"| the cache, {dtype} | {len(names) / reading:.0f} | {running / reading:.0f} x | "
            f"{cache.bytes_per_picture / 1e3:.1f} | {100 * cache.relative_error:.3f} % |"
        )


def read_wide(folder: Path, grid: Grid, count: int) -> None:
    """Rows of the second table: random tokens of LLaVA's width."""
    generator = torch.Generator().manual_seed(0)
    key = CacheKey("random", grid=grid)
    names = [f"{index}.jpg" for index in range(count)]
    for dtype in DTYPES:
        out = folder / f"wide-{dtype}-{grid[0]}"
        with TokenWriter(out, CacheKey("random", grid=key.grid, dtype=dtype)) as writer:
            for name in names:
                tokens = torch.randn(grid[0] * grid[1], LLAVA_WIDTH, generator=generator)
                content = hashlib.sha256(name.encode()).hexdigest()
                writer.name(name, content)
                writer.add(pack(content, tokens, grid, dtype))
        reading = seconds(lambda out=out: read_all(out, names, torch.float16))  # type: ignore[misc]
        cache = TokenCache.open(out, verify="quick")
        checking = seconds(lambda out=out: TokenCache.open(out, verify="quick").verify())  # type: ignore[misc]
        print(
            f"| {grid[0]} x {grid[1]} | {dtype} | {count / reading:.0f} | {cache.bytes / reading / 1e9:.2f} | "
            f"{cache.bytes / checking / 1e9:.2f} | {cache.bytes_per_picture * SWIG / 1e9:.1f} |"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--device")
    parser.add_argument("--grid", help="e.g. 6x6")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, _, columns = (arguments.grid or "").partition("x")
    grid = (int(rows), int(columns)) if arguments.grid else None
    teacher = MultimodalLLM.from_pretrained(arguments.teacher, device=arguments.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        named = draw(folder / "pictures", arguments.pictures)
        print(f"{len(named)} SketchSWiG pictures, {teacher.model_type} on {teacher.device}, batches of {BATCH}\n")
        compare(folder, teacher, named, grid)
        print(f"\nRandom tokens of width {LLAVA_WIDTH} (LLaVA-1.5 after the projector), read as float16:\n")
        print("| grid | dtype | pictures/s | GB/s read | GB/s SHA-256 | SWiG's 75,702 training pictures, GB |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for side, count in ((24, 64), (12, 192), (8, 256), (6, 256)):
            read_wide(folder, (side, side), count)


if __name__ == "__main__":
    main()
