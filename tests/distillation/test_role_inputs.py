from __future__ import annotations

from collections.abc import Sequence

import torch

from ovgsr.distillation.role_inputs import AnnotatedRoles
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.vocabulary import Noun, Verb, Vocabulary

WORDS = Vocabulary(
    verbs=(
        Verb("throwing", ("agent", "item")),
        Verb("cutting", ("agent", "item", "tool")),
        Verb("barking", ("agent",)),
    ),
    nouns=(Noun("n1", ("man",)), Noun("n2", ("dog",))),
)
NAMES = ("the agent", "the item", "the tool")


class Encoder:
    """Two numbers for each of the three texts that may be embedded; any other is an error."""

    width = 2
    fingerprint = "none"

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[float(NAMES.index(text)), 1.0] for text in texts])


def _image(verb: str, **nouns: GroundedNoun) -> AnnotatedImage:
    return AnnotatedImage("x.jpg", 40, 20, (Situation(verb, nouns),))


IMAGES = (
    _image("barking", agent=GroundedNoun("n2", (0, 0, 20, 20))),
    # in another order than the frame's; the agent has no box
    _image("throwing", item=GroundedNoun("n2", (10, 5, 30, 15)), agent=GroundedNoun("n1")),
    _image("cutting", agent=GroundedNoun("n1"), item=GroundedNoun(""), tool=GroundedNoun("n1", (36, 0, 40, 10))),
)


def test_roles_are_told_in_frame_order_with_their_boxes() -> None:
    found = AnnotatedRoles(IMAGES, WORDS, Encoder())([1, 2])
    assert found.mask.tolist() == [[True, True, False], [True, True, True]]
    # Bare names: the roles of two verbs are told alike, and padding is zeros.
    assert found.texts.tolist() == [[[0, 1], [1, 1], [0, 0]], [[0, 1], [1, 1], [2, 1]]]
    assert found.grounded.tolist() == [[False, True, False], [False, False, True]]
    expected = torch.zeros(2, 3, 4)
    expected[0, 1] = torch.tensor([0.5, 0.5, 0.5, 0.5])
    expected[1, 2] = torch.tensor([0.95, 0.25, 0.1, 0.5])
    torch.testing.assert_close(found.boxes_cxcywh, expected)


def test_the_longest_frame_of_the_batch_counts() -> None:
    roles = AnnotatedRoles(IMAGES, WORDS, Encoder())
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
    first, second = (AnnotatedRoles(images, WORDS, Encoder())([0, 1, 2]) for images in (IMAGES, other))
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in vars(first))


def test_boxes_lie_where_a_teacher_that_cuts_the_middle_out_sees_them() -> None:
    # Of 40 x 20 pixels the teacher sees the middle 20 x 20: x from 10 to 30.
    found = AnnotatedRoles(IMAGES, WORDS, Encoder(), seen=lambda width, height: (10.0, 0.0, 30.0, 20.0))([0, 1, 2])
    torch.testing.assert_close(found.boxes_cxcywh[0, 0], torch.tensor([0.25, 0.5, 0.5, 1.0]))  # x 0..20 cut to 10..20
    torch.testing.assert_close(found.boxes_cxcywh[1, 1], torch.tensor([0.5, 0.5, 1.0, 0.5]))  # x 10..30
    assert found.grounded.tolist()[2] == [False, False, False]  # x 36..40: out of its sight


def test_boxes_lie_where_a_teacher_that_pads_to_a_square_sees_them() -> None:
    padded = AnnotatedRoles(IMAGES, WORDS, Encoder(), seen=lambda width, height: (0.0, -10.0, 40.0, 30.0))([1])
    torch.testing.assert_close(padded.boxes_cxcywh[0, 1], torch.tensor([0.5, 0.5, 0.5, 0.25]))  # y 5..15 of 20
    whole = AnnotatedRoles(IMAGES, WORDS, Encoder(), seen=lambda width, height: (0.0, 0.0, 40.0, 20.0))([1])
    torch.testing.assert_close(whole.boxes_cxcywh, AnnotatedRoles(IMAGES, WORDS, Encoder())([1]).boxes_cxcywh)
