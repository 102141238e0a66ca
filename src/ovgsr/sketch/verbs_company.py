"""Verbs of touch and show: hugging, kissing, stroking, milking, shearing, singing, drumming, performing."""

from __future__ import annotations

from ovgsr.sketch.cast import BACK_HEIGHT, STEEL, WOOD, Cast, arc, block, motion_lines, tall, wide
from ovgsr.sketch.registry import ANYWHERE, INDOORS, verb
from ovgsr.sketch.scene import Colour, Effect, Element, Implied, Part, Patch, Stroke

MILK: Colour = (252, 252, 252)
FARM = ("field", "garden", "park", "forest", "garage", "market", "snow")


@verb("hugging", ANYWHERE)
def hugging(cast: Cast) -> list[Element]:
    """Two bodies pressed together, or something pressed to the chest, arms wrapped around it."""
    arms = (Part("agentpart", "arm", "arm"),)
    if cast.chance(0.5):
        agent = cast.person("agent", ((0.34, 0.56), (0.3, 0.46)), lean=5, reaches_over=True, parts=arms)
        other = cast.person("hugged", ((0.34, 0.5), (0.34, 0.42)), x=0.27, facing=-1, lean=5)
        return [other, agent, Effect("heart", 0.14, 1.1, 0.18)]
    noun = cast.pick(
        "teddy bear",
        "small animal",
        "tree",
        "balloon",
        "suitcase",
        "guitar",
        "soccer ball",
        "book",
        "horse",
        "cow",
        "rock",
    )
    size = cast.size(noun, most=0.9, least=0.42)
    big = size > 0.6
    x = 0.14 + wide(noun, size) * (0.42 if big else 0.24)
    agent = cast.person("agent", ((0.3, 0.5), (0.32, 0.4)), lean=8 if big else 0, reaches_over=True, parts=arms)
    hugged = cast.standing("hugged", noun, x, size) if big else cast.thing("hugged", noun, x, 0.48, size)
    return [hugged, agent, Effect("heart", 0.1, 1.1, 0.18)] if big else [agent, hugged, Effect("heart", 0.1, 1.1, 0.18)]


@verb("kissing", ANYWHERE)
def kissing(cast: Cast) -> list[Element]:
    """Two heads that touch at the mouth, bodies apart, hearts over them."""
    hearts = [
        Effect("heart", 0.26 + dx, 1.08 + dy, size)
        for dx, dy, size in ((0.0, 0.0, 0.15), (0.14, 0.1, 0.12), (-0.14, 0.1, 0.12))
    ]
    if cast.chance(0.65):
        apart = 0.58
        hands = ((apart / 2, 0.4), (0.16, 0.36))
        agent = cast.person("agent", hands, lean=20, nod=-10, parts=(Part("agentpart", "lip", "mouth"),))
        part = cast.one_of("lip", "cheek")
        coagent = cast.person(
            "coagent",
            hands,
            x=apart,
            facing=-1,
            lean=20 if part == "lip" else 8,
            nod=-10,
            parts=(Part("coagentpart", part, "mouth"),),
        )
        return [coagent, agent, *hearts]
    noun = cast.pick("dog", "cat", "rabbit", "duck", "horse", "fish", "pig", "teddy bear", "sheep", "goat", "cow")
    size = cast.size(noun, most=0.7, least=0.36)
    height = tall(noun, size)
    standing = height > 0.6
    y = height / 2 if standing else 0.7
    x = 0.26 + wide(noun, size) / 2
    hand = (x, 0.5) if not standing else (0.34, 0.4)
    agent = cast.person("agent", (hand, (0.3, 0.44)), lean=14, parts=(Part("agentpart", "lip", "mouth"),))
    kissed = cast.thing("coagent", noun, x, y, size, mirrored=True, parts=(Part("coagentpart", "head", "head"),))
    return [agent, kissed, *hearts]


@verb("stroking", ANYWHERE)
def stroking(cast: Cast) -> list[Element]:
    """A bare hand laid on the back or head of an animal, curved lines over the hand."""
    noun = cast.pick("small animal", "dog", "cat", "large animal", "horse", "rabbit", "teddy bear")
    size = cast.size(noun, most=0.85)
    height = tall(noun, size)
    low = height < 0.55
    part = cast.one_of("back", "head") if low else "back"
    half = wide(noun, size) / 2
    mirrored = part == "head"
    x = 0.26 + half
    spot = (min(0.4, x), height * 0.95) if mirrored else (min(0.48, x), height * BACK_HEIGHT.get(noun, 0.8) + 0.02)
    agent = cast.person(
        "agent", (spot, (0.24, height * 0.5)), legs="kneel" if low else "stand", lean=12, reaches_over=True
    )
    region: Part = Part("part", part, "head" if part == "head" else "back")
    curves = [arc(spot[0] + 0.02, spot[1] - 0.06, radius, 130, 50) for radius in (0.17, 0.23)]
    return [cast.standing("object", noun, x, size, mirrored=mirrored, parts=(region,)), agent, *curves]


