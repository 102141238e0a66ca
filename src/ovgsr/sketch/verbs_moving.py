"""Verbs that move a thing: thrown, kicked, carried, lifted, handed over, pushed, pulled, stacked."""

from __future__ import annotations

from ovgsr.sketch.cast import ROPE, Cast, arc, motion_lines, tall, wide
from ovgsr.sketch.registry import ANYWHERE, INDOORS, OUTDOORS, verb
from ovgsr.sketch.scene import Element, Implied, Part, Stroke

LOBBED = (
    "ball",
    "apple",
    "orange",
    "banana",
    "book",
    "hat",
    "teddy bear",
    "bottle",
    "shoe",
    "newspaper",
    "box",
    "spray can",
)
HEAVY = (
    "box",
    "suitcase",
    "backpack",
    "basket",
    "bucket",
    "television",
    "chair",
    "rock",
    "drum",
    "watermelon",
    "gift",
    "small animal",
)
MOVABLE = (
    "vehicle",
    "box",
    "couch",
    "shopping cart",
    "rock",
    "bed",
    "suitcase",
    "table",
    "lawn mower",
    "large animal",
    "door",
)


def ground(cast: Cast) -> str:
    """What one stands on in the place of the scene."""
    return "floor" if cast.place in INDOORS else "land"


@verb("throwing", (*OUTDOORS, "living room", "classroom"))
def throwing(cast: Cast) -> list[Element]:
    """One arm stretched forward, the other back, the item flying away in front with lines behind it."""
    noun = cast.pick(*LOBBED)
    size = cast.size(noun)
    x, y = cast.near(0.82, 0.1), cast.near(0.88, 0.12)
    agent = cast.person("agent", ((0.4, 0.74), (-0.34, 0.46)), legs="run", lean=8)
    elements: list[Element] = [agent, *motion_lines(x - size / 2 - 0.02, y - 0.02, (-1, -0.2))]
    elements.append(cast.thing("item", noun, x, y, size, wobble=25))
    if cast.chance(0.3):
        target = cast.pick("basket", "bucket", "small animal", "shopping cart")
        elements.append(cast.standing("destination", target, 1.12, cast.size(target, most=0.42), mirrored=True))
    else:
        elements.append(Implied("destination", "air"))
    return elements


@verb("catching", (*OUTDOORS, "living room", "classroom"))
def catching(cast: Cast) -> list[Element]:
    """Both hands (or a net) stretched towards an item that comes in, its lines trailing on the far side."""
    x, y = cast.near(0.66, 0.08), cast.near(0.78, 0.1)
    if cast.chance(0.2):
        noun = cast.pick("ball", "fish", "rabbit", "duck", "hat")
        agent = cast.person("agent", ((0.32, 0.6), (0.26, 0.5)), legs="wide", lean=6)
        net = cast.thing("tool", "net", 0.5, 0.76, 0.5)
        size = cast.size(noun, most=0.34)
        item = cast.thing("caughtitem", noun, 0.74, 0.9, size, wobble=25)
        return [agent, net, item, *motion_lines(0.74 + size / 2, 0.94, (1, 0.35))]
    noun = cast.pick(*LOBBED)
    size = cast.size(noun)
    agent = cast.person("agent", ((0.42, 0.7), (0.4, 0.8)), legs="wide", lean=6, parts=(Part("tool", "hand", "hand"),))
    item = cast.thing("caughtitem", noun, x, y, size, wobble=25)
    return [agent, item, *motion_lines(x + size / 2 + 0.02, y + 0.03, (1, 0.25))]


@verb("kicking", OUTDOORS)
def kicking(cast: Cast) -> list[Element]:
    """One leg swung forward, the thing that was hit flying off low in front of the foot."""
    noun = cast.pick("ball", "ball", *LOBBED, "bucket", "chair", "rock")
    size = cast.size(noun, most=0.42)
    x, y = cast.near(0.74, 0.08), tall(noun, size) / 2 + cast.rng.uniform(0.06, 0.2)
    agent = cast.person("agent", ((0.18, 0.4), (-0.36, 0.5)), legs="kick", lean=-10)
    elements: list[Element] = [agent, *motion_lines(x - size / 2, y - 0.01, (-1, -0.15), length=0.16)]
    elements.append(cast.thing("victim", noun, x, y, size, wobble=20))
    if cast.chance(0.5):
        elements.append(Implied("victimpart", cast.one_of("side", "bottom")))
    return elements


@verb("dropping", ANYWHERE)
def dropping(cast: Cast) -> list[Element]:
    """Open hands at chest height, the item falling to the ground right below them, lines above it."""
    noun = cast.pick(*LOBBED, "drink", "bowl", "phone", "camera", "suitcase", "gift", "cake", "potted plant", "laptop")
    size = cast.size(noun)
    x, y = cast.near(0.4, 0.03), size / 2 + cast.near(0.06, 0.04)
    agent = cast.person("agent", ((0.4, 0.62), (0.33, 0.66)), lean=6, nod=12, parts=(Part("start", "hand", "hand"),))
    lines = motion_lines(x, y + tall(noun, size) / 2 + 0.03, (0, 1), length=0.16)
    return [
        agent,
        *lines,
        cast.thing("item", noun, x, y, size, turn=cast.rng.choice((-30, 30))),
        Implied("end", ground(cast)),
    ]


