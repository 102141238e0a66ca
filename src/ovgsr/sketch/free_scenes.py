"""Scenes without a verb: a few people, animals and things that stand about, each at a place of its own."""

from __future__ import annotations

import random

from ovgsr.sketch.cast import Cast
from ovgsr.sketch.people import LEGS
from ovgsr.sketch.places import PLACES
from ovgsr.sketch.sampling import MOST_CLUTTER, NEVER_CLUTTER
from ovgsr.sketch.scene import Drawn, Scene
from ovgsr.sketch.things import things

MOST_THINGS = 3
STEP = 0.75
_LIFT = 0.5
"""How high above the ground a small thing may be, in heights of a person."""
_LARGE = 0.6


def sample_free_scene(rng: random.Random) -> Scene:
    """One to four people and things in a row, in any pose, at any place; ``verb`` is empty."""
    place = rng.choice(tuple(PLACES))
    cast = Cast(rng, place)
    names = [name for name, thing in things().items() if thing.category not in NEVER_CLUTTER]
    chosen: list[str] = ["person"] * rng.choice((0, 1, 1, 2)) + rng.sample(names, rng.randint(1, MOST_THINGS))
    rng.shuffle(chosen)
    elements: list[Drawn] = []
    fillers = {"place": place}
    for position, name in enumerate(chosen):
        role = f"thing {position + 1}"
        x = cast.near(position * STEP, 0.08)
        if name == "person":
            hands = tuple((rng.uniform(-0.3, 0.4), rng.uniform(0.3, 1.0)) for _ in range(2))
            pose = rng.choice(tuple(LEGS))
            person = cast.person(role, (hands[0], hands[1]), x=x, legs=pose, facing=rng.choice((-1, 1)))
            elements.append(person)
            fillers[role] = person.noun
            continue
        size = cast.size(name, most=1.2)
        lift = rng.uniform(0, _LIFT) if size < _LARGE and cast.chance(0.4) else 0.0
        elements.append(cast.standing(role, name, x, size, floor=lift, mirrored=cast.turned()))
        fillers[role] = name
    pool = [name for name in names if name not in chosen]
    roles = tuple(fillers)
    clutter = tuple(rng.sample(pool, rng.randint(0, MOST_CLUTTER)))
    return Scene("", place, tuple(elements), fillers, clutter, roles=roles)
