"""Annotations as tensors: what the training losses compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ovgsr.boxes import clamp_to_image, scale_to_unit, xyxy_to_cxcywh
from ovgsr.data.annotation_table import NONE, AnnotatedImages
from ovgsr.data.errors import DataError
from ovgsr.situation import AnnotatedImage
from ovgsr.tensors import IGNORE, Targets
from ovgsr.vocabulary import Vocabulary

_PADDED = -1


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
    given = AnnotatedImages.of(images)
    table, rows = given.table, given.rows
    frame = table.frame.numpy()[rows]
    verbs, places = _places(given, vocabulary, max_roles)
    place = places[frame]  # (B, R): where the annotation holds the role that the vocabulary has here
    role_mask = place != _PADDED
    in_row = np.arange(len(rows))[:, None]
    # The last noun stands for none: a padded place, or an annotator that a picture does not have.
    nouns = np.array([_answer(vocabulary, key) for key in table.nouns] + [IGNORE])
    annotators = table.annotators.numpy()[rows]
    annotators[..., 0] = np.where(annotators[..., 0] == NONE, table.answers.numpy()[rows], annotators[..., 0])
    most = int((annotators != NONE).sum(-1).max(initial=1))
    noun_index = nouns[annotators[in_row, place, :most]]
    noun_index[~role_mask] = IGNORE
    chosen = torch.from_numpy(table.boxes_xyxy.numpy()[rows][in_row, place] * role_mask[..., None]).float()
    sizes = table.sizes_wh[torch.from_numpy(rows)].float().reshape(-1, 1, 2)
    boxes = scale_to_unit(clamp_to_image(chosen, sizes), sizes)
    grounded = (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])
    return Targets(
        verb_index=torch.from_numpy(verbs[frame]),
        role_mask=torch.from_numpy(role_mask),
        noun_index=torch.from_numpy(noun_index),
        boxes_cxcywh=xyxy_to_cxcywh(boxes) * grounded.unsqueeze(-1),
        grounded=grounded,
    )


def _answer(vocabulary: Vocabulary, key: str) -> int:
    index = vocabulary.answer_index(key)
    return IGNORE if index is None else index


def _places(
    images: AnnotatedImages, vocabulary: Vocabulary, max_roles: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each frame its verb's index, and where it holds each role of the vocabulary's frame, padded."""
    frames = images.table.frames
    verbs = np.zeros(len(frames), np.int64)
    places = np.full((len(frames), max_roles), _PADDED)
    used, first = np.unique(images.table.frame.numpy()[images.rows], return_index=True)
    for frame, position in sorted(zip(used.tolist(), first.tolist(), strict=True), key=lambda pair: pair[1]):
        roles = _frame(images[position], vocabulary, max_roles)
        verb, given = frames[frame]
        verbs[frame] = vocabulary.verb_index(verb)
        places[frame, : len(roles)] = [given.index(role) for role in roles]
    return verbs, places


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