@verb("milking", FARM)
def milking(cast: Cast) -> list[Element]:
    """Sitting by a cow, goat or sheep with both hands under its belly, white jets into a vessel below."""
    noun = cast.pick("cow", "cow", "goat", "sheep", "camel")
    size = cast.size(noun, least=0.84, most=0.95)
    height = tall(noun, size)
    x = 0.3 + wide(noun, size) / 2
    belly = max(height * 0.4, 0.26)
    vessel = cast.pick("bucket", "bucket", "bowl", "pot")
    target = cast.standing("destination", vessel, 0.54, 0.24)
    agent = cast.person(
        "agent",
        ((0.5, belly + 0.04), (0.44, belly + 0.06)),
        legs="sit",
        lean=22,
        reaches_over=True,
        parts=(Part("tool", "hand", "hand"),),
    )
    seat = cast.standing("", cast.pick("box", "rock", "chair", "bucket"), -0.03, 0.3)
    jets = [Stroke(((at, belly), (at + 0.02, tall(vessel, 0.24))), MILK, 0.022, front=True) for at in (0.49, 0.56)]
    animal = cast.standing("source", noun, x, size)
    splash = cast.scattered(0.54, tall(vessel, 0.24) + 0.02, 0.06, 0.03, 4, radius=0.018, colour=MILK)
    return [animal, seat, agent, target, *jets, splash]


@verb("shearing", FARM)
def shearing(cast: Cast) -> list[Element]:
    """Shears at the coat of an animal, tufts falling and a heap of wool on the ground."""
    noun = cast.pick("sheep", "sheep", "sheep", "sheep", "goat", "rabbit")
    wool: Colour = (190, 150, 100) if noun == "rabbit" else (246, 242, 230)
    size = cast.size(noun, least=0.52, most=0.64)
    x = 0.4 + wide(noun, size) / 2
    y = tall(noun, size) * 0.85
    agent = cast.person(
        "agent", ((0.42, y), (0.4, y * 0.5)), legs=cast.one_of("kneel", "stand"), lean=26, reaches_over=True
    )
    shears = cast.thing("", "shears", 0.48, y + 0.02, 0.32, turn=-80, front=True)
    tufts = cast.scattered(
        0.52, y * 0.6, 0.12, 0.2, 7, radius=0.04, colour=wool, role="item", noun="wool", outlined=True
    )
    pile = cast.scattered(0.42, 0.05, 0.16, 0.04, 9, radius=0.045, colour=wool, role="item", noun="wool", outlined=True)
    snips = motion_lines(0.5, y + 0.16, (0.1, 1), count=2, length=0.1)
    return [cast.standing("source", noun, x, size, mirrored=cast.turned()), agent, shears, tufts, pile, *snips]


@verb("singing", ANYWHERE)
def singing(cast: Cast) -> list[Element]:
    """A wide open mouth with notes before it, arms spread or a microphone at the mouth."""
    legs = cast.one_of("stand", "wide")
    open_mouth = cast.scattered(0.075, 0.745, 0.0, 0.0, 1, radius=0.04, colour=(120, 20, 40), outlined=True)
    notes = cast.notes(0.36, 0.86, 3)
    if cast.chance(0.5):
        agent = cast.person("agent", ((0.22, 0.6), (-0.32, 0.62)), legs=legs, nod=-8)
        return [agent, open_mouth, cast.thing("", "microphone", 0.2, 0.68, 0.24, turn=35), *notes]
    if cast.chance(0.3):
        other = cast.person("agent", ((0.2, 0.5), (-0.3, 0.5)), x=-0.52, legs=legs)
        second = cast.scattered(-0.445, 0.745, 0.0, 0.0, 1, radius=0.04, colour=(120, 20, 40), outlined=True)
        agent = cast.person("agent", ((0.3, 0.54), (-0.2, 0.5)), legs=legs)
        return [other, agent, open_mouth, second, *notes]
    agent = cast.person("agent", ((0.36, 0.66), (-0.36, 0.66)), legs=legs, nod=-8)
    return [agent, open_mouth, *notes]


def _drumsticks(near: tuple[float, float], far: tuple[float, float], skin: float) -> list[Element]:
    return [
        Stroke((hand, (hand[0] + 0.12, skin)), (222, 178, 112), 0.034, "tool", "drumstick", front=True)
        for hand in (near, far)
    ]


