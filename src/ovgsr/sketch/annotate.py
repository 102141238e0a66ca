"""Three annotators for a drawn scene, in SWiG's record layout, who disagree about as often as SWiG's do.

In 2,000 imSitu records all three nouns of a role slot are equal in 31.5 %, two differ in 44.7 %, three differ in
23.8 %; some annotator leaves the slot empty in 19.9 %, all three in 3.4 %. The rates below come near to these over
the data set.
"""

from __future__ import annotations

import random

from ovgsr.sketch.fillers import category_of, fillers, sketch_nouns, unseen_synsets
from ovgsr.sketch.render import PICTURE_SIZE, FloatBox, RenderedScene
from ovgsr.sketch.scene import Scene

ALL_EQUAL = 0.318
TWO_DISTINCT = 0.448
WRONG_IF_EQUAL = 0.04
ODD_WEIGHTS = {"synonym": 5.0, "hypernym": 4.6, "broader": 2.2, "empty": 2.5, "mistake": 1.1}
TRUE_WINS = 0.74
EMPTY_STAYS_EMPTY = 0.8
IMPLIED_LEFT_EMPTY = 0.12
NO_BOX_THOUGH_DRAWN = 0.02
BOX_NOISE = 0.7
ABSENT_BOX = [-1.0, -1.0, -1.0, -1.0]

Record = dict[str, object]


def _usable(synset: str, allowed_unseen: bool) -> bool:
    return bool(synset) and (allowed_unseen or synset not in unseen_synsets())


def _others(name: str, rng: random.Random, allowed_unseen: bool) -> dict[str, str]:
    """Answers other than the true one: kind -> synset, without repetition."""
    filler = fillers()[name]
    broader = sketch_nouns()[filler.hypernym].hypernym if filler.hypernym in sketch_nouns() else ""
    mates = [mate.synset for mate in category_of(filler.category) if mate.name != name]
    found = {
        "synonym": filler.synonym,
        "hypernym": filler.hypernym,
        "broader": broader,
        "mistake": rng.choice(mates) if mates else "",
    }
    kept: dict[str, str] = {"empty": ""}
    for kind, synset in found.items():
        if _usable(synset, allowed_unseen) and synset != filler.synset and synset not in kept.values():
            kept[kind] = synset
    return kept


def _draw_odd(others: dict[str, str], rng: random.Random) -> str:
    """Take one of the other answers out of the dictionary."""
    kinds = list(others)
    kind = rng.choices(kinds, [ODD_WEIGHTS[k] for k in kinds])[0]
    return others.pop(kind)


def three_answers(name: str, rng: random.Random, *, allow_unseen: bool = True) -> list[str]:
    """Three synsets (or "") for a slot that `name` fills, in annotator order.

    With `allow_unseen` false no answer is an unseen noun (unless `name` itself is one).
    """
    true = fillers()[name].synset
    others = _others(name, rng, allow_unseen)
    lot = rng.random()
    if lot < ALL_EQUAL:
        if rng.random() < WRONG_IF_EQUAL and "hypernym" in others:
            true = others["hypernym"]
        return [true, true, true]
    if lot < ALL_EQUAL + TWO_DISTINCT or len(others) < 2:
        odd = _draw_odd(others, rng)
        answers = [true, true, odd] if rng.random() < TRUE_WINS else [true, odd, odd]
    else:
        answers = [true, _draw_odd(others, rng), _draw_odd(others, rng)]
    rng.shuffle(answers)
    return answers


def _empty_answers(role: str, rng: random.Random) -> list[str]:
    """Three answers for a role that nothing fills: mostly empty, now and then a guess at a body part or the ground."""
    if rng.random() < EMPTY_STAYS_EMPTY:
        return ["", "", ""]
    guess = fillers()["hand" if role in {"tool", "agentpart", "source", "container"} else "land"].synset
    answers = ["", "", guess]
    rng.shuffle(answers)
    return answers


def _noisy_box(box: FloatBox, rng: random.Random) -> list[float]:
    """The box in whole pixels with about a pixel of noise, inside the picture and at least two pixels wide and high."""
    x1, y1, x2, y2 = (min(max(round(value + rng.gauss(0, BOX_NOISE)), 0), PICTURE_SIZE) for value in box)
    x1, y1 = min(x1, PICTURE_SIZE - 2), min(y1, PICTURE_SIZE - 2)
    return [float(x1), float(y1), float(max(x2, x1 + 2)), float(max(y2, y1 + 2))]


def annotate(scene: Scene, rendered: RenderedScene, rng: random.Random, *, allow_unseen: bool = True) -> Record:
    """The SWiG record of a rendered scene: verb, height, width, frames of three annotators, one box a role."""
    frames: list[dict[str, str]] = [{}, {}, {}]
    boxes: dict[str, list[float]] = {}
    for role in scene.roles:
        name = scene.fillers.get(role, "")
        overlooked = role != "place" and rendered.boxes_xyxy.get(role) is None and rng.random() < IMPLIED_LEFT_EMPTY
        if name and not overlooked:
            answers = three_answers(name, rng, allow_unseen=allow_unseen)
        else:
            answers = _empty_answers(role, rng)
        for frame, answer in zip(frames, answers, strict=True):
            frame[role] = answer
        box = rendered.boxes_xyxy.get(role)
        hidden = rng.random() < NO_BOX_THOUGH_DRAWN
        boxes[role] = ABSENT_BOX if box is None or hidden or not any(answers) else _noisy_box(box, rng)
    return {"verb": scene.verb, "height": PICTURE_SIZE, "width": PICTURE_SIZE, "frames": frames, "bb": boxes}