@verb("lifting", ANYWHERE)
def lifting(cast: Cast) -> list[Element]:
    """Both arms straight up, the item high over the head."""
    noun = cast.pick(
        *HEAVY,
        "bench",
        "tree",
        "bicycle",
        "canoe",
        "ladder",
        "teddy bear",
        "guitar",
        "lawn mower",
        "vacuum cleaner",
        "couch",
    )
    size = cast.size(noun, most=0.62, least=0.34)
    agent = cast.person("agent", ((0.15, 1.02), (-0.15, 1.02)), legs="wide")
    item = cast.thing("item", noun, cast.near(0.0), 1.03 + tall(noun, size) / 2, size)
    return [agent, item, Implied("start", ground(cast)), Implied("end", "air")]


@verb("carrying", ANYWHERE)
def carrying(cast: Cast) -> list[Element]:
    """Walking with the item against the chest, hanging from a hand, or on the back."""
    layout = cast.rng.random()
    if layout < 0.6:
        noun = cast.pick(*HEAVY, "tool", "music", "device", "plant", "vessel", "paper", "teddy bear", "bread", "bench")
        size = cast.size(noun, most=0.5, least=0.26)
        part = cast.one_of("arm", "hand")
        agent = cast.person(
            "agent",
            ((0.3, 0.42), (0.22, 0.36)),
            legs="walk",
            reaches_over=True,
            parts=(Part("agentpart", part, "arm" if part == "arm" else "hand"),),
        )
        return [agent, cast.thing("item", noun, 0.24 + size * 0.12, cast.near(0.48, 0.02), size)]
    if layout < 0.8:
        noun = cast.pick(
            "suitcase", "bucket", "basket", "watering can", "teapot", "backpack", "umbrella", "axe", "guitar", "saw"
        )
        size = cast.size(noun, most=0.4)
        agent = cast.person(
            "agent", ((0.2, 0.31), (-0.18, 0.38)), legs="walk", parts=(Part("agentpart", "hand", "hand"),)
        )
        return [agent, cast.thing("item", noun, 0.22, 0.32 - tall(noun, size) / 2 + 0.03, size, front=True)]
    noun = cast.pick(
        "backpack",
        "box",
        "guitar",
        "basket",
        "ladder",
        "canoe",
        "rock",
        "rope",
        "net",
        "sheep",
        "broom",
        "rake",
        "shovel",
    )
    size = cast.size(noun, most=0.52)
    agent = cast.person(
        "agent", ((0.1, 0.52), (0.0, 0.5)), legs="walk", lean=14, parts=(Part("agentpart", "back", "back"),)
    )
    return [cast.thing("item", noun, -0.16, 0.56, size), agent]


@verb("giving", ANYWHERE)
def giving(cast: Cast) -> list[Element]:
    """Two people face to face, hands of both at the item between them."""
    noun = cast.pick(
        "gift", "rose", "sunflower", "tulip", "balloon", "teddy bear", "paper", "ball", "food", "drink", "device",
        "tool", "vessel", "clothing", "rabbit", "cat", "chicken", "candle", "violin", "trumpet",
    )  # fmt: skip
    size = cast.size(noun, most=0.4)
    apart = cast.near(0.94, 0.05)
    y = cast.near(0.56, 0.03)
    agent = cast.person("agent", ((apart / 2 - 0.06, y - 0.02), (0.14, 0.36)), lean=5)
    recipient = cast.person("recipient", ((apart / 2 - 0.08, y - 0.05), (apart / 2 - 0.1, y - 0.1)), x=apart, facing=-1)
    return [agent, recipient, cast.thing("item", noun, apart / 2 + 0.01, y + tall(noun, size) * 0.2, size)]


@verb("juggling", ANYWHERE)
def juggling(cast: Cast) -> list[Element]:
    """Both hands out, three or four of the same thing in an arc over the head."""
    noun = cast.pick(
        "ball",
        "apple",
        "orange",
        "banana",
        "bottle",
        "hat",
        "knife",
        "axe",
        "hammer",
        "shoe",
        "bowl",
        "teddy bear",
        "carrot",
    )
    size = cast.size(noun) * 0.8
    spots = (
        ((-0.38, 0.92), (-0.2, 1.2), (0.2, 1.2), (0.38, 0.92))
        if cast.chance(0.5)
        else ((-0.36, 0.95), (0.0, 1.25), (0.36, 0.95))
    )
    things = [cast.thing("items", noun, cast.near(x, 0.03), cast.near(y, 0.03), size, wobble=40) for x, y in spots]
    agent = cast.person("agent", ((0.3, 0.6), (-0.3, 0.6)), legs="wide")
    return [agent, arc(0.0, 0.84, 0.44, 150, 100), arc(0.0, 0.84, 0.44, 80, 30), *things]


