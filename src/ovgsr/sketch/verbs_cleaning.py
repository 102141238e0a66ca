"""Verbs of cleaning and gardening: the tool and what it leaves on the ground tell them apart."""

from __future__ import annotations

from ovgsr.sketch.cast import BACK_HEIGHT, BUBBLE, WATER, Cast, block, flat, heap, motion_lines, tall, wide
from ovgsr.sketch.registry import ANYWHERE, INDOORS, OUTDOORS, verb
from ovgsr.sketch.scene import Colour, Element, Implied, Part, Stroke

LAWN = ("park", "garden", "field", "stadium", "forest")
MUD: Colour = (104, 72, 40)
LEAF_COLOURS: tuple[Colour, ...] = ((222, 120, 30), (200, 60, 30), (236, 180, 50))
GRASS: Colour = (38, 128, 44)
FLOOR_OF_PLACE = {"street": "road", "garden": "lawn", "park": "lawn", "field": "field", "snow": "snow", "beach": "sand"}


def surface_of(cast: Cast) -> str:
    """The name of the ground in the place of the scene."""
    return "floor" if cast.place in INDOORS else FLOOR_OF_PLACE.get(cast.place, "land")


@verb("washing", ANYWHERE)
def washing(cast: Cast) -> list[Element]:
    """A sponge or soap in the hand on an item that is full of bubbles."""
    noun = cast.pick(
        "vehicle",
        "dog",
        "cat",
        "sheep",
        "pig",
        "large animal",
        "bowl",
        "pot",
        "shoe",
        "door",
        "chair",
        "apple",
        "carrot",
        "bottle",
    )
    tool = cast.pick("sponge", "soap")
    least = 0.34
    size = cast.size(noun, most=0.8, least=least)
    low = tall(noun, size) < 0.36
    floor = 0.3 if low and wide(noun, size) < 0.42 else 0.0
    x = 0.42 + wide(noun, size) / 2
    y = floor + tall(noun, size) * 0.62
    elements: list[Element] = [block(x - 0.26, 0.0, x + 0.26, floor, (120, 160, 190), outlined=True)] if floor else []
    elements.append(cast.standing("item", noun, x, size, floor=floor, mirrored=cast.turned()))
    if cast.chance(0.45):
        dirt = cast.scattered(
            x,
            floor + tall(noun, size) * 0.4,
            wide(noun, size) * 0.3,
            tall(noun, size) * 0.2,
            5,
            radius=0.03,
            colour=MUD,
            role="dirt",
            noun="mud",
        )
        elements.append(dirt)
    elements.append(cast.person("agent", ((0.46, y), (0.44, y - 0.12)), lean=16 if y < 0.5 else 6, reaches_over=True))
    elements.append(cast.thing("tool", tool, 0.48, y, 0.2, front=True))
    foam = cast.scattered(
        x,
        floor + tall(noun, size) * 0.65,
        wide(noun, size) * 0.45,
        tall(noun, size) * 0.4,
        12,
        radius=0.036,
        colour=BUBBLE,
        outlined=True,
    )
    rising = cast.scattered(
        x, floor + tall(noun, size) + 0.1, wide(noun, size) * 0.4, 0.08, 4, radius=0.03, colour=BUBBLE, outlined=True
    )
    return [*elements, foam, rising]


@verb("vacuuming", (*INDOORS, "street"))
def vacuuming(cast: Cast) -> list[Element]:
    """A vacuum cleaner held by its handle, dust streaming towards its mouth, often on a rug."""
    elements: list[Element] = []
    if cast.chance(0.55):
        colour = cast.rng.choice(((180, 60, 60), (70, 90, 170), (150, 110, 170)))
        elements.append(flat(0.5, 0.0, 1.1, 0.16, colour, "surface", "rug"))
    elif cast.chance(0.3):
        elements.append(cast.standing("surface", "couch", 1.0, 0.75))
    else:
        elements.append(Implied("surface", surface_of(cast)))
    agent = cast.person("agent", ((0.3, 0.44), (0.12, 0.4)), legs="walk", lean=10)
    tool = cast.standing("tool", "vacuum cleaner", 0.46, cast.size("vacuum cleaner", least=0.54))
    dust = cast.scattered(0.92, 0.07, 0.14, 0.05, 7, radius=0.02)
    return [*elements, tool, agent, dust, *motion_lines(0.74, 0.1, (1, 0.15), length=0.14)]


