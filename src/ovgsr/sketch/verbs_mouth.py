"""Verbs of food, drink, smell and vessels: at the mouth, at the nose, into a bowl, over a fire."""

from __future__ import annotations

from ovgsr.sketch.cast import WOOD, Cast, arc, block, desk, flat, tall, wide
from ovgsr.sketch.registry import ANYWHERE, INDOORS, OUTDOORS, verb
from ovgsr.sketch.scene import Colour, Effect, Element, Implied, Part, Stroke

LIQUIDS: dict[str, Colour] = {
    "water": (70, 150, 240),
    "milk": (250, 250, 250),
    "coffee": (110, 66, 36),
    "wine": (140, 20, 60),
    "juice": (250, 160, 30),
}
GRAZERS = ("small animal", "small animal", "cow", "elephant")
"""Animals whose mouth is drawn low enough to reach the ground."""
TONGUE: Colour = (240, 84, 120)
CRUMB: Colour = (214, 160, 84)
SCENT: Colour = (150, 230, 130)


def _at_desk(cast: Cast, x: float) -> list[Element]:
    return [*desk(x, 0.62, 0.34)]


@verb("eating", ANYWHERE)
def eating(cast: Cast) -> list[Element]:
    """Food right at the mouth, bites and crumbs; by hand, with a spoon from a bowl, or an animal over its food."""
    food = cast.pick("food")
    layout = cast.rng.random()
    if layout < 0.25:
        animal = cast.pick(*GRAZERS)
        size = cast.size(animal, most=0.75)
        edge = wide(animal, size) / 2
        snack = cast.size(food) * 0.85
        bowl = cast.chance(0.4)
        x = edge + 0.06
        elements: list[Element] = [cast.thing("agent", animal, 0.0, tall(animal, size) / 2, size, turn=-14, wobble=3)]
        elements.append(cast.thing("food", food, x, 0.24 if bowl else snack / 2 + 0.04, snack))
        if bowl:
            elements.append(cast.standing("container", "bowl", x, 0.28))
        return [*elements, cast.scattered(x, 0.12, 0.14, 0.1, 6, radius=0.018, colour=CRUMB)]
    crumbs = cast.scattered(0.2, 0.6, 0.07, 0.07, 6, radius=0.017, colour=CRUMB)
    if layout < 0.5:
        agent = cast.person("agent", ((0.27, 0.62), (0.34, 0.4)), legs="sit")
        bowl_size = cast.size("bowl", most=0.3)
        spoon = cast.thing("tool", "spoon", 0.2, 0.64, 0.22, turn=65)
        snack = cast.size(food) * 0.8
        filling = cast.thing("food", food, 0.5, 0.36 + tall("bowl", bowl_size) + 0.03, snack)
        seat = cast.standing("", "chair", -0.04, 0.42)
        table = _at_desk(cast, 0.56)
        return [
            seat,
            agent,
            *table,
            filling,
            cast.standing("container", "bowl", 0.5, bowl_size, floor=0.36),
            spoon,
            crumbs,
        ]
    size = cast.size(food)
    agent = cast.person(
        "agent",
        ((0.22, 0.66), (0.16, 0.38)),
        legs=cast.one_of("stand", "stand", "walk", "sit low"),
        parts=(Part("tool", "hand", "hand"),),
    )
    shift = -0.27 if agent.legs == "sit low" else 0.0
    if shift:
        agent = cast.person("agent", ((0.22, 0.66 + shift), (0.16, 0.2)), legs="sit low", parts=agent.parts)
    meal = cast.thing("food", food, cast.near(0.16, 0.015), 0.735 + shift, size)
    return [agent, meal, cast.scattered(0.2, 0.58 + shift, 0.07, 0.07, 6, radius=0.017, colour=CRUMB)]


