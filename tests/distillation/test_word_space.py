from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from ovgsr.distillation.word_space import PromptError, WordSpace, is_gerund, whole_words


class Fixed:
    """An encoder of a few words, by hand."""

    VECTORS: ClassVar = {"dog": (1.0, 0.0), "ball": (0.0, 1.0), "throwing": (1.0, 1.0), "barking": (2.0, 2.0)}
    fingerprint = "fixed"
    width = 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Tensor:
        self.asked += texts
        return torch.tensor([self.VECTORS[text] for text in texts])


VOCABULARY = ("<s>", " dog", " ball", " throwing", "ing", " barking", " ", "")

WHOLE = [
    # a tokenizer that keeps the space before a word: pieces without it are ends of words
    ((" dog", "dog", " a", " 12", " it's", "<s>", "", " "), [True, False, False, False, False, False, False, False]),
    # one that drops it: nothing tells a word from an end, so that all of letters count
    (("dog", "ing", "a", "12", "▁", ""), [True, True, False, False, False, False]),
    # a space before what is no word decides nothing
    ((" 12", "dog", " ."), [False, True, False]),
]


@pytest.mark.parametrize(("vocabulary", "expected"), WHOLE)
def test_whole_words(vocabulary: Sequence[str], expected: list[bool]) -> None:
    assert whole_words(vocabulary) == expected


GERUNDS = [
    ("carrying", True),
    ("skiing", True),
    ("wing", False),  # too short, as are "ring", "king" and "thing"
    ("thing", False),
    ("Beijing", False),  # a name
    ("during", False),
    ("carry", False),
]


@pytest.mark.parametrize(("word", "expected"), GERUNDS)
def test_gerunds(word: str, expected: bool) -> None:
    assert is_gerund(word) == expected


def test_embeddings_are_centred_over_the_words_and_stand_at_their_token_ids() -> None:
    encoder = Fixed()
    space = WordSpace.of(VOCABULARY, encoder)
    assert encoder.asked == ["dog", "ball", "throwing", "barking"]
    assert space.words.tolist() == [False, True, True, True, False, True, False, False]
    assert space.gerunds.tolist() == [False, False, False, True, False, True, False, False]
    assert space.width == 2
    # the mean of the four is (1, 1)
    expected = [[0, 0], [0, -1], [-1, 0], [0, 0], [0, 0], [1, 1], [0, 0], [0, 0]]
    assert space.embeddings.tolist() == expected
    assert space.state_dict() == {}, "nothing to keep, nothing to learn"
    assert list(space.parameters()) == []
    with pytest.raises(PromptError, match="holds no whole word"):
        WordSpace.of(("<s>", "12", ""), encoder)


def test_expected_embeddings_by_hand() -> None:
    space = WordSpace.of(VOCABULARY, Fixed())
    logits = torch.full((1, 2, 8), -100.0)
    logits[0, 0, [1, 2]] = torch.tensor([math.log(3), 0.0])  # dog 3/4, ball 1/4
    logits[0, 1, [0, 5]] = torch.tensor([0.0, 0.0])  # half of it says nothing
    torch.testing.assert_close(space.expected(logits), torch.tensor([[[-0.25, -0.75], [0.5, 0.5]]]))
    # At temperature 2 odds of 3 are odds of the root of 3.
    root = math.sqrt(3)
    expected = torch.tensor([-1 / (1 + root), -root / (1 + root)])
    torch.testing.assert_close(space.expected(logits, 2.0)[0, 0], expected)
    torch.testing.assert_close(space.expected(logits, torch.tensor(2.0))[0, 0], expected)


def test_actions_are_raced_among_gerunds_alone() -> None:
    space = WordSpace.of(VOCABULARY, Fixed())
    logits = torch.tensor([[9.0, 9.0, 9.0, math.log(1), 9.0, math.log(4), 9.0, 9.0]])
    torch.testing.assert_close(space.expected(logits, actions=True), torch.tensor([[0.8, 0.8]]))
    without = WordSpace.of((" dog", " ball"), Fixed())  # a vocabulary without gerunds: all words race
    torch.testing.assert_close(
        without.expected(torch.zeros(1, 2), actions=True), without.expected(torch.zeros(1, 2)), rtol=0, atol=0
    )


def test_half_precision_logits_are_read_in_full_precision() -> None:
    space = WordSpace.of(VOCABULARY, Fixed())
    logits = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    for actions in (False, True):
        found = space.expected(logits, actions=actions)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, space.expected(logits.float(), actions=actions))
        assert found.isfinite().all()
