"""The parts of the networks that become graphs: functions of tensors that are named like the fields of ``tensors``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovgsr.models.checkpoint import Checkpoint
from ovgsr.models.placement import cell_mask
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.tensors import Encoded, TextEmbeddings

Tensors = dict[str, Tensor]

AXES = {
    "pixels": ("pictures",),
    "tokens": ("pictures",),
    "scene": ("pictures",),
    "covered": ("pictures",),
    "picture_index": ("frames",),
    "verb_index": ("frames",),
    "verbs": ("offered_verbs",),
    "verb_names": ("offered_verbs",),
    "roles": ("offered_verbs", "longest_frame"),
    "role_mask": ("offered_verbs", "longest_frame"),
    "nouns": ("offered_nouns",),
}
"""Input -> its first axes, which may have any length; the others are the network's own."""


class Part(nn.Module):
    """A part of a network that becomes one graph."""

    def __init__(
        self,
        network: nn.Module,
        run: Callable[[Any, Tensors, tuple[int, int]], Any],
        grid: tuple[int, int],
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.network = network
        self.inputs, self.outputs = inputs, outputs
        self._run, self._grid = run, grid

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The ``outputs`` for the ``inputs``."""
        found = self._run(self.network, dict(zip(self.inputs, tensors, strict=True)), self._grid)
        return tuple(getattr(found, name) for name in self.outputs)


def parts_of(checkpoint: Checkpoint[Any], example: Encoded) -> dict[str, Part]:
    """The graphs of a student by name; ``example`` is what its ``encode`` gives."""
    network, grid = checkpoint.model, example.grid
    taught = network.distilled_scores is not None
    told = ("verbs", "verb_names") if taught else ("verbs",)
    if not isinstance(network, SituationTransformer):
        found = ("boxes_cxcywh", "object_logits", "verb_logits", *(("cosines",) if taught else ()))
        return {"find_pairs": Part(network, _find_pairs, grid, ("pixels", *told, "nouns"), found)}
    covered = () if example.covered is None else ("covered",)
    readouts = ("recognition", "distilled") if taught else ("recognition",)
    filled = ("noun_logits", "boxes_cxcywh", "grounded_logits")
    chosen = ("picture_index", "verb_index", "verbs", "roles", "role_mask", "nouns")
    return {
        "encode": Part(network, _encode, grid, ("pixels",), ("tokens", "scene", *covered)),
        "predict_verb": Part(network, _predict_verb, grid, ("tokens", "scene", *covered, *told), readouts),
        "fill_roles": Part(network, _fill_roles, grid, ("tokens", *covered, *chosen), filled),
    }


def example_pixels(checkpoint: Checkpoint[Any], pictures: int, seed: int = 0) -> Tensor:
    """Noise as ``Preprocess`` gives pictures: (B, 3, H, W), or (B, 4, H, W) of other shapes each where letterboxed."""
    side, random = checkpoint.preprocess.size, torch.Generator().manual_seed(seed)
    pixels = torch.randn(pictures, 3, side, side, generator=random)
    if checkpoint.preprocess.resize == "squash":
        return pixels
    shown = torch.zeros(pictures, 1, side, side)
    for picture in range(pictures):
        shown[picture, :, : side - side * picture // (2 * pictures)] = 1
    return torch.cat([pixels * shown, shown], dim=1)


def example_inputs(checkpoint: Checkpoint[Any], encoded: Encoded, lengths: Mapping[str, int], seed: int = 0) -> Tensors:
    """Every input that a graph may ask for, with these lengths; ``encoded`` are as many pictures."""
    width, random = checkpoint.text_width, torch.Generator().manual_seed(seed)
    verbs, roles = lengths["offered_verbs"], lengths["longest_frame"]

    def unit(*shape: int) -> Tensor:
        return F.normalize(torch.randn(*shape, width, generator=random), dim=-1)

    inputs = {
        "pixels": example_pixels(checkpoint, lengths["pictures"], seed),
        "tokens": encoded.tokens,
        "scene": encoded.scene,
        "picture_index": torch.arange(lengths["frames"]) % lengths["pictures"],
        "verb_index": torch.arange(lengths["frames"]) % verbs,
        "verbs": unit(verbs),
        "verb_names": unit(verbs),
        "roles": unit(verbs, roles),
        "role_mask": torch.arange(roles) <= torch.arange(verbs)[:, None],
        "nouns": unit(lengths["offered_nouns"]),
    }
    return inputs if encoded.covered is None else inputs | {"covered": encoded.covered}


def _encode(network: Any, given: Tensors, grid: tuple[int, int]) -> Any:
    return network.encode(given["pixels"])


def _predict_verb(network: Any, given: Tensors, grid: tuple[int, int]) -> Any:
    return network.predict_verb(_encoded(given, grid), _text(given))


def _fill_roles(network: Any, given: Tensors, grid: tuple[int, int]) -> Any:
    chosen: Tensors = {name: given[name][given["picture_index"]] for name in ("tokens", "covered") if name in given}
    return network.fill_roles(_encoded(chosen, grid), given["verb_index"], _text(given))


def _find_pairs(network: Any, given: Tensors, grid: tuple[int, int]) -> Any:
    return network(given["pixels"], _text(given))


def _encoded(given: Tensors, grid: tuple[int, int]) -> Encoded:
    covered, tokens = given.get("covered"), given["tokens"]
    return Encoded(tokens, given.get("scene", tokens[:, 0]), grid, cell_mask(grid, covered), covered)


def _text(given: Tensors) -> TextEmbeddings:
    verbs = given["verbs"]
    words = {name: given.get(name, verbs) for name in ("roles", "role_mask", "nouns")}
    return TextEmbeddings(verbs, **words, fingerprint="", verb_names=given.get("verb_names"))
