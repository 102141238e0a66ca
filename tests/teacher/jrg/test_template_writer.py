"""The writer that needs no language model, over several hundred drawn pictures' annotations and all of SWiG's verbs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

from ovgsr.data.swig import majority
from ovgsr.inflections import inflected_forms, mentions, nameable_words
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.sketch.split import DEV_UNSEEN, RARE, SEEN, UNSEEN
from ovgsr.sketch.write import draw_picture, imsitu_space
from ovgsr.teacher.jrg.confusable import ConfusableVerbs, WrongFillers, fillers_by_role
from ovgsr.teacher.jrg.facts import facts_of
from ovgsr.teacher.jrg.parsing import Judgements
from ovgsr.teacher.jrg.places_in_words import place_in_words
from ovgsr.teacher.jrg.rationales import RationaleError
from ovgsr.teacher.jrg.scene_in_words import Scene, without_abstracts, without_forbidden
from ovgsr.teacher.jrg.template_writer import MOST_WORDS, TemplateWriter
from ovgsr.teacher.jrg.validation import judge
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Noun, Verb, Vocabulary, swig_nouns, swig_vocabulary

A_VERB = 6
"""Pictures drawn of each training verb."""

BY_HAND = {
    # Forms of SketchSWiG's 20 unseen verbs, written down here and not computed. One in brackets is also the name of a
    # thing, and may stand where the annotators named that thing.
    "watering": "(water) waters watered watering",
    "feeding": "(feed) feeds fed feeding",
    "lifting": "lift lifts lifted lifting",
    "dropping": "(drop) drops dropped dropping",
    "photographing": "(photograph) photographs photographed photographing",
    "nailing": "(nail) nails nailed nailing",
    "drumming": "(drum) drums drummed drumming",
    "shoveling": "(shovel) shovels shoveled shovelled shoveling shovelling",
    "leading": "lead leads led leading",
    "climbing": "climb climbs climbed climbing",
    "rowing": "row rows rowed rowing",
    "shearing": "shear shears sheared shorn shearing",
    "spraying": "(spray) sprays sprayed spraying",
    "dragging": "drag drags dragged dragging",
    "phoning": "(phone) phones phoned phoning",
    "mopping": "(mop) mops mopped mopping",
    "licking": "lick licks licked licking",
    "falling": "fall falls fell fallen falling",
    "milking": "(milk) milks milked milking",
    "stacking": "(stack) stacks stacked stacking",
}


@dataclass(frozen=True)
class Drawn:
    vocabulary: Vocabulary
    split: VerbSplit
    images: tuple[AnnotatedImage, ...]
    confusable: ConfusableVerbs
    fillers: WrongFillers
    writer: TemplateWriter

    def arguments(self, image: AnnotatedImage) -> dict[str, Any]:
        chosen = self.confusable.choose(
            image.situation.verb,
            2,
            seed=0,
            picture=image.file_name,
            nouns=nameable_words(image.situation, self.vocabulary),
        )
        return {"confusable": chosen, "wrong_fillers": self.fillers.choose(image, 3, seed=0, avoided=chosen), "k": 2}

    def write(self, image: AnnotatedImage, seed: int = 0) -> Judgements:
        return self.writer.write(image, **self.arguments(image), seed=seed)

    @cached_property
    def written(self) -> dict[str, Judgements]:
        """What is written about every picture with seed 0."""
        return {image.file_name: self.write(image) for image in self.images}


def annotated(vocabulary: Vocabulary, name: str, record: dict[str, Any]) -> AnnotatedImage:
    nouns = {}
    for role in vocabulary.verb(record["verb"]).roles:
        answers = tuple(frame[role] for frame in record["frames"])
        box = record["bb"][role]
        nouns[role] = GroundedNoun(majority(answers), None if box[0] < 0 else tuple(box), annotators=answers)
    return AnnotatedImage(name, record["width"], record["height"], (Situation(record["verb"], nouns),))


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Annotations as they are in SketchSWiG's training set."""
    space: dict[str, Any] = imsitu_space()
    known = swig_nouns()
    vocabulary = Vocabulary(
        tuple(
            Verb(n, tuple(e["order"]), e["def"], e["abstract"], {r: of["def"] for r, of in e["roles"].items()})
            for n, e in space["verbs"].items()
        ),
        tuple(
            Noun(key, tuple(e["gloss"]), known[key].hypernym if key in known else "")
            for key, e in space["nouns"].items()
        ),
    )
    split = VerbSplit("sketch", SEEN, RARE, UNSEEN, DEV_UNSEEN)
    images = tuple(
        annotated(vocabulary, f"{verb}_{index}.jpg", dict(draw_picture(11, "train", verb, index)[2]))
        for verb in split.training
        for index in range(A_VERB)
    )
    images = tuple(image for image in images if any(noun.noun for noun in image.situation.nouns.values()))

    def shared_words(first: str, second: str) -> float:
        words = [set(vocabulary.verb(verb).definition.split()) for verb in (first, second)]
        return len(words[0] & words[1]) / 10

    return Drawn(
        vocabulary,
        split,
        images,
        ConfusableVerbs(vocabulary, split.training, shared_words),
        WrongFillers(vocabulary, fillers_by_role(images), (*UNSEEN, *DEV_UNSEEN)),
        TemplateWriter(vocabulary, split),
    )


