"""Scenes that SketchHOI has beyond SketchSWiG's verbs: things held and worn, seats and loads shared by two people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ovgsr.sketch.cast import BACK_HEIGHT, Cast, arc, desk, motion_lines, tall, wide
from ovgsr.sketch.registry import ANYWHERE, OUTDOORS, DrawVerb, VerbSketch
from ovgsr.sketch.scene import Colour, Element, Stroke
from ovgsr.sketch.verbs_mouth import LIQUIDS

SIGHT: Colour = (255, 236, 120)
SEAT_SHARE = {"chair": 0.5, "couch": 0.5, "bed": 0.55, "bench": 0.5, "canoe": 0.45}
"""Height of the place to stand or sit on, as a share of the height of the sprite."""


def holding(cast: Cast) -> list[Element]:
    """Standing still, one hand out in front with the item in it, the other arm down."""
    noun = cast.pick("food", "drink", "vessel", "paper", "device", "ball", "small animal", "teddy bear", "knife",
                     "skateboard")  # fmt: skip
    size = cast.size(noun, most=0.42)
    agent = cast.person("agent", ((0.34, 0.55), (-0.14, 0.36)), reaches_over=True)
    return [agent, cast.thing("item", noun, 0.38, 0.55 + tall(noun, size) * 0.36, size)]


def wearing(cast: Cast) -> list[Element]:
    """A backpack on the back of somebody who stands or walks with empty hands."""
    agent = cast.person("agent", ((0.17, 0.4), (-0.1, 0.38)), legs=cast.one_of("stand", "walk"))
    return [cast.thing("item", "backpack", -0.19, 0.53, cast.size("backpack", least=0.36), wobble=3), agent]


def standing_on(cast: Cast) -> list[Element]:
    """Both feet on top of the item, arms out for balance."""
    noun = cast.pick("chair", "couch", "bed", "bench", "suitcase", "canoe")
    size = cast.size(noun, most=0.95, least=0.4)
    level = tall(noun, size) * SEAT_SHARE.get(noun, 0.94)
    agent = cast.person("agent", ((0.3, 0.62), (-0.3, 0.62)), y=level, legs=cast.one_of("stand", "wide"))
    return [cast.standing("item", noun, 0.02, size), agent]


def sharing_a_seat(cast: Cast) -> list[Element]:
    """Two people side by side on one seat."""
    noun = cast.pick("couch", "bed", "bench")
    size = cast.size(noun, least=1.0)
    level = max(min(tall(noun, size), 0.42) * SEAT_SHARE[noun], 0.2)
    people = [
        cast.person(role, ((0.18, 0.3), (0.13, 0.31)), x=x, y=level - 0.24, legs="sit", facing=facing)
        for role, x, facing in (("agent", 0.1, 1), ("partner", -0.2, cast.rng.choice((-1, 1))))
    ]
    return [cast.standing("item", noun, 0.0, size), *people]


def _under_umbrella(cast: Cast, x: float, size: float) -> Element:
    return cast.thing("item", "umbrella", x, 0.7 + tall("umbrella", size) / 2, size, wobble=3)


def sheltering(cast: Cast) -> list[Element]:
    """An umbrella held over one's own head."""
    size = cast.size("umbrella", least=0.74)
    agent = cast.person("agent", ((0.24, 0.72), (-0.14, 0.36)), legs=cast.one_of("stand", "walk"), reaches_over=True)
    return [agent, _under_umbrella(cast, 0.24, size)]


def sharing_shelter(cast: Cast) -> list[Element]:
    """Two people close together under the umbrella that one of them holds."""
    size = cast.size("umbrella", least=0.86)
    agent = cast.person("agent", ((0.2, 0.76), (-0.14, 0.36)), reaches_over=True)
    partner = cast.person("partner", x=0.42, facing=cast.rng.choice((-1, 1)))
    return [_under_umbrella(cast, 0.2, size), partner, agent]


def petting_together(cast: Cast) -> list[Element]:
    """Two people with a hand each on the back of the animal between them."""
    noun = cast.pick("dog", "sheep", "cow", "horse")
    size = cast.size(noun, most=0.85, least=0.5)
    height = tall(noun, size)
    low = height < 0.55
    x = 0.26 + wide(noun, size) / 2
    y = height * BACK_HEIGHT[noun] + 0.02
    reach = min(0.42, x - 0.02)
    people = [
        cast.person(role, ((reach, y), (0.2, 0.34)), x=at, facing=facing, legs="kneel" if low else "stand", lean=12,
                    reaches_over=True)
        for role, at, facing in (("agent", 0.0, 1), ("partner", 2 * x, -1))
    ]  # fmt: skip
    curves = [arc(at, y - 0.05, 0.2, 130, 50) for at in (reach + 0.02, 2 * x - reach - 0.02)]
    return [cast.standing("item", noun, x, size), *people, *curves]


