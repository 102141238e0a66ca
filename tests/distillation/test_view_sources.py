"""Statistics of the annotations that say what is cut out and where it is put."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from ovgsr.distillation.view_sources import ViewSources, specificity, specificity_of_places
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation

# a: half of its places are what b's all are; two places in all, equally common
EVERYTHING = {
    "a": {("cut", "tool"): 1.0, ("carry", "item"): 1.0},
    "b": {("cut", "tool"): 2.0},
    "c": {("carry", "item"): 2.0},
}


def test_specificity_by_hand() -> None:
    # Prior: (cut, tool) 3/6, (carry, item) 3/6. a has 1/2 and 1/2: no divergence. b has 1 and 0: log(1 / 0.5).
    assert specificity(EVERYTHING["a"], EVERYTHING) == pytest.approx(0.0)
    assert specificity(EVERYTHING["b"], EVERYTHING) == pytest.approx(math.log(2))
    # (cut, tool) is filled by a 1/3, b 2/3; prior a 1/3, b 1/3, c 1/3: (2/3) log 2.
    assert specificity_of_places(EVERYTHING)[("cut", "tool")] == pytest.approx(2 / 3 * math.log(2))


def image(verb: str, **fillers: str) -> AnnotatedImage:
    nouns = {role: GroundedNoun(noun, (10, 10, 40, 40)) for role, noun in fillers.items()}
    return AnnotatedImage(
        f"{verb}.jpg", 100, 100, (Situation(verb, {"agent": GroundedNoun("man", (5, 5, 90, 90)), **nouns}),)
    )


IMAGES = [
    *[image("cutting", tool="knife", item=f"food{n % 4}") for n in range(12)],
    *[image("carrying", item="shovel" if n < 6 else "box") for n in range(12)],
    *[image("giving", item="shovel" if n < 6 else "box") for n in range(12)],
]
ITEMS = [tuple(role for role in i.situation.nouns if role != "agent") for i in IMAGES]


def test_what_belongs_nowhere_goes_where_things_are_particular() -> None:
    sources = ViewSources.of(IMAGES, ITEMS, ["agent"] * len(IMAGES))
    generator = np.random.default_rng(0)
    drawn = Counter(
        IMAGES[index].situation.nouns[role].noun for index, role in (sources.filler(generator) for _ in range(2000))
    )
    # Shovel and box are carried and given alike; the knife is for cutting alone; foods have too few pictures (3 each).
    assert drawn["shovel"] > 1.5 * drawn["knife"] > 0
    assert not any(noun.startswith("food") for noun in drawn)
    covered = Counter(sources.role_to_cover("cutting", ("tool", "item"), generator) for _ in range(500))
    assert covered["tool"] != covered["item"]
    verbs = Counter(IMAGES[sources.verb_picture(generator)].situation.verb for _ in range(900))
    assert all(abs(count - 300) < 60 for count in verbs.values())


def test_few_pictures_are_better_than_none() -> None:
    images = IMAGES[:1]
    sources = ViewSources.of(images, ITEMS[:1], ["agent"])
    assert sum(sources.filler_shares) == pytest.approx(1.0)
    assert sources.filler(np.random.default_rng(0))[0] == 0
