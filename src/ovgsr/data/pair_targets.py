"""Annotated interactions as tensors: the rows of one human and one object become one pair with several verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from ovgsr.boxes import clamp_to_image, scale_to_unit, xyxy_to_cxcywh
from ovgsr.data.hoi_pairs import InteractionPair, merge_rows
from ovgsr.situation import AnnotatedImage
from ovgsr.tensors import PairTargets
from ovgsr.vocabulary import Vocabulary


class AllPairs:
    """The pairs of many pictures, encoded once, as a few large tensors that forked workers share.

    An element is one picture's targets, with B = 1. Boxes are clamped to the picture; a pair with a box outside it is
    left out. ``numbers`` says which pairs of ``merge_rows`` a picture's targets are. Raises VocabularyError for a verb
    or an object that the vocabulary does not have.
    """

    def __init__(self, images: Sequence[AnnotatedImage], vocabulary: Vocabulary) -> None:
        merged = [
            {number: pair for number, pair in enumerate(merge_rows(image)) if _is_visible(pair, image)}
            for image in images
        ]
        self.numbers = [tuple(of_image) for of_image in merged]
        pairs = [pair for of_image in merged for pair in of_image.values()]
        counts = torch.tensor([len(of_image) for of_image in merged], dtype=torch.long)
        sizes = torch.tensor([(image.width, image.height) for image in images], dtype=torch.float32).reshape(-1, 2)
        sizes = sizes.repeat_interleave(counts, dim=0)[:, None]
        corners = torch.tensor([(*pair.human_box_xyxy, *pair.object_box_xyxy) for pair in pairs]).reshape(-1, 2, 4)
        verbs = torch.zeros(len(pairs), len(vocabulary.verbs), dtype=torch.bool)
        places = {answer.key: place for place, answer in enumerate(vocabulary.answers)}
        things = torch.zeros(len(pairs), dtype=torch.long)
        for row, pair in enumerate(pairs):
            verbs[row, [vocabulary.verb_index(verb) for verb in pair.verbs]] = True
            things[row] = places[vocabulary.noun(pair.object).key]
        self._ends = [0, *counts.cumsum(dim=0).tolist()]
        self._boxes_cxcywh = xyxy_to_cxcywh(scale_to_unit(clamp_to_image(corners, sizes), sizes))
        self._object_index, self._verbs = things, verbs

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> PairTargets:
        rows = slice(self._ends[index], self._ends[index + 1])
        boxes_cxcywh = self._boxes_cxcywh[None, rows]
        return PairTargets(
            mask=torch.ones(boxes_cxcywh.shape[:2], dtype=torch.bool),
            boxes_cxcywh=boxes_cxcywh,
            object_index=self._object_index[None, rows],
            verbs=self._verbs[None, rows],
        )


def join_pairs(pairs: Sequence[PairTargets]) -> PairTargets | None:
    """The targets of several pictures as one, padded to the longest; None where there are none."""
    if not pairs:
        return None
    return PairTargets(**{f.name: join_rows([getattr(item, f.name) for item in pairs]) for f in fields(PairTargets)})


def join_rows(values: Sequence[Tensor]) -> Tensor:
    """Tensors (B, P, ...) one after the other, padded with zeros along P."""
    most = max(value.shape[1] for value in values)
    return torch.cat([pad(value, (0, 0) * (value.ndim - 2) + (0, most - value.shape[1])) for value in values])


def _is_visible(pair: InteractionPair, image: AnnotatedImage) -> bool:
    return all(
        min(right, image.width) > max(left, 0) and min(bottom, image.height) > max(top, 0)
        for left, top, right, bottom in (pair.human_box_xyxy, pair.object_box_xyxy)
    )
