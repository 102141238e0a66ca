"""Verbs of tools and devices: chopped, repaired, painted, nailed, measured, lit, written, typed, read, filmed."""

from __future__ import annotations

from ovgsr.sketch.cast import SMOKE, STEEL, WOOD, Cast, arc, block, desk, motion_lines, tall, wide
from ovgsr.sketch.registry import ANYWHERE, OUTDOORS, verb
from ovgsr.sketch.scene import Colour, Effect, Element, Implied, Patch, Stroke

PAINTS: tuple[Colour, ...] = ((226, 44, 50), (40, 96, 220), (250, 196, 30), (150, 60, 190), (40, 170, 90))
INK: Colour = (40, 40, 60)
PAPER: Colour = (250, 250, 244)


@verb("chopping", ANYWHERE)
def chopping(cast: Cast) -> list[Element]:
    """A blade raised over food on a board, or an axe swung at wood; chips fly."""
    if cast.chance(0.35):
        noun = cast.one_of("tree", "cactus", "log", "log") if cast.place in OUTDOORS else "log"
        agent = cast.person("agent", ((0.36, 0.66), (0.3, 0.56)), legs="wide", lean=10)
        if noun == "log":
            target: Element = block(0.42, 0.0, 0.82, 0.2, (150, 104, 60), "item", "log")
            axe = cast.thing("tool", "axe", 0.52, 0.72, 0.42, turn=-40)
            chips, lines = (0.62, 0.3), [arc(0.3, 0.4, 0.52, 66, 20)]
        else:
            size = cast.size(noun, least=0.8, most=0.95)
            target = cast.standing("item", noun, 0.52 + wide(noun, size) / 2, size)
            axe = cast.thing("tool", "axe", 0.5, 0.52, 0.42, turn=-60)
            chips, lines = (0.6, 0.32), [arc(0.2, 0.4, 0.46, 80, 40)]
        return [target, agent, axe, *lines, cast.scattered(*chips, 0.12, 0.08, 6, radius=0.024, colour=(232, 196, 130))]
    food = cast.pick("food")
    size = cast.size(food, most=0.32)
    height = 0.3
    y = height + 0.03 + tall(food, size) / 2
    agent = cast.person("agent", ((0.4, 0.66), (0.3, height + 0.1)), lean=10)
    knife = cast.thing("tool", cast.pick("knife", "knife", "axe"), 0.48, 0.68, 0.34, turn=-75)
    board = Stroke(((0.34, height + 0.035), (0.78, height + 0.035)), (214, 170, 110), 0.03)
    motion = motion_lines(0.58, 0.74, (0, 1), gap=0.1, length=0.12)
    bits = cast.scattered(0.66, height + 0.08, 0.12, 0.03, 6, radius=0.024, colour=(250, 214, 110))
    return [agent, *desk(0.56, 0.62, height), board, cast.thing("item", food, 0.56, y, size), knife, *motion, bits]


@verb("repairing", ANYWHERE)
def repairing(cast: Cast) -> list[Element]:
    """A wrench or screwdriver on a machine, which gives off smoke or has lost pieces."""
    noun = cast.pick(
        "vehicle",
        "vehicle",
        "computer",
        "laptop",
        "television",
        "chair",
        "door",
        "lawn mower",
        "vacuum cleaner",
        "stove",
        "camera",
        "shopping cart",
        "skateboard",
        "guitar",
    )
    tool = cast.pick("wrench", "screwdriver", "wrench")
    size = cast.size(noun, most=0.85, least=0.44)
    low = tall(noun, size) < 0.5
    x = 0.46 + wide(noun, size) / 2
    y = min(tall(noun, size) * 0.55, 0.5)
    legs = "kneel" if low or cast.chance(0.4) else "stand"
    agent = cast.person("agent", ((0.38, y), (0.32, y - 0.08)), legs=legs, lean=14, reaches_over=True)
    elements: list[Element] = [cast.standing("item", noun, x, size, mirrored=cast.turned()), agent]
    elements.append(cast.thing("tool", tool, 0.46, y + 0.04, 0.32, turn=-50, front=True))
    if cast.chance(0.55):
        puffs = cast.scattered(
            x, tall(noun, size) + 0.1, 0.12, 0.08, 6, radius=0.05, colour=SMOKE, role="problem", noun="smoke"
        )
        elements.append(puffs)
    elif cast.chance(0.4):
        elements.append(Implied("problem", cast.one_of("hole", "wheel", "part")))
    bolts = cast.scattered(0.5, 0.02, 0.14, 0.015, 4, radius=0.024, colour=STEEL, outlined=True)
    turning = arc(0.48, y + 0.06, 0.22, 100, 20)
    return [*elements, bolts, turning]


