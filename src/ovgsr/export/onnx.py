"""A student as ONNX graphs with its words beside them; what the files are for is in ``docs/deployment.md``.

The graphs follow the network's methods. Words are their inputs, so that the vocabulary stays an argument: as many
pictures, verbs, roles and nouns as a caller likes. ``recognizers/onnx`` runs them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ovgsr.errors import first_line
from ovgsr.export.graphs import AXES, Part, Tensors, example_inputs, example_pixels, parts_of
from ovgsr.files import write_atomically, write_text_atomically
from ovgsr.models.checkpoint import (
    CONFIG,
    VOCABULARY,
    Checkpoint,
    StudentCheckpoint,
    checkpoint_format,
    exported,
    write_vocabulary,
)
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.models.text_encoder import embed_vocabulary, load_text_encoder
from ovgsr.recognizers.onnx import NEEDS_EXTRA, WORDS, Graph, OnnxError, graph_file

OPSETS = range(18, 24)
"""What PyTorch's exporter can write."""

_TRACED = {"pictures": 2, "frames": 3, "offered_verbs": 5, "longest_frame": 4, "offered_nouns": 7}
_COMPARED = (
    {"pictures": 1, "frames": 1, "offered_verbs": 1, "longest_frame": 1, "offered_nouns": 2},
    {"pictures": 3, "frames": 8, "offered_verbs": 6, "longest_frame": 7, "offered_nouns": 9},
)
"""Lengths that graphs are traced with, and others at which they must say what PyTorch says."""
_TOLERANCE = 1e-3
"""Of logits, which reach 100."""


def export_onnx(
    name: str | Path,
    out: Path,
    *,
    opset: int = OPSETS[0],
    int8: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Writes an export of a checkpoint (folder or hub name) to a folder; returns its files with their sizes in bytes.

    Each graph is run by ONNX Runtime on other numbers of pictures and words than it was traced with, and must say what
    the network says. ``int8`` then keeps the weights of matrix products as 8-bit numbers. ``config.json`` is written
    last. ``progress`` is called with (graphs done, graphs in all).

    Raises CheckpointError where there is no such checkpoint, OnnxError where it cannot be exported or ``out`` holds
    something else.
    """
    if opset not in OPSETS:
        raise OnnxError(f"opset {opset} cannot be written; choose from {OPSETS[0]} to {OPSETS[-1]}")
    _require_extra()
    _require_export_folder(out)
    checkpoint = _open(name)
    (out / CONFIG).unlink(missing_ok=True)
    write_vocabulary(out, checkpoint.vocabulary)
    words = _embedded(checkpoint)
    write_atomically(out / WORDS, lambda path: save_file(words, path))
    with torch.no_grad():
        parts = parts_of(checkpoint, checkpoint.model.encode(example_pixels(checkpoint, 1)))
        for done, (graph, part) in enumerate(parts.items(), start=1):
            file = out / graph_file(graph)
            write_atomically(file, lambda path, part=part: _write(part, checkpoint, path, opset))  # type: ignore[misc]
            _compare(part, checkpoint, file)
            if int8:
                write_atomically(file, lambda path, file=file: _quantize(file, path))  # type: ignore[misc]
            if progress is not None:
                progress(done, len(parts))
    files = [*map(graph_file, parts), WORDS, VOCABULARY]
    digests = {file: hashlib.sha256((out / file).read_bytes()).hexdigest() for file in files}
    config = checkpoint.describe() | {"format": exported(checkpoint.FORMAT)}
    config["onnx"] = {"opset": opset, "int8": int8, "files": digests}
    write_text_atomically(out / CONFIG, json.dumps(config, indent=2))
    return {file: (out / file).stat().st_size for file in (*files, CONFIG)}


def _require_extra() -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(module) is None:
            raise OnnxError(f"exporting {NEEDS_EXTRA}")


def _require_export_folder(out: Path) -> None:
    """Raises OnnxError where ``out`` is a file, or a folder that holds something else than an export, whole or not."""
    known = {CONFIG, VOCABULARY, WORDS}
    foreign = (
        [path for path in out.iterdir() if path.name not in known and path.suffix != ".onnx"] if out.is_dir() else []
    )
    is_export = not (out / CONFIG).exists() or checkpoint_format(out).endswith(exported(""))
    if (out.exists() and not out.is_dir()) or out.suffix == ".onnx" or foreign or not is_export:
        raise OnnxError(f"{out}: an export is a folder of several files; name a new or empty folder with --out")


def _open(name: str | Path) -> Checkpoint[Any]:
    form = checkpoint_format(name)
    if form.endswith(exported("")):
        raise OnnxError(f"{name}: this is an export already; export the checkpoint that it was made from")
    kind: type[Checkpoint[Any]] = PairCheckpoint if form == PairCheckpoint.FORMAT else StudentCheckpoint
    checkpoint = kind.from_pretrained(name)
    if checkpoint.settings.head == "closed":
        raise OnnxError(f"{name}: a student with model.head=closed has its words as weights; export one with head=open")
    return checkpoint


def _embedded(checkpoint: Checkpoint[Any]) -> Tensors:
    """The embeddings of a checkpoint's own vocabulary, named like the graphs' inputs."""
    text = embed_vocabulary(checkpoint.vocabulary, load_text_encoder(checkpoint.settings.text_encoder))
    checkpoint.require_encoder(text.fingerprint)
    names = ("verbs", "verb_names", "roles", "role_mask", "nouns")
    return {name: getattr(text, name).clone() for name in names}


def _inputs(part: Part, checkpoint: Checkpoint[Any], lengths: Mapping[str, int]) -> Tensors:
    encoded = checkpoint.model.encode(example_pixels(checkpoint, lengths["pictures"]))
    given = example_inputs(checkpoint, encoded, lengths)
    return {name: given[name].contiguous() for name in part.inputs}


def _write(part: Part, checkpoint: Checkpoint[Any], file: Path, opset: int) -> None:
    shapes = tuple(dict(enumerate(AXES[name])) for name in part.inputs)
    given = _inputs(part, checkpoint, _TRACED)
    try:
        with _quiet():
            program = torch.onnx.export(
                part,
                tuple(given.values()),
                input_names=part.inputs,
                output_names=part.outputs,
                dynamic_shapes=(shapes,),
                opset_version=opset,
                verbose=False,
            )
            assert program is not None
            program.save(file)
    except Exception as error:  # whatever a backbone's code leads the exporter to
        raise _refused(checkpoint, error) from error


def _compare(part: Part, checkpoint: Checkpoint[Any], file: Path) -> None:
    graph = Graph(file)
    for lengths in _COMPARED:
        given = _inputs(part, checkpoint, lengths)
        try:
            found, expected = graph(given), part(*given.values())
        except Exception as error:  # ONNX Runtime's, e.g. of a number of pictures that became a part of the graph
            raise _refused(checkpoint, error) from error
        for name, tensor in zip(part.outputs, expected, strict=True):
            if found[name].shape != tensor.shape or not found[name].allclose(tensor, _TOLERANCE, _TOLERANCE):
                raise OnnxError(f"{file}: {name!r} differs from what PyTorch computes; export with another --opset")


def _refused(checkpoint: Checkpoint[Any], error: Exception) -> OnnxError:
    reason = first_line(error.__cause__ or error)
    return OnnxError(f"the backbone {checkpoint.settings.backbone!r} cannot be exported ({reason}); choose another")


def _quantize(file: Path, smaller: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(file, smaller, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's chatter: it warns of every library that it might have used."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
