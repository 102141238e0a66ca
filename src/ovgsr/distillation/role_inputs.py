"""Annotations of training pictures as what instance-perception prompts are told: role texts and boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ovgsr.data.targets import encode_all_targets
from ovgsr.distillation.prompts import RoleInputs
from ovgsr.models.text_encoder import TextEncoder
from ovgsr.situation import AnnotatedImage, BoxXyxy
from ovgsr.vocabulary import Vocabulary


class AnnotatedRoles:
    """The roles of a data set's pictures, in frame order of each picture's own verb.

    A role's text is its bare name ("the tool"): the student's role texts ("what one chops with") would tell the prompts
    the verb, which they are to read from pixels. Everything lies on ``device``, where the teacher is.

    Boxes are laid over what the teacher sees: ``seen`` gives, for a picture's width and height, the part that its
    processor hands to the vision tower, in pixels of the picture; None: the whole. A box that is cut away entirely
    counts as not grounded.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        vocabulary: Vocabulary,
        encoder: TextEncoder,
        device: torch.device | str = "cpu",
        *,
        seen: Callable[[int, int], BoxXyxy] | None = None,
    ) -> None:
        if seen is not None:
            images = [as_seen(image, seen(image.width, image.height)) for image in images]
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


def as_seen(image: AnnotatedImage, region_xyxy: BoxXyxy) -> AnnotatedImage:
    """The annotation of the part ``region_xyxy`` of a picture (pixels; larger than the picture where it is padded)."""
    left, top, right, bottom = region_xyxy
    if (left, top, right, bottom) == (0, 0, image.width, image.height):
        return image

    def shifted(box: BoxXyxy | None) -> BoxXyxy | None:
        return None if box is None else (box[0] - left, box[1] - top, box[2] - left, box[3] - top)

    situations = tuple(
        replace(
            situation,
            nouns={role: replace(noun, box_xyxy=shifted(noun.box_xyxy)) for role, noun in situation.nouns.items()},
        )
        for situation in image.situations
    )
    return AnnotatedImage(image.file_name, max(1, round(right - left)), max(1, round(bottom - top)), situations)