def texts(judgements: Judgements) -> Iterator[str]:
    for judged in (judgements.glimpse, *judgements.gazes.values()):
        yield judged.positive
        yield from (negative.text for negative in judged.negatives)


def as_json(judgements: Judgements) -> str:
    gazes = {role: [gaze.positive, [str(n) for n in gaze.negatives]] for role, gaze in judgements.gazes.items()}
    return json.dumps([judgements.glimpse.positive, [str(n) for n in judgements.glimpse.negatives], gazes])


def test_no_unseen_verb_in_any_inflection_is_ever_written(drawn: Drawn) -> None:
    for image in drawn.images:
        words = " ".join(texts(drawn.written[image.file_name])).lower()
        named = " ".join(nameable_words(image.situation, drawn.vocabulary)).lower()
        for verb, forms in BY_HAND.items():
            for form in forms.split():
                plain = form.strip("()")
                if re.search(rf"\b{plain}\b", words):
                    assert form.startswith("("), (image.file_name, verb, plain)
                    assert re.search(rf"\b{plain}\b", named), (image.file_name, verb, plain)


def test_the_hand_written_forms_are_the_computed_ones() -> None:
    assert set(BY_HAND) == {*UNSEEN, *DEV_UNSEEN}
    for verb, forms in BY_HAND.items():
        assert {form.strip("()") for form in forms.split()} <= inflected_forms(verb)


def test_every_text_passes_the_rules_that_hold_for_a_language_model(drawn: Drawn) -> None:
    for image in drawn.images:
        given = drawn.arguments(image)
        judgements = drawn.written[image.file_name]
        facts = facts_of(
            image,
            drawn.vocabulary,
            places={
                role: place_in_words(noun.box_xyxy, image.width, image.height)
                for role, noun in image.situation.nouns.items()
                if noun.box_xyxy
            },
            offered=given["confusable"],
            wrong_fillers=given["wrong_fillers"],
            forbidden=(*UNSEEN, *DEV_UNSEEN),
            k=2,
        )
        assert judge(judgements.glimpse, judgements.gazes, facts) == ()
        assert judgements.gazes.keys() == {role for role, noun in image.situation.nouns.items() if noun.noun}
        assert {negative.wrong for negative in judgements.glimpse.negatives} == set(given["confusable"])
        assert all(3 <= len(text.split()) <= MOST_WORDS for text in texts(judgements))
        assert all(re.fullmatch(r"[A-Z][^.]*(?:\. [A-Z][^.]*)?\.", text) for text in texts(judgements))


