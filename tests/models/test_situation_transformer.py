from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch

from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.tensors import RoleOutputs, TextEmbeddings

Make = Callable[..., SituationTransformer]
Text = Callable[..., TextEmbeddings]


def _pixels(count: int = 3, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(5))


def _subset(text: TextEmbeddings, verbs: list[int]) -> TextEmbeddings:
    return replace(text, verbs=text.verbs[verbs], roles=text.roles[verbs], role_mask=text.role_mask[verbs])


@torch.no_grad()
@pytest.mark.parametrize("verbs", [1, 5, 504])
def test_the_same_weights_score_any_number_of_verbs(make_student: Make, random_text: Text, verbs: int) -> None:
    student, text = make_student(distilled_readout=True), random_text((2,) * verbs, nouns=40)
    encoded = student.encode(_pixels())
    scores = student.predict_verb(encoded, text)
    assert scores.recognition.shape == (3, verbs)
    assert scores.distilled is not None
    assert scores.distilled.shape == (3, verbs)
    assert scores.scene_text is not None
    torch.testing.assert_close(scores.scene_text.norm(dim=-1), torch.ones(3))
    roles = student.fill_roles(encoded, torch.tensor([0, verbs - 1, 0]), text)
    assert roles.noun_logits.shape == (3, 2, 40)
    assert roles.boxes_cxcywh.shape == (3, 2, 4)
    assert roles.attention is not None
    assert roles.attention.shape == (3, 2, 16)


@torch.no_grad()
def test_a_verbs_logit_owes_nothing_to_the_others_offered(make_student: Make, random_text: Text) -> None:
    student, text = make_student(distilled_readout=True), random_text((2,) * 20)
    encoded = student.encode(_pixels())
    every = student.predict_verb(encoded, text)
    assert every.distilled is not None
    for offered in ([7], [19, 7, 0], torch.randperm(20, generator=torch.Generator().manual_seed(1)).tolist()):
        scores = student.predict_verb(encoded, _subset(text, offered))
        assert scores.distilled is not None
        torch.testing.assert_close(scores.recognition, every.recognition[:, offered])
        torch.testing.assert_close(scores.distilled, every.distilled[:, offered])
    assert every.recognition.std(dim=-1).min() > 0.1, "the verbs are told apart"


@torch.no_grad()
def test_a_verb_never_seen_is_scored_by_its_text(make_student: Make, random_text: Text) -> None:
    student, text = make_student(), random_text((2,) * 5)
    encoded = student.encode(_pixels())
    twin = replace(
        text,
        verbs=torch.cat([text.verbs, text.verbs[3:4]]),
        roles=torch.cat([text.roles, text.roles[3:4]]),
        role_mask=torch.cat([text.role_mask, text.role_mask[3:4]]),
    )
    scores = student.predict_verb(encoded, twin).recognition
    torch.testing.assert_close(scores[:, 5], scores[:, 3])  # the same words, the same score
    filled = student.fill_roles(encoded, torch.tensor([5, 5, 5]), twin)
    torch.testing.assert_close(filled.noun_logits, student.fill_roles(encoded, torch.tensor([3] * 3), text).noun_logits)


@torch.no_grad()
def test_a_nouns_logit_owes_nothing_to_the_others_offered(make_student: Make, random_text: Text) -> None:
    student, text = make_student(), random_text(nouns=30)
    encoded, verbs = student.encode(_pixels()), torch.tensor([0, 1, 2])
    every = student.fill_roles(encoded, verbs, text)
    offered = [29, 3, 0]
    some = student.fill_roles(encoded, verbs, replace(text, nouns=text.nouns[offered]))
    torch.testing.assert_close(some.noun_logits, every.noun_logits[..., offered])
    assert torch.equal(some.boxes_cxcywh, every.boxes_cxcywh)


@torch.no_grad()
def test_the_frame_that_is_filled_never_moves_the_verb_scores(make_student: Make, random_text: Text) -> None:
    student, text = make_student(), random_text()
    for index in ([0, 0, 0], [1, 2, 0]):
        encoded = student.encode(_pixels())
        before = student.predict_verb(encoded, text).recognition
        student.fill_roles(encoded, torch.tensor(index), text)
        assert torch.equal(student.predict_verb(encoded, text).recognition, before)
    other_roles = replace(text, roles=-text.roles, role_mask=~text.role_mask)
    assert torch.equal(student.predict_verb(encoded, other_roles).recognition, before)


