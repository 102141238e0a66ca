"""Casting of one act: its scene is drawn until the wanted object has the wanted role and every interaction is known."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from ovgsr.sketch.cast import Cast
from ovgsr.sketch.hoi_acts import SPRITES, Act, Combination, Play, object_of
from ovgsr.sketch.hoi_scenes import HOI_SCENES
from ovgsr.sketch.registry import VerbSketch
from ovgsr.sketch.sampling import named_roles
from ovgsr.sketch.scene import Drawn, Element, Implied, Person, ThingAt
from ovgsr.sketch.verbs import verb_sketches

TRIES = 100
SEAT = "seat"
BAG = "bag"
BAG_CHANCE = 0.12
"""How often somebody upright wears a backpack besides."""
UPRIGHT = ("stand", "walk", "wide", "straight")


@dataclass(frozen=True, slots=True)
class Interaction:
    """A human-object interaction: the role of the human, what they do, and the object with its role."""

    human: str
    verb: str
    object: str
    role: str

    @property
    def combination(self) -> Combination:
        """Verb and object."""
        return self.verb, self.object


@dataclass(frozen=True, slots=True)
class Group:
    """People and things that belong together, and what happens between them."""

    elements: tuple[Drawn, ...]
    interactions: tuple[Interaction, ...] = ()


class DirectedCast(Cast):
    """A cast that picks what is wanted wherever it may be picked."""

    def __init__(self, rng: random.Random, place: str, held_out: frozenset[str], wanted: Set[str]) -> None:
        super().__init__(rng, place, held_out)
        self.wanted = wanted

    def choose(self, pool: Sequence[str]) -> str:
        """One of the wanted names if there is one in the pool, otherwise any."""
        return self.rng.choice([name for name in pool if name in self.wanted] or pool)


def scene_of(act: Act) -> VerbSketch:
    """The spatial grammar of an act."""
    return HOI_SCENES.get(act.scene) or verb_sketches()[act.scene]


def enact(
    play: Play, place: str, rng: random.Random, allowed: Set[Combination], people: frozenset[str] = frozenset()
) -> Group | None:
    """A random group that shows the play and nothing that is not allowed.

    Args:
        play: the act and its object.
        place: one of the places of the act's scene.
        rng: source of everything random.
        allowed: combinations that may be shown.
        people: names of the people who are in the picture already.

    Returns:
        The group, or None if none came up in `TRIES` tries.
    """
    for _ in range(TRIES):
        wanted = {rng.choice(SPRITES[play.object])} if play.object in SPRITES else set()
        wanted |= {rng.choice(names) for names in play.act.need.values()}
        elements = scene_of(play.act).draw(DirectedCast(rng, place, people, wanted))
        group = _read(play, elements)
        if group is None:
            continue
        if rng.random() < BAG_CHANCE and ("wear", "backpack") in allowed:
            group = _with_bag(group, rng)
        if all(interaction.combination in allowed for interaction in group.interactions):
            return group
    return None


def _read(play: Play, elements: Sequence[Element]) -> Group | None:
    """The group that the elements of a scene are, or None unless all their interactions are those of the play."""
    act = play.act
    drawn = [_with_role(element) for element in elements if not isinstance(element, Implied)]
    fillers = {role: noun for element in (*elements, *drawn) for role, noun in _roles(element)}
    if any(fillers.get(role) not in names for role, names in act.need.items()):
        return None
    if object_of(fillers.get(act.role, "")) != play.object:
        return None
    rows = [("agent", verb, act.role) for verb in act.verbs] + list(act.also)
    sitters = [e for e in drawn if isinstance(e, Person) and e.role == "agent" and e.legs == "sit"]
    if SEAT in fillers and act.role != SEAT and sitters:
        rows.append(("agent", "sit_on", SEAT))
    interactions = tuple(Interaction(human, verb, object_of(fillers[role]), role) for human, verb, role in rows)
    people = [element.role for element in drawn if isinstance(element, Person)]
    things = [element.role for element in drawn if isinstance(element, ThingAt) and object_of(element.noun)]
    known = {interaction.human for interaction in interactions} | {interaction.role for interaction in interactions}
    complete = known == {*people, *things} and "agent" in people and len(people) == len(set(people))
    return Group(tuple(drawn), interactions) if complete and len(things) == len(set(things)) else None


def _with_role(element: Drawn) -> Drawn:
    """Give furniture without a role of its own one; parts have none here."""
    if isinstance(element, ThingAt) and not element.role and object_of(element.noun):
        return replace(element, role=SEAT)
    return element


def _roles(element: Element) -> list[tuple[str, str]]:
    return [(element.role, element.noun)] if isinstance(element, Implied) else named_roles(element)


def _with_bag(group: Group, rng: random.Random) -> Group:
    """Put a backpack on the back of the first upright person, if there is one and no backpack yet."""
    wearers = [e for e in group.elements if isinstance(e, Person) and e.legs in UPRIGHT and abs(e.lean) < 16]
    if not wearers or any(interaction.object == "backpack" for interaction in group.interactions):
        return group
    wearer = wearers[0]
    size = rng.uniform(0.33, 0.4)
    x, y = wearer.x - 0.19 * wearer.facing, wearer.y + 0.53
    bag = ThingAt(BAG, "backpack", x, y, size, rng.uniform(-4, 4), mirrored=wearer.facing < 0)
    at = group.elements.index(wearer)
    elements = (*group.elements[:at], bag, *group.elements[at:])
    return Group(elements, (*group.interactions, Interaction(wearer.role, "wear", "backpack", BAG)))