@verb("sweeping", ANYWHERE)
def sweeping(cast: Cast) -> list[Element]:
    """A broom in both hands, dust and crumbs whirled up in front of the bristles."""
    broom = cast.thing("brush", "broom", 0.42, 0.29, cast.size("broom", least=0.6), turn=24, wobble=5)
    agent = cast.person("agent", ((0.34, 0.46), (0.38, 0.36)), legs="walk", lean=8)
    dust = cast.scattered(0.78, 0.1, 0.16, 0.08, 7, radius=0.034, colour=(190, 178, 160))
    litter = cast.scattered(0.8, 0.03, 0.18, 0.02, 6, radius=0.024, colour=(96, 78, 60))
    elements: list[Element] = [agent, broom, dust, litter]
    if cast.chance(0.3):
        elements.insert(0, flat(0.66, 0.01, 0.9, 0.15, (206, 186, 150), "surface", surface_of(cast), outlined=False))
    else:
        elements.append(Implied("surface", surface_of(cast)))
    return elements


@verb("mopping", (*INDOORS, "street"))
def mopping(cast: Cast) -> list[Element]:
    """A mop in both hands in a shiny wet puddle, a bucket standing by."""
    puddle = flat(0.6, 0.01, 0.86, 0.16, (120, 190, 246), "surface", surface_of(cast))
    shine = [Stroke(((x, 0.03), (x + 0.1, 0.03)), (236, 248, 255), 0.022) for x in (0.36, 0.74)]
    mop = cast.thing("", "mop", 0.44, 0.3, cast.size("mop", least=0.6), turn=22, wobble=5)
    agent = cast.person("agent", ((0.34, 0.47), (0.38, 0.37)), legs="walk", lean=8)
    bucket = cast.standing("", "bucket", cast.rng.choice((-0.42, 1.14)), 0.3)
    drops = cast.scattered(0.66, 0.08, 0.16, 0.05, 5, radius=0.02, colour=WATER)
    return [puddle, *shine, bucket, agent, mop, drops]


@verb("mowing", LAWN)
def mowing(cast: Cast) -> list[Element]:
    """A lawn mower pushed into high grass, cut blades flying up."""
    blades: list[Element] = []
    for i in range(8):
        x = 0.84 + 0.055 * i
        blades.append(Stroke(((x, 0.0), (x + 0.02, cast.near(0.2, 0.04))), GRASS, 0.03, "item", "grass"))
    mower = cast.standing("tool", "lawn mower", 0.6, cast.size("lawn mower", least=0.6))
    agent = cast.person("agent", ((0.36, 0.42), (0.32, 0.38)), legs="walk", lean=12)
    cut = cast.scattered(0.82, 0.36, 0.16, 0.1, 8, radius=0.018, colour=(90, 190, 60))
    stripe = flat(-0.05, 0.0, 0.6, 0.06, (150, 214, 110), outlined=False)
    return [stripe, *blades, mower, agent, cut]


@verb("raking", (*LAWN, "beach", "street"))
def raking(cast: Cast) -> list[Element]:
    """A rake in both hands, its teeth in coloured leaves that lie in a heap and around."""
    x = 0.78
    mound = heap(x, 0.56, 0.24, LEAF_COLOURS[0], "destination", "pile")
    leaves = [
        cast.scattered(x, 0.1, 0.24, 0.1, 8, radius=0.03, colour=colour, role="item", noun="leaf")
        for colour in LEAF_COLOURS
    ]
    loose = [
        cast.scattered(x - 0.1, 0.02, 0.5, 0.02, 4, radius=0.026, colour=colour, role="item", noun="leaf")
        for colour in LEAF_COLOURS[:2]
    ]
    rake = cast.thing("", "rake", 0.44, 0.29, cast.size("rake", least=0.6), turn=26, wobble=4)
    agent = cast.person("agent", ((0.32, 0.47), (0.37, 0.37)), legs="walk", lean=8)
    return [mound, *leaves, *loose, agent, rake, Implied("source", cast.one_of("land", "grass"))]