@verb("drinking", ANYWHERE)
def drinking(cast: Cast) -> list[Element]:
    """A vessel tipped at the mouth with the head back, or an animal with its head in a bowl of water."""
    if cast.chance(0.2):
        animal = cast.pick(*GRAZERS)
        size = cast.size(animal, most=0.75)
        x = wide(animal, size) / 2 + 0.06
        vessel = cast.pick("bowl", "bucket")
        bowl = cast.standing("container", vessel, x, 0.3)
        surface = flat(x, tall(vessel, 0.3), 0.2, 0.05, LIQUIDS["water"], "liquid", "water")
        splash = Effect("splash", x, tall(vessel, 0.3) + 0.06, 0.16)
        return [
            cast.thing("agent", animal, 0.0, tall(animal, size) / 2, size, turn=-14, wobble=3),
            bowl,
            surface,
            splash,
        ]
    legs = cast.one_of("stand", "stand", "walk", "sit")
    down = 0.12 if legs == "sit" else 0.0
    agent = cast.person("agent", ((0.25, 0.68 - down), (0.14, 0.4)), legs=legs, nod=-20)
    elements: list[Element] = [cast.standing("", cast.one_of("chair", "rock", "bench"), -0.02, 0.4)] if down else []
    spot = (cast.near(0.2, 0.012), 0.78 - down)
    if cast.chance(0.35):
        vessel = cast.pick("bottle", "teapot", "watering can", "bucket", "bowl")
        elements += [
            agent,
            cast.thing(
                "container",
                vessel,
                spot[0] + 0.02,
                spot[1] + 0.02,
                cast.size(vessel, most=0.3),
                turn=60,
                mirrored=vessel != "bottle",
            ),
        ]
        return [*elements, cast.drops((0.14, 0.68 - down), (0.13, 0.5 - down), 3), Implied("liquid", "water")]
    drink = cast.pick("drink")
    holder = {"coffee": "cup", "wine": "glass", "beer": "glass", "milk": "glass", "juice": "glass"}[drink]
    vessel_part = (Part("container", holder, "whole"),)
    return [*elements, agent, cast.thing("liquid", drink, *spot, cast.size(drink), turn=42, parts=vessel_part)]


@verb("smelling", ANYWHERE)
def smelling(cast: Cast) -> list[Element]:
    """An item held a little way before the nose, scent lines rising from it to the nose."""
    noun = cast.pick("rose", "sunflower", "tulip", "rose", "food", "drink", "soap", "shoe", "candle", "cactus", "pot")
    size = cast.size(noun, most=0.32)
    waves: list[Element] = []
    if cast.chance(0.2):
        animal = cast.pick("dog", "cat", "rabbit", "pig", "cow", "elephant")
        big = cast.size(animal, most=0.75)
        edge, nose = wide(animal, big) / 2, tall(animal, big) * 0.6
        x = edge + size / 2 + 0.16
        for i in range(3):
            left = edge + 0.02 + 0.07 * i
            waves.append(
                Stroke(
                    tuple((left + (0.025 if k % 2 else -0.025), nose - 0.1 + 0.05 * k) for k in range(5)),
                    SCENT,
                    0.022,
                    front=True,
                )
            )
        return [
            cast.thing("agent", animal, 0.0, tall(animal, big) / 2, big, turn=-8, wobble=3),
            cast.standing("item", noun, x, size),
            *waves,
        ]
    agent = cast.person("agent", ((0.4, 0.56), (0.1, 0.38)), lean=12, nod=8, legs=cast.one_of("stand", "walk"))
    for i in range(3):
        left = 0.3 + 0.075 * i
        waves.append(
            Stroke(
                tuple((left + (0.022 if k % 2 else -0.022), 0.8 + 0.05 * k) for k in range(5)), SCENT, 0.022, front=True
            )
        )
    return [
        agent,
        cast.thing("item", noun, cast.near(0.42, 0.02), 0.58 + tall(noun, size) * 0.35, size, front=True),
        *waves,
    ]


@verb("licking", ANYWHERE)
def licking(cast: Cast) -> list[Element]:
    """A long pink tongue from the mouth onto the item."""
    if cast.chance(0.35):
        animal = cast.pick("dog", "cat", "goat", "pig", "sheep")
        size = cast.size(animal, most=0.75)
        edge, mouth = wide(animal, size) / 2, tall(animal, size) * 0.62
        noun = cast.pick("food", "bowl", "small animal", "shoe", "spoon", but=(animal,))
        item_size = cast.size(noun, most=0.42)
        x = edge + 0.1 + wide(noun, item_size) / 2
        y = max(tall(noun, item_size) / 2, mouth - 0.08)
        tongue = Stroke(
            ((edge - 0.06, mouth), (edge + 0.05, mouth - 0.05), (edge + 0.16, mouth - 0.01)), TONGUE, 0.05, front=True
        )
        return [
            cast.thing("agent", animal, 0.0, tall(animal, size) / 2, size, wobble=3),
            cast.thing("item", noun, x, y, item_size),
            tongue,
        ]
    noun = cast.pick(
        "ice cream", "lollipop", "ice cream", "lollipop", "spoon", "letter", "knife", "cake", "apple", "bowl", "orange"
    )
    size = cast.size(noun)
    agent = cast.person("agent", ((0.38, 0.56), (0.12, 0.38)), lean=4, legs=cast.one_of("stand", "walk"))
    item = cast.thing("item", noun, 0.39, 0.58 + tall(noun, size) * 0.32, size)
    tongue = Stroke(((0.1, 0.745), (0.2, 0.7), (0.31, 0.73)), TONGUE, 0.05, front=True)
    return [agent, item, tongue, cast.drops((0.34, 0.62), (0.34, 0.45), 3, colour=(255, 230, 240))]