@verb("painting", ANYWHERE)
def painting(cast: Cast) -> list[Element]:
    """A brush at the end of a broad stripe of fresh colour on a surface, a pot of paint below."""
    colour = cast.rng.choice(PAINTS)
    agent = cast.person("agent", ((0.4, 0.6), (0.16, 0.38)), lean=4)
    elements: list[Element] = []
    if cast.chance(0.4):
        what = cast.one_of("wall", "canvas")
        shade = PAPER if what == "canvas" else (206, 196, 182)
        width, low, high = (0.46, 0.36, 0.86) if what == "canvas" else (0.66, 0.0, 0.94)
        if what == "canvas":
            elements += [Stroke(((0.54, 0.0), (0.7, 0.95)), WOOD, 0.03), Stroke(((0.9, 0.0), (0.74, 0.95)), WOOD, 0.03)]
        elements.append(block(0.48, low, 0.48 + width, high, shade, "item", what))
        x, y = 0.48 + width / 2, (low + high) / 2 + 0.05
    else:
        noun = cast.pick(
            "door", "fence", "chair", "bench", "bed", "car", "box", "bicycle", "rock", "canoe", "table", "ladder"
        )
        size = cast.size(noun, most=0.85, least=0.6)
        x, y = 0.48 + wide(noun, size) / 2, tall(noun, size) * 0.55
        elements.append(cast.standing("item", noun, x, size))
    for i in range(3):
        level = y + 0.1 - 0.1 * i
        elements.append(Stroke(((x - 0.08, level), (cast.near(x + 0.16, 0.03), level)), colour, 0.085))
    brush = cast.thing("tool", "paintbrush", 0.47, 0.62, 0.34, turn=-60, front=True)
    pot = [block(0.24, 0.0, 0.42, 0.16, STEEL), block(0.25, 0.11, 0.41, 0.18, colour, outlined=False)]
    drip = cast.drops((x - 0.04, y - 0.16), (x - 0.03, y - 0.3), 3, colour=colour, spread=0.02)
    return [*elements, *pot, agent, brush, drip]


@verb("nailing", ANYWHERE)
def nailing(cast: Cast) -> list[Element]:
    """A hammer raised over a nail that sticks in a board or piece of furniture, a spark at its head."""
    low_target = cast.chance(0.5)
    if low_target:
        noun, top = "board", 0.3
        target: list[Element] = [*desk(0.6, 0.6, 0.22), block(0.34, 0.24, 0.88, top, (206, 158, 96), "item2", "board")]
    else:
        noun = cast.pick("box", "chair", "fence", "bench", "table", "bed", "drum")
        size = cast.size(noun, most=0.62, least=0.42)
        top = tall(noun, size)
        target = [cast.standing("item2", noun, 0.36 + wide(noun, size) / 2, size)]
        top -= 0.02
    nail_x = 0.56
    nail = Stroke(((nail_x, top - 0.02), (nail_x, top + 0.13)), (90, 96, 108), 0.03, "item1", "nail")
    head = Stroke(((nail_x - 0.04, top + 0.13), (nail_x + 0.04, top + 0.13)), (90, 96, 108), 0.026, "item1", "nail")
    agent = cast.person(
        "agent",
        ((0.34, top + 0.32), (0.44, top + 0.06)),
        lean=12,
        legs="kneel" if top < 0.34 and cast.chance(0.4) else "stand",
    )
    hammer = cast.thing("tool", cast.pick("hammer"), 0.44, top + 0.34, 0.38, turn=-70, front=True)
    return [
        *target,
        nail,
        head,
        agent,
        hammer,
        arc(0.36, top + 0.12, 0.44, 80, 45),
        Effect("spark", nail_x + 0.1, top + 0.14, 0.16),
    ]


