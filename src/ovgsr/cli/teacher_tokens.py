"""``ovgsr teacher tokens`` and ``ovgsr teacher merge-tokens``: a teacher's visual tokens on disk."""

from __future__ import annotations

import io
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from PIL.Image import Image

    from ovgsr.teacher.multimodal_llm import MultimodalLLM
    from ovgsr.teacher.tokens.cache import CacheKey, Layer, VisualTeacher
    from ovgsr.teacher.tokens.making import WriteReport

SWIG_TRAINING_PICTURES = 75_702
_PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8", "int4")
_DTYPES = ("float16", "int8")


def tokens(
    teacher: Annotated[str, typer.Option(help="Multimodal LLM: folder or hub name, or 'sketch' (drawings only).")],
    out: Annotated[Path, typer.Option(help="Folder of the cache; the same command goes on with it.")],
    pictures: Annotated[list[Path] | None, typer.Argument(help="Pictures, or folders of pictures.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of a data set in SWiG layout, instead of pictures.")] = None,
    fold: Annotated[str, typer.Option(help="With --data: train, dev or test.")] = "train",
    split: Annotated[Path | None, typer.Option(help="Split file, or ov_swig; default: the data set's own.")] = None,
    layer: Annotated[str, typer.Option(help="'projector', or a block of the language model (-1 the last).")] = (
        "projector"
    ),
    grid: Annotated[str, typer.Option(help="Rows x columns to average the tokens to, e.g. 8x8; 'none': as given.")] = (
        "none"
    ),
    dtype: Annotated[str, typer.Option(help="float16, or int8: half the space, one scale a token.")] = "float16",
    batch: Annotated[int, typer.Option(min=1, help="Pictures the teacher sees at a time.")] = 8,
    shard: Annotated[
        str | None, typer.Option(help="i/n: every n-th picture from the i-th on; default: RANK and WORLD_SIZE.")
    ] = None,
    shard_pictures: Annotated[
        int, typer.Option(min=1, help="Pictures a file: what a kill costs. Files of 256 MB end before.")
    ] = 512,
    threads: Annotated[int, typer.Option(min=1, help="Threads that read and decode pictures ahead.")] = 2,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    precision: Annotated[str, typer.Option(help=f"Of the teacher: {', '.join(_PRECISIONS)}.")] = "auto",
) -> None:
    """Write a frozen teacher's visual tokens of pictures to disk, once; killed or stopped, run it again.

    With --data and the train fold, only pictures of the split's training verbs are read. Several processes may share
    the work by --shard (under torchrun or accelerate launch they do by themselves), into one folder or into several
    that 'ovgsr teacher merge-tokens' joins. Pictures that cannot be read are named and left out; the exit code is
    then 1.
    """
    from ovgsr.cli.progress import console
    from ovgsr.teacher.tokens.cache import TokenCache

    wanted = _Wanted(
        _layer(layer), _grid(grid), _one_of("--dtype", dtype, _DTYPES), _one_of("--precision", precision, _PRECISIONS)
    )
    part = _part(shard)
    named = _named_pictures(pictures or [], out) if data is None else _data_pictures(pictures, data, fold, split)
    llm, key = _load(teacher, wanted, device)
    limits = {"part": part, "batch": batch, "threads": threads, "shard_pictures": shard_pictures}
    report = _write(out, key, llm, named, **limits)
    for line in _summary(report, TokenCache.open(out, verify="quick"), part):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if report.failures:
        raise typer.Exit(1)