def test_texts_vary_and_a_seed_gives_the_same_bytes(drawn: Drawn) -> None:
    images = drawn.images[::5]
    first = [as_json(drawn.written[image.file_name]) for image in images]
    fresh = TemplateWriter(drawn.vocabulary, drawn.split)
    assert first == [as_json(fresh.write(image, **drawn.arguments(image), seed=0)) for image in images]
    other = [as_json(drawn.write(image, seed=1)) for image in images]
    assert sum(a != b for a, b in zip(first, other, strict=True)) > 0.9 * len(images)
    every = [text for judgements in drawn.written.values() for text in texts(judgements)]
    assert len(every) > 3000
    assert len(set(every)) > 0.9 * len(every)
    assert len({" ".join(text.split()[:2]) for text in every}) > 200


def test_kinds_of_negatives_all_occur(drawn: Drawn) -> None:
    kinds = [n.kind for written in drawn.written.values() for gaze in written.gazes.values() for n in gaze.negatives]
    assert min(kinds.count(kind) for kind in ("filler", "role", "place")) > len(kinds) / 10


MAN = GroundedNoun("man", (0, 0, 30, 90))
BALL = GroundedNoun("ball", (70, 10, 80, 20))
WORDS = Vocabulary(
    (
        Verb("throwing", ("agent", "item", "place"), "to swing the arm", "An AGENT throws an ITEM at a PLACE."),
        Verb("catching", ("agent", "item", "place"), "to seize a thing, falling down"),
        Verb("falling", ("agent",), "to drop"),
    )
)
TINY = VerbSplit("tiny", ("throwing", "catching"), (), ("falling",))


def one(verb: str = "throwing", **nouns: GroundedNoun) -> AnnotatedImage:
    return AnnotatedImage("a.jpg", 100, 100, (Situation(verb, nouns),))


def write(image: AnnotatedImage, vocabulary: Vocabulary = WORDS, **changed: Any) -> Judgements:
    given: dict[str, Any] = {"confusable": ("catching",), "wrong_fillers": {}, "k": 2, "seed": 0} | changed
    return TemplateWriter(vocabulary, TINY).write(image, **given)


def test_what_is_known_is_said() -> None:
    """Over twenty seeds every piece of the annotation turns up, and nothing empty does."""
    said = " ".join(
        text
        for seed in range(20)
        for text in texts(write(one(agent=MAN, item=BALL, place=GroundedNoun("")), seed=seed))
    )
    for piece in (
        "a man throws a ball",  # the abstract, without its empty role
        "seen to swing the arm",  # the definition
        "far to the right of the man",  # 40 pixels beside him, in a picture with a diagonal of 141
        "on the left of the picture",
        "in the upper right of the picture",
        "not to seize a thing",  # the confusable verb's definition up to the unseen verb
    ):
        assert piece in said, piece
    assert "falling" not in said
    assert "nothing would be" not in said


def test_empty_roles_get_no_gaze() -> None:
    judgements = write(one(agent=MAN, item=GroundedNoun("", annotators=("", "", "ball"))))
    assert list(judgements.gazes) == ["agent"]
    assert "ball" not in " ".join(texts(judgements))


def test_a_place_alone_is_enough() -> None:
    judgements = write(one(place=GroundedNoun("park")))
    assert "park" in judgements.glimpse.positive
    assert "throw" in judgements.glimpse.positive
    assert [n.kind for n in judgements.gazes["place"].negatives] == []  # no box, no filler offered, no other role


def test_a_filler_in_an_unseen_form_gets_another_word() -> None:
    vocabulary = WORDS.with_nouns([Noun("w", ("falling leaf", "leaf")), Noun("x", ("falling",), "motion")])
    judgements = write(one(agent=GroundedNoun("w"), item=GroundedNoun("x")), vocabulary)
    assert "leaf" in judgements.glimpse.positive
    assert "motion" in judgements.glimpse.positive
    assert "falling" not in " ".join(texts(judgements))


