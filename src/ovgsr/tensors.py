"""Every tensor that crosses from one room to another, as frozen dataclasses with a shape beside each field.

Letters: B pictures, V verbs, R roles of the longest frame, N answers (the empty answer first, then nouns), A
annotators, P annotated pairs, Q pair queries, T image tokens, D text width, C model width, M teacher's tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

IGNORE = -1
"""A noun index that counts for nothing: an annotator's noun outside the vocabulary."""

_Moved = TypeVar("_Moved", bound="Movable")


class Movable:
    """Dataclasses of tensors that go to a device together."""

    def to(self: _Moved, device: torch.device | str, non_blocking: bool = False) -> _Moved:
        """A copy with every tensor on ``device``; what is no tensor stays."""
        return self._each(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self: _Moved) -> _Moved:
        """A copy in page-locked memory, which a data loader asks for so that copies to a GPU overlap computing."""
        return self._each(lambda value: value.pin_memory())

    def _each(self: _Moved, change: Callable[[Any], Any]) -> _Moved:
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{n: change(v) if isinstance(v, Tensor | Movable) else v for n, v in values.items()})


@dataclass(frozen=True)
class Targets(Movable):
    """What annotators say, for training. Padded roles have ``role_mask`` False."""

    verb_index: Tensor  # (B,) long, into the vocabulary's verbs
    role_mask: Tensor  # (B, R) bool
    noun_index: Tensor  # (B, R, A) long, into the vocabulary's answers; IGNORE = outside it
    boxes_cxcywh: Tensor  # (B, R, 4) float, 0..1 of the picture; 0 where not grounded
    grounded: Tensor  # (B, R) bool


@dataclass(frozen=True)
class PairTargets(Movable):
    """The pairs that annotators found, for training. Padding has ``mask`` False."""

    mask: Tensor  # (B, P) bool
    boxes_cxcywh: Tensor  # (B, P, 2, 4) float, the human's and the object's, 0..1 of the picture
    object_index: Tensor  # (B, P) long, into the vocabulary's answers; never 0, which stands for no object
    verbs: Tensor  # (B, P, V) bool, what the human does to the object

    def rows(self, index: int) -> PairTargets:
        """Those of the picture at ``index``, with B = 1."""
        return self._each(lambda value: value[index : index + 1])


@dataclass(frozen=True)
class TeacherSignals(Movable):
    """What a frozen teacher left on disk for a batch; every field may be absent.

    A picture, a role or a pair that the teacher has nothing to say about is a row of zeros.
    """

    scene: Tensor | None = None  # (B, D) unit length
    roles: Tensor | None = None  # (B, R, D_r) unit length
    tokens: Tensor | None = None  # (B, M, D_t)
    tokens_grid: tuple[int, int] | None = None  # rows and columns of the tokens, M = rows * columns
    pairs: Tensor | None = None  # (B, P, D) unit length, of the annotated pairs in their order


@dataclass(frozen=True)
class Views(Movable):
    """Composite pictures that carry a teacher's reading and no annotation of what is done."""

    pixels: Tensor  # (B', 3 or 4, H, W) float, as the batch's
    scene: Tensor  # (B', D) unit length
    pairs: PairTargets | None = None  # P = 1, no verbs: which human and object each reading is of


@dataclass(frozen=True)
class Batch(Movable):
    """Pictures ready for the student."""

    pixels: Tensor  # (B, 3, H, W) float, normalised; (B, 4, H, W) where letterboxed, the last 1 on the picture
    sizes_wh: Tensor  # (B, 2) float, pixels of the annotated pictures
    indices: Tensor  # (B,) long, positions in the data set
    targets: Targets | None = None
    teacher: TeacherSignals | None = None
    views: Views | None = None
    pairs: PairTargets | None = None


@dataclass(frozen=True)
class TextEmbeddings(Movable):
    """A vocabulary as the student meets it: unit-length text embeddings."""

    verbs: Tensor  # (V, D)
    roles: Tensor  # (V, R, D), zero where padded
    role_mask: Tensor  # (V, R) bool
    nouns: Tensor  # (N, D), the empty answer first
    fingerprint: str  # names the text encoder and the text templates
    verb_classes: Tensor | None = None  # (V,) long, position among a checkpoint's training verbs, -1 = never met
    noun_classes: Tensor | None = None  # (N,) long, the same for answers
    rare_verbs: Tensor | None = None  # (V,) bool, trained on few pictures
    verb_names: Tensor | None = None  # (V, D), the bare names; absent where nobody embedded them

    @property
    def told_verbs(self) -> Tensor:
        """Sentence and bare name in equal parts, (V, D): a teacher's readings lie near single words (world.md)."""
        return self.verbs if self.verb_names is None else self.verbs + self.verb_names


@dataclass(frozen=True)
class Encoded(Movable):
    """A picture after the image encoder."""

    tokens: Tensor  # (B, T, C)
    scene: Tensor  # (B, C)
    grid: tuple[int, int]  # rows and columns of the tokens, T = rows * columns
    mask: Tensor | None = None  # (B, T) bool, False where a token shows padding alone; None: nowhere
    covered: Tensor | None = None  # (B, 2), shares of the grid's width and height that the picture covers; None: all

    def first(self, count: int) -> Encoded:
        """The first ``count`` pictures."""
        return self._each(lambda value: value[:count])

    def repeated(self, count: int) -> Encoded:
        """Each picture ``count`` times in a row."""
        return self._each(lambda value: value.repeat_interleave(count, dim=0))


@dataclass(frozen=True)
class VerbScores(Movable):
    """Logits over the offered verbs, one set a readout."""

    recognition: Tensor  # (B, V)
    distilled: Tensor | None = None  # (B, V)
    scene_text: Tensor | None = None  # (B, D), the distilled readout's embedding


@dataclass(frozen=True)
class RoleOutputs(Movable):
    """The filled frame of one verb a picture."""

    noun_logits: Tensor  # (B, R, N)
    boxes_cxcywh: Tensor  # (B, R, 4), 0..1
    grounded_logits: Tensor  # (B, R)
    features: Tensor  # (B, R, C), h_r of the role decoder
    attention: Tensor | None = None  # (B, R, T), where each role looks


@dataclass(frozen=True)
class PairOutputs(Movable):
    """What a layer of the pair decoder says of every query."""

    boxes_cxcywh: Tensor  # (B, Q, 2, 4), the human's and the object's, 0..1
    object_logits: Tensor  # (B, Q, N), no object first
    verb_logits: Tensor  # (B, Q, V), each verb by itself
    features: Tensor  # (B, Q, C), what objects and verbs are read from
    distilled: Tensor | None = None  # (B, Q, D) unit length, the distilled readout's embedding
    cosines: Tensor | None = None  # (B, Q, V), of that and each verb's text

    def first(self, count: int) -> PairOutputs:
        """The first ``count`` pictures."""
        return self._each(lambda value: value[:count])

    def after(self, count: int) -> PairOutputs:
        """The pictures after the first ``count``."""
        return self._each(lambda value: value[count:])


@dataclass(frozen=True)
class DetectedBoxes(Movable):
    """D boxes that a detector found in one picture."""

    boxes_xyxy: Tensor  # (D, 4), pixels of the picture
    human: Tensor  # (D,) bool
    object_index: Tensor  # (D,) long, into the vocabulary's answers; 0 = a label that is not offered
    scores: Tensor  # (D,), 0..1