def merge(
    parts: Annotated[list[Path], typer.Argument(help="Token caches of the same teacher and settings.")],
    out: Annotated[Path, typer.Option(help="Folder to join them in; may be such a cache already.")],
) -> None:
    """Join token caches that were made in parts. Shards are hard-linked where possible, else copied.

    Caches of other teachers or settings, and a file name that stands for different pictures, are refused before
    anything is written.
    """
    from ovgsr.cli.progress import console, progress_bar
    from ovgsr.teacher.tokens.merge import merge_caches

    with progress_bar("merging", "shards") as progress:
        report = merge_caches(parts, out, progress=progress)
    console.print(
        f"{out}: {report.names} file names, {report.pictures} pictures; {report.linked} shards linked, "
        f"{report.copied} copied, {report.already} there already",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The options that say what the tokens are, checked."""

    layer: Layer
    grid: tuple[int, int] | None
    dtype: Any
    precision: Any


def _load(teacher: str, wanted: _Wanted, device: str | None) -> tuple[MultimodalLLM, CacheKey]:
    from ovgsr.errors import OvgsrError
    from ovgsr.teacher.multimodal_llm import MultimodalLLM  # seconds to import: a wrong option is told before
    from ovgsr.teacher.tokens.cache import CacheKey

    llm = MultimodalLLM.from_pretrained(teacher, device=device or _device_of_rank(), precision=wanted.precision)
    count = llm.layer_count
    if isinstance(wanted.layer, int) and not -count <= wanted.layer < count:
        raise OvgsrError(f"--layer {wanted.layer}: the teacher has {count} blocks; choose {-count} to {count - 1}")
    weights: Any = wanted.precision if wanted.precision in ("int8", "int4") else "full"
    return llm, CacheKey.of(llm, layer=wanted.layer, grid=wanted.grid, dtype=wanted.dtype, weights=weights)


def _write(out: Path, key: CacheKey, llm: VisualTeacher, named: list[tuple[str, Path]], **limits: Any) -> WriteReport:
    from ovgsr.cli.progress import messages, progress_bar
    from ovgsr.teacher.tokens.making import write_tokens

    silent = os.environ.get("RANK", "0") != "0"  # one bar is enough for all processes of a launcher
    with nullcontext() if silent else progress_bar("tokens") as bar:

        def progress(done: int, total: int, size: int) -> None:
            if bar is not None:
                bar(done, total, f"{_size(size)} a picture" if size else None)

        def on_failure(sentence: str) -> None:
            messages.print(f"error: {sentence}", highlight=False, markup=False)

        return write_tokens(out, key, llm, named, _decode, progress=progress, on_failure=on_failure, **limits)


def _named_pictures(paths: list[Path], out: Path) -> list[tuple[str, Path]]:
    """(name in the cache, path): below a folder that was named, the path relative to it."""
    from ovgsr.cli.picture_files import find_pictures
    from ovgsr.errors import OvgsrError

    if not paths:
        raise OvgsrError("name pictures or folders of pictures, or a data set with --data")
    return [
        (file.relative_to(path).as_posix() if path.is_dir() else file.name, file)
        for path in paths
        for file in find_pictures([path], out)
    ]


def _data_pictures(pictures: list[Path] | None, data: Path, fold: str, split: Path | None) -> list[tuple[str, Path]]:
    """A fold's pictures, of the verbs that the split allows on it: for train never one of an unseen verb."""
    from ovgsr.data.swig import (
        image_path,
        read_annotations,
        read_split,
        read_vocabulary,
        require_known_verbs,
    )
    from ovgsr.errors import OvgsrError

    if pictures:
        raise OvgsrError("give either pictures or --data")
    images = read_annotations(data, fold)  # type: ignore[arg-type]
    chosen = read_split(data, split)
    if chosen is not None:
        require_known_verbs(chosen, read_vocabulary(data))
        images = chosen.pictures(images, fold)
    if not images:
        raise OvgsrError(f"{data}: the fold {fold} has no picture of the split's verbs; check --fold and --split")
    return [(image.file_name, image_path(data, image.file_name)) for image in images]


def _decode(data: bytes, name: str) -> Image:
    from ovgsr.models.preprocess import ImageError, decode_image

    if not data:
        raise ImageError(f"{name}: the file is empty (zero bytes); copy or download it again")
    return decode_image(io.BytesIO(data), name)


def _layer(text: str) -> Layer:
    from ovgsr.errors import OvgsrError

    if text == "projector":
        return "projector"
    try:
        return int(text)
    except ValueError:
        raise OvgsrError(f"--layer must be 'projector' or the number of a block, not {text!r}") from None


def _grid(text: str) -> tuple[int, int] | None:
    from ovgsr.errors import OvgsrError

    if text == "none":
        return None
    rows, _, columns = text.lower().partition("x")
    if all(side.isascii() and side.isdigit() and 1 <= int(side) <= 1024 for side in (rows, columns)):
        return int(rows), int(columns)
    raise OvgsrError(f"--grid must be rows x columns, e.g. 8x8, or 'none', not {text!r}")


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> Any:
    from ovgsr.errors import OvgsrError

    if value not in choices:
        raise OvgsrError(f"{option} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _part(shard: str | None) -> tuple[int, int]:
    """--shard, else the place that torchrun or accelerate launch gave this process, else everything."""
    from ovgsr.teacher.tokens.writer import parse_part

    rank, world = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if shard is None and rank.isdigit() and world.isdigit():
        return parse_part(f"{int(rank) + 1}/{world}")
    return parse_part(shard or "1/1")


def _device_of_rank() -> str | None:
    """Each process of a launcher its own accelerator; None (the teacher's default) outside one."""
    import torch

    rank = os.environ.get("LOCAL_RANK", "")
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or not rank.isdigit():
        return None
    return f"{accelerator.type}:{int(rank) % torch.accelerator.device_count()}"


def _summary(report: WriteReport, cache: Any, part: tuple[int, int]) -> list[str]:
    lines = []
    if report.repaired:
        lines.append(f"{report.repaired} damaged shards were removed and their pictures done anew")
    rate = f" at {report.written / report.seconds:.1f} pictures/s" if report.written else ""
    share = f"part {part[0]}/{part[1]}: " if part[1] > 1 else ""
    lines.append(
        f"{share}{report.pictures} pictures: {report.written} written{rate}, {report.known} known before or twice, "
        f"{len(report.failures)} failed"
    )
    each = cache.bytes_per_picture
    lines.append(
        f"{cache.folder}: {len(cache)} file names, {cache.pictures} pictures, {_size(cache.bytes)}, "
        f"{_size(each)} a picture, stored within {100 * cache.relative_error:.2f} % "
        f"(SWiG's {SWIG_TRAINING_PICTURES:,} training pictures: {_size(each * SWIG_TRAINING_PICTURES)})"
    )
    return lines


def _size(count: float) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count:.0f} bytes"
