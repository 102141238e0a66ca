"""Words to noun keys: the exact rule, and the nearest one with its threshold."""

from __future__ import annotations

import pytest
import torch

from evaluation.builders import prediction
from ovgsr.evaluation.words import exact_keys, nearest_keys, plain, words_to_nouns
from ovgsr.vocabulary import Noun, Verb, Vocabulary

VOCABULARY = Vocabulary(
    (Verb("w", ("agent",)),),
    (
        Noun("n01", ("man", "adult male")),
        Noun("n02", ("guy", "cat", "hombre")),  # a commoner noun that has "cat" among its words
        Noun("n03", ("cat", "true cat")),
        Noun("n04", ("hand", "paw")),
        Noun("n05", ("hand", "worker")),  # the second sense of the same gloss
        Noun("n06", ("ice cream",)),
    ),
)

# word, noun key or None, why
EXACT = [
    ("man", "n01", "the gloss"),
    ("Man", "n01", "in capitals"),
    ("cat", "n03", "a gloss goes before another noun's further word"),
    ("hombre", "n02", "a further word"),
    ("hand", "n04", "the first of two senses"),
    ("ice_cream", "n06", "underscores are spaces"),
    ("an  ice cream", "n06", "a leading article is dropped"),
    ("n05", "n05", "a key stands for itself"),
    ("", "", "the empty answer"),
    ("oov", "oov", "the class oov is kept"),
    ("dog", None, "nothing matches"),
]


@pytest.mark.parametrize(("word", "key", "why"), EXACT, ids=[why for *_, why in EXACT])
def test_exact(word, key, why):
    assert exact_keys([word], VOCABULARY).get(word) == key


def embed(texts):
    """Two dimensions: how much of a person, how much of an animal; length differs, as it may."""
    table = {"man": (2, 0), "gentleman": (3, 0.3), "guy": (1, 0.5), "cat": (0, 1), "dog": (0.9, 1), "hand": (-1, 0)}
    return torch.tensor([table.get(text, (-1, -1)) for text in texts])


def test_nearest_needs_its_threshold():
    # cosine of gentleman and man .995; of dog and its nearest, guy, (.9 + .5) / (1.345 * 1.118) = .931
    assert nearest_keys(["a gentleman", "dog"], VOCABULARY, embed, 0.95) == {"a gentleman": "n01"}
    assert nearest_keys(["dog"], VOCABULARY, embed, 0.93) == {"dog": "n02"}
    assert nearest_keys([], VOCABULARY, embed) == {}


def test_both_columns():
    given = [prediction("a.jpg", ["w"], {"w": {"agent": (word, (0, 0, 1, 1))}}) for word in ("man", "gentleman", "dog")]
    columns = words_to_nouns(given, VOCABULARY, embed, 0.95)
    assert columns.nearest is not None

    def answers(predictions):
        return [p.situations["w"].nouns["agent"].noun for p in predictions]

    assert answers(columns.exact) == ["n01", "gentleman", "dog"]
    assert answers(columns.nearest) == ["n01", "n01", "dog"]
    assert (columns.unmatched_exact, columns.unmatched_nearest) == (2, 1)
    assert columns.nearest[1].situations["w"].nouns["agent"].box_xyxy == (0, 0, 1, 1)
    assert words_to_nouns(given, VOCABULARY).nearest is None


def test_plain_keeps_words_that_only_begin_like_an_article():
    assert plain("Anthem") == "anthem"
    assert plain("The_Theatre") == "theatre"