@verb("measuring", ANYWHERE)
def measuring(cast: Cast) -> list[Element]:
    """A yellow tape with marks stretched along an object, held at both ends."""
    noun = cast.pick(
        "table", "door", "box", "television", "couch", "bed", "tree", "fish", "potted plant", "small animal", "bench",
        "suitcase", "large animal",
    )  # fmt: skip
    size = cast.size(noun, most=0.8, least=0.4)
    width, height = wide(noun, size), tall(noun, size)
    left = 0.42
    quantity = "height" if height > width else "length"
    elements: list[Element] = [cast.standing("object", noun, left + width / 2, size), Implied("quantity", quantity)]
    if quantity == "height":
        start, end = (left - 0.02, 0.0), (left - 0.02, height)
        hands = ((left - 0.02, min(height, 0.9)), (left - 0.03, 0.24))
        ticks = [Stroke(((left - 0.05, y), (left + 0.01, y)), INK, 0.018) for y in _steps(0.04, height, 0.07)]
        case = (left - 0.02, 0.12)
    else:
        y = height + 0.05
        start, end = (left - 0.04, y), (left + width, y)
        hands = ((left, y + 0.02), (left + 0.08, y + 0.04))
        ticks = [Stroke(((x, y - 0.03), (x, y + 0.03)), INK, 0.018) for x in _steps(left, left + width, 0.07)]
        case = (left - 0.05, y + 0.02)
    agent = cast.person("agent", hands, lean=10, legs="kneel" if max(hands[0][1], hands[1][1]) < 0.4 else "stand")
    tape = Stroke((start, end), (252, 214, 40), 0.07, "tool", "tape measure")
    return [*elements, agent, tape, *ticks, cast.thing("tool", "tape measure", *case, 0.2, wobble=3)]


def _steps(start: float, end: float, step: float) -> list[float]:
    return [start + step * i for i in range(int((end - start) / step) + 1)]


@verb("lighting", ANYWHERE)
def lighting(cast: Cast) -> list[Element]:
    """A burning match held to a candle, a campfire or a stove, a glow around the wick."""
    noun = cast.pick("candle", "candle", "campfire", "stove")
    if noun == "candle":
        cake = cast.chance(0.25)
        stand: list[Element] = [*desk(0.6, 0.4, 0.3)]
        size = cast.size(noun, least=0.28)
        spot = cast.standing("item", noun, 0.6, size, floor=0.32)
        wick = (0.6, 0.34 + tall(noun, size))
        if cake:
            stand.append(cast.standing("", "cake", 0.72, 0.26, floor=0.32))
    else:
        size = cast.size(noun, most=0.5, least=0.42)
        stand = []
        spot = cast.standing("item", noun, 0.5 + wide(noun, size) / 2, size)
        wick = (0.54, tall(noun, size) * 0.9)
    x, y = wick[0] - 0.1, wick[1]
    agent = cast.person("agent", ((x - 0.12, y - 0.06), (0.14, 0.36)), lean=10 if y > 0.4 else 22)
    match = cast.thing("tool", "match", x - 0.05, y - 0.01, 0.26, turn=-62, wobble=3, front=True)
    rays = [
        Stroke(
            ((wick[0] + dx * 0.12, y + dy * 0.12), (wick[0] + dx * 0.19, y + dy * 0.19)),
            (255, 222, 90),
            0.024,
            front=True,
        )
        for dx, dy in ((0.9, 0.5), (0.4, 0.95), (-0.4, 0.95), (1.0, -0.1))
    ]
    return [*stand, spot, agent, match, Effect("flame", wick[0], y + 0.02, 0.14), *rays]


@verb("writing", ANYWHERE)
def writing(cast: Cast) -> list[Element]:
    """A pencil on a sheet: at a table, on a board on the wall, or on a notebook held low."""
    if cast.chance(0.25):
        board = block(0.44, 0.42, 1.1, 0.96, (40, 92, 66) if cast.chance(0.6) else PAPER, "target", "board")
        chalk: Colour = (244, 244, 240) if isinstance(board, Patch) and board.colour[0] == 40 else INK
        script = [_scribble(0.5, 0.84 - 0.12 * i, 0.46 if i == 0 else 0.2, chalk) for i in range(2)]
        agent = cast.person("agent", ((0.4, 0.72), (0.14, 0.36)))
        return [board, *script, agent, cast.thing("tool", "pencil", 0.5, 0.72, 0.26, turn=-110, front=True)]
    target = cast.pick("book", "letter", "newspaper", "map", "letter")
    agent = cast.person("agent", ((0.4, 0.44), (0.3, 0.38)), legs="sit", lean=14, nod=14)
    sheet = Patch(((0.3, 0.345), (0.64, 0.345), (0.72, 0.45), (0.38, 0.45)), PAPER, "target", target)
    script = [_scribble(0.46 + 0.03 * i, 0.385 + 0.03 * i, 0.2, INK) for i in range(2)]
    pencil = cast.thing("tool", "pencil", 0.44, 0.52, 0.3, turn=168, front=True)
    return [cast.standing("", "chair", -0.02, 0.44), agent, *desk(0.56, 0.66, 0.32), sheet, *script, pencil]


def _scribble(x: float, y: float, width: float, colour: Colour) -> Stroke:
    points = tuple((x + width * i / 8, y + (0.018 if i % 2 else -0.018)) for i in range(9))
    return Stroke(points, colour, 0.016)