@verb("feeding", ANYWHERE)
def feeding(cast: Cast) -> list[Element]:
    """Food held out by one to the mouth of another, an animal or a person on a seat."""
    food = cast.pick("food")
    snack = cast.size(food) * 0.8
    if cast.chance(0.25):
        eater = cast.person("eater", ((0.1, 0.3), (-0.1, 0.3)), x=0.86, legs="sit", facing=-1)
        agent = cast.person("agent", ((0.42, 0.62), (0.14, 0.4)), lean=14)
        seat = cast.standing("", "chair", 0.9, 0.42, mirrored=True)
        source = cast.thing("source", "spoon", 0.54, 0.65, 0.26, turn=-70)
        return [seat, eater, agent, source, cast.thing("food", food, 0.68, 0.66, snack * 0.8)]
    animal = cast.pick("small animal", "large animal")
    size = cast.size(animal, most=0.8)
    mouth = min(tall(animal, size) * 0.62, 0.62)
    low = mouth < 0.4
    reach = 0.42
    eater_at = cast.thing(
        "eater",
        animal,
        reach + snack * 0.7 + wide(animal, size) / 2,
        tall(animal, size) / 2,
        size,
        mirrored=True,
        wobble=2,
    )
    source_by_hand = cast.chance(0.7)
    hand = (Part("source", "hand", "hand"),) if source_by_hand else ()
    agent = cast.person("agent", ((reach, mouth), (0.14, 0.3)), legs="kneel" if low else "stand", lean=12, parts=hand)
    if source_by_hand:
        return [eater_at, agent, cast.thing("food", food, reach + 0.08, mouth + 0.03, snack)]
    source = cast.thing("source", "bowl", reach + 0.04, mouth - 0.02, 0.26)
    return [eater_at, agent, cast.thing("food", food, reach + 0.05, mouth + 0.1, snack), source]


@verb("cooking", (*INDOORS, "garden", "forest", "beach", "park", "snow"))
def cooking(cast: Cast) -> list[Element]:
    """A pot with food over flames on a stove or campfire, steam, one hand at the pot."""
    food = cast.pick("food")
    on_fire = cast.place not in INDOORS
    heat = "campfire" if on_fire else "stove"
    heat_size = cast.size(heat, most=0.46)
    x = 0.52
    top = 0.3 if on_fire else tall(heat, heat_size)
    pot_size = cast.size("pot", most=0.36)
    rim = top + tall("pot", pot_size)
    elements: list[Element] = [cast.standing("heatsource", heat, x, heat_size)]
    agent = cast.person(
        "agent",
        ((0.42, rim + 0.12), (0.3, top + 0.06)),
        lean=4,
        legs="kneel" if on_fire and cast.chance(0.3) else "stand",
    )
    elements.append(agent)
    if on_fire:
        elements.append(Stroke(((x - 0.26, 0.0), (x, rim + 0.3), (x + 0.26, 0.0)), WOOD, 0.03))
        elements.append(Stroke(((x, rim + 0.3), (x, rim)), (60, 60, 66), 0.02))
    else:
        elements += [Effect("flame", x + dx, top + 0.01, 0.12, front=False) for dx in (-0.09, 0.0, 0.09)]
        top += 0.03
    elements.append(cast.thing("food", food, x + 0.04, top + tall("pot", pot_size) + 0.02, cast.size(food) * 0.8))
    elements.append(cast.standing("container", "pot", x, pot_size, floor=top))
    if cast.chance(0.6):
        elements.append(cast.thing("tool", "spoon", 0.46, rim + 0.06, 0.26, turn=160))
    else:
        elements.append(Implied("tool", "hand"))
    steam = cast.scattered(x + 0.06, rim + 0.26, 0.12, 0.07, 5, radius=0.034, colour=(232, 234, 238))
    return [*elements, steam]


