"""Students exported to ONNX, run by ONNX Runtime: the networks' places are taken, all around them stays the same.

An export (``export/onnx.py``, ``docs/deployment.md``) is a folder: ``config.json`` and ``vocabulary.json`` as a
checkpoint has them, ``words.safetensors`` with the embeddings of that vocabulary, and the graphs, whose inputs and
outputs have the names of the fields of ``tensors``. Words are inputs, so the vocabulary stays an argument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ovgsr.errors import OvgsrError, first_line
from ovgsr.models.checkpoint import Checkpoint, CheckpointError, checkpoint_file
from ovgsr.models.text_encoder import TextEncoder, load_text_encoder, same_encoder
from ovgsr.tensors import Encoded, PairOutputs, RoleOutputs, TextEmbeddings, VerbScores
from ovgsr.vocabulary import Vocabulary

WORDS = "words.safetensors"
NEEDS_EXTRA = "needs the extra 'onnx': pip install 'ovgsr[onnx]'"

_Kind = TypeVar("_Kind", bound=Checkpoint[Any])


class OnnxError(OvgsrError):
    """An export that cannot be made or run; the message names the file and the remedy."""


class Graph:
    """One ONNX graph on the CPU, with as many threads as torch has."""

    def __init__(self, file: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise OnnxError(f"{file}: running an exported student {NEEDS_EXTRA}") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes have no common ancestor but this
            raise OnnxError(
                f"{file}: ONNX Runtime cannot open this graph ({first_line(error)}); export it again, with another "
                "--opset for an older ONNX Runtime"
            ) from None
        self.inputs = [node.name for node in self._session.get_inputs()]
        self.outputs = [node.name for node in self._session.get_outputs()]

    def __call__(self, given: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """The outputs by name, of those of the ``given`` tensors that the graph asks for."""
        feed = {name: cast(Tensor, given[name]).detach().cpu().contiguous().numpy() for name in self.inputs}
        found = self._session.run(self.outputs, feed)
        return {name: torch.from_numpy(array) for name, array in zip(self.outputs, found, strict=True)}


class OnnxNetwork(nn.Module):
    """What stands in for a network; ``graphs`` are set by :func:`open_export`."""

    GRAPHS: ClassVar[tuple[str, ...]]
    graphs: Mapping[str, Graph]


class OnnxSituations(OnnxNetwork):
    """Stands in for a ``SituationTransformer`` in a recognizer."""

    GRAPHS = ("encode", "predict_verb", "fill_roles")

    def encode(self, pixels: Tensor) -> Encoded:
        """Image tokens and scene embedding of pixels (B, 3 or 4, H, W)."""
        found = self.graphs["encode"]({"pixels": pixels})
        # The grid is a part of the graphs, which find what is padding from ``covered``.
        return Encoded(found["tokens"], found["scene"], (1, found["tokens"].shape[1]), None, found.get("covered"))

    def predict_verb(self, encoded: Encoded, text: TextEmbeddings) -> VerbScores:
        """Logits of every offered verb."""
        return VerbScores(**self.graphs["predict_verb"](vars(encoded) | vars(text)))

    def fill_roles(self, encoded: Encoded, verb_index: Tensor, text: TextEmbeddings) -> RoleOutputs:
        """The frame of one verb a picture, filled; ``features`` are not told."""
        chosen = {"picture_index": torch.arange(len(verb_index)), "verb_index": verb_index}
        found = self.graphs["fill_roles"](vars(encoded) | vars(text) | chosen)
        return RoleOutputs(**found, features=torch.empty(0))


class OnnxPairs(OnnxNetwork):
    """Stands in for a ``PairTransformer`` in a recognizer."""

    GRAPHS = ("find_pairs",)

    def forward(self, pixels: Tensor, text: TextEmbeddings) -> PairOutputs:
        """What the pair queries say of pixels (B, 3 or 4, H, W); ``features`` are not told."""
        return PairOutputs(**self.graphs["find_pairs"](vars(text) | {"pixels": pixels}), features=torch.empty(0))


class WrittenWords:
    """The text encoder of an export: what was written there, and the checkpoint's own encoder for all other texts."""

    def __init__(self, checkpoint: Checkpoint[Any], words: Mapping[str, Tensor]) -> None:
        self.width = checkpoint.text_width
        self.fingerprint = checkpoint.text_fingerprint.partition(";templates-")[0]
        self._name = checkpoint.settings.text_encoder
        self._known = dict(_texts_of(checkpoint.vocabulary, words))
        self._encoder: TextEncoder | None = None

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit-length embeddings (n, D), float32.

        Raises TextEncoderError where a text is new and the encoder missing, CheckpointError where it is another one.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._load().encode(new), strict=True))
        return torch.stack([self._known[text] for text in texts]) if texts else torch.zeros(0, self.width)

    def _load(self) -> TextEncoder:
        if self._encoder is None:
            self._encoder = load_text_encoder(self._name)
            if not same_encoder(self._encoder.fingerprint, self.fingerprint):
                raise CheckpointError(
                    f"the text encoder {self._name!r} is {self._encoder.fingerprint!r} on this machine, the export's "
                    f"words were embedded by {self.fingerprint!r}; fetch that one, or offer only words of the export"
                )
        return self._encoder


def open_export(
    kind: type[_Kind], network: type[OnnxNetwork], name: str, device: str | None, **hub: Any
) -> tuple[_Kind, WrittenWords]:
    """The checkpoint of an export, with graphs in place of its network, and the text encoder that goes with it.

    Raises OnnxError where a file is damaged or ONNX Runtime cannot use it, CheckpointError where one is missing or the
    description is at fault.
    """
    if device not in (None, "cpu"):
        raise OnnxError(f"{name}: an exported student runs on the CPU here, not on {device!r}; leave --device out")
    stand_in = network()
    checkpoint, config = kind.read_description(name, cast(Any, stand_in), **hub)
    files = {}
    for file, digest in config["onnx"]["files"].items():
        files[file] = checkpoint_file(name, file, **hub)
        if hashlib.sha256(files[file].read_bytes()).hexdigest() != digest:
            raise OnnxError(f"{files[file]}: not the file that config.json records; copy the whole export again")
    stand_in.graphs = {graph: Graph(files[graph_file(graph)]) for graph in network.GRAPHS}
    return checkpoint, WrittenWords(checkpoint, load_file(files[WORDS]))


def graph_file(graph: str) -> str:
    """The name of a graph's file."""
    return f"{graph}.onnx"


def _texts_of(vocabulary: Vocabulary, words: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Every text of the vocabulary with its embedding, as ``embed_vocabulary`` lays them out."""
    for v, verb in enumerate(vocabulary.verbs):
        yield verb.text, words["verbs"][v]
        yield verb.name, words["verb_names"][v]
        yield from ((verb.role_text(role), words["roles"][v, r]) for r, role in enumerate(verb.roles))
    yield from ((noun.text, words["nouns"][n]) for n, noun in enumerate(vocabulary.answers))
