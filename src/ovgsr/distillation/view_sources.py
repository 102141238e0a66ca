"""What views are cut from: which fillers and which roles make new combinations, from training annotations alone.

A thing that turns up under many verbs (carried, given, thrown) has no verb of its own among the training verbs, and a
role that only few things fill (what one chops with) is where another thing changes what is done. Putting the first in
place of the second makes most of what no training picture shows; composing at random rarely does (docs/mipd.md).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ovgsr.situation import AnnotatedImage

_Key = TypeVar("_Key")

Place = tuple[str, str]
"""A verb and one of its roles."""

_FEWEST = 4
"""Things cut out of fewer pictures than this say too little about where they belong."""
_SHARPNESS = 1.5


@dataclass(frozen=True)
class ViewSources:
    """Pictures to cut from, grouped, with the probability that each group is drawn."""

    with_agent: tuple[tuple[int, ...], ...]  # a verb: pictures; verbs take turns whatever their number of pictures
    fillers: tuple[tuple[tuple[int, str], ...], ...]  # a thing: pictures and roles
    filler_shares: tuple[float, ...]
    role_weights: Mapping[Place, float]

    @classmethod
    def of(
        cls, images: Sequence[AnnotatedImage], items: Sequence[Sequence[str]], agents: Sequence[str | None]
    ) -> ViewSources:
        """``items`` and ``agents`` are the roles of each picture that can be cut out."""
        by_verb: dict[str, list[int]] = {}
        by_filler: dict[str, list[tuple[int, str]]] = {}
        for index, image in enumerate(images):
            if agents[index] is not None:
                by_verb.setdefault(image.situation.verb, []).append(index)
            for role in items[index]:
                by_filler.setdefault(image.situation.nouns[role].noun, []).append((index, role))
        places = {
            noun: Counter((images[index].situation.verb, role) for index, role in found)
            for noun, found in by_filler.items()
            if noun
        }
        pictures = Counter(image.situation.verb for image in images)
        # A verb counts as much as any other, however many pictures it has.
        shares = {
            noun: {place: count / pictures[place[0]] for place, count in found.items()}
            for noun, found in places.items()
        }
        nouns = sorted(by_filler)
        of_noun = {noun: specificity(shares[noun], shares) for noun in shares}
        usual = min(of_noun.values(), default=0.0)
        weights = [
            math.exp(-_SHARPNESS * (of_noun.get(noun, usual) - usual)) if len(by_filler[noun]) >= _FEWEST else 0.0
            for noun in nouns
        ]
        if not any(weights):
            weights = [1.0] * len(nouns)
        total = sum(weights) or 1.0
        return cls(
            tuple(tuple(by_verb[verb]) for verb in sorted(by_verb)),
            tuple(tuple(by_filler[noun]) for noun in nouns),
            tuple(weight / total for weight in weights),
            {place: value**2 for place, value in specificity_of_places(shares).items()},
        )

    def verb_picture(self, generator: np.random.Generator) -> int:
        """A picture with an agent."""
        pictures = self.with_agent[int(generator.integers(len(self.with_agent)))]
        return pictures[int(generator.integers(len(pictures)))]

    def filler(self, generator: np.random.Generator) -> tuple[int, str]:
        """A picture and a role whose filler is to be cut out."""
        found = self.fillers[int(generator.choice(len(self.fillers), p=self.filler_shares))]
        return found[int(generator.integers(len(found)))]

    def role_to_cover(self, verb: str, roles: Sequence[str], generator: np.random.Generator) -> str:
        """The role of a base picture that something else is put over."""
        weights = np.array([self.role_weights.get((verb, role), 0.0) + 1e-3 for role in roles])
        return roles[int(generator.choice(len(roles), p=weights / weights.sum()))]


def specificity(found: Mapping[Place, float], everything: Mapping[str, Mapping[Place, float]]) -> float:
    """How far the places of one thing are from those of all things: a Kullback-Leibler divergence in nats."""
    prior: Counter[Place] = Counter()
    for places in everything.values():
        prior.update(places)
    return _divergence(found, prior)


def specificity_of_places(everything: Mapping[str, Mapping[Place, float]]) -> dict[Place, float]:
    """For each verb's role, how far the things that fill it are from all things, in nats."""
    prior = {noun: sum(places.values()) for noun, places in everything.items()}
    by_place: dict[Place, dict[str, float]] = {}
    for noun, places in everything.items():
        for place, count in places.items():
            by_place.setdefault(place, {})[noun] = count
    return {place: _divergence(fillers, prior) for place, fillers in by_place.items()}


def _divergence(found: Mapping[_Key, float], prior: Mapping[_Key, float]) -> float:
    here, there = sum(found.values()), sum(prior.values())
    return sum(count / here * math.log(count / here / (prior[key] / there)) for key, count in found.items() if count)
