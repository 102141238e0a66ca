"""Accuracy of nouns by how often training showed them: seen, rare and unseen nouns (``docs/evaluation.md``)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ovgsr.evaluation.columns import AnnotationColumns, PredictionColumns
from ovgsr.evaluation.scores import number_or_null
from ovgsr.evaluation.swig import Profile, score_images
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage

RARE_NOUN_USES = 10
"""A noun that training shows at least once and at most so often is rare."""
NOUN_GROUPS = ("unseen", "rare", "seen")
_EMPTY = len(NOUN_GROUPS)


@dataclass(frozen=True, slots=True)
class NounScores:
    """Roles whose nouns are of one group, the annotated verb given; percent, nan where there is no role."""

    roles: int
    value: float
    grnd_value: float

    def to_json(self) -> dict[str, Any]:
        """The block of a results file."""
        numbers = {"value": number_or_null(self.value), "grnd_value": number_or_null(self.grnd_value)}
        return {"roles": self.roles, **numbers}


def noun_uses(train: Iterable[AnnotatedImage]) -> Counter[str]:
    """Noun -> the roles of training pictures for which any annotator named it."""
    return Counter(n for image in train for answer in image.situation.nouns.values() for n in answer.accepted)


def score_nouns(
    gold: AnnotationColumns, predicted: PredictionColumns, uses: Mapping[str, int], profile: Profile
) -> dict[str, NounScores]:
    """Group -> scores over its roles (micro), from how often training uses each noun (:func:`noun_uses`).

    A role belongs to the group of the noun that training uses most among its annotators' answers, so only an unseen
    noun can be right in the unseen group. Roles that any annotator left empty belong to none.
    """
    levels = torch.empty(len(gold.noun_ids), dtype=torch.int64)
    for noun, index in gold.noun_ids.items():
        used = uses.get(noun, 0)
        levels[index] = _EMPTY if noun == EMPTY_NOUN else (used > 0) + (used > RARE_NOUN_USES)
    group = levels[gold.noun_index.clamp(min=0)].amax(dim=-1)
    scores = score_images(gold, predicted, profile)
    found = {}
    for level, name in enumerate(NOUN_GROUPS):
        roles = (group == level) & gold.role_mask
        count = int(roles.sum())
        hits, grounded = (int((right & roles).sum()) for right in (scores.hits, scores.grounded_hits))
        found[name] = NounScores(count, *((100.0 * n / count if count else math.nan) for n in (hits, grounded)))
    return dict(reversed(found.items()))
