"""One picture of SketchHOI: who and what is in it, drawn, with the box of every human and object."""

from __future__ import annotations

import math
import random
from collections.abc import Set
from dataclasses import dataclass, replace

from PIL import Image

from ovgsr.sketch.camera import Camera
from ovgsr.sketch.cast import Cast
from ovgsr.sketch.figures import PixelBox
from ovgsr.sketch.hoi_acts import NO_INTERACTION, SPRITES, Combination, Play, object_of, plays
from ovgsr.sketch.hoi_cast import UPRIGHT, Group, Interaction, enact, scene_of
from ovgsr.sketch.hoi_layout import arrange, extent
from ovgsr.sketch.hoi_split import ration, shown_in
from ovgsr.sketch.places import draw_place
from ovgsr.sketch.render import Canvas, draw_elements, jitter_light
from ovgsr.sketch.sampling import NEVER_CLUTTER
from ovgsr.sketch.scene import Drawn, Effect, Person
from ovgsr.sketch.things import things

PICTURE_SIZE = 128
CANVAS = 2 * PICTURE_SIZE
FloatBox = tuple[float, float, float, float]
ACTS_SHARES = {0: 0.03, 1: 0.29, 2: 0.4, 3: 0.21, 4: 0.07}
"""How many acts a picture shows (an act has one or several interactions)."""
BYSTANDERS = {0: 0.5, 1: 0.38, 2: 0.12}
UNUSED = {0: 0.35, 1: 0.42, 2: 0.23}
SCENERY = {0: 0.6, 1: 0.4}
"""Things that are no object of the vocabulary: trees, rocks, boxes."""
MOST_GROUPS = 5
"""Acts, bystanders and things that nobody uses in one picture: with more, the people would be too small."""


@dataclass(frozen=True, slots=True)
class HoiPicture:
    """The picture (128 x 128 RGB), its interactions, and role -> box of what is drawn for it (pixels, continuous
    corners x1, y1, x2, y2)."""

    image: Image.Image
    place: str
    interactions: tuple[Interaction, ...]
    boxes_xyxy: dict[str, FloatBox]


def _drawn_from(shares: dict[int, float], rng: random.Random) -> int:
    return rng.choices(list(shares), list(shares.values()))[0]


def _first_play(fold: str, index: int, seed: int, allowed: Set[Combination]) -> Play:
    """Every play in turn, in an order of the seed, so that even rare combinations come up in dev and test."""
    possible = [play for play in plays() if all(pair in allowed for pair in play.combinations)]
    turn, place = divmod(index, len(possible))
    return random.Random(f"{seed}/{fold}/order {turn}").sample(possible, len(possible))[place]


def _interacting(fold: str, index: int, seed: int, rng: random.Random) -> tuple[str, list[Group]]:
    """A place and the groups that interact in it."""
    allowed = shown_in(fold)
    rationed = ration(index) if fold == "train" else None
    first = _first_play(fold, index, seed, allowed)
    if rationed is not None:
        allowed = allowed | {rationed}
        first = rng.choice([play for play in plays() if rationed in play.combinations])
    groups: list[Group] = []
    while not groups:
        place = rng.choice(scene_of(first.act).places)
        group = enact(first, place, rng, allowed)
        groups = [group] if group else []
    amount = _drawn_from(ACTS_SHARES, rng)
    if amount == 0 and rationed is None:
        return place, []
    local = [play for play in plays() if place in scene_of(play.act).places]
    while len(groups) < amount:
        group = enact(rng.choice(local), place, rng, shown_in(fold), _people(groups))
        groups += [group] if group else []
    return place, groups


def _people(groups: list[Group]) -> frozenset[str]:
    return frozenset(e.noun for group in groups for e in group.elements if isinstance(e, Person))


def _single(element: Drawn) -> Group:
    return Group((element,))


