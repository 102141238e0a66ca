from __future__ import annotations

import torch

from ovgsr.distillation.role_inputs import AnnotatedRoles
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.tensors import TextEmbeddings
from ovgsr.vocabulary import Noun, Verb, Vocabulary

WORDS = Vocabulary(
    verbs=(
        Verb("throwing", ("agent", "item")),
        Verb("cutting", ("agent", "item", "tool")),
        Verb("barking", ("agent",)),
    ),
    nouns=(Noun("n1", ("man",)), Noun("n2", ("dog",))),
)
MASK = torch.arange(3) < torch.tensor([2, 3, 1])[:, None]
TEXT = TextEmbeddings(
    torch.zeros(3, 2),
    torch.arange(18.0).reshape(3, 3, 2) * MASK[..., None],  # another vector for every role of every verb
    MASK,
    torch.zeros(3, 2),
    "",
)


def _image(verb: str, **nouns: GroundedNoun) -> AnnotatedImage:
    return AnnotatedImage("x.jpg", 40, 20, (Situation(verb, nouns),))


IMAGES = (
    _image("barking", agent=GroundedNoun("n2", (0, 0, 20, 20))),
    # in another order than the frame's; the agent has no box
    _image("throwing", item=GroundedNoun("n2", (10, 5, 30, 15)), agent=GroundedNoun("n1")),
    _image("cutting", agent=GroundedNoun("n1"), item=GroundedNoun(""), tool=GroundedNoun("n1", (36, 0, 40, 10))),
)


def test_roles_are_told_in_frame_order_with_their_boxes() -> None:
    found = AnnotatedRoles(IMAGES, WORDS, TEXT)([1, 2])
    assert found.mask.tolist() == [[True, True, False], [True, True, True]]
    torch.testing.assert_close(found.texts, TEXT.roles[[0, 1]])
    assert found.grounded.tolist() == [[False, True, False], [False, False, True]]
    expected = torch.zeros(2, 3, 4)
    expected[0, 1] = torch.tensor([0.5, 0.5, 0.5, 0.5])
    expected[1, 2] = torch.tensor([0.95, 0.25, 0.1, 0.5])
    torch.testing.assert_close(found.boxes_cxcywh, expected)


def test_the_longest_frame_of_the_batch_counts() -> None:
    roles = AnnotatedRoles(IMAGES, WORDS, TEXT)
    for indices, longest in (([0], 1), ([0, 1], 2), ([0, 2, 0], 3), ([], 1)):
        found = roles(indices)
        assert found.texts.shape == (len(indices), longest, 2)
        assert found.mask.shape == found.grounded.shape == found.boxes_cxcywh.shape[:2] == (len(indices), longest)


def test_nothing_of_what_fills_a_role_is_told() -> None:
    """Other nouns at the same places make the same inputs: names and labels stay out."""
    other = [
        _image(
            image.situation.verb,
            **{role: GroundedNoun("n2", noun.box_xyxy) for role, noun in image.situation.nouns.items()},
        )
        for image in IMAGES
    ]
    first, second = (AnnotatedRoles(images, WORDS, TEXT)([0, 1, 2]) for images in (IMAGES, other))
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in vars(first))
