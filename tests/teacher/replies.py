"""A picture, its facts, and a good reply about it, for the tests of parsing, validation and generation."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.facts import Facts, facts_of
from ovgsr.vocabulary import Noun, Verb, Vocabulary

WORDS = Vocabulary(
    verbs=(
        Verb("throwing", ("agent", "item", "place"), abstract="An AGENT throws an ITEM in a PLACE."),
        Verb("catching", ("agent", "item", "place"), abstract="An AGENT catches an ITEM in a PLACE."),
        Verb("kicking", ("agent", "item", "place"), abstract="An AGENT kicks an ITEM in a PLACE."),
        Verb("watering", ("agent", "item", "place"), abstract="An AGENT waters an ITEM in a PLACE."),
        Verb("lifting", ("agent", "item", "place"), abstract="An AGENT lifts an ITEM in a PLACE."),
    ),
    nouns=(
        Noun("n1", ("man", "adult male"), "adult"),
        Noun("n2", ("person", "human"), "organism"),
        Noun("n3", ("rubber ball",), "ball"),
        Noun("n4", ("inside",), "area"),
        Noun("n5", ("dog", "domestic dog"), "animal"),
        Noun("n6", ("water",), "liquid"),
        Noun("n7", ("park",), "tract"),
        Noun("n8", ("box",), "container"),
    ),
    name="a test's",
)
FORBIDDEN = ("watering", "lifting")


def throwing_picture(number: int = 1, *, place: tuple[str, str, str] = ("n7", "n7", "n4")) -> AnnotatedImage:
    """A man (a person, says one) in the upper left throws a rubber ball in a park (inside, says one)."""
    nouns = {
        "agent": GroundedNoun("n1", (5.0, 5.0, 25.0, 25.0), annotators=("n1", "n1", "n2")),
        "item": GroundedNoun("n3", (70.0, 70.0, 80.0, 80.0), annotators=("n3", "n3", "")),
        "place": GroundedNoun(place[0], None, annotators=place),
    }
    return AnnotatedImage(f"throwing_{number}.jpg", 96, 96, (Situation("throwing", nouns),))


def throwing_facts(image: AnnotatedImage | None = None) -> Facts:
    return facts_of(
        image or throwing_picture(),
        WORDS,
        places={"agent": "upper left", "item": "lower right"},
        offered=("catching", "kicking"),
        wrong_fillers={"agent": ("dog",), "item": ("box",)},
        forbidden=FORBIDDEN,
        k=2,
    )


GOOD: Mapping[str, Any] = {
    "glimpse": {
        "positive": "A man in the park throws a rubber ball: his arm is stretched out and the ball is in the air.",
        "negatives": [
            {"verb": "catching", "text": "The man is catching the ball, but it flies away from him, so this is wrong."},
            {"verb": "kicking", "text": "The man kicks the ball with his foot; no, his legs stand still on the grass."},
        ],
    },
    "gazes": {
        "agent": {
            "positive": "The man in the upper left is the one whose arm sends the ball away.",
            "negatives": [
                {"kind": "filler", "wrong": "dog", "text": "A dog is the one who throws the ball here."},
                {"kind": "place", "wrong": "lower right", "text": "The man who throws it is in the lower right."},
            ],
        },
        "item": {
            "positive": "The ball in the lower right is what was thrown, small and round.",
            "negatives": [
                {"kind": "role", "wrong": "agent", "text": "The ball is the agent and throws something itself."},
                {"kind": "filler", "wrong": "box", "text": "The man throws a box through the air."},
            ],
        },
        "place": {
            "positive": "It all happens in a park with grass and trees behind the man.",
            "negatives": [{"kind": "filler", "wrong": "kitchen", "text": "It all happens in a kitchen with a stove."}],
        },
    },
}


def reply(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The good reply with some parts replaced: ``{"glimpse.negatives.0.text": "..."}``."""
    changed: Any = copy.deepcopy(dict(GOOD))
    for path, value in (changes or {}).items():
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        target = changed
        for step in way:
            target = target[step]
        target[last] = value
    return changed  # type: ignore[no-any-return]


def reply_text(changes: Mapping[str, Any] | None = None) -> str:
    return json.dumps(reply(changes))


def data_of(user_text: str) -> dict[str, Any]:
    """The data block at the end of a rendered prompt."""
    block = user_text.rsplit("The picture:\n```json\n", 1)[1].split("\n```", 1)[0]
    return json.loads(block)  # type: ignore[no-any-return]


def obedient_reply(data: Mapping[str, Any], k: int = 2) -> dict[str, Any]:
    """A valid reply to a prompt's data, written by rule."""
    words = {role: known["annotators"][0] for role, known in data["roles"].items()}

    def gaze(role: str) -> dict[str, Any]:
        negatives = [
            wrong_gaze("filler", word, f"The {role} would be the {word}, but there is none, so that is wrong.")
            for word in data["wrong_fillers"][role]
        ]
        negatives += [
            wrong_gaze("role", other, f"The {words[role]} would be the {other} and not the {role}, so that is wrong.")
            for other in data["frame"]
            if other != role
        ]
        return {
            "positive": f"The {role} in this picture is the {words[role]}, as anyone can see.",
            "negatives": negatives[:k],
        }

    return {
        "glimpse": {
            "positive": f"This is {data['verb']}, with these in it: {', '.join(words.values())}.",
            "negatives": [
                {"verb": entry["verb"], "text": f"One could think of {entry['verb']}, but it is not so."}
                for entry in data["confusable_verbs"][:k]
            ],
        },
        "gazes": {role: gaze(role) for role in words},
    }


def wrong_gaze(kind: str, wrong: str, text: str) -> dict[str, str]:
    return {"kind": kind, "wrong": wrong, "text": text}
