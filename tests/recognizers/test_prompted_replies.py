"""Replies as hostile input, and words as nouns: tables of what is read and of what is not."""

from __future__ import annotations

import json
import time

import pytest

from ovgsr.recognizers.prompted_replies import LONGEST_NOUN, NounMatcher, RoleReply, clean_words, read_reply
from ovgsr.vocabulary import Noun, Vocabulary, swig_vocabulary

ROLES = ("agent", "item", "place")
MAN = RoleReply("man", [1, 2, 3, 4])

READ: list[tuple[str, dict[str, RoleReply]]] = [
    ('{"agent": {"noun": "man", "box": [1, 2, 3, 4]}}', {"agent": MAN}),
    # chatter and a fence around it
    ('Sure! ```json\n{"agent": {"noun": "man", "bbox_2d": [1, 2, 3, 4]}}\n``` I hope this helps {x}', {"agent": MAN}),
    ('{x} {"agent": {"noun": "man", "box": [1, 2, 3, 4]}}', {"agent": MAN}),
    # other words for the fields
    ('{"agent": {"label": "man", "bbox": [1, 2, 3, 4]}}', {"agent": MAN}),
    ('{"agent": "man"}', {"agent": RoleReply("man")}),
    ('{"agent": ["man", "woman"]}', {"agent": RoleReply("man")}),
    ('{"agent": {"noun": ["man", "boy"]}}', {"agent": RoleReply("man")}),
    # in frame order, whatever the reply's; case and spaces of a role do not count
    ('{"Place": "park", " AGENT ": "man"}', {"agent": RoleReply("man"), "place": RoleReply("park")}),
    # nothing fills it
    ('{"agent": null, "item": {"noun": null, "box": [1, 2, 3, 4]}}', {"agent": RoleReply(""), "item": RoleReply("")}),
    ('{"agent": "None.", "item": "N/A", "place": "not visible"}', dict.fromkeys(ROLES, RoleReply(""))),
    ('{"agent": []}', {"agent": RoleReply("")}),
    # answers that are no words
    ('{"agent": 7, "item": true, "place": {"noun": 3}}', dict.fromkeys(ROLES, RoleReply(None))),
    ('{"agent": {"box": [1, 2, 3, 4]}}', {"agent": RoleReply(None, [1, 2, 3, 4])}),
    # unknown roles are dropped
    ('{"agent": "man", "villain": "dog", "__class__": "x"}', {"agent": RoleReply("man")}),
    # wrapped once, and as a list of entries
    ('{"verb": "throwing", "roles": {"agent": "man"}}', {"agent": RoleReply("man")}),
    ('[{"role": "agent", "noun": "man", "box": [1, 2, 3, 4]}, {"role": "x", "noun": "y"}]', {"agent": MAN}),
    ('{"a": {"b": {"c": {"agent": "man"}}}}', {"agent": RoleReply("man")}),
    ('{"roles": [{"role": "agent", "noun": "man", "box": [1, 2, 3, 4]}]}', {"agent": MAN}),
    # the last of two answers
    ('{"agent": "man", "agent": "dog"}', {"agent": RoleReply("dog")}),
    # cut off: what was complete stays
    ('{"agent": {"noun": "man", "box": [1, 2, 3, 4]}, "item": {"noun": "ba', {"agent": MAN}),
    ('{"agent": null, "item": "ball", "pla', {"agent": RoleReply(""), "item": RoleReply("ball")}),
    # no commas between the roles
    ('{"agent": "man" "item": "ball"}', {"agent": RoleReply("man"), "item": RoleReply("ball")}),
    # NaN is no number, and no error either
    ('{"agent": {"noun": "man", "box": [NaN, 2, 3, 4]}}', {"agent": RoleReply("man", [None, 2, 3, 4])}),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_reply(text: str, expected: dict[str, RoleReply]) -> None:
    found = read_reply(text, ROLES)
    assert found == expected
    assert found is not None
    assert list(found) == [role for role in ROLES if role in expected]


NOT_READ = [
    "",
    "I see a man throwing a ball in a park.",
    "{}",
    "[]",
    '{"villain": "dog"}',
    "{'agent': 'man'}",  # Python, which nobody evaluates
    '{"agent": __import__("os").system("true")}',
    '"agent": ',
    "[" * 30_000,
    '{"a":' * 5_000,
    "x" * 20_000 + '{"agent": "man"}',  # beyond what is read
]


@pytest.mark.parametrize("text", NOT_READ, ids=lambda text: str(text)[:30])
def test_no_json_about_the_frame(text: str) -> None:
    started = time.perf_counter()
    assert read_reply(text, ROLES) is None
    assert time.perf_counter() - started < 2


def test_a_number_of_ten_thousand_digits() -> None:
    text = '{"agent": ' + "9" * 10_000 + ', "item": "ball"}'
    assert read_reply(text, ROLES) == {"item": RoleReply("ball")}


WORDS = [
    ("  A  Man. ", "A Man"),
    ('"dog"', "dog"),
    ("hot\ndog\x00", "hot dog"),
    ("d\u200bo\u202eg", "dog"),  # zero-width space, right-to-left override
    ("ｄｏｇ", "dog"),  # full width
    ("none", ""),
    ("Nothing!", ""),
    ("the unknown", ""),
    ("nothingness", "nothingness"),
]


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words_are_cleaned(text: str, expected: str) -> None:
    assert clean_words(text) == expected


def test_words_are_bounded() -> None:
    found = read_reply(json.dumps({"agent": "dog " * 4_000}), ROLES)
    assert found is not None
    assert len(found["agent"].words or "") <= LONGEST_NOUN


@pytest.fixture(scope="module")
def nouns() -> NounMatcher:
    def noun(key: str, *words: str) -> Noun:
        return Noun(key, words)

    return NounMatcher(
        Vocabulary(
            (),
            (
                noun("n1", "man", "adult male"),
                noun("n2", "male child", "boy"),
                noun("n3", "knife"),
                noun("n4", "man", "mankind"),  # the same word again: the first is the commonest sense
                noun("n5", "hot dog"),
                noun("n6", "dog"),
                noun("n7", "box", "loge"),
                noun("n8", "boxing", "box"),  # its gloss is another noun's further word
                noun("n9", "ice_cream"),
                noun("n10", "young man"),
                noun("n11", "ampere", "a"),
            ),
        )
    )


MATCHED = [
    ("man", "n1"),
    ("A MAN.", "n1"),
    ("adult male", "n1"),
    ("men", "n1"),  # plural
    ("boys", "n2"),
    ("knives", "n3"),
    ("mankind", "n4"),
    ("a hot dog", "n5"),
    ("the big brown dog", "n6"),  # less and less from the left
    ("two dogs", "n6"),
    ("box", "n7"),
    ("loge", "n7"),
    ("boxing", "n8"),
    ("ice cream", "n9"),
    ("ice_cream", "n9"),
    ("a young man in a red shirt", "n10"),  # up to the preposition
    ("dog of a man", "n6"),
    ("man and dog", "n1"),
    ("dog, probably", "n6"),
    ("n6", "n6"),  # a key stands for itself
    ("", ""),
    ("none", ""),
    ("walrus", None),
    ("dog walrus", None),  # the head decides
    ("in", None),
]


@pytest.mark.parametrize(("words", "expected"), MATCHED)
def test_words_as_a_noun(nouns: NounMatcher, words: str, expected: str | None) -> None:
    assert nouns.match(words) == expected


MENTIONED: list[tuple[str, list[str]]] = [
    ("A man is giving a hot dog to his dog.", ["n1", "n5", "n6"]),  # the longest name; "A" is no ampere
    ("men, men and boxes", ["n1", "n7"]),
    ("nothing that anybody knows", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), MENTIONED)
def test_nouns_of_a_caption(nouns: NounMatcher, text: str, expected: list[str]) -> None:
    assert nouns.mentioned(text) == expected


def test_every_gloss_of_swig_means_a_noun_with_that_word() -> None:
    vocabulary = swig_vocabulary()
    matcher = NounMatcher(vocabulary)
    wrong: list[str] = []
    for noun in vocabulary.nouns:
        words = {word.lower() for word in vocabulary.noun(matcher.match(noun.gloss) or "").words}
        if noun.gloss.lower() not in words:
            wrong.append(noun.gloss)
    # Words that say "nothing" (six nouns), "O.K." with its stops, and a synonym that people use for another synset.
    assert len(wrong) < 12, wrong
