"""Draws the lots for one scene: place, participants, arrangement, bystander things."""

from __future__ import annotations

import random

from ovgsr.sketch.cast import Cast
from ovgsr.sketch.definitions import definitions
from ovgsr.sketch.scene import Drawn, Implied, Person, Scene
from ovgsr.sketch.things import things
from ovgsr.sketch.verbs import verb_sketches

MOST_CLUTTER = 3
NEVER_CLUTTER = ("person", "place")


def sample_scene(verb: str, rng: random.Random, *, held_out: frozenset[str] = frozenset()) -> Scene:
    """One random scene of the verb. `held_out` names things that must not fill a role (they may be clutter).

    Raises:
        KeyError: a verb that SketchSWiG does not draw.
    """
    sketches = verb_sketches()
    if verb not in sketches:
        raise KeyError(f"SketchSWiG draws no verb '{verb}'; it draws {', '.join(sketches)}.")
    place = rng.choice(sketches[verb].places)
    cast = Cast(rng, place, held_out)
    fillers: dict[str, str] = {"place": place}
    drawn: list[Drawn] = []
    for element in sketches[verb].draw(cast):
        if isinstance(element, Implied):
            fillers.setdefault(element.role, element.noun)
            continue
        drawn.append(element)
        for role, noun in named_roles(element):
            fillers.setdefault(role, noun)
    poses = [element.legs for element in drawn if isinstance(element, Person) and element.role == "agent"]
    return Scene(
        verb=verb,
        place=place,
        elements=tuple(drawn),
        fillers=fillers,
        clutter=_bystanders(rng, set(fillers.values())),
        pose=poses[0] if poses else "",
        roles=definitions()[verb].roles,
    )


def named_roles(element: Drawn) -> list[tuple[str, str]]:
    """Role and noun of everything that an element stands for."""
    role, noun = getattr(element, "role", ""), getattr(element, "noun", "")
    found = [(role, noun)] if role else []
    return found + [(part.role, part.noun) for part in getattr(element, "parts", ())]


def _bystanders(rng: random.Random, taken: set[str]) -> tuple[str, ...]:
    pool = [name for name, thing in things().items() if thing.category not in NEVER_CLUTTER and name not in taken]
    return tuple(rng.sample(pool, rng.randint(1, MOST_CLUTTER)))
