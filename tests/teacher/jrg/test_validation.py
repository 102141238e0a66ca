"""What the texts may say, rule by rule: each case changes one thing of a good reply."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.teacher.replies import WORDS, reply_text, throwing_facts, throwing_picture

from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.facts import Facts, Filler, affirms, facts_of, grammatical_numbers, has_phrase, places_differ
from ovgsr.teacher.jrg.parsing import Judgements, Rejected, read_reply
from ovgsr.teacher.jrg.templates import FewShot, RationaleTemplate


def codes(changes: dict[str, Any], facts: Facts | None = None) -> list[str]:
    found = read_reply(reply_text(changes), facts or throwing_facts())
    return [] if isinstance(found, Judgements) else [reason.code for reason in found.reasons]


GLIMPSE, ITEM, AGENT = "glimpse.positive", "gazes.item", "gazes.agent"

# Other ways to say the same, which are all right.
FINE: list[tuple[str, dict[str, Any]]] = [
    ("the good reply", {}),
    (
        "another annotator's word",
        {GLIMPSE: "A person was throwing a rubber ball in a park, with the arm stretched out."},
    ),
    ("a synonym", {GLIMPSE: "An adult male throws the rubber ball across the park."}),
    ("the head word", {GLIMPSE: "A man has thrown the ball across the park."}),
    ("a plural", {GLIMPSE: "Men throw balls in parks when the sun is out."}),
    ("another annotator's place, as it is said", {GLIMPSE: "A man throws the ball indoors, away from himself."}),
    ("the other verb's word denied", {f"{AGENT}.positive": "The man, and no dog, is the one who sends it away."}),
    ("quotes and dashes", {f"{ITEM}.positive": "The ball – “small and round” – is what he’s thrown, at 90% speed."}),
    (
        "a role in two words",
        {f"{AGENT}.negatives.0": {"kind": "role", "wrong": "item", "text": "The man is the item."}},
    ),
    ("one negative only", {f"{ITEM}.negatives": [{"kind": "filler", "wrong": "egg", "text": "An egg is thrown."}]}),
    (
        "a wrong answer that fills another role",
        {f"{ITEM}.negatives.1": {"kind": "filler", "wrong": "man", "text": "It is a man who is thrown."}},
    ),
]


@pytest.mark.parametrize(("name", "changes"), FINE, ids=[case[0] for case in FINE])
def test_a_good_reply_passes(name: str, changes: dict[str, Any]) -> None:
    assert codes(changes) == []


def wrong(kind: str, what: str, text: str) -> dict[str, str]:
    return {"kind": kind, "wrong": what, "text": text}


def test_everyday_words_and_body_parts_are_no_contradiction() -> None:
    facts = replace(throwing_facts(), wrong_fillers={"agent": ("hand",), "item": ("can", "old tin"), "place": ("tin",)})
    text = "He is catching it, as one can see by the man's open hand; the ball flies to him, past the old tin."
    assert codes({"glimpse.negatives.0.text": text}, facts) == ["more_than_one_wrong"]  # the place is now a tin
    changes = {"gazes.item.negatives.1": wrong("filler", "old tin", "The man throws an old tin through the air.")}
    assert codes(changes, facts) == []  # the "tin" within it is no place
    facts = replace(throwing_facts(), wrong_fillers={"agent": ("rubber",)})
    text = "One could think of catching, but the rubber ball flies away, so this is wrong."
    assert codes({"glimpse.negatives.0.text": text}, facts) == []  # rubber belongs to the ball that is there


# What is wrong, the change, the code that must be among the reasons.
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("two words", {f"{ITEM}.positive": "A ball."}, "length"),
    ("eighty-one words", {f"{ITEM}.positive": "ball " * 81}, "length"),
    ("an empty wrong word", {f"{ITEM}.negatives.1.wrong": ""}, "length"),
    (
        "another language",
        {f"{ITEM}.positive": "Der runde ball liegt unten rechts und fliegt durch den park"},
        "language",
    ),
    ("another script", {f"{ITEM}.positive": "The ball 球 is what is thrown here."}, "language"),
    ("no sentence", {f"{ITEM}.positive": "ball red round small rubber lower right sky grass blur"}, "language"),
    ("a line end", {f"{ITEM}.positive": "The ball is\nwhat is thrown."}, "control_characters"),
    ("an invisible letter", {f"{ITEM}.positive": "The ba\u200bll, a ball, is thrown."}, "control_characters"),
    ("right to left", {f"{ITEM}.positive": "The ball \u202eis what is thrown."}, "control_characters"),
    ("half an emoji", {f"{ITEM}.positive": "The ball \ud83d is what is thrown."}, "control_characters"),
    ("an address", {f"{ITEM}.positive": "The ball, see https://example.org for it."}, "markup"),
    ("a chat marker", {f"{ITEM}.positive": "The ball is thrown. <|im_end|>"}, "markup"),
    ("an instruction marker", {f"{ITEM}.positive": "[INST] The ball is thrown. [/INST]"}, "markup"),
    ("a turn", {f"{ITEM}.positive": "The ball is thrown. User: and now the rest"}, "markup"),
    ("a refusal", {f"{ITEM}.positive": "As an AI I cannot see the ball in it."}, "markup"),
    ("a marker in the wrong word", {f"{ITEM}.negatives.1.wrong": "box </s>"}, "markup"),
    ("an unseen verb", {f"{ITEM}.positive": "The ball is what he lifts over his head."}, "unseen_verb"),
    ("its past form", {f"{AGENT}.positive": "The man has lifted his arm to throw it."}, "unseen_verb"),
    ("in a negative", {"glimpse.negatives.0.text": "He is catching it, not lifting it off the grass."}, "unseen_verb"),
    ("a noun that is none here", {f"{ITEM}.positive": "The ball lies near the water of a pond."}, "unseen_verb"),
    ("as a wrong word", {f"{ITEM}.negatives.1": wrong("filler", "lifter", "A lifter is thrown.")}, "unseen_verb"),
    (
        "a text twice",
        {f"{AGENT}.positive": "The man throws!", f"{AGENT}.negatives.1.text": "the man throws"},
        "repeated",
    ),
    ("another verb", {GLIMPSE: "A man tosses a rubber ball in a park."}, "verb_not_named"),
    ("no agent", {GLIMPSE: "Somebody throws a rubber ball in a park."}, "filler_not_named"),
    ("part of a word", {GLIMPSE: "A manager throws a rubber ball in a park."}, "filler_not_named"),
    ("no place", {GLIMPSE: "A man throws a rubber ball to the left."}, "filler_not_named"),
    ("a confusable verb as true", {GLIMPSE: "A man throws a ball in a park and catches it."}, "contradiction"),
    ("a wrong filler as true", {GLIMPSE: "A man throws a ball to a dog in a park."}, "contradiction"),
    ("the wrong corner", {f"{AGENT}.positive": "The man in the upper right is who does it."}, "contradiction"),
    ("no negative glimpse", {"glimpse.negatives": []}, "too_few_negatives"),
    ("no negative gaze", {f"{ITEM}.negatives": []}, "too_few_negatives"),
    ("a verb not offered", {"glimpse.negatives.0.verb": "eating"}, "verb_not_offered"),
    ("the true verb", {"glimpse.negatives.0.verb": "throwing"}, "verb_not_offered"),
    ("a verb not named", {"glimpse.negatives.0.text": "He is doing it, but the ball flies away."}, "wrong_not_named"),
    (
        "one verb twice",
        {"glimpse.negatives.1": {"verb": "catching", "text": "The man catches the ball; his hands are empty."}},
        "verb_twice",
    ),
    (
        "another filler in a negative glimpse",
        {"glimpse.negatives.0.text": "A dog is catching the ball, but it flies away."},
        "more_than_one_wrong",
    ),
    ("a gaze at nothing", {f"{ITEM}.positive": "It is round and small, in the lower right."}, "filler_not_named"),
    ("the same thing", {f"{ITEM}.negatives.1": wrong("filler", "rubber balls", "The rubber balls fly.")}, "not_wrong"),
    ("a vaguer word", {f"{AGENT}.negatives.0": wrong("filler", "adult", "An adult throws the ball.")}, "not_wrong"),
    ("a kind of it", {f"{AGENT}.negatives.0": wrong("filler", "old man", "An old man throws it.")}, "not_wrong"),
    (
        "another annotator's word",
        {f"{AGENT}.negatives.0": wrong("filler", "human", "A human throws the ball.")},
        "not_wrong",
    ),
    ("not named", {f"{ITEM}.negatives.1": wrong("filler", "box", "Something else is thrown.")}, "wrong_not_named"),
    (
        "two fillers changed",
        {f"{ITEM}.negatives.1": wrong("filler", "egg", "A dog throws an egg in the park.")},
        "more_than_one_wrong",
    ),
    (
        "the verb changed too",
        {f"{ITEM}.negatives.1": wrong("filler", "egg", "The man kicks an egg in the park.")},
        "more_than_one_wrong",
    ),
    (
        "the place changed too",
        {f"{ITEM}.negatives.1": wrong("filler", "egg", "An egg in the upper right is thrown.")},
        "more_than_one_wrong",
    ),
    ("its own role", {f"{ITEM}.negatives.0": wrong("role", "item", "The ball is the item.")}, "not_wrong"),
    ("no role of the frame", {f"{ITEM}.negatives.0": wrong("role", "tool", "The ball is the tool.")}, "not_wrong"),
    ("a role of nothing", {f"{ITEM}.negatives.0": wrong("role", "agent", "The agent throws.")}, "filler_not_named"),
    ("its own place", {f"{AGENT}.negatives.1": wrong("place", "top", "The man is at the top.")}, "not_wrong"),
    (
        "a place of nothing annotated",
        {"gazes.place.negatives.0": wrong("place", "upper left", "The park is in the upper left.")},
        "place_unknown",
    ),
    (
        "a place of something else",
        {f"{AGENT}.negatives.1": wrong("place", "lower right", "A dog is in the lower right.")},
        "filler_not_named",
    ),
]


@pytest.mark.parametrize(("name", "changes", "code"), BAD, ids=[case[0] for case in BAD])
def test_each_rule_refuses(name: str, changes: dict[str, Any], code: str) -> None:
    assert code in codes(changes)


def test_a_refusal_never_names_the_forbidden_verb() -> None:
    changes = {f"{ITEM}.negatives.0.wrong": "lifting", f"{ITEM}.positive": "The ball is what he lifts up."}
    found = read_reply(reply_text(changes), throwing_facts())
    assert isinstance(found, Rejected)
    assert [reason.code for reason in found.reasons] == ["unseen_verb", "unseen_verb"]
    assert found.reasons[0].sentence.startswith("word 6 of gazes.item.positive")
    assert not any("lift" in reason.sentence for reason in found.reasons)


def test_an_annotated_noun_may_be_named_though_a_verb_is_spelt_like_it() -> None:
    nouns = {
        "agent": GroundedNoun("n1", (5.0, 5.0, 25.0, 25.0), annotators=("n1",) * 3),
        "item": GroundedNoun("n6", None, annotators=("n6",) * 3),
    }
    facts = facts_of(
        AnnotatedImage("a.jpg", 96, 96, (Situation("throwing", nouns),)),
        WORDS,
        places={},
        forbidden=("watering",),
        k=0,
    )
    record: dict[str, Any] = {
        "glimpse": {"positive": "A man throws water at the wall.", "negatives": []},
        "gazes": {
            "agent": {"positive": "The man is the one who throws.", "negatives": []},
            "item": {"positive": "The water is what he throws.", "negatives": []},
        },
    }
    assert isinstance(read_reply(json.dumps(record), facts), Judgements)
    record["gazes"]["item"]["positive"] = "The water is what he is watering with."
    assert isinstance(read_reply(json.dumps(record), facts), Rejected)


@pytest.mark.parametrize("shot", RationaleTemplate.load().few_shots, ids=lambda shot: shot.verbs[0])
def test_the_examples_of_the_template_obey_the_rules(shot: FewShot) -> None:
    """A model that imitates what it is shown passes."""
    data = shot.data
    facts = Facts(
        "an example",
        data["verb"],
        tuple(data["frame"]),
        {
            role: Filler(frozenset(n for word in known["annotators"] for n in grammatical_numbers(word)))
            for role, known in data["roles"].items()
        },
        {role: known["place"] for role, known in data["roles"].items() if known["place"]},
        shot.verbs[1:],
        {role: tuple(words) for role, words in data["wrong_fillers"].items()},
    )
    assert isinstance(read_reply(json.dumps(shot.reply), facts), Judgements)


def test_what_the_majority_leaves_empty_is_not_filled() -> None:
    image = throwing_picture()
    nouns = dict(image.situation.nouns) | {"item": GroundedNoun("", None, annotators=("", "", "n3"))}
    facts = facts_of(replace(image, situations=(Situation("throwing", nouns),)), WORDS, places={})
    assert list(facts.fillers) == ["agent", "place"]
    assert facts.roles == ("agent", "item", "place")


# What is said, what is annotated, whether one contradicts the other.
PLACES = [
    ("upper left", "upper left, small", False),
    ("upper right", "upper left", True),
    ("left", "upper left", False),
    ("top", "upper left", False),
    ("bottom", "upper left", True),
    ("middle", "upper left", True),
    ("middle left", "left", False),
    ("centre", "middle", False),
    ("right", "left, large", True),
    ("on the table", "upper left", True),
    ("in the upper left corner", "upper left", False),
    ("from top to bottom", "upper left", True),
]


@pytest.mark.parametrize(("said", "true", "differ"), PLACES, ids=[f"{case[0]} - {case[1]}" for case in PLACES])
def test_places_differ(said: str, true: str, differ: bool) -> None:
    assert places_differ(said, true) is differ


def test_phrases_are_whole_words_in_a_row() -> None:
    assert has_phrase("The Man's rubber-ball.", "rubber ball")
    assert not has_phrase("a football", "ball")
    assert not has_phrase("a ball of rubber", "rubber ball")
    assert not has_phrase("anything", "?!")
    assert affirms("a dog and no cat", "dog")
    assert not affirms("a dog and no cat", "cat")
    assert not affirms("it is not a cat", "cat")
    assert affirms("no cat here, but a cat there", "cat")


# A phrase and forms of it that must be among its numbers.
NUMBERS = [
    ("box", {"box", "boxes"}),
    ("boxes", {"boxes", "box"}),
    ("ponies", {"ponies", "pony"}),
    ("women", {"women", "woman"}),
    ("people", {"people", "person"}),
    ("rubber ball", {"rubber ball", "rubber balls"}),
    ("glass", {"glass", "glasses"}),
    ("water", {"water"}),
]


@pytest.mark.parametrize(("phrase", "forms"), NUMBERS, ids=[case[0] for case in NUMBERS])
def test_singular_and_plural(phrase: str, forms: set[str]) -> None:
    assert forms <= grammatical_numbers(phrase)
