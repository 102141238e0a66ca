from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ovgsr.recognizers.frames import borrow_frames
from ovgsr.vocabulary import Verb, Vocabulary, swig_vocabulary

AXES = {"someone is lobbing": (1.0, 0.1), "someone is throwing": (0.99, 0.1), "someone is cutting": (0.0, 1.0)}
asked: list[str] = []


def _embed(texts: Sequence[str]) -> Tensor:
    """Two directions; every sentence that is not named above lies opposite to both."""
    asked.extend(texts)
    vectors = torch.tensor([AXES.get(text, (-0.7, -0.7)) for text in texts])
    return torch.nn.functional.normalize(vectors, dim=-1)


def _refuse(texts: Sequence[str]) -> Tensor:
    raise AssertionError("nothing had to be embedded")


def test_a_stranger_borrows_from_the_nearest_and_says_so(tiny_vocabulary: Vocabulary) -> None:
    asked.clear()
    offered = Vocabulary((Verb("lobbing", definition="to throw hard"), Verb("barking", ("agent", "place"))), (), "mine")
    complete = borrow_frames(offered, tiny_vocabulary, _embed)
    lobbing, barking = complete.verbs
    assert (lobbing.roles, lobbing.borrowed_from) == (("agent", "item"), "throwing")
    assert lobbing.definition == "to throw hard"
    assert barking is offered.verbs[1], "a frame that is given is kept"
    assert complete.name == "mine"
    assert all(text.startswith("someone is ") for text in asked), "like is compared with like"


def test_a_known_verb_takes_its_own_frame(tiny_vocabulary: Vocabulary) -> None:
    offered = Vocabulary((Verb("jumping"), Verb("throwing", definition="mine")))
    jumping, throwing = borrow_frames(offered, tiny_vocabulary, _refuse).verbs
    assert jumping == swig_vocabulary().verb("jumping")
    assert jumping.borrowed_from is None
    # The checkpoint's own vocabulary comes before the built-in one, and a definition that is given stays.
    assert throwing.roles == ("agent", "item")
    assert throwing.roles != swig_vocabulary().verb("throwing").roles
    assert (throwing.definition, throwing.borrowed_from) == ("mine", None)


def test_nothing_missing_nothing_done(tiny_vocabulary: Vocabulary) -> None:
    assert borrow_frames(tiny_vocabulary, tiny_vocabulary, _refuse) is tiny_vocabulary


@pytest.mark.parametrize("name", ["lobbing", "xyzzy"])
def test_every_verb_ends_up_with_a_frame(tiny_vocabulary: Vocabulary, name: str) -> None:
    (verb,) = borrow_frames(Vocabulary((Verb(name),)), tiny_vocabulary, _embed).verbs
    assert verb.roles
    assert verb.borrowed_from
    assert verb.role_text(verb.roles[0])