def _idle(place: str, rng: random.Random, groups: list[Group]) -> tuple[list[Group], list[Group], list[Group]]:
    """People who do nothing, objects that nobody uses, and things that are no objects."""
    cast = Cast(rng, place, _people(groups))
    room = MOST_GROUPS - len(groups)
    used = {interaction.object for group in groups for interaction in group.interactions}
    people = [
        _single(cast.person("human", legs=rng.choice(UPRIGHT), facing=rng.choice((-1, 1))))
        for _ in range(min(_drawn_from(BYSTANDERS, rng), room))
    ]
    room -= len(people)
    free = [name for name in SPRITES if name not in used]
    nouns = [rng.choice(SPRITES[name]) for name in rng.sample(free, min(_drawn_from(UNUSED, rng), room))]
    unused = [_single(cast.standing("object", noun, 0.0, mirrored=cast.turned())) for noun in nouns]
    other = [name for name, thing in things().items() if thing.category not in NEVER_CLUTTER and not object_of(name)]
    scenery = [
        _single(cast.standing("", noun, 0.0, mirrored=cast.turned()))
        for noun in rng.sample(other, min(_drawn_from(SCENERY, rng), room - len(nouns)))
    ]
    return people, unused, scenery


def _numbered(group: Group, number: int) -> Group:
    """The group with roles that no other group of the picture has."""

    def own(role: str) -> str:
        return f"{number} {role}" if role else ""

    elements = tuple(
        element if isinstance(element, Effect) else replace(element, role=own(element.role), parts=())
        for element in group.elements
    )
    rows = tuple(replace(row, human=own(row.human), role=own(row.role)) for row in group.interactions)
    return Group(elements, rows)


def draw_hoi_picture(seed: int, fold: str, index: int) -> HoiPicture:
    """Picture number `index` (from 0) of a fold; only the arguments decide it."""
    rng = random.Random(f"hoi/{seed}/{fold}/{index}")
    place, acting = _interacting(fold, index, seed, rng)
    people, unused, scenery = _idle(place, rng, acting)
    groups = [_numbered(group, n) for n, group in enumerate([*acting, *people, *unused, *scenery])]
    interactions = [row for group in groups for row in group.interactions]
    for human in range(len(acting), len(acting) + len(people)):
        for thing in range(len(acting) + len(people), len(acting) + len(people) + len(unused)):
            (element,) = groups[thing].elements
            name = object_of(getattr(element, "noun", ""))
            interactions.append(Interaction(f"{human} human", NO_INTERACTION, name, f"{thing} object"))
    return _render(place, groups, tuple(interactions), rng)


def _render(place: str, groups: list[Group], interactions: tuple[Interaction, ...], rng: random.Random) -> HoiPicture:
    background, horizon = draw_place(place, rng, CANVAS)
    cameras = arrange([extent(group.elements) for group in groups], rng, CANVAS, horizon)
    boxes: dict[str, PixelBox] = {}
    for number in sorted(range(len(groups)), key=lambda n: cameras[n].ground):
        boxes |= draw_group(background, groups[number], cameras[number])
    image = background.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BOX)
    shown = {role: _to_picture(box) for role, box in boxes.items()}
    return HoiPicture(jitter_light(image, rng), place, interactions, shown)


def draw_group(image: Image.Image, group: Group, camera: Camera) -> dict[str, PixelBox]:
    """Draw a group on the canvas; role -> box in its pixels."""
    canvas = Canvas(image, camera)
    draw_elements(canvas, group.elements)
    return canvas.boxes


def _to_picture(box: PixelBox) -> FloatBox:
    """The whole pixels of the picture that a box of the canvas touches."""
    x1, y1, x2, y2 = (value * PICTURE_SIZE / CANVAS for value in box)
    left, top = max(math.floor(x1), 0), max(math.floor(y1), 0)
    return left, top, min(math.ceil(x2), PICTURE_SIZE), min(math.ceil(y2), PICTURE_SIZE)
