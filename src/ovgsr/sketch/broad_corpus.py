"""The broad corpus: pictures of every verb and of free scenes, each with questions and answers in everyday words.

It stands for what a foundation model has seen of the world before anyone shows it a benchmark. It holds no boxes and
no annotations in the style of SWiG; its pictures come from other random numbers than those of SketchSWiG.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from PIL import Image

from ovgsr.noun_phrases import noun_phrase
from ovgsr.sketch.fillers import fillers
from ovgsr.sketch.free_scenes import sample_free_scene
from ovgsr.sketch.render import PICTURE_SIZE, FloatBox, RenderedScene, render
from ovgsr.sketch.sampling import sample_scene
from ovgsr.sketch.scene import Scene
from ovgsr.sketch.split import VERBS
from ovgsr.sketch.wording import at_place, call, can_fill, fill_slots

FREE_SHARE = 0.15
SOMEONE_SHARE = 0.2
LISTED = 3

ACTION_QUESTIONS = ("what is happening?", "what is going on in this picture?", "describe the picture in one sentence.")
EVIDENCE_QUESTIONS = ("how can you tell?", "what shows it?")
CONTENT_QUESTIONS = ("what can be seen?", "what is in the picture?")


@dataclass(frozen=True, slots=True)
class Turn:
    """A question about a picture and its answer, lower case."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class CaptionedPicture:
    """A picture (96 x 96 RGB) and what is said about it, in order."""

    image: Image.Image
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Phrasings:
    """Sentences with role slots: those that name the verb, and those that say what is visible of it."""

    action: tuple[str, ...]
    evidence: tuple[str, ...]


@cache
def phrasings() -> Mapping[str, Phrasings]:
    """The sentences of ``phrasings.toml`` by verb."""
    text = resources.files(__package__).joinpath("phrasings.toml").read_text(encoding="utf-8")
    return MappingProxyType(
        {verb: Phrasings(tuple(of["action"]), tuple(of["evidence"])) for verb, of in tomllib.loads(text).items()}
    )


def draw_captioned(seed: int, index: int) -> CaptionedPicture:
    """Picture number ``index`` of the corpus; only the arguments decide it."""
    rng = random.Random(f"{seed}/broad/{index}")
    if rng.random() < FREE_SHARE:
        scene = sample_free_scene(rng)
        rendered = render(scene, rng)
        return CaptionedPicture(rendered.image, _free_turns(scene, rendered, rng))
    scene = sample_scene(rng.choice(VERBS), rng)
    rendered = render(scene, rng)
    return CaptionedPicture(rendered.image, _action_turns(scene, rendered, rng))


def _action_turns(scene: Scene, rendered: RenderedScene, rng: random.Random) -> tuple[Turn, ...]:
    names = {role: call(name, rng) for role, name in scene.fillers.items() if role != "place"}
    sentences = phrasings()[scene.verb]
    plain = rng.random() < 0.4  # "a man is carrying a box": the first sentence, which every verb has alike
    fitting = [sentence for sentence in sentences.action if can_fill(sentence, names)]
    subject = {**names, "agent": "someone"} if rng.random() < SOMEONE_SHARE else names
    said = fill_slots(fitting[0] if plain else rng.choice(fitting), subject)
    action = Turn(rng.choice(ACTION_QUESTIONS), f"{said} {at_place(scene.place)}.")
    if rng.random() < 0.5:
        shown = rng.choice([sentence for sentence in sentences.evidence if can_fill(sentence, names)])
        return (action, Turn(rng.choice(EVIDENCE_QUESTIONS), f"{fill_slots(shown, names)}."))
    content = Turn(rng.choice(CONTENT_QUESTIONS), _contents(scene, rendered, names, rng))
    return (action, content) if rng.random() < 0.5 else (content, action)


def _free_turns(scene: Scene, rendered: RenderedScene, rng: random.Random) -> tuple[Turn, ...]:
    names = {role: call(name, rng) for role, name in scene.fillers.items() if role != "place"}
    content = Turn(rng.choice(CONTENT_QUESTIONS), _contents(scene, rendered, names, rng))
    roles = [role for role in names if rendered.boxes_xyxy.get(role)]
    if len(roles) < 2:
        subject = noun_phrase(names[roles[0]]) if roles else "nobody"
        return (Turn(rng.choice(ACTION_QUESTIONS), f"{subject} is {at_place(scene.place)}."), content)
    first, second = rng.sample(roles, 2)
    said = f"{noun_phrase(names[first])} is {_relation(rendered, first, second)} {noun_phrase(names[second])}"
    return (Turn(rng.choice(ACTION_QUESTIONS), f"{said} {at_place(scene.place)}."), content)


def _relation(rendered: RenderedScene, first: str, second: str) -> str:
    (x1, y1), (x2, y2) = (_centre(rendered.boxes_xyxy[role]) for role in (first, second))
    if abs(x1 - x2) >= abs(y1 - y2):
        return "to the left of" if x1 < x2 else "to the right of"
    return "above" if y1 < y2 else "below"


def _centre(box_xyxy: FloatBox | None) -> tuple[float, float]:
    assert box_xyxy is not None, "only drawn roles have a place in the picture"
    return (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2


def _contents(scene: Scene, rendered: RenderedScene, names: Mapping[str, str], rng: random.Random) -> str:
    """Things with their side of the picture, clothes of the people, bystander things, the place."""
    bodily = ("body", "surface", "air")
    drawn = [
        role
        for role in names
        if rendered.boxes_xyxy.get(role)
        and (scene.fillers[role] not in fillers() or fillers()[scene.fillers[role]].category not in bodily)
    ]
    clothes = {person.role: person.shirt for person in scene.people}
    listed = []
    for role in rng.sample(drawn, min(LISTED, len(drawn))):
        across, _ = _centre(rendered.boxes_xyxy[role])
        side = ("on the left", "in the middle", "on the right")[min(2, int(3 * across / PICTURE_SIZE))]
        shirt = f" in a {clothes[role]} shirt" if role in clothes and rng.random() < 0.5 else ""
        listed.append(f"{side} {noun_phrase(names[role])}{shirt}".replace(" a orange", " an orange"))
    if rendered.clutter:
        others = [noun_phrase(call(name, rng)) for name in rendered.clutter[:2]]
        listed.append(f"also {' and '.join(others)}")
    listed.append(f"all {at_place(scene.place)}")
    return ", ".join(listed) + "."
