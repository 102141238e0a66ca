from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import pytest

from ovgsr.hoi_vocabulary import hico_det_vocabulary
from ovgsr.situation import SituationError
from ovgsr.vocabulary import (
    EMPTY,
    Noun,
    Verb,
    Vocabulary,
    VocabularyError,
    role_descriptions,
    swig_nouns,
    swig_vocabulary,
)


def test_the_built_in_vocabulary_has_swigs_counts() -> None:
    swig = swig_vocabulary()
    assert (len(swig.verbs), len(swig.roles), len(swig.nouns)) == (504, 190, 9926)
    assert sum(len(verb.roles) for verb in swig.verbs) == 1788
    assert swig.max_roles == 6
    assert min(len(verb.roles) for verb in swig.verbs) == 1
    assert len(role_descriptions()) == 190
    assert set(role_descriptions()) == set(swig.roles)
    assert all(verb.definition for verb in swig.verbs)


def test_texts_of_a_few_entries() -> None:
    swig = swig_vocabulary()
    jumping = swig.verb("jumping")
    assert jumping.text.startswith("someone is jumping. ")
    assert jumping.definition.rstrip(".") in jumping.text
    assert jumping.text == jumping.text.strip()
    man = swig.noun("n10287213")
    assert (man.gloss, man.text) == ("man", "man, a kind of male")
    texts, glosses = ([getattr(noun, name) for noun in swig.nouns] for name in ("text", "gloss"))
    assert sum(count for count in Counter(glosses).values() if count > 1) == 3010
    assert sum(count for count in Counter(texts).values() if count > 1) == 236, "the hypernym tells most apart"
    assert "\t" not in "".join(texts)


VERBS = [
    (Verb("waving"), "someone is waving."),
    (Verb("waving", ("agent", "place")), "someone is waving. it involves agent, place."),
    (Verb("waving", ("agent",), "to move a hand."), "someone is waving. to move a hand. it involves agent."),
    (
        Verb("waving", ("agent",), "to move a hand", "An AGENT waves."),
        "someone is waving. to move a hand. an agent waves.",
    ),
    (Verb("sit_on", ("human", "object"), gerund="sitting on"), "someone is sitting on."),
]


@pytest.mark.parametrize(("verb", "text"), VERBS)
def test_the_sentence_of_a_verb(verb: Verb, text: str) -> None:
    assert verb.text == text


NOUNS = [
    (Noun("n1", ("dog", "hound")), "dog"),
    (Noun("n1", ("dog",), "canine"), "dog, a kind of canine"),
    (Noun("n1", ("dog",), "dog"), "dog"),  # its own hypernym says nothing
    (Noun("n1", ("dog",), "canine", "it barks"), "dog, a kind of canine: it barks"),
    (Noun("robot", ()), "robot"),  # a plain word
    (EMPTY, "nothing, the role is empty"),
]


@pytest.mark.parametrize(("noun", "text"), NOUNS)
def test_the_phrase_of_a_noun(noun: Noun, text: str) -> None:
    assert noun.text == text


def test_the_phrase_of_a_role_is_the_verbs_own_before_the_general_one() -> None:
    verb = Verb("waving", ("agent", "gadget"), role_definitions={"agent": "who waves"})
    assert verb.role_text("agent") == "agent: who waves"
    assert Verb("waving", ("agent",)).role_text("agent") == f"agent: {role_descriptions()['agent']}"
    assert verb.role_text("gadget") == "the gadget of waving"


def test_the_empty_answer_comes_first(tiny_vocabulary: Vocabulary) -> None:
    assert tiny_vocabulary.answers[0] is EMPTY
    assert [tiny_vocabulary.answer_index(key) for key in ("", "n1", "n4", "n9")] == [0, 1, 4, None]
    assert tiny_vocabulary.noun("") is EMPTY
    assert tiny_vocabulary.noun("n3").gloss == "ball"
    assert [tiny_vocabulary.word(key) for key in ("", "n3", "n9")] == ["nothing", "ball", "n9"]
    with pytest.raises(VocabularyError, match="the noun 'n9' is not in the vocabulary 'tiny'"):
        tiny_vocabulary.noun("n9")
    with pytest.raises(VocabularyError, match="the verb 'flying' is not in the vocabulary 'tiny'"):
        tiny_vocabulary.verb("flying")