@verb("pushing", ANYWHERE)
def pushing(cast: Cast) -> list[Element]:
    """Leaning forward with both hands flat against a big item in front."""
    noun = cast.pick(*MOVABLE)
    size = cast.size(noun, most=0.95)
    x = 0.5 + wide(noun, size) / 2
    top = min(tall(noun, size), 0.6)
    agent = cast.person(
        "agent",
        ((0.52, top * 0.85), (0.5, top * 0.65)),
        legs="push",
        lean=26,
        parts=(Part("agentpart", "hand", "hand"),),
    )
    item = cast.standing("item", noun, x, size, mirrored=cast.turned() and noun != "shopping cart")
    return [item, agent, *motion_lines(-0.34, 0.42, (-1, 0), gap=0.14)]


@verb("pulling", ANYWHERE)
def pulling(cast: Cast) -> list[Element]:
    """Leaning back, facing the item, both hands on a taut rope tied to it (or on the item itself)."""
    noun = cast.pick(*MOVABLE, "tree", "goat", "pig")
    size = cast.size(noun, most=0.9)
    height = tall(noun, size)
    y = min(max(height * 0.5, 0.3), 0.5)
    by_hand = cast.chance(0.25)
    left = 0.36 if by_hand else cast.near(0.74, 0.05)
    item = cast.standing("item", noun, left + wide(noun, size) / 2, size, mirrored=True)
    lines = motion_lines(left + wide(noun, size) + 0.03, height * 0.45, (1, 0), length=0.14)
    if by_hand:
        agent = cast.person(
            "agent", ((0.34, y + 0.06), (0.34, y)), legs="brace", lean=-24, parts=(Part("tool", "hand", "hand"),)
        )
        return [item, agent, *lines]
    agent = cast.person("agent", ((0.3, y + 0.02), (0.2, y + 0.03)), legs="brace", lean=-24)
    rope = Stroke(((0.12, y + 0.03), (left + wide(noun, size) * 0.15, y)), ROPE, 0.03, "tool", "rope")
    return [item, agent, rope, *lines]


@verb("dragging", ANYWHERE)
def dragging(cast: Cast) -> list[Element]:
    """Walking away with one arm stretched back and down to the item, which scrapes over the ground behind."""
    noun = cast.pick(*HEAVY, "couch", "sled", "tree", "canoe", "pig", "ladder", "net")
    size = cast.size(noun, most=0.75, least=0.36)
    half = wide(noun, size) / 2
    x = -0.42 - half
    roped = cast.chance(0.35)
    parts = () if roped else (Part("tool", "hand", "hand"),)
    agent = cast.person("agent", ((-0.3, 0.34), (0.14, 0.42)), legs="walk", lean=20, parts=parts)
    item = cast.thing("item", noun, x, tall(noun, size) / 2, size, turn=14, wobble=4)
    marks = [Stroke(((x - half + 0.02, y), (x - half - 0.3, y)), (104, 84, 62), 0.024) for y in (0.01, 0.06)]
    dust = cast.scattered(x - half + 0.02, 0.06, 0.08, 0.05, 5, radius=0.035)
    elements: list[Element] = [*marks, item, agent, dust, Implied("contact", ground(cast))]
    if roped:
        elements.append(Stroke(((-0.28, 0.35), (x + half * 0.7, tall(noun, size) * 0.6)), ROPE, 0.03, "tool", "rope"))
    else:
        elements.append(Stroke(((-0.28, 0.35), (x + half * 0.8, tall(noun, size) * 0.7)), (90, 74, 60), 0.026))
    return elements


@verb("stacking", ANYWHERE)
def stacking(cast: Cast) -> list[Element]:
    """A tower of things with both hands setting one more on top."""
    noun = cast.pick("box", "book", "suitcase", "brick", "gift", "basket", "bowl", "hat", "bread", "chair", "newspaper")
    size = cast.size(noun, most=0.34, least=0.28)
    height = tall(noun, size) * 0.95
    count = max(2, min(4, int(0.56 / height)))
    x = 0.34 + wide(noun, size) / 2
    tower: list[Element] = [
        cast.thing("bottom", noun, cast.near(x, 0.015), height * (i + 0.5), size, wobble=3) for i in range(count)
    ]
    top = noun if cast.chance(0.8) else cast.pick("box", "book", "gift", "teddy bear", "hat")
    top_size = size if top == noun else cast.size(top, most=0.32)
    y = height * count + tall(top, top_size) / 2 + cast.near(0.04, 0.02)
    agent = cast.person(
        "agent", ((x - wide(top, top_size) * 0.3, y - 0.04), (x - wide(top, top_size) * 0.4, y + 0.05)), lean=6
    )
    return [*tower, cast.thing("top", top, x, y, top_size, wobble=4), agent]