def _roles(outputs: RoleOutputs, picture: int, count: int) -> list[torch.Tensor]:
    values = [getattr(outputs, field.name) for field in fields(outputs)]
    return [value[picture, :count] for value in values]


@torch.no_grad()
def test_a_longer_padding_changes_no_answer(make_student: Make, random_text: Text) -> None:
    student = make_student()
    encoded, verbs = student.encode(_pixels()), torch.tensor([0, 1, 2])
    short = student.fill_roles(encoded, verbs, random_text())
    long = student.fill_roles(encoded, verbs, random_text(pad=3))
    assert long.noun_logits.shape[1] == short.noun_logits.shape[1] + 3
    for picture, count in enumerate((2, 3, 1)):
        for a, b in zip(_roles(short, picture, count), _roles(long, picture, count), strict=True):
            torch.testing.assert_close(a, b)


@torch.no_grad()
def test_roles_of_one_frame_see_one_another(make_student: Make, random_text: Text) -> None:
    student, text = make_student(), random_text()
    encoded, verbs = student.encode(_pixels(1)), torch.tensor([1])
    other = text.roles.clone()
    other[1, 2] *= -1  # another third role
    before = student.fill_roles(encoded, verbs, text).noun_logits[0, 0]
    after = student.fill_roles(encoded, verbs, replace(text, roles=other)).noun_logits[0, 0]
    assert not torch.allclose(before, after)


@torch.no_grad()
def test_a_picture_owes_nothing_to_its_batch(make_student: Make, random_text: Text) -> None:
    student, text = make_student(), random_text()
    pixels, verbs = _pixels(4), torch.tensor([0, 1, 2, 1])
    together = student.encode(pixels)
    scores, roles = student.predict_verb(together, text), student.fill_roles(together, verbs, text)
    for picture in range(4):
        alone = student.encode(pixels[picture : picture + 1])
        torch.testing.assert_close(
            student.predict_verb(alone, text).recognition[0], scores.recognition[picture], atol=1e-4, rtol=1e-4
        )
        filled = student.fill_roles(alone, verbs[picture : picture + 1], text)
        torch.testing.assert_close(filled.boxes_cxcywh[0], roles.boxes_cxcywh[picture], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(filled.noun_logits[0], roles.noun_logits[picture], atol=1e-3, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(32, 64), (64, 32), (96, 96), (40, 24), (8, 8)])
def test_any_grid_will_do(make_student: Make, random_text: Text, height: int, width: int) -> None:
    student, text = make_student(), random_text()
    encoded = student.encode(_pixels(2, height, width))
    assert encoded.grid == (height // 8, width // 8)
    assert encoded.tokens.shape == (2, height * width // 64, 16)
    roles = student.fill_roles(encoded, torch.tensor([1, 0]), text)
    assert ((roles.boxes_cxcywh >= 0) & (roles.boxes_cxcywh <= 1)).all()
    assert student.predict_verb(encoded, text).recognition.isfinite().all()


def test_every_weight_learns(make_student: Make, random_text: Text) -> None:
    student, text = make_student().train(), random_text()
    encoded = student.encode(_pixels(4))
    roles = student.fill_roles(encoded, torch.tensor([0, 1, 2, 1]), text)
    total = student.predict_verb(encoded, text).recognition.square().sum() + roles.noun_logits.square().sum()
    (total + roles.boxes_cxcywh.sum() + roles.grounded_logits.sum()).backward()
    # Several processes would wait for ever for the gradient of a weight that takes no part.
    assert [name for name, weight in student.named_parameters() if weight.grad is None] == []


def test_the_closed_baseline_needs_its_classes(make_student: Make, random_text: Text) -> None:
    student, text = make_student(head="closed"), random_text()
    encoded = student.encode(_pixels())
    with pytest.raises(ValueError, match="which offered word is which training class"):
        student.predict_verb(encoded, text)
    known = replace(text, verb_classes=torch.tensor([2, -1, 0]), noun_classes=torch.arange(5))
    scores = student.predict_verb(encoded, known).recognition
    assert (scores.argmin(dim=-1) == 1).all(), "a verb outside training comes last"
    assert student.fill_roles(encoded, torch.tensor([0, 1, 2]), known).noun_logits.shape == (3, 3, 5)
