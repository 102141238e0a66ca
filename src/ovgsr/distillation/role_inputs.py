"""Annotations of training pictures as what instance-perception prompts are told: role texts and boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovgsr.data.targets import encode_all_targets
from ovgsr.distillation.prompts import RoleInputs
from ovgsr.models.text_encoder import TextEncoder
from ovgsr.situation import AnnotatedImage
from ovgsr.vocabulary import Vocabulary


class AnnotatedRoles:
    """The roles of a data set's pictures, in frame order of each picture's own verb.

    A role's text is its bare name ("the tool"): the student's role texts ("what one chops with") would tell the prompts
    the verb, which they are to read from pixels. Everything lies on ``device``, where the teacher is.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        vocabulary: Vocabulary,
        encoder: TextEncoder,
        device: torch.device | str = "cpu",
    ) -> None:
        self.targets = encode_all_targets(images, vocabulary, vocabulary.max_roles)
        names = sorted({role for verb in vocabulary.verbs for role in verb.roles})
        embedded = encoder.encode([f"the {name}" for name in names])
        self._texts = torch.zeros(len(vocabulary.verbs), vocabulary.max_roles, embedded.shape[1])
        for index, verb in enumerate(vocabulary.verbs):
            for place, role in enumerate(verb.roles):
                self._texts[index, place] = embedded[names.index(role)]
        self._device = device

    def __call__(self, indices: Sequence[int]) -> RoleInputs:
        """The roles of the pictures at ``indices``; R is the longest frame among them."""
        rows = torch.tensor(list(indices), dtype=torch.long)
        mask = self.targets.role_mask[rows]
        longest = max(1, int(mask.sum(dim=1).max())) if len(rows) else 1
        return RoleInputs(
            texts=self._texts[self.targets.verb_index[rows]][:, :longest],
            mask=mask[:, :longest],
            boxes_cxcywh=self.targets.boxes_cxcywh[rows][:, :longest],
            grounded=self.targets.grounded[rows][:, :longest],
        ).to(self._device)
