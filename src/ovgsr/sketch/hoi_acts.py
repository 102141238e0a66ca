"""What people do with things in SketchHOI: the objects, the verbs of HICO-DET, and the spatial grammar of each.

An act takes a scene of SketchSWiG (or of `hoi_scenes`) and says which of its roles is which human-object interaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from ovgsr.sketch.things import things

NO_INTERACTION = "no_interaction"
Combination = tuple[str, str]
"""A verb and an object."""

SPRITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "apple": ("apple",),
        "backpack": ("backpack",),
        "banana": ("banana",),
        "bed": ("bed",),
        "bench": ("bench",),
        "bicycle": ("bicycle",),
        "bird": ("duck", "chicken"),
        "boat": ("canoe",),
        "book": ("book",),
        "bottle": ("bottle",),
        "bowl": ("bowl",),
        "cake": ("cake",),
        "car": ("car",),
        "carrot": ("carrot",),
        "cat": ("cat",),
        "cell_phone": ("phone",),
        "chair": ("chair",),
        "couch": ("couch",),
        "cow": ("cow",),
        "cup": ("coffee",),
        "dog": ("dog",),
        "elephant": ("elephant",),
        "frisbee": ("frisbee",),
        "horse": ("horse",),
        "knife": ("knife",),
        "laptop": ("laptop",),
        "motorcycle": ("motorcycle",),
        "orange": ("orange",),
        "pizza": ("pizza",),
        "potted_plant": ("potted plant",),
        "sandwich": ("hamburger",),
        "sheep": ("sheep",),
        "skateboard": ("skateboard",),
        "sports_ball": ("soccer ball", "basketball", "volleyball", "tennis ball"),
        "suitcase": ("suitcase",),
        "teddy_bear": ("teddy bear",),
        "truck": ("truck",),
        "tv": ("television",),
        "umbrella": ("umbrella",),
        "wine_glass": ("wine",),
    }
)
"""Object (named as in HICO-DET and COCO) -> the things that are drawn for it. "person" is an object too."""
_OBJECT_OF = {sprite: name for name, sprites in SPRITES.items() for sprite in sprites}


def object_of(noun: str) -> str:
    """The object that a thing or person of the catalogue is, or "" for anything else."""
    if noun in things() and things()[noun].category == "person":
        return "person"
    return _OBJECT_OF.get(noun, "")


@dataclass(frozen=True, slots=True)
class Act:
    """One way to draw interactions.

    Attributes:
        scene: the verb of SketchSWiG, or the name of a scene of `hoi_scenes`, that is drawn.
        role: the role of the scene that the object fills; "seat" is furniture without a role of its own.
        objects: what may fill it.
        verbs: what the agent does with it, all at once.
        also: further interactions of the same scene: (role of the human, verb, role of the object).
        need: role -> names one of which must fill it, for scenes that can be drawn in several ways.
    """

    scene: str
    role: str
    objects: tuple[str, ...]
    verbs: tuple[str, ...]
    also: tuple[tuple[str, str, str], ...] = ()
    need: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


FOODS = ("apple", "banana", "orange", "carrot", "pizza", "cake", "sandwich")
ANIMALS = ("dog", "cat", "bird", "sheep", "cow", "horse", "elephant")
LOBBED = ("sports_ball", "frisbee", "teddy_bear", "book", "bottle", "apple", "orange", "banana")
_FOOD_SPRITES = tuple(sprite for name in FOODS for sprite in SPRITES[name])

ACTS: tuple[Act, ...] = (
    Act("riding", "vehicle", ("horse", "cow", "elephant"), ("ride",)),
    Act("riding", "vehicle", ("bicycle", "motorcycle"), ("ride", "sit_on")),
    Act("skating", "vehicle", ("skateboard",), ("ride",)),
    Act("rowing", "vehicle", ("boat",), ("ride",)),
    Act("sitting", "contact", ("chair", "couch", "bed", "bench", "suitcase"), ("sit_on",)),
    Act("sharing a seat", "item", ("couch", "bed", "bench"), ("sit_on",), (("partner", "sit_on", "item"),)),
    Act("sleeping", "seat", ("bed", "couch", "bench"), ("lie_on",)),
    Act("standing on", "item", ("chair", "couch", "bed", "bench", "suitcase", "boat"), ("stand_on",)),
    Act("sheltering", "item", ("umbrella",), ("stand_under", "hold")),
    Act("sharing shelter", "item", ("umbrella",), ("stand_under", "hold"), (("partner", "stand_under", "item"),)),
    Act("pushing", "item", ("bicycle", "motorcycle", "car", "truck", "boat", "couch", "bed", "suitcase"), ("push",)),
    Act("dragging", "item", ("suitcase", "backpack", "chair", "couch", "boat", "tv"), ("drag",)),
    Act("leading", "follower", ("dog", "cat", "sheep", "cow", "horse", "elephant"), ("walk",)),
    Act("stroking", "object", ANIMALS, ("pet",)),
    Act("petting together", "item", ("dog", "sheep", "cow", "horse"), ("pet",), (("partner", "pet", "item"),)),
    Act("feeding", "eater", ANIMALS, ("feed",), (("agent", "hold", "food"),), {"food": _FOOD_SPRITES}),
    Act(
        "washing",
        "item",
        ("bicycle", "motorcycle", "car", "truck", "dog", "cat", "sheep", "cow", "horse", "elephant", "bowl", "bottle"),
        ("wash",),
    ),
    Act(
        "repairing",
        "item",
        ("bicycle", "motorcycle", "car", "truck", "boat", "laptop", "tv", "chair", "skateboard"),
        ("repair",),
    ),
    Act("brushing", "target", ("dog", "cat", "sheep", "cow", "horse", "elephant"), ("groom",)),
    Act("painting", "item", ("chair", "bench", "bed", "car", "bicycle", "boat"), ("paint",)),
    Act("hugging", "hugged", ("teddy_bear", "dog", "cat", "bird", "sheep", "cow", "horse", "suitcase"), ("hug",)),
    Act("hugging", "hugged", ("person",), ("hug",), (("hugged", "hug", "agent"),)),
    Act("kissing", "coagent", ("teddy_bear", "dog", "cat", "bird", "sheep", "cow", "horse"), ("kiss",)),
    Act("kissing", "coagent", ("person",), ("kiss",), (("coagent", "kiss", "agent"),)),
    Act("chasing", "chasee", ("dog", "cat", "bird", "sheep", "cow", "horse"), ("chase",)),
    Act(
        "holding",
        "item",
        (
            *("apple", "banana", "book", "bottle", "bowl", "cake", "cell_phone", "cup", "dog", "frisbee", "bird"),
            *("knife", "laptop", "sandwich", "skateboard", "sports_ball", "teddy_bear", "wine_glass"),
        ),
        ("hold",),
    ),
    Act(
        "carrying",
        "item",
        (
            *("suitcase", "backpack", "chair", "tv", "book", "laptop", "potted_plant", "bottle", "teddy_bear"),
            *("skateboard", "umbrella", "cat"),
        ),
        ("carry", "hold"),
        need={"agentpart": ("arm", "hand")},
    ),
    Act("carrying together", "item", ("couch", "bench", "boat"), ("carry",), (("partner", "carry", "item"),)),
    Act("lifting", "item", ("suitcase", "backpack", "chair", "tv", "bench", "bicycle", "teddy_bear"), ("lift",)),
    Act("wearing", "item", ("backpack",), ("wear",)),
    Act("eating", "food", FOODS, ("eat", "hold"), need={"tool": ("hand",)}),
    Act("smelling", "item", (*FOODS, "cup", "wine_glass"), ("smell", "hold")),
    Act(
        "chopping",
        "item",
        FOODS,
        ("cut",),
        (("agent", "cut_with", "tool"), ("agent", "hold", "tool")),
        {"tool": ("knife",)},
    ),
    Act("drinking", "container", ("bottle",), ("drink_with", "hold")),
    Act("drinking", "liquid", ("cup", "wine_glass"), ("drink_with", "hold")),
    *(
        Act("filling", "vessel", ("bowl", "cup", "wine_glass"), ("fill",), rows, {"item": SPRITES[source]})
        for source in ("bottle", "cup")
        for rows in [(("agent", "pour", "item"), ("agent", "hold", "item"))]
    ),
    Act("reading", "item", ("book",), ("read", "hold")),
    Act("reading a screen", "item", ("laptop", "cell_phone"), ("read", "hold")),
    Act("typing", "tool", ("laptop",), ("type_on",)),
    Act("phoning", "tool", ("cell_phone",), ("talk_on", "hold")),
    Act("kicking", "victim", ("sports_ball", "frisbee", "teddy_bear", "bottle", "chair"), ("kick",)),
    Act("throwing", "item", LOBBED, ("throw",)),
    Act("catching", "caughtitem", LOBBED, ("catch",)),
    Act("passing", "item", ("sports_ball", "frisbee", "teddy_bear"), ("throw",), (("partner", "catch", "item"),)),
    Act("watching", "item", ("tv", "dog", "cat", "bird", "horse", "elephant"), ("watch",)),
)


@dataclass(frozen=True, slots=True)
class Play:
    """An act with one of its objects."""

    act: Act
    object: str

    @property
    def combinations(self) -> tuple[Combination, ...]:
        """The combinations that every picture of the play shows (there may be more)."""
        return tuple((verb, self.object) for verb in self.act.verbs)


@cache
def plays() -> tuple[Play, ...]:
    """Every act with every object it takes, in the order of the table."""
    return tuple(Play(act, name) for act in ACTS for name in act.objects)


@cache
def combinations() -> tuple[Combination, ...]:
    """Every combination that can be drawn, by object and then by verb (the order of HICO-DET's numbers)."""
    found = {combination for play in plays() for combination in play.combinations}
    found |= {(NO_INTERACTION, name) for name in SPRITES}
    for act in ACTS:
        for _, verb, role in act.also:
            drawn = act.need.get(role, ())
            found |= {(verb, object_of(noun)) for noun in drawn}
            found |= {(verb, name) for name in act.objects if role == act.role or name == "person"}
    return tuple(sorted(found, key=lambda pair: (pair[1], pair[0])))


@cache
def objects() -> tuple[str, ...]:
    """Names of all objects, alphabetical."""
    return tuple(sorted({*SPRITES, "person"}))


@cache
def verbs() -> tuple[str, ...]:
    """Names of all verbs, alphabetical, ``no_interaction`` among them."""
    return tuple(sorted({verb for verb, _ in combinations()}))
