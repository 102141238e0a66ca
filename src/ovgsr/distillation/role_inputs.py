"""Annotations of training pictures as what instance-perception prompts are told: role texts and boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovgsr.data.targets import encode_all_targets
from ovgsr.distillation.prompts import RoleInputs
from ovgsr.situation import AnnotatedImage
from ovgsr.tensors import TextEmbeddings
from ovgsr.vocabulary import Vocabulary


class AnnotatedRoles:
    """The roles of a data set's pictures, in frame order of each picture's own verb."""

    def __init__(self, images: Sequence[AnnotatedImage], vocabulary: Vocabulary, text: TextEmbeddings) -> None:
        self.targets = encode_all_targets(images, vocabulary, vocabulary.max_roles)
        self._text = text

    def __call__(self, indices: Sequence[int]) -> RoleInputs:
        """The roles of the pictures at ``indices``; R is the longest frame among them."""
        rows = torch.tensor(list(indices), dtype=torch.long)
        mask = self.targets.role_mask[rows]
        longest = max(1, int(mask.sum(dim=1).max())) if len(rows) else 1
        return RoleInputs(
            texts=self._text.roles[self.targets.verb_index[rows]][:, :longest],
            mask=mask[:, :longest],
            boxes_cxcywh=self.targets.boxes_cxcywh[rows][:, :longest],
            grounded=self.targets.grounded[rows][:, :longest],
        )
