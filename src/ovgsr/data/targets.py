"""Annotations as tensors: what the training losses compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ovgsr.boxes import clamp_to_image, scale_to_unit, xyxy_to_cxcywh
from ovgsr.data.errors import DataError
from ovgsr.situation import AnnotatedImage
from ovgsr.tensors import IGNORE, Targets
from ovgsr.vocabulary import Vocabulary

_NO_BOX = (0.0, 0.0, 0.0, 0.0)


def encode_targets(annotated: AnnotatedImage, vocabulary: Vocabulary, max_roles: int) -> Targets:
    """One picture's targets, with B = 1; see :func:`encode_all_targets`."""
    return encode_all_targets([annotated], vocabulary, max_roles)


def encode_all_targets(images: Sequence[AnnotatedImage], vocabulary: Vocabulary, max_roles: int) -> Targets:
    """The targets of B pictures, roles in the vocabulary's frame order, padded to ``max_roles``.

    Verb and noun indices are positions in ``vocabulary.verbs`` and ``vocabulary.answers``; a noun outside them is
    IGNORE, as is every padded place. Boxes are clamped to the picture; one that is empty after that counts as not
    grounded. A is the largest number of annotators.

    Raises DataError for a verb outside the vocabulary, a frame that disagrees with it or is longer than ``max_roles``.
    """
    annotators = max((len(a.annotators) or 1 for i in images for a in i.situation.nouns.values()), default=1)
    count = len(images)
    verb_index = np.zeros(count, np.int64)
    role_mask = np.zeros((count, max_roles), np.bool_)
    noun_index = np.full((count, max_roles, annotators), IGNORE, np.int64)
    boxes_xyxy = np.zeros((count, max_roles, 4), np.float32)
    sizes_wh = np.array([(image.width, image.height) for image in images], np.float32).reshape(count, 1, 2)
    for row, image in enumerate(images):
        situation = image.situation
        roles = _frame(image, vocabulary, max_roles)
        verb_index[row] = vocabulary.verb_index(situation.verb)
        role_mask[row, : len(roles)] = True
        for column, role in enumerate(roles):
            answer = situation.nouns[role]
            for annotator, key in enumerate(answer.annotators or (answer.noun,)):
                index = vocabulary.answer_index(key)
                noun_index[row, column, annotator] = IGNORE if index is None else index
            boxes_xyxy[row, column] = answer.box_xyxy or _NO_BOX
    sizes = torch.from_numpy(sizes_wh)
    boxes = scale_to_unit(clamp_to_image(torch.from_numpy(boxes_xyxy), sizes), sizes)
    grounded = (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])
    return Targets(
        verb_index=torch.from_numpy(verb_index),
        role_mask=torch.from_numpy(role_mask),
        noun_index=torch.from_numpy(noun_index),
        boxes_cxcywh=xyxy_to_cxcywh(boxes) * grounded.unsqueeze(-1),
        grounded=grounded,
    )


def _frame(image: AnnotatedImage, vocabulary: Vocabulary, max_roles: int) -> tuple[str, ...]:
    situation = image.situation
    if situation.verb not in vocabulary:
        raise DataError(
            f"{image.file_name}: the verb {situation.verb!r} is not in the vocabulary {vocabulary.name!r}; leave the "
            "picture out or offer the verb"
        )
    roles = vocabulary.verb(situation.verb).roles
    if set(roles) != set(situation.roles):
        raise DataError(
            f"{image.file_name}: the roles of {situation.verb!r} are {', '.join(situation.roles)} in the annotation "
            f"and {', '.join(roles) or 'unknown'} in the vocabulary; use the data set's own imsitu_space.json"
        )
    if len(roles) > max_roles:
        raise DataError(f"{image.file_name}: {situation.verb!r} has {len(roles)} roles, more than {max_roles}")
    return roles