@verb("stirring", ANYWHERE)
def stirring(cast: Cast) -> list[Element]:
    """A spoon upright in a vessel on a table, a ring over it that shows the turning; no fire."""
    vessel = cast.pick("bowl", "pot", "bucket", "bowl")
    size = cast.size(vessel, most=0.34, least=0.3)
    content = cast.one_of("soup", "milk", "coffee", "paint", "water")
    colour = {"soup": (226, 120, 40), "paint": (60, 170, 90)}.get(content) or LIQUIDS[content]
    height = 0.28 if vessel == "bowl" else 0.14
    rim = height + 0.02 + tall(vessel, size)
    x = 0.46
    agent = cast.person("agent", ((x - 0.06, rim + 0.2), (0.3, height + 0.12)), lean=8, nod=10)
    bowl = cast.standing("container", vessel, x, size, floor=height + 0.02)
    spoon = cast.thing("tool", "spoon", x + 0.02, rim + 0.05, 0.34, turn=170)
    surface = flat(x, rim - 0.01, wide(vessel, size) * 0.78, 0.07, colour, "item", content)
    rings = [arc(x + 0.03, rim + 0.11, 0.19, start, start + 110, width=0.024) for start in (-60, 120)]
    return [agent, *desk(x, 0.6, height), spoon, bowl, surface, *rings]


@verb("pouring", ANYWHERE)
def pouring(cast: Cast) -> list[Element]:
    """A tipped vessel up in the hand, a stream of liquid into another vessel below."""
    substance = cast.one_of(*LIQUIDS)
    colour = LIQUIDS[substance]
    source = cast.pick("bottle", "teapot", "bucket", "pot", "bowl", "bottle", "watering can")
    target = cast.pick("bowl", "pot", "bucket")
    size, target_size = cast.size(source), cast.size(target, most=0.34)
    floor = cast.rng.choice((0.0, 0.26))
    x = 0.66
    lip = (0.58, 0.66)
    agent = cast.person("agent", ((0.38, 0.72), (0.14, 0.4)), parts=(Part("tool", "hand", "hand"),))
    elements: list[Element] = [agent, *(desk(x, 0.5, 0.24) if floor else [])]
    stream = Stroke(
        (lip, (x - 0.02, 0.56), (x, floor + tall(target, target_size) * 0.8)), colour, 0.045, "substance", substance
    )
    vessel = cast.standing("destination", target, x, target_size, floor=floor)
    angle = -100 if source == "bottle" else -55
    tipped = cast.thing("source", source, 0.48, 0.74, size, turn=angle)
    splash = cast.scattered(x, floor + tall(target, target_size) + 0.03, 0.08, 0.04, 4, radius=0.02, colour=colour)
    glass = cast.chance(0.25)
    if glass:
        vessel_patch = block(x - 0.08, floor, x + 0.08, floor + 0.22, (206, 232, 244), "destination", "glass")
        filling = block(x - 0.06, floor + 0.02, x + 0.06, floor + 0.12, colour, outlined=False)
        stream = Stroke((lip, (x - 0.02, 0.56), (x, floor + 0.12)), colour, 0.045, "substance", substance)
        return [*elements, vessel_patch, filling, stream, tipped]
    return [*elements, stream, vessel, tipped, splash]


@verb("watering", (*OUTDOORS, "living room", "kitchen", "classroom", "market", "bedroom"))
def watering(cast: Cast) -> list[Element]:
    """A tipped vessel over a plant, a fan of drops falling on the leaves."""
    plant = cast.pick("plant", "plant", "tree", "potted plant")
    tool = cast.pick("watering can", "watering can", "watering can", "bucket", "bottle", "teapot", "bowl")
    size = cast.size(plant, most=0.5)
    x = 0.7 + cast.near(0.02, 0.02)
    agent = cast.person("agent", ((0.38, 0.7), (0.14, 0.4)))
    tipped = cast.thing("tool", tool, 0.46, 0.76, cast.size(tool), turn=-100 if tool == "bottle" else -40)
    top = tall(plant, size)
    rain = [cast.drops((0.6, 0.7), (x + dx, top * 0.7), 6, spread=0.02) for dx in (-0.12, 0.0, 0.12)]
    return [agent, cast.standing("recipient", plant, x, size), tipped, *rain]
