"""The casting of one scene: picks who and what takes part and builds jittered elements for the verb functions."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from ovgsr.sketch.people import SHIRTS, TROUSERS
from ovgsr.sketch.scene import Colour, Dots, Effect, Part, Patch, Person, Point, Stroke, ThingAt
from ovgsr.sketch.sprites import sprite
from ovgsr.sketch.things import named, things

MOTION: Colour = (250, 250, 250)
WATER: Colour = (58, 140, 240)
BUBBLE: Colour = (226, 242, 255)
DUST: Colour = (150, 126, 96)
WOOD: Colour = (138, 92, 50)
STEEL: Colour = (150, 156, 164)
ROPE: Colour = (176, 132, 74)
SMOKE: Colour = (168, 170, 178)

AT_REST: tuple[Point, Point] = ((0.16, 0.36), (-0.15, 0.34))


BACK_HEIGHT = {
    "dog": 0.6, "cat": 0.55, "rabbit": 0.5, "duck": 0.5, "chicken": 0.5, "sheep": 0.86, "pig": 0.76, "goat": 0.58,
    "horse": 0.62, "cow": 0.76, "elephant": 0.82, "camel": 0.72,
}  # fmt: skip
"""Height of the back of an animal as a share of the height of its sprite."""


def wide(noun: str, size: float) -> float:
    """Width of a thing whose longest side is `size`."""
    width, height = sprite(noun).size
    return size * width / max(width, height)


def tall(noun: str, size: float) -> float:
    """Height of a thing whose longest side is `size`."""
    width, height = sprite(noun).size
    return size * height / max(width, height)


def motion_lines(
    x: float, y: float, toward: Point, count: int = 3, gap: float = 0.08, length: float = 0.2
) -> list[Stroke]:
    """Parallel lines that start about (x, y) and trail off in the direction `toward`."""
    scale = math.hypot(*toward)
    dx, dy = toward[0] / scale, toward[1] / scale
    strokes = []
    for i in range(count):
        offset = (i - (count - 1) / 2) * gap
        own = length * (1.0 if i % 2 else 0.7)
        start = (x - dy * offset, y + dx * offset)
        strokes.append(Stroke((start, (start[0] + dx * own, start[1] + dy * own)), MOTION, 0.024))
    return strokes


def arc(
    x: float, y: float, radius: float, start: float, end: float, colour: Colour = MOTION, width: float = 0.02
) -> Stroke:
    """Part of a circle from angle `start` to `end` in degrees."""
    angles = [math.radians(start + (end - start) * i / 6) for i in range(7)]
    return Stroke(
        tuple((x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles), colour, width, front=True
    )


def desk(x: float, width: float, height: float, role: str = "", noun: str = "", colour: Colour = WOOD) -> list[Stroke]:
    """A table in side view: a top and two legs."""
    left, right = x - width / 2, x + width / 2
    legs = [Stroke(((at, height), (at, 0.0)), colour, 0.035) for at in (left + 0.05, right - 0.05)]
    return [*legs, Stroke(((left, height), (right, height)), colour, 0.05, role, noun)]


def heap(
    x: float,
    width: float,
    height: float,
    colour: Colour,
    role: str = "",
    noun: str = "",
    floor: float = 0.0,
    parts: tuple[Part, ...] = (),
) -> Patch:
    """A low mound on the floor."""
    half = width / 2
    profile = ((-1.0, 0.0), (-0.8, 0.45), (-0.45, 0.8), (-0.1, 1.0), (0.3, 0.9), (0.65, 0.6), (0.9, 0.25), (1.0, 0.0))
    return Patch(tuple((x + half * px, floor + height * py) for px, py in profile), colour, role, noun, parts=parts)


def flat(
    x: float,
    y: float,
    width: float,
    height: float,
    colour: Colour,
    role: str = "",
    noun: str = "",
    *,
    outlined: bool = True,
) -> Patch:
    """A flat oval on the ground: a puddle, a rug, a patch of ice."""
    angles = [math.radians(30 * i) for i in range(12)]
    points = tuple((x + width / 2 * math.cos(a), y + height / 2 * math.sin(a)) for a in angles)
    return Patch(points, colour, role, noun, outlined)


def block(
    left: float,
    bottom: float,
    right: float,
    top: float,
    colour: Colour,
    role: str = "",
    noun: str = "",
    *,
    outlined: bool = True,
    front: bool = False,
) -> Patch:
    """An upright rectangle."""
    return Patch(((left, bottom), (right, bottom), (right, top), (left, top)), colour, role, noun, outlined, front)


class Cast:
    """A random generator that knows which nouns may fill a role, with builders for the elements of a scene.

    `held_out` names things that never fill a role (the unseen nouns in training pictures).
    """

    def __init__(self, rng: random.Random, place: str, held_out: frozenset[str] = frozenset()) -> None:
        self.rng = rng
        self.place = place
        self.held_out = held_out
        self._people: list[str] = []

    def near(self, value: float, amount: float = 0.04) -> float:
        """The value with a uniform jitter of +-amount."""
        return value + self.rng.uniform(-amount, amount)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.rng.random() < probability

    def one_of(self, *options: str) -> str:
        """One of the options, all equally likely."""
        return self.rng.choice(options)

    def pick(self, *names: str, but: Sequence[str] = ()) -> str:
        """A thing that may fill a role, from names of things and of categories (a category counts by its members)."""
        pool: list[str] = []
        for name in names:
            pool.extend([name] if name in things() else named(name))
        return self.choose([name for name in pool if name not in self.held_out and name not in but])

    def choose(self, pool: Sequence[str]) -> str:
        """One of the names that may fill a role, all equally likely."""
        return self.rng.choice(pool)

    def someone(self) -> str:
        """The name of a person who is not in the scene yet."""
        noun = self.pick("person", but=self._people)
        self._people.append(noun)
        return noun

    def person(
        self,
        role: str,
        hands: tuple[Point, Point] = AT_REST,
        *,
        x: float = 0.0,
        y: float = 0.0,
        legs: str = "stand",
        facing: int = 1,
        lean: float = 0.0,
        turn: float = 0.0,
        nod: float = 0.0,
        reaches_over: bool = False,
        parts: tuple[Part, ...] = (),
    ) -> Person:
        """A person who is not in the scene yet, in clothes of random colours, the hands jittered a little."""
        near, far = hands
        return Person(
            role=role,
            noun=self.someone(),
            hands=(
                (self.near(near[0], 0.012), self.near(near[1], 0.012)),
                (self.near(far[0], 0.012), self.near(far[1], 0.012)),
            ),
            x=x,
            y=y,
            legs=legs,
            facing=facing,
            lean=lean + self.rng.uniform(-3, 3),
            turn=turn,
            nod=nod + self.rng.uniform(-6, 6),
            reaches_over=reaches_over,
            shirt=self.rng.choice(tuple(SHIRTS)),
            trousers=self.rng.choice(tuple(TROUSERS)),
            parts=parts,
        )

    def size(self, noun: str, most: float = 2.0, least: float = 0.0) -> float:
        """A jittered longest side for a thing, kept within bounds."""
        return min(max(things()[noun].size * self.rng.uniform(0.92, 1.12), least), most)

    def thing(
        self,
        role: str,
        noun: str,
        x: float,
        y: float,
        size: float = 0.0,
        *,
        turn: float = 0.0,
        wobble: float = 6.0,
        mirrored: bool = False,
        front: bool = False,
        parts: tuple[Part, ...] = (),
    ) -> ThingAt:
        """A thing with its centre at (x, y)."""
        angle = turn + self.rng.uniform(-wobble, wobble)
        return ThingAt(role, noun, x, y, size or self.size(noun), angle, mirrored, front, parts)

    def standing(
        self,
        role: str,
        noun: str,
        x: float,
        size: float = 0.0,
        *,
        floor: float = 0.0,
        mirrored: bool = False,
        parts: tuple[Part, ...] = (),
    ) -> ThingAt:
        """A thing that stands upright on the floor, its centre at x."""
        size = size or self.size(noun)
        return ThingAt(role, noun, x, floor + tall(noun, size) / 2, size, 0.0, mirrored, False, parts)

    def turned(self) -> bool:
        """Whether a thing without a needed direction is mirrored."""
        return self.chance(0.5)

    def drops(
        self,
        start: Point,
        end: Point,
        count: int = 6,
        *,
        spread: float = 0.03,
        colour: Colour = WATER,
        role: str = "",
        noun: str = "",
    ) -> Dots:
        """Drops on the way from start to end."""
        points = []
        for i in range(count):
            along = i / max(count - 1, 1)
            x, y = start[0] + (end[0] - start[0]) * along, start[1] + (end[1] - start[1]) * along
            points.append((self.near(x, spread), self.near(y, spread / 2)))
        return Dots(tuple(points), 0.026, colour, role, noun, front=True)

    def scattered(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        count: int,
        *,
        radius: float = 0.025,
        colour: Colour = DUST,
        role: str = "",
        noun: str = "",
        outlined: bool = False,
    ) -> Dots:
        """Dots anywhere in a box of the given half width and half height about (x, y), in front of everything."""
        points = tuple((self.near(x, width), self.near(y, height)) for _ in range(count))
        return Dots(points, radius * self.rng.uniform(0.9, 1.2), colour, role, noun, outlined, front=True)

    def notes(self, x: float, y: float, count: int = 2) -> list[Effect]:
        """Notes of music that rise from (x, y)."""
        return [Effect("note", self.near(x + 0.16 * i, 0.03), self.near(y + 0.1 * i, 0.03), 0.16) for i in range(count)]
