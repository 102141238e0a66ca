"""Questions and sentences with a gap: what the model is asked, word for word."""

from __future__ import annotations

import pytest

from ovgsr.recognizers.prompted_questions import Cloze, box_question, filler, frame_question, role_cloze
from ovgsr.recognizers.spoken_boxes import BoxFormat
from ovgsr.vocabulary import Noun, Verb, Vocabulary, swig_vocabulary

CUTTING = Verb("cutting", ("agent", "item", "tool"), "to part with a blade.", "An AGENT cuts an ITEM with a TOOL.")

CLOZES = [
    # the verb's own sentence up to the role; earlier roles are someone and something
    (CUTTING, "item", Cloze("someone cuts")),
    (CUTTING, "tool", Cloze("someone cuts something with")),
    # the one who acts begins the sentence, with an abstract or without
    (CUTTING, "agent", Cloze("", end=" is cutting")),
    (Verb("barking", ("agent",)), "agent", Cloze("", end=" is barking")),
    # no abstract, or one without the role
    (Verb("ride", ("vehicle",)), "vehicle", Cloze("in this picture of riding, the vehicle is")),
    # the place ends it and brings its own preposition
    ("juggling", "place", Cloze("someone is juggling", True)),
    # verbs whose base form looks like another one's gerund
    ("clinging", "clungto", Cloze("someone clings to")),
    ("tying", "connector", Cloze("someone ties something to something with")),
]


@pytest.mark.parametrize(("verb", "role", "expected"), CLOZES)
def test_a_sentence_with_a_gap(verb: Verb | str, role: str, expected: Cloze) -> None:
    known = swig_vocabulary().verb(verb) if isinstance(verb, str) else verb
    assert role_cloze(known, role) == expected


def test_every_role_of_swig_has_a_sentence() -> None:
    by_abstract = 0
    for verb in swig_vocabulary().verbs:
        for role in verb.roles:
            cloze = role_cloze(verb, role)
            assert cloze.start or cloze.end
            assert not any(word.isupper() and len(word) > 2 for word in cloze.start.split()), cloze
            assert not cloze.start.endswith((" a", " an", " the")), cloze
            by_abstract += not cloze.start.startswith("in this picture of ")
    assert by_abstract > 1750  # of 1,788


FILLERS = [
    ("n1", "item", False, " a knife"),
    ("n2", "item", False, " bread"),
    ("n3", "place", True, " in the park"),
    ("n3", "place", False, " a park"),
    ("n4", "agent", False, " a boy"),  # as a person says it
    ("", "item", False, " nothing"),
    ("", "agent", False, " no one"),
]


@pytest.mark.parametrize(("key", "role", "is_place", "expected"), FILLERS)
def test_a_noun_in_the_gap(key: str, role: str, is_place: bool, expected: str) -> None:
    nouns = (Noun("n1", ("knife",)), Noun("n2", ("bread",)), Noun("n3", ("park",)), Noun("n4", ("male child", "boy")))
    assert filler(key, role, Cloze("someone cuts", is_place), Vocabulary((), nouns)) == expected


def test_a_frame_is_asked_for() -> None:
    assert frame_question(CUTTING, "thousandths") == (
        "The picture shows someone or something cutting (to part with a blade). "
        "Say who or what fills each of these roles, and where it is in the picture:\n"
        '- "agent": the one who does it: a person, an animal or a moving thing\n'
        '- "item": the thing that is handled, moved or acted on\n'
        '- "tool": what is used to do it: a hand, an instrument or a machine\n'
        'Answer with one JSON object and nothing else: {"agent": {"noun": "...", "box": [x1, y1, x2, y2]}, '
        '"item": {"noun": "...", "box": [x1, y1, x2, y2]}, "tool": {"noun": "...", "box": [x1, y1, x2, y2]}}. '
        '"noun" is one or two words, or null where nothing fills the role; '
        '"box" is [x1, y1, x2, y2] from 0 to 1000, or null where it cannot be seen.'
    )


BOXES: list[tuple[str, BoxFormat, str]] = [
    ("dog", "locations", "detect dog"),
    ("dog", "fractions", "Where is the dog in the picture?"),
    ("bread", "thousandths", "Where is the bread in the picture?"),
    ("sky", "thousandths", "Where is the sky in the picture?"),
]


@pytest.mark.parametrize(("word", "spoken", "expected"), BOXES)
def test_a_box_is_asked_for(word: str, spoken: BoxFormat, expected: str) -> None:
    assert box_question(word, spoken).startswith(expected)