@verb("drumming", ANYWHERE)
def drumming(cast: Cast) -> list[Element]:
    """Two sticks (or bare hands) beating on the top of a drum or an upturned vessel."""
    noun = cast.pick("drum", "drum", "drum", "bucket", "pot", "box")
    size = cast.size(noun, most=0.46, least=0.4)
    sits = cast.chance(0.5)
    down = 0.12 if sits else 0.0
    floor = 0.0 if sits else 0.14
    skin = floor + tall(noun, size)
    x = 0.46
    near, far = (0.34, skin + 0.14), (0.4, skin + 0.2)
    seat: list[Element] = [cast.standing("", cast.pick("chair", "box", "rock", "bench"), -0.04, 0.42)] if sits else []
    by_hand = cast.chance(0.25)
    hands = ((0.42, skin + 0.02), (0.38, skin + 0.1)) if by_hand else (near, far)
    parts = (Part("tool", "hand", "hand"),) if by_hand else ()
    agent = cast.person("agent", hands, legs="sit" if sits else "wide", lean=8, reaches_over=True, parts=parts)
    stand: list[Element] = (
        [] if sits else [Stroke(((x + dx, 0.0), (x + dx * 0.6, floor + 0.05)), STEEL, 0.03) for dx in (-0.14, 0.14)]
    )
    beats = [arc(x + dx, skin + 0.02, 0.1, 60, 120) for dx in (-0.02, 0.16)]
    notes = cast.notes(0.56, 0.86 - down, 1) if cast.chance(0.6) else []
    sticks = [] if by_hand else _drumsticks(near, far, skin + 0.01)
    return [*seat, *stand, cast.standing("item", noun, x, size, floor=floor), agent, *sticks, *beats, *notes]


def _act(cast: Cast, stage: float) -> list[Element]:
    """What the performer does: plays an instrument, speaks into a microphone, juggles or dances."""
    act = cast.rng.random()
    if act < 0.55:
        tool = cast.pick("music", but=("drum",))
        size = cast.size(tool, most=0.5)
        wind = tool in {"trumpet", "saxophone"}
        hands = ((0.3, 0.64 + stage), (0.24, 0.58 + stage)) if wind else ((0.16, 0.46 + stage), (0.24, 0.52 + stage))
        spot = (0.3, 0.7 + stage) if wind else (0.08, 0.46 + stage)
        agent = cast.person("agent", (_down(hands[0], stage), _down(hands[1], stage)), y=stage, legs="wide")
        return [
            agent,
            cast.thing("tool", tool, *spot, size),
            *cast.notes(0.42, 0.92 + stage, 2),
            Implied("event", cast.one_of("concert", "show")),
        ]
    if act < 0.75:
        agent = cast.person("agent", ((0.22, 0.62), (-0.34, 0.72)), y=stage, legs="wide")
        return [
            agent,
            cast.thing("tool", "microphone", 0.2, 0.7 + stage, 0.24, turn=35),
            Implied("event", cast.one_of("concert", "performance")),
        ]
    if act < 0.88:
        agent = cast.person("agent", ((0.34, 0.94), (-0.34, 0.5)), y=stage, legs="kick")
        return [agent, *cast.notes(0.4, 0.98 + stage, 1), Implied("event", "dance"), Implied("tool", "body")]
    agent = cast.person("agent", ((0.3, 0.94), (-0.3, 0.6)), y=stage, legs="wide")
    prop = cast.pick("umbrella", "hat", "ball", "rose", "rabbit")
    return [agent, cast.thing("tool", prop, 0.3, 1.02 + stage, 0.3), Implied("event", cast.one_of("show", "circus"))]


def _down(point: tuple[float, float], by: float) -> tuple[float, float]:
    return (point[0], point[1] - by)


@verb("performing", (*INDOORS, "park", "street", "stadium", "beach"))
def performing(cast: Cast) -> list[Element]:
    """On a raised stage with curtains and a beam of light, playing or showing something to heads below."""
    stage = 0.2
    beam = Patch(((-0.1, 1.5), (0.1, 1.5), (0.5, stage), (-0.5, stage)), (255, 246, 190), outlined=False)
    curtains = [
        Patch(
            ((side * 0.86, stage), (side * 0.86, 1.5), (side * 0.5, 1.5), (side * 0.7, 0.9), (side * 0.62, stage)),
            (170, 30, 44),
        )
        for side in (-1, 1)
    ]
    floor = block(-0.88, 0.0, 0.88, stage, WOOD, "stage", "stage")
    crowd = cast.scattered(0.0, 0.0, 0.8, 0.02, 7, radius=0.085, colour=(60, 50, 60), outlined=True)
    return [beam, *curtains, floor, *_act(cast, stage), crowd]