@verb("typing", ANYWHERE)
def typing(cast: Cast) -> list[Element]:
    """Sitting at a table with both hands on a keyboard."""
    tool = cast.pick("laptop", "computer", "typewriter", "laptop")
    size = cast.size(tool, most=0.42, least=0.36)
    agent = cast.person("agent", ((0.38, 0.42), (0.34, 0.43)), legs="sit", lean=4)
    device = cast.standing("tool", tool, 0.42 + wide(tool, size) / 2 - 0.06, size, floor=0.34)
    keys = motion_lines(0.36, 0.5, (-0.1, 1), count=2, gap=0.07, length=0.08)
    return [cast.standing("", "chair", -0.02, 0.44), *desk(0.58, 0.66, 0.32), device, agent, *keys]


@verb("reading", ANYWHERE)
def reading(cast: Cast) -> list[Element]:
    """A book or sheet held up in both hands before the face."""
    noun = cast.pick("paper")
    size = cast.size(noun, least=0.28)
    legs = cast.one_of("stand", "sit", "sit", "sit low")
    down = {"stand": 0.0, "sit": 0.12, "sit low": 0.27}[legs]
    agent = cast.person("agent", ((0.31, 0.56 - down), (0.28, 0.52 - down)), legs=legs, nod=10, reaches_over=True)
    seat: list[Element] = []
    if legs == "sit":
        seat = [cast.standing("", cast.pick("chair", "couch", "bench", "rock"), -0.03, 0.46)]
    return [*seat, agent, cast.thing("item", noun, 0.34, 0.63 - down, size)]


@verb("phoning", ANYWHERE)
def phoning(cast: Cast) -> list[Element]:
    """A phone held to the ear, waves of sound beside it."""
    legs = cast.one_of("stand", "walk", "sit")
    down = 0.12 if legs == "sit" else 0.0
    seat: list[Element] = [cast.standing("", cast.pick("chair", "couch", "bench"), -0.03, 0.46)] if down else []
    agent = cast.person("agent", ((0.22, 0.72 - down), (-0.15, 0.36 - down)), legs=legs)
    phone = cast.thing("tool", "phone", 0.19, 0.81 - down, cast.size("phone"), turn=-8, front=True)
    waves = [arc(0.2, 0.83 - down, radius, 40, -40) for radius in (0.14, 0.2)]
    return [*seat, agent, phone, *waves]


def _subject(cast: Cast, role: str, x: float, *, performs: bool) -> list[Element]:
    """Who or what is in front of the lens, its near edge at x."""
    if cast.chance(0.6 if performs else 0.3):
        hands = ((0.26, 0.92), (-0.26, 0.9)) if performs else ((0.16, 0.36), (-0.15, 0.36))
        legs = cast.one_of("wide", "jump") if performs else "stand"
        return [cast.person(role, hands, x=x + 0.3, y=0.05 if legs == "jump" else 0.0, legs=legs, facing=-1)]
    noun = (
        cast.pick("small animal", "large animal")
        if performs
        else cast.pick("small animal", "large animal", "plant", "vehicle", "food", "toy", "rock")
    )
    size = cast.size(noun, most=0.7, least=0.34)
    return [cast.standing(role, noun, x + wide(noun, size) / 2, size, mirrored=True)]


@verb("filming", ANYWHERE)
def filming(cast: Cast) -> list[Element]:
    """A video camera at the eye with a red light, aimed at somebody who moves or performs."""
    agent = cast.person("agent", ((0.28, 0.7), (0.24, 0.64)))
    tool = cast.thing("tool", "video camera", 0.3, 0.8, cast.size("video camera", least=0.32), wobble=3, front=True)
    lamp = cast.scattered(0.3, 0.99, 0.0, 0.0, 1, radius=0.034, colour=(255, 30, 30), outlined=True)
    beam = [Stroke(((0.48, 0.82), (0.62, y)), (255, 120, 120), 0.014) for y in (0.9, 0.72)]
    scene = _subject(cast, "performer", 0.74, performs=True)
    return [*scene, *(cast.notes(0.8, 1.02, 1) if cast.chance(0.4) else []), agent, tool, lamp, *beam]


@verb("photographing", ANYWHERE)
def photographing(cast: Cast) -> list[Element]:
    """A camera or phone at the eye with a white flash, aimed at somebody or something that keeps still."""
    tool = cast.pick("camera", "camera", "phone")
    agent = cast.person("agent", ((0.28, 0.72), (0.24, 0.7)), lean=4)
    lens = cast.thing("tool", tool, 0.29, 0.8, cast.size(tool, least=0.24), wobble=3, front=True)
    return [*_subject(cast, "item", 0.72, performs=False), agent, lens, Effect("flash", 0.46, 0.86, 0.2)]