def test_json_round_trip(tiny_vocabulary: Vocabulary) -> None:
    full = Vocabulary(
        (Verb("waving", ("agent",), "to wave", "An AGENT waves.", {"agent": "who"}), *tiny_vocabulary.verbs),
        (Noun("n9", ("dog", "hound"), "canine", "it barks"), Noun("robot", ())),
        "full",
    )
    assert Vocabulary.from_json(json.loads(json.dumps(full.to_json()))) == full
    swig = swig_vocabulary()
    assert Vocabulary.from_json(swig.to_json()) == swig
    hico = hico_det_vocabulary()
    assert Vocabulary.from_json(hico.to_json()) == hico


TEXTS_SHA256 = "42f2639c7f5ce01bd11f392495d3b8f9237b9315088b84917a33632b7f49e21f"
RECORD_SHA256 = "992112e32a97ba9f68f4a80eb4cae5a89b5e404b8964a10160295536a8a9f4c7"
"""Of the vocabulary before verbs could have a gerund."""


def test_a_gerund_leaves_vocabularies_without_one_as_they_were() -> None:
    """What checkpoints and fingerprints of SWiG hold: neither a text nor a record may change."""
    swig = swig_vocabulary()
    texts = json.dumps([verb.text for verb in swig.verbs])
    assert hashlib.sha256(texts.encode()).hexdigest() == TEXTS_SHA256
    assert hashlib.sha256(json.dumps(swig.to_json()).encode()).hexdigest() == RECORD_SHA256


RECORDS: list[tuple[Any, str]] = [
    ([], "'format' must be 'ovgsr-vocabulary-1'"),
    ({"format": "x"}, "'format' must be"),
    ({"format": "ovgsr-vocabulary-1", "verbs": {}}, "lacks a field or has one of the wrong kind: 'nouns'"),
    ({"format": "ovgsr-vocabulary-1", "verbs": [], "nouns": {}}, "lacks a field or has one of the wrong kind"),
    ({"format": "ovgsr-vocabulary-1", "verbs": {"a": {}}, "nouns": {}}, "'roles'"),
    ({"format": "ovgsr-vocabulary-1", "verbs": {}, "nouns": {"n1": 3}}, "wrong kind"),
]


@pytest.mark.parametrize(("record", "message"), RECORDS)
def test_a_bad_vocabulary_file_names_its_field(record: Any, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.from_json(record)


def test_duplicates_and_empty_entries_are_refused() -> None:
    with pytest.raises(VocabularyError, match="the verb 'waving' is named twice; remove one"):
        Vocabulary((Verb("waving"), Verb("bowing"), Verb("waving")))
    with pytest.raises(VocabularyError, match="verb number 2 is empty; remove it"):
        Vocabulary((Verb("waving"), Verb("  ")))
    with pytest.raises(VocabularyError, match="the noun 'n1' is named twice"):
        Vocabulary((), (Noun("n1", ("dog",)), Noun("n1", ("cat",))))
    with pytest.raises(VocabularyError, match="noun number 1 is empty"):
        Vocabulary((), (Noun("", ("nothing",)),))  # the empty answer is there by itself


def test_choosing_verbs_and_nouns(tiny_vocabulary: Vocabulary) -> None:
    chosen = tiny_vocabulary.with_verbs(["flying", "barking"])
    assert chosen.verb_names == ("flying", "barking")
    assert chosen.verb("flying").roles == ()
    assert chosen.verb("barking").roles == ("agent",)
    assert (chosen.verb_index("barking"), "throwing" in chosen) == (1, False)
    assert chosen.nouns == tiny_vocabulary.nouns
    fewer = tiny_vocabulary.with_nouns(tiny_vocabulary.nouns[2:])
    assert (fewer.answer_index("n3"), fewer.answer_index("n1")) == (1, None)
    with pytest.raises(SituationError, match="'flying' has no role"):
        _ = chosen.verb("flying").frame


def test_a_users_words_become_nouns() -> None:
    vocabulary = Vocabulary((), (Noun("n1", ("dog", "hound")), Noun("n2", ("hound", "chap"))))
    found = vocabulary.nouns_by_word(["Hound", "n2", "unicorn"])
    assert [noun.key for noun in found] == ["n1", "n2", "unicorn"]  # the first sense, a key, the plain word
    assert found[2].text == "unicorn"


def test_the_nouns_know_their_hypernym() -> None:
    dog = swig_nouns()["n02084071"]
    assert dog.gloss == "dog"
    assert dog.hypernym