@verb("shoveling", OUTDOORS)
def shoveling(cast: Cast) -> list[Element]:
    """A shovel held low across the body with a load on its blade, a mound in front and lumps in the air."""
    stuff, colour = {
        "snow": ("snow", (246, 250, 255)),
        "beach": ("sand", (232, 206, 140)),
        "desert": ("sand", (226, 180, 110)),
    }.get(cast.place, ("dirt", (112, 76, 44)))
    mound = heap(1.06, 0.6, 0.26, colour, "item", stuff)
    shovel = cast.thing("", "shovel", 0.5, 0.3, cast.size("shovel", least=0.6), turn=66, wobble=5)
    agent = cast.person("agent", ((0.42, 0.34), (0.28, 0.44)), legs="push", lean=22)
    load = cast.scattered(
        0.78, 0.26, 0.07, 0.03, 7, radius=0.036, colour=colour, role="item", noun=stuff, outlined=True
    )
    flying = cast.scattered(0.98, 0.52, 0.16, 0.1, 6, radius=0.03, colour=colour, outlined=True)
    return [mound, agent, shovel, load, flying, Implied("source", cast.one_of("land", "heap"))]


@verb("brushing", ANYWHERE)
def brushing(cast: Cast) -> list[Element]:
    """A brush or comb on the coat of an animal or in somebody's hair, parallel strokes beside it."""
    tool = cast.pick("brush", "comb", "brush")
    if cast.chance(0.35):
        agent = cast.person("agent", ((0.42, 0.86), (0.14, 0.4)))
        other = cast.person(
            "",
            ((0.12, 0.3), (-0.12, 0.3)),
            x=0.6,
            facing=cast.rng.choice((-1, 1)),
            legs="sit",
            parts=(Part("target", "hair", "head"),),
        )
        seat = cast.standing("", "chair", 0.58, 0.42)
        strokes = motion_lines(0.52, 0.93, (0.5, -0.8), gap=0.06, length=0.14)
        return [
            seat,
            other,
            agent,
            cast.thing("tool", tool, 0.44, 0.88, 0.26, turn=-80, front=True),
            *strokes,
            Implied("substance", "hair"),
        ]
    noun = cast.pick("dog", "cat", "sheep", "goat", "large animal", "horse", "teddy bear", "rabbit", "shoe")
    size = cast.size(noun, most=0.85, least=0.42)
    x = 0.34 + wide(noun, size) / 2
    y = tall(noun, size) * BACK_HEIGHT.get(noun, 0.7)
    low = y < 0.45
    agent = cast.person(
        "agent", ((0.47, y + 0.03), (0.3, y * 0.6)), legs="kneel" if low else "stand", lean=10, reaches_over=True
    )
    strokes = motion_lines(0.54, y + 0.13, (1, 0), gap=0.06, length=0.18)
    target = cast.standing("target", noun, x, size)
    brush = cast.thing("tool", tool, 0.5, y + 0.01, 0.25, turn=-80, front=True)
    return [target, agent, brush, *strokes]


@verb("spraying", ANYWHERE)
def spraying(cast: Cast) -> list[Element]:
    """A spray can at arm's length, a widening cone of drops from it onto something in front."""
    substance = cast.one_of("paint", "water", "paint")
    colour = (
        WATER
        if substance == "water"
        else cast.rng.choice(((230, 50, 60), (60, 200, 80), (250, 200, 40), (190, 60, 200)))
    )
    noun = cast.pick("plant", "vehicle", "door", "fence", "brick", "small animal", "chair", "rock", "box", "television")
    size = cast.size(noun, most=0.7, least=0.4)
    left = 0.84
    y = 0.62 if tall(noun, size) > 0.5 else 0.5
    agent = cast.person("agent", ((0.38, y), (0.14, 0.38)), lean=4)
    can = cast.thing("source", cast.pick("spray can", "spray can", "bottle"), 0.42, y + 0.06, 0.26)
    target = cast.standing("destination", noun, left + wide(noun, size) / 2, size)
    goal = min(y, tall(noun, size) * 0.6)
    cone = []
    for i, spread in enumerate((0.02, 0.05, 0.08, 0.12)):
        along = 0.54 + 0.1 * i
        height = y + 0.13 + (goal - y - 0.13) * i / 4
        cone.append(
            cast.scattered(
                along, height, 0.04, spread, 3 + i, radius=0.019, colour=colour, role="substance", noun=substance
            )
        )
    stain = cast.scattered(left + wide(noun, size) * 0.3, goal, 0.06, 0.1, 6, radius=0.03, colour=colour)
    return [target, agent, can, *cone, stain]
