"""Verbs of posture and travel: crawling, sitting, jumping, riding, rowing, climbing, chasing, leading."""

from __future__ import annotations

from ovgsr.sketch.cast import ROPE, WATER, WOOD, Cast, arc, block, flat, motion_lines, tall, wide
from ovgsr.sketch.registry import ANYWHERE, INDOORS, OUTDOORS, verb
from ovgsr.sketch.scene import Colour, Effect, Element, Implied, Part, Stroke

DEEP_WATER: Colour = (40, 116, 206)
LEASH: Colour = (206, 44, 44)


@verb("crawling", ANYWHERE)
def crawling(cast: Cast) -> list[Element]:
    """On hands and knees, sometimes under a table or towards something on the ground."""
    agent = cast.person("agent", ((0.34, 0.03), (0.26, 0.02)), legs="crawl", lean=80, nod=-50)
    extras: list[Element] = []
    layout = cast.rng.random()
    if layout < 0.25:
        extras.append(cast.standing("", cast.pick("ball", "teddy bear", "small animal", "food"), 0.85, mirrored=True))
    elif layout < 0.45:
        extras += [
            Stroke(((-0.36, 0.74), (0.66, 0.74)), WOOD, 0.06),
            Stroke(((-0.32, 0.74), (-0.32, 0.0)), WOOD, 0.04),
            Stroke(((0.62, 0.74), (0.62, 0.0)), WOOD, 0.04),
        ]
    return [*extras, agent, *motion_lines(-0.42, 0.14, (-1, 0), count=2, length=0.14)]


@verb("sleeping", ANYWHERE)
def sleeping(cast: Cast) -> list[Element]:
    """Lying flat with three z above the head, on furniture or the ground; a person or an animal."""
    layout = cast.rng.random()
    if layout < 0.2:
        animal = cast.pick("small animal", "large animal")
        size = cast.size(animal, most=0.7)
        height = tall(animal, size)
        # The legs are sunk in the cushion, so that the animal lies.
        body = cast.thing("agent", animal, 0.0, height * 0.3, size, turn=-8, wobble=3)
        colour = cast.rng.choice(((150, 90, 170), (200, 90, 90), (90, 120, 190)))
        cushion = block(-size * 0.62, -height * 0.24, size * 0.62, height * 0.16, colour)
        rim = flat(0.0, height * 0.16, size * 1.24, 0.1, colour)
        return [body, cushion, rim, Effect("zzz", size * 0.34, height * 0.8 + 0.22, 0.3)]
    furniture = "" if layout < 0.35 else cast.pick("bed", "couch", "bench", "bed")
    level = 0.06
    elements: list[Element] = []
    if furniture:
        size = max(cast.size(furniture), 0.98)
        elements.append(cast.standing("", furniture, 0.0, size))
        level = tall(furniture, size) * 0.5
    agent = cast.person("agent", ((0.1, 0.4), (0.06, 0.46)), x=0.46, y=level + 0.05, turn=90, legs="straight")
    elements.append(agent)
    if furniture == "bed" and cast.chance(0.6):
        colour = cast.rng.choice(((90, 120, 200), (190, 90, 110), (110, 170, 120)))
        elements.append(Stroke(((-0.08, level + 0.08), (0.42, level + 0.08)), colour, 0.2))
    return [*elements, Effect("zzz", cast.near(-0.26), level + 0.5, 0.32)]


@verb("sitting", ANYWHERE)
def sitting(cast: Cast) -> list[Element]:
    """Resting on a seat, hands in the lap, nothing else going on."""
    noun = cast.pick(
        "chair",
        "chair",
        "couch",
        "bed",
        "bench",
        "rock",
        "box",
        "suitcase",
        "table",
        "brick",
        "sled",
        "drum",
        "bucket",
        "basket",
    )
    size = cast.size(noun, most=0.85, least=0.42)
    height = min(tall(noun, size), 0.42)
    level = max(height * (0.62 if noun in {"chair", "couch", "bed"} else 0.92), 0.2)
    agent = cast.person("agent", ((0.18, 0.3), (0.13, 0.31)), y=level - 0.24, legs="sit")
    x = -0.02 if noun == "chair" else 0.0
    return [cast.standing("contact", noun, x, size), agent]


@verb("bowing", ANYWHERE)
def bowing(cast: Cast) -> list[Element]:
    """The trunk bent far forward on straight legs, arms at the sides, sometimes before somebody."""
    agent = cast.person("agent", ((0.12, 0.3), (-0.06, 0.34)), lean=cast.rng.uniform(62, 80), nod=10)
    if cast.chance(0.4):
        return [cast.person("", x=0.95, facing=-1), agent]
    return [agent, arc(0.04, 0.36, 0.66, 70, 38)]


