"""Confusable verbs and wrong fillers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.assignments import Assignments
from ovgsr.teacher.jrg.confusable import (
    POOL,
    ConfusableError,
    ConfusableVerbs,
    WrongFillers,
    fillers_by_role,
    matrix_similarity,
    role_overlap,
    role_types,
)
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Noun, Verb, Vocabulary

THROW = Verb("throwing", ("agent", "item", "destination", "place"))
CATCH = Verb("catching", ("agent", "caughtitem", "tool", "place"))
SLEEP = Verb("sleeping", ("agent", "place"))
VERBS = Vocabulary(
    (
        THROW,
        CATCH,
        SLEEP,
        *(Verb(f"{name}ing", THROW.roles) for name in ["kick", "push", "pull", "lift", "toss", "hurl", "fl", "pitch"]),
    )
)
TRAINING = tuple(name for name in VERBS.verb_names if name != "lifting")


def by_name_length(first: str, second: str) -> float:
    return 1 - abs(len(first) - len(second)) / 10


def test_role_types_and_overlap() -> None:
    # catching: subject, object, with, place; throwing: subject, object, to, place.
    assert role_types(CATCH) == {"subject": 1, "object": 1, "with": 1, "place": 1}
    assert role_overlap(THROW, CATCH) == 3 / 5
    assert role_overlap(THROW, SLEEP) == 2 / 4
    assert role_overlap(THROW, THROW) == 1
    assert role_overlap(Verb("a"), Verb("b")) == 0  # no frames, nothing in common


def test_only_training_verbs_are_chosen_and_the_same_ones_again() -> None:
    chooser = ConfusableVerbs(VERBS, TRAINING, by_name_length)
    seen = set()
    for number in range(60):
        chosen = chooser.choose("throwing", 2, seed=0, picture=f"throwing_{number}.jpg")
        assert chosen == chooser.choose("throwing", 2, seed=0, picture=f"throwing_{number}.jpg")
        assert len(set(chosen)) == 2
        assert set(chosen) <= set(TRAINING) - {"throwing"}
        seen |= set(chosen)
    assert len(seen) >= 6  # varied between pictures
    others = [chooser.choose("throwing", 2, seed=1, picture=f"throwing_{number}.jpg") for number in range(60)]
    assert others != [chooser.choose("throwing", 2, seed=0, picture=f"throwing_{number}.jpg") for number in range(60)]


def test_another_chooser_chooses_the_same() -> None:
    chosen = ConfusableVerbs(VERBS, TRAINING, by_name_length).choose("throwing", 3, seed=5, picture="a.jpg")
    assert chosen == ConfusableVerbs(VERBS, TRAINING, by_name_length).choose("throwing", 3, seed=5, picture="a.jpg")


def test_near_verbs_come_first_and_oftener() -> None:
    similar: Mapping[str, float] = {"kicking": 0.9, "pushing": 0.3}
    chooser = ConfusableVerbs(VERBS, TRAINING, lambda first, second: similar.get(second, 0.0))
    assert [name for name, _ in chooser.neighbours("throwing")[:2]] == ["kicking", "pushing"]
    firsts = [chooser.choose("throwing", 1, seed=0, picture=str(number))[0] for number in range(100)]
    assert firsts.count("kicking") > 70  # weights exp(6 * 0.9) = 221 against exp(6 * 0.3) = 6 and seven ones


def test_a_like_frame_goes_before_similarity() -> None:
    verbs = Vocabulary((THROW, CATCH, Verb("raining", ("place",))))  # raining: 1 type of 4 in common
    chooser = ConfusableVerbs(verbs, verbs.verb_names, lambda a, b: 0.9 if "raining" in (a, b) else 0.1)
    assert [name for name, _ in chooser.neighbours("throwing")] == ["catching", "raining"]


def test_few_verbs_give_few() -> None:
    verbs = VERBS.with_verbs(("throwing", "catching"))
    chooser = ConfusableVerbs(verbs, verbs.verb_names, by_name_length)
    assert chooser.choose("throwing", 5, seed=0, picture="x") == ("catching",)
    assert POOL >= 5


def test_verbs_that_the_annotation_names_are_left_out() -> None:
    verbs = VERBS.with_verbs(("throwing", "catching", "kicking")).with_nouns([Noun("n1", ("kicking machine",))])
    chooser = ConfusableVerbs(verbs, verbs.verb_names, by_name_length)
    assert chooser.choose("throwing", 2, seed=0, picture="x", nouns=("kicking machine",)) == ("catching",)
    assert len(chooser.choose("throwing", 2, seed=0, picture="x", nouns=("kick",))) == 2  # a noun hides nothing
    split = VerbSplit("all", verbs.verb_names)
    assignments = Assignments(verbs, split, [picture("n1")], by_name_length, k=2, seed=0)
    assert assignments.facts(picture("n1")).offered == ("catching",)
    assert set(assignments.facts(picture("")).offered) == {"catching", "kicking"}


def test_verbs_with_a_form_in_common_are_not_confusable() -> None:
    verbs = Vocabulary((Verb("lying"), Verb("laying"), Verb("sitting")))  # "lay" is a form of both
    chooser = ConfusableVerbs(verbs, verbs.verb_names, by_name_length)
    assert [name for name, _ in chooser.neighbours("lying")] == ["sitting"]


def test_bad_requests_are_refused() -> None:
    chooser = ConfusableVerbs(VERBS, TRAINING, by_name_length)
    with pytest.raises(ConfusableError, match="'lifting' is no training verb"):
        chooser.choose("lifting", 2, seed=0, picture="x")
    with pytest.raises(ConfusableError, match="'flying' is not in the vocabulary"):
        ConfusableVerbs(VERBS, (*TRAINING, "flying"), by_name_length)
    with pytest.raises(ConfusableError, match="2 rows and columns"):
        matrix_similarity(("a", "b"), [[1.0, 0.0]])
    assert matrix_similarity(("a", "b"), [[1.0, 0.2], [0.2, 1.0]])("a", "b") == 0.2


NOUNS = Vocabulary(
    (THROW,),
    (
        Noun("ball", ("ball",), "game equipment"),
        Noun("soccer ball", ("soccer ball",), "ball"),
        Noun("puppy", ("puppy",), "dog"),
        Noun("dog", ("dog",), "animal"),
        Noun("dogs", ("dogs",)),
        Noun("thing", ("object",)),
        Noun("can", ("watering can",)),
        Noun("frisbee", ("disk", "frisbee"), "game equipment"),
        Noun("cup", ("cup",), "vessel"),
    ),
)


def picture(item: str, *, destination: str = "", annotators: tuple[str, ...] = ()) -> AnnotatedImage:
    nouns = {"item": GroundedNoun(item, annotators=annotators), "destination": GroundedNoun(destination)}
    return AnnotatedImage("throwing_1.jpg", 10, 10, (Situation("throwing", nouns),))


def test_fillers_by_role_counts_what_the_majority_says() -> None:
    images = [picture("ball"), picture("cup"), picture("cup"), picture("", annotators=("ball", "", ""))]
    assert fillers_by_role(images) == {"item": ("cup", "ball")}


WRONG = [
    ("ball", {"puppy", "dog", "dogs", "disk", "cup"}),  # neither soccer ball (a kind of it) nor object nor watering can
    ("soccer ball", {"puppy", "dog", "dogs", "disk", "cup"}),  # ball is its hypernym, and its head
    ("puppy", {"ball", "soccer ball", "disk", "cup"}),  # dog is above it, dogs is dog
]


@pytest.mark.parametrize(("item", "possible"), WRONG)
def test_wrong_fillers_are_wrong(item: str, possible: set[str]) -> None:
    stock = {"item": [noun.key for noun in NOUNS.nouns]}
    found = set()
    for seed in range(40):
        chosen = WrongFillers(NOUNS, stock, ("watering",)).choose(picture(item), 2, seed=seed)
        assert set(chosen) == {"item"}  # the empty role gets none
        assert len(chosen["item"]) == 2
        found |= set(chosen["item"])
    assert found == possible


def test_wrong_fillers_respect_every_annotator_and_the_other_roles() -> None:
    stock = {"item": ["ball", "cup", "puppy"], "destination": ["ball", "cup", "puppy"]}
    image = picture("ball", destination="cup", annotators=("ball", "puppy", "ball"))
    assert WrongFillers(NOUNS, stock).choose(image, 2, seed=0) == {}
    free = WrongFillers(NOUNS, stock).choose(picture("dog", destination="can"), 1, seed=0)
    assert free.keys() == {"item", "destination"}
    assert free["item"] != free["destination"]  # no word is offered twice


def test_offered_verbs_can_be_avoided_too() -> None:
    chooser = WrongFillers(NOUNS, {"item": ["can", "cup"]})
    assert chooser.choose(picture("dog"), 2, seed=0)["item"] in (("watering can", "cup"), ("cup", "watering can"))
    assert chooser.choose(picture("dog"), 2, seed=0, avoided=("watering",)) == {"item": ("cup",)}


PEOPLE = Vocabulary(
    (Verb("throwing", ("item", "destination")),),
    (
        Noun("m", ("man", "adult male")),
        Noun("w", ("woman", "adult female")),
        Noun("k", ("king", "monarch"), "sovereign"),
        Noun("c", ("cook",), "skilled worker"),
        Noun("p", ("person", "individual")),
    ),
)

WRONG_PEOPLE = [
    ("m", (), {"woman"}),  # a king or a cook may well be a man
    ("k", (), {"cook"}),  # and a man or a woman could be the monarch
    ("m", ("m", "k", "m"), {"cook"}),  # one annotator saw more
    ("p", (), set()),  # a person may be any of them
]


@pytest.mark.parametrize(("item", "annotators", "possible"), WRONG_PEOPLE)
def test_a_word_for_anyone_is_no_contradiction(item: str, annotators: tuple[str, ...], possible: set[str]) -> None:
    wrong = WrongFillers(PEOPLE, {"item": ["m", "w", "k", "c"]})
    found = {
        word
        for seed in range(20)
        for words in wrong.choose(picture(item, annotators=annotators), 1, seed=seed).values()
        for word in words
    }
    assert found == possible


def test_a_kind_is_known_by_any_of_its_names() -> None:
    nouns = (
        Noun("w", ("wine",), "beverage"),
        Noun("b", ("beverage", "drink"), "food"),
        Noun("d", ("drink",)),  # another sense, with no kind given
        Noun("s", ("soup",), "dish"),
    )
    wrong = WrongFillers(Vocabulary((Verb("throwing", ("item", "destination")),), nouns), {"item": ["b", "d", "s"]})
    assert {wrong.choose(picture("w"), 3, seed=seed)["item"] for seed in range(5)} == {("soup",)}