def test_k_limits_the_negatives() -> None:
    image = one(agent=MAN, item=BALL)
    for k in (0, 1, 4):
        judgements = write(image, k=k, wrong_fillers={"item": ("cup", "hat")})
        assert len(judgements.glimpse.negatives) == min(k, 1)
        assert len(judgements.gazes["item"].negatives) == k
        assert len(set(texts(judgements))) == len(list(texts(judgements)))


def test_it_says_that_it_is_no_language_model() -> None:
    writer = TemplateWriter(WORDS, TINY)
    assert (writer.name, writer.is_llm) == ("template:jrg-1", False)
    assert re.fullmatch("[0-9a-f]{64}", writer.fingerprint)


REFUSED = [
    (one("falling", agent=MAN), {}, "'falling' is no training verb"),
    (one(agent=MAN), {"confusable": ("falling",)}, "'falling' is no training verb"),
    (one(agent=GroundedNoun("")), {}, "left every role empty"),
]


@pytest.mark.parametrize(("image", "changed", "message"), REFUSED)
def test_refusals(image: AnnotatedImage, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RationaleError, match=message):
        write(image, **changed)


CLAUSES = [
    ("to swing the arm, falling down.", "to swing the arm"),
    ("to fall on one's knees, slowly", ""),  # the first clause decides
    ("to run so that others fall", "to run"),
    ("to drop, pick up and hold", "to drop, pick up and hold"),
    ("to file, fell and polish nails", ""),  # a list is not cut open
    ("to stand", "to stand"),
]


@pytest.mark.parametrize(("definition", "left"), CLAUSES)
def test_clauses_with_a_forbidden_verb_go(definition: str, left: str) -> None:
    assert without_forbidden(definition, ("falling",)) == left


def test_a_definition_is_cut_between_clauses() -> None:
    assert without_forbidden("to sit, as one does, for a long while", (), limit=20) == "to sit, as one does"


def test_mass_nouns_and_plurals() -> None:
    image = one(agent=GroundedNoun("people", (0, 0, 9, 9)), item=GroundedNoun("bread", (50, 50, 60, 60)))
    scene = Scene(image, WORDS, without_abstracts(WORDS), (), ())
    assert (scene.the("item"), scene.a("item", size=True), scene.is_or_are("agent")) == ("the bread", "bread", "are")
    assert scene.a("agent", size=True) == "tiny people"
    assert scene.captions == ("people throw bread", "people are throwing bread")


@pytest.mark.parametrize("start", range(0, 504, 63))
def test_with_all_other_verbs_of_swig_unseen_something_true_is_left(start: int) -> None:
    """The plainest wordings hold no form of any verb: 502 unseen verbs leave a picture its texts."""
    vocabulary = swig_vocabulary().with_nouns([])
    names = vocabulary.verb_names
    things = ("man", "apple", "house", "elephant", "bread", "dog")
    for number in range(start, start + 63, 7):
        verb, wrong = names[number], names[(number + 1) % 504]
        nouns = {
            role: GroundedNoun(things[i], (9 * i, 10, 9 * i + 30, 60) if i % 2 == 0 else None)
            for i, role in enumerate(vocabulary.verb(verb).roles)
        }
        image = AnnotatedImage(f"{verb}.jpg", 100, 100, (Situation(verb, nouns),))
        own = inflected_forms(verb) | inflected_forms(wrong)
        unseen = tuple(name for name in names if not own & inflected_forms(name))
        writer = TemplateWriter(vocabulary, VerbSplit("two", (verb, wrong), (), unseen))
        judgements = writer.write(
            image, confusable=(wrong,), wrong_fillers={image.situation.roles[0]: ("cat",)}, k=2, seed=0
        )
        nameable = nameable_words(image.situation, vocabulary)
        for text in texts(judgements):
            assert mentions(text, unseen, nameable) == set(), text
        assert mentions(judgements.glimpse.positive, (verb,)) == {verb}