@verb("waving", ANYWHERE)
def waving(cast: Cast) -> list[Element]:
    """One open hand up beside the head, curved lines on both sides of it."""
    part = cast.one_of("hand", "arm")
    legs = cast.one_of("stand", "walk", "sit")
    down = 0.12 if legs == "sit" else 0.0
    seat: list[Element] = [cast.standing("", cast.pick("chair", "bench", "rock"), -0.03, 0.46)] if down else []
    agent = cast.person(
        "agent",
        ((0.32, 0.93 - down), (-0.16, 0.36 - down)),
        legs=legs,
        parts=(Part("agentpart", part, "arm" if part == "arm" else "hand"),),
    )
    x, y = 0.34, 0.9 - down
    curves = [arc(x, y, radius, angle, angle + 56, width=0.024) for radius in (0.12, 0.18) for angle in (-28, 112)]
    return [*seat, agent, *curves]


@verb("jumping", (*OUTDOORS, "living room", "garage"))
def jumping(cast: Cast) -> list[Element]:
    """High in the air over an obstacle, or off something high, lines below the feet."""
    if cast.chance(0.2):
        animal = cast.pick("dog", "cat", "rabbit", "horse", "goat", "sheep", "pig")
        size = cast.size(animal, most=0.62)
        noun = cast.pick("fence", "rock", "box", "brick", "bench", "bucket")
        own = cast.size(noun, most=0.5)
        top = tall(noun, own)
        jumper = cast.thing("agent", animal, 0.06, top + 0.08 + tall(animal, size) / 2, size, turn=16)
        return [
            cast.standing("obstacle", noun, 0.08, own),
            jumper,
            arc(0.06, top - 0.2, 0.62, 165, 110),
            Implied("destination", "land"),
            Implied("source", "land"),
        ]
    noun = cast.pick(
        "rock",
        "box",
        "suitcase",
        "small animal",
        "chair",
        "bench",
        "basket",
        "potted plant",
        "watermelon",
        "fence",
        "campfire",
        "brick",
        "bucket",
        "gift",
    )
    size = cast.size(noun, most=0.46)
    from_above = cast.chance(0.3)
    top = tall(noun, size)
    agent_y = top + 0.12
    agent = cast.person(
        "agent",
        ((0.3, 0.98), (-0.3, 0.96)),
        x=0.5 if from_above else 0.04,
        y=agent_y * (0.8 if from_above else 1.0),
        legs="jump",
        lean=6,
    )
    if from_above:
        return [
            cast.standing("source", noun, -0.1, size),
            agent,
            arc(0.1, 0.1, 0.5, 125, 75),
            *motion_lines(0.46, 0.14, (-0.3, 1), length=0.1),
            Implied("destination", "land"),
        ]
    lines = motion_lines(-0.32, agent_y, (-0.6, -0.8), length=0.18)
    return [
        cast.standing("obstacle", noun, 0.06, size),
        agent,
        *lines,
        Implied("source", "land"),
        Implied("destination", "land"),
    ]


@verb("skating", ("park", "street", "stadium", "snow", "garage", "river"))
def skating(cast: Cast) -> list[Element]:
    """Gliding on one leg, the other stretched back, on a skateboard or on blades over ice."""
    agent_y = 0.12
    lines = motion_lines(-0.42, 0.42, (-1, 0), gap=0.12)
    if cast.place in {"snow", "river"} or cast.chance(0.3):
        agent = cast.person("agent", ((0.34, 0.62), (-0.34, 0.56)), y=agent_y, legs="skate", lean=18)
        ice = flat(0.0, 0.02, 1.3, 0.14, (206, 236, 250))
        near = Stroke(((-0.02, 0.07), (0.22, 0.07)), (90, 100, 116), 0.03, "vehicle", "ice skate")
        far = Stroke(((-0.44, 0.2), (-0.24, 0.16)), (90, 100, 116), 0.03, "vehicle", "ice skate")
        return [ice, agent, near, far, *lines]
    board_size = cast.size("skateboard", least=0.5)
    board = cast.standing("vehicle", "skateboard", 0.08, board_size)
    lift = tall("skateboard", board_size) * 0.8
    legs = cast.one_of("skate", "wide")
    agent = cast.person("agent", ((0.36, 0.56), (-0.36, 0.6)), y=lift, legs=legs, lean=12)
    return [board, agent, *lines]