def carrying_together(cast: Cast) -> list[Element]:
    """Two people, one at each end of something long that hangs off the ground between them."""
    noun = cast.pick("couch", "bench", "canoe")
    size = cast.size(noun, least=0.9, most=1.0)
    y = 0.42
    apart = wide(noun, size) + 0.34
    people = [
        cast.person(role, ((0.28, y), (0.24, y - 0.04)), x=x, facing=facing, legs="walk", reaches_over=True)
        for role, x, facing in (("agent", 0.0, 1), ("partner", apart, -1))
    ]
    return [cast.thing("item", noun, apart / 2, y, size, wobble=4), *people]


def filling(cast: Cast) -> list[Element]:
    """A tipped vessel in the hand, its stream falling into another vessel on a table."""
    source, target = cast.pick("bottle", "coffee"), cast.pick("bowl", "coffee", "wine")
    size, target_size = cast.size(source, most=0.3), cast.size(target, most=0.3)
    colour = LIQUIDS[cast.one_of(*LIQUIDS)]
    x, floor = 0.66, 0.28
    top = floor + tall(target, target_size)
    agent = cast.person("agent", ((0.4, 0.74), (0.14, 0.4)))
    stream = Stroke(((0.6, 0.74), (x - 0.01, 0.68), (x, top - 0.05)), colour, 0.04)
    vessel = cast.standing("vessel", target, x, target_size, floor=floor)
    tipped = cast.thing("item", source, 0.5, 0.8, size, turn=-100, wobble=4)
    return [agent, *desk(x, 0.5, 0.26), stream, vessel, tipped]


def reading_a_screen(cast: Cast) -> list[Element]:
    """A screen held up in both hands before the face."""
    noun = cast.pick("laptop", "phone")
    down = 0.0 if cast.chance(0.6) else 0.27
    agent = cast.person(
        "agent", ((0.31, 0.56 - down), (0.28, 0.52 - down)), legs="sit low" if down else "stand", nod=10,
        reaches_over=True,
    )  # fmt: skip
    return [agent, cast.thing("item", noun, 0.35, 0.64 - down, cast.size(noun, least=0.26), mirrored=True)]


def passing(cast: Cast) -> list[Element]:
    """One throws, the other reaches out with both hands for what flies between them."""
    noun = cast.pick("ball", "teddy bear")
    apart = cast.near(1.5, 0.1)
    agent = cast.person("agent", ((0.4, 0.74), (-0.34, 0.46)), legs="run", lean=8)
    partner = cast.person("partner", ((0.42, 0.7), (0.4, 0.8)), x=apart, facing=-1, legs="wide", lean=6)
    x, size = cast.near(apart / 2, 0.05), cast.size(noun, most=0.3)
    return [agent, partner, *motion_lines(x - size / 2 - 0.02, 0.84, (-1, -0.15)),
            cast.thing("item", noun, x, 0.86, size, wobble=25)]  # fmt: skip


def watching(cast: Cast) -> list[Element]:
    """A hand over the eyes and a dashed line of sight to the item, which is out of reach."""
    noun = cast.pick("television", "small animal", "large animal")
    size = cast.size(noun, most=0.75)
    x = 1.02 + wide(noun, size) / 2
    goal = tall(noun, size) * 0.7
    agent = cast.person("agent", ((0.17, 0.9), (-0.14, 0.36)), reaches_over=True)
    start = (0.3, 0.82)
    dashes = [
        Stroke(tuple((start[0] + (0.98 - start[0]) * t, start[1] + (goal - start[1]) * t) for t in (at, at + 0.12)),
               SIGHT, 0.026)
        for at in (0.0, 0.24, 0.48, 0.72)
    ]  # fmt: skip
    return [cast.standing("item", noun, x, size, mirrored=True), agent, *dashes]


_DRAWN: Mapping[str, tuple[tuple[str, ...], DrawVerb]] = {
    "holding": (ANYWHERE, holding),
    "wearing": (ANYWHERE, wearing),
    "standing on": (ANYWHERE, standing_on),
    "sharing a seat": (ANYWHERE, sharing_a_seat),
    "sheltering": (OUTDOORS, sheltering),
    "sharing shelter": (OUTDOORS, sharing_shelter),
    "petting together": (ANYWHERE, petting_together),
    "carrying together": (ANYWHERE, carrying_together),
    "filling": (ANYWHERE, filling),
    "reading a screen": (ANYWHERE, reading_a_screen),
    "passing": ((*OUTDOORS, "living room", "classroom"), passing),
    "watching": (ANYWHERE, watching),
}
HOI_SCENES: Mapping[str, VerbSketch] = MappingProxyType(
    {name: VerbSketch(name, places, draw) for name, (places, draw) in _DRAWN.items()}
)
"""Name of a scene -> how it is drawn and in which places."""
