"""The nouns that are worth a full likelihood, by hand."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from tests.recognizers.prompted_fakes import TOKENS, FakeTeacher, picture

from ovgsr.recognizers.prompted import PromptedRecognizer
from ovgsr.recognizers.prompted_settings import PromptSettings
from ovgsr.recognizers.prompted_shortlist import FirstTokens, shortlisted
from ovgsr.vocabulary import Noun, Verb, Vocabulary

NOUNS = ("man", "dog", "bread", "mango", "umbrella", "knife", "ball")
CUTTING = Verb("cutting", ("agent", "item"), abstract="An AGENT cuts an ITEM.")
VOCABULARY = Vocabulary((CUTTING,), tuple(Noun(word, (word,)) for word in NOUNS))
AFTER_START = {" a": 0.3, " an": 0.1, " bread": 0.5, " in": 0.1}
AFTER_ARTICLE = {" man": 0.4, " dog": 0.1, "Dog": 0.2, " m": 0.3}


def next_token(red: int, length: int) -> list[float]:
    """ "someone cuts" is two tokens long, "someone cuts a" three."""
    likely = {2: AFTER_START, 3: AFTER_ARTICLE}.get(length, {})
    return [math.log(likely[token]) if token in likely else -1e9 for token in TOKENS]


def test_likelihoods_of_first_tokens() -> None:
    fake = cast(Any, FakeTeacher(next_token=next_token))
    (visual,) = fake.visual_tokens([picture(1)])
    found = FirstTokens(fake, VOCABULARY).likelihoods(visual, "what is happening?", "someone cuts").exp()
    expected = [
        0.4 * 0.4,  # an article, 0.3 + 0.1, then "man"
        0.4 * (0.1 + 0.2),  # "dog" in both spellings
        0.5,  # bread takes no article
        0.4 * 0.4,  # no token "mango": the longest that begins it is "man"
        0.0,  # nothing begins "umbrella"
        0.0,  # a token, but not a likely one
        0.0,
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


SHORTLISTS: list[tuple[list[int], list[float] | None, int, int, list[int]]] = [
    ([], [-1, -3, -2, -4], 5, 5, [0, 1, 2, 3, 4]),  # all fit
    ([], [-1, -3, -2, -4], 5, 3, [0, 1, 3]),  # the empty answer and the two likeliest
    ([4], [-1, -3, -2, -4], 5, 3, [0, 1, 4]),  # one that was named comes first
    ([4, 4, 2, 3], [-1, -3, -2, -4], 5, 3, [0, 2, 4]),  # named ones only, each once
    ([], None, 5, 3, [0, 1, 2]),  # nothing known: the vocabulary's order
    ([3], None, 5, 3, [0, 1, 3]),
    ([], [-1, -1, -1, -1], 5, 2, [0, 1]),  # equals in order
]


@pytest.mark.parametrize(("named", "likelihoods", "count", "most", "expected"), SHORTLISTS)
def test_a_shortlist(
    named: list[int], likelihoods: list[float] | None, count: int, most: int, expected: list[int]
) -> None:
    values = None if likelihoods is None else torch.tensor(likelihoods)
    assert shortlisted(named, values, count, most) == expected


def test_a_long_list_is_shortened_for_every_role() -> None:
    fake = FakeTeacher(
        next_token=next_token,
        reply=lambda red, question, start: "a man with a ball",  # the caption: names man and ball
        likelihood=lambda red, start, text: 3.0 * (text == " bread"),
    )
    settings = PromptSettings(role_readout="likelihood", shortlist=4)
    recognizer = PromptedRecognizer(cast(Any, fake), settings=settings)
    found = recognizer.predict([picture(1), picture(2)], VOCABULARY, top_k=1)
    item = [call for call in fake.scored if call[2] == "someone cuts"]
    assert [call[3] for call in item] == [(" nothing", " a man", " bread", " a ball")] * 2  # named, then the likeliest
    assert [prediction.best.nouns["item"].noun for prediction in found] == ["bread", "bread"]
    assert fake.asked == [(1, "what is happening?", ""), (2, "what is happening?", "")]  # one caption a picture
    assert len(recognizer.notices) == 1


def test_a_model_without_soft_tokens_says_so() -> None:
    fake = FakeTeacher(reply=lambda red, question, start: "a knife")
    recognizer = PromptedRecognizer(cast(Any, fake), settings=PromptSettings(role_readout="likelihood", shortlist=3))
    recognizer.predict([picture(1)], VOCABULARY, top_k=1)
    assert fake.scored[-1][3] == (" nothing", " a man", " a knife")
    assert recognizer.notices[1:] == (
        "nouns were shortlisted without their first tokens (this family takes no soft tokens)",
    )