@verb("climbing", ANYWHERE)
def climbing(cast: Cast) -> list[Element]:
    """Off the ground with bent legs, arms stretched up along something tall."""
    height = cast.near(0.28, 0.06)
    hands = ((0.24, 0.92), (0.18, 0.74))
    layout = cast.rng.random()
    agent = cast.person("agent", hands, y=height, legs="climb", lean=6)
    if layout < 0.35:
        ladder = cast.thing("tool", "ladder", 0.2, 0.68, 1.36, turn=-6, wobble=2)
        return [ladder, agent, Implied("obstacle", cast.one_of("ladder", "wall"))]
    if layout < 0.6:
        tree = cast.standing("obstacle", "tree", 0.3, 1.35)
        return [tree, agent, Implied("tool", cast.one_of("hand", "rope"))]
    if layout < 0.8:
        rope = Stroke(
            ((0.21, 0.0), (0.21, 1.5)), ROPE, 0.045, "tool", "rope", parts=(Part("obstacle", "rope", "whole"),)
        )
        return [rope, agent]
    noun = cast.pick("rock", "fence", "door", "truck", "elephant", "cactus")
    size = 1.15
    x = (0.2 if noun in {"door", "fence", "truck"} else 0.06) + wide(noun, size) / 2
    obstacle = cast.standing("obstacle", noun, x, size)
    lower = cast.person("agent", hands, y=min(height, max(tall(noun, size) - 0.6, 0.1)), legs="climb", lean=14)
    return [obstacle, lower, Implied("tool", "hand")]


@verb("falling", ANYWHERE)
def falling(cast: Cast) -> list[Element]:
    """Head over heels in the air, limbs out, lines above the body, the ground below."""
    turn = cast.rng.choice((-100, -60, 65, 105, 145))
    height = 0.62 if abs(turn) < 80 else 0.8 if abs(turn) < 120 else 1.02
    agent = cast.person("agent", ((0.34, 0.86), (-0.32, 0.84)), y=height, turn=turn, legs="flail")
    side = 1 if turn < 0 else -1
    middle = 0.42 * side
    noun = cast.pick("ladder", "chair", "tree", "bicycle", "horse", "table", "bed", "rock")
    goal = Implied("goal", "floor" if cast.place in INDOORS else "land")
    lines = motion_lines(middle, height + (0.5 if abs(turn) < 80 else 0.38), (0, 1), gap=0.13, count=4, length=0.18)
    shadow = flat(middle, 0.0, 0.62, 0.1, (60, 56, 60), outlined=False)
    if cast.chance(0.55):
        size = cast.size(noun, least=0.6)
        source = cast.standing("source", noun, -0.3 * side - wide(noun, size) * 0.3 * side, size, mirrored=side < 0)
        return [shadow, source, agent, *lines, goal]
    return [shadow, agent, *lines, goal]


@verb("riding", OUTDOORS)
def riding(cast: Cast) -> list[Element]:
    """Sitting astride on top of an animal or vehicle that moves forward."""
    noun = cast.pick("bicycle", "motorcycle", "tractor", "sled", "large animal", "horse", "pig", "bicycle")
    size = cast.size(noun, most=1.0, least=0.62)
    height = tall(noun, size)
    seat = {"bicycle": 0.72, "motorcycle": 0.66, "tractor": 0.7, "sled": 0.6}.get(noun, 0.74)
    x = -0.04 if noun in {"bicycle", "motorcycle", "tractor"} else -0.02
    agent = cast.person("agent", ((0.3, 0.38), (0.26, 0.4)), x=x, y=height * seat - 0.2, legs="straddle", lean=10)
    behind = motion_lines(-wide(noun, size) / 2 - 0.04, height * 0.45, (-1, 0), gap=0.1)
    return [cast.standing("vehicle", noun, 0.04, size), agent, *behind]


@verb("rowing", ("river", "beach", "park"))
def rowing(cast: Cast) -> list[Element]:
    """Sitting low in a boat on water, an oar in both hands with its blade in the water."""
    size = cast.size("canoe", least=0.98)
    boat = cast.standing("vehicle", "canoe", 0.0, size, floor=0.02)
    height = tall("canoe", size)
    agent = cast.person("agent", ((0.3, 0.36), (0.24, 0.4)), x=-0.08, y=height * 0.5 - 0.02, legs="sit low", lean=-8)
    oar = cast.thing("", "oar", 0.3, height * 0.55 + 0.1, 0.66, turn=30, front=True)
    lake = flat(0.04, 0.0, 1.5, 0.24, DEEP_WATER)
    ripples = [
        Stroke(((x, y), (x + 0.16, y)), (200, 230, 255), 0.022, front=True)
        for x, y in ((-0.5, 0.0), (0.1, -0.05), (0.48, 0.02))
    ]
    splash = Effect("splash", 0.5, 0.06, 0.2)
    return [lake, agent, boat, oar, *ripples, splash]


