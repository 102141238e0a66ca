"""What a drawn situation consists of, before anything is drawn.

Local coordinates: a standing person is 1 high, x grows to the agent's front, y grows upwards, the ground is y = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Point = tuple[float, float]
Colour = tuple[int, int, int]
Region = Literal["whole", "hand", "far hand", "head", "mouth", "foot", "arm", "back", "rear", "under"]


@dataclass(frozen=True, slots=True)
class Part:
    """A role filled by a part of an element (a hand of the agent, the head of a dog) or by the element as a whole."""

    role: str
    noun: str
    region: Region


@dataclass(frozen=True, slots=True)
class Person:
    """A posed person. `hands` (near, far) are where the hands go, relative to the feet, x towards the person's front.

    `lean` bends the trunk forward at the hip, `turn` rotates the whole body counterclockwise about the feet (degrees).
    `reaches_over` draws the near arm above everything else.
    """

    role: str
    noun: str
    hands: tuple[Point, Point]
    x: float = 0.0
    y: float = 0.0
    legs: str = "stand"
    facing: int = 1
    lean: float = 0.0
    turn: float = 0.0
    nod: float = 0.0
    reaches_over: bool = False
    shirt: str = "red"
    trousers: str = "blue"
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class ThingAt:
    """A sprite: centre (x, y), longest side `size`, `turn` in degrees counterclockwise, facing +x unless mirrored."""

    role: str
    noun: str
    x: float
    y: float
    size: float
    turn: float = 0.0
    mirrored: bool = False
    front: bool = False
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Stroke:
    """A polyline of the given width, for ropes, sticks, motion lines, tables."""

    points: tuple[Point, ...]
    colour: Colour
    width: float
    role: str = ""
    noun: str = ""
    front: bool = False
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Patch:
    """A filled polygon with a dark outline where `outlined`, for puddles, boards, heaps, stages."""

    points: tuple[Point, ...]
    colour: Colour
    role: str = ""
    noun: str = ""
    outlined: bool = True
    front: bool = False
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Dots:
    """Small discs: drops, bubbles, crumbs, dust, leaves, wool."""

    points: tuple[Point, ...]
    radius: float
    colour: Colour
    role: str = ""
    noun: str = ""
    outlined: bool = False
    front: bool = False
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """A sprite that is no noun: flame, spark, zzz, note, heart, flash, splash, tear."""

    name: str
    x: float
    y: float
    size: float
    turn: float = 0.0
    front: bool = True


@dataclass(frozen=True, slots=True)
class Implied:
    """A role that has a filler but nothing drawn for it (the air an item is thrown into)."""

    role: str
    noun: str


Drawn = Person | ThingAt | Stroke | Patch | Dots | Effect
Element = Drawn | Implied


@dataclass(frozen=True, slots=True)
class Scene:
    """One situation: verb, place, elements in drawing order, role -> name of its filler, names of bystander things."""

    verb: str
    place: str
    elements: tuple[Drawn, ...]
    fillers: Mapping[str, str]
    clutter: tuple[str, ...] = ()
    pose: str = ""
    roles: tuple[str, ...] = field(default=())

    @property
    def people(self) -> tuple[Person, ...]:
        """The people drawn, first the agent where the agent is a person."""
        return tuple(element for element in self.elements if isinstance(element, Person))