@verb("fishing", ("river", "beach", "park", "snow", "forest", "garden"))
def fishing(cast: Cast) -> list[Element]:
    """A rod held out over water, its line down to a fish or float; or a net with a fish in it."""
    water = cast.one_of("lake", "river", "ocean", "pond")
    sits = cast.chance(0.45)
    down = 0.12 if sits else 0.0
    pool = flat(0.98, 0.0, 0.9, 0.26, DEEP_WATER, "source", water)
    seat: list[Element] = [cast.standing("", cast.pick("chair", "rock", "box", "bucket"), -0.04, 0.42)] if sits else []
    if cast.chance(0.25):
        agent = cast.person("agent", ((0.36, 0.4), (0.28, 0.46)), lean=14)
        net = cast.thing("tool", "net", 0.62, 0.36, 0.52, turn=-95)
        fish = cast.thing("", "fish", 0.8, 0.3, 0.28)
        return [pool, agent, net, fish, Effect("splash", 0.9, 0.12, 0.2)]
    agent = cast.person("agent", ((0.3, 0.5 - down), (0.26, 0.44 - down)), legs="sit" if sits else "stand")
    tip = (0.92, 0.98 - down)
    rod = Stroke(((0.24, 0.44 - down), (0.6, 0.8 - down), tip), (120, 78, 40), 0.034, "tool", "fishing rod")
    line = Stroke((tip, (0.95, 0.16)), (240, 240, 240), 0.014)
    catch: Element = cast.thing("", "fish", 0.95, 0.24, 0.28, turn=80, front=True)
    if cast.chance(0.4):
        catch = cast.scattered(0.95, 0.06, 0.0, 0.0, 1, radius=0.05, colour=(230, 40, 40), outlined=True)
    return [pool, *seat, agent, rod, line, catch, arc(0.95, 0.02, 0.12, 200, 340, WATER)]


def _runner(cast: Cast, role: str, x: float, noun: str) -> tuple[list[Element], float]:
    """Somebody or some animal that runs, with lines behind; and its half width."""
    if not noun:
        runner = cast.person(role, ((0.3, 0.56), (-0.28, 0.44)), x=x, legs="run", lean=16)
        return [runner, *motion_lines(x - 0.3, 0.5, (-1, 0), gap=0.12, length=0.14)], 0.3
    size = cast.size(noun, most=0.62)
    half = wide(noun, size) / 2
    height = tall(noun, size)
    animal = cast.thing(role, noun, x, height / 2 + 0.05, size, turn=8, wobble=5)
    return [animal, *motion_lines(x - half - 0.02, height * 0.5, (-1, 0), length=0.14)], half


@verb("chasing", OUTDOORS)
def chasing(cast: Cast) -> list[Element]:
    """One running close behind another that runs away in the same direction; lines behind both."""
    animals = ("small animal", "large animal")
    layout = cast.rng.random()
    hunter = "" if layout < 0.55 else cast.pick(*animals)
    agent, half = _runner(cast, "agent", 0.0, hunter)
    gap = half + 0.42
    kind = cast.rng.random()
    prey = "" if kind < 0.4 else cast.pick(*animals, but=(hunter,)) if kind < 0.85 else cast.pick("ball")
    chasee, _ = _runner(cast, "chasee", gap + (0.26 if prey else 0.34), prey)
    return [*agent, *chasee]


@verb("leading", ANYWHERE)
def leading(cast: Cast) -> list[Element]:
    """Walking ahead with a slack leash or an outstretched hand, the follower behind, both going the same way."""
    if cast.chance(0.25):
        agent = cast.person("agent", ((0.3, 0.86), (-0.26, 0.46)), x=0.62, legs="walk")
        followers: list[Element] = [
            cast.person("follower", ((0.12, 0.38), (-0.12, 0.38)), x=x, legs="walk") for x in (0.06, -0.32)
        ]
        return [*followers, agent]
    noun = cast.pick("small animal", "large animal")
    size = cast.size(noun, most=0.8)
    half, height = wide(noun, size) / 2, tall(noun, size)
    x = -0.42 - half
    agent = cast.person("agent", ((-0.2, 0.42), (0.2, 0.42)), legs="walk")
    animal = cast.standing("follower", noun, x, size)
    collar = (x + half * 0.62, height * 0.62)
    middle = ((collar[0] - 0.2) / 2, min(collar[1], 0.42) - 0.12)
    return [animal, agent, Stroke((collar, middle, (-0.2, 0.42)), LEASH, 0.024)]
