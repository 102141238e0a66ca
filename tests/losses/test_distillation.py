from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovgsr.losses.distillation import instance_loss, relation_loss, scene_loss, token_loss


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ANCHORS = random(7, 6, seed=9)
MASK = torch.tensor([[True, True, False], [True, False, False], [True, True, True], [True, True, True]])

# loss of (student, teacher), the shape of both
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...]]] = {
    "scene": (scene_loss, (4, 6)),
    "instance": (lambda student, teacher: instance_loss(student, teacher, MASK), (4, 3, 6)),
    "relation": (lambda student, teacher: relation_loss(student, teacher, ANCHORS), (4, 6)),
    "token": (lambda student, teacher: token_loss(student, teacher, (2, 3), (2, 3)), (4, 6, 6)),
}
each_loss = pytest.mark.parametrize(("loss", "shape"), LOSSES.values(), ids=LOSSES)


def test_scene_loss_by_hand() -> None:
    # cosines 1 (lengths do not matter), 0, -1 and 3/5 -> 0 + 1 + 2 + 0.4; the fifth the teacher does not have
    student = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 4.0], [1.0, 0.0]])
    teacher = torch.tensor([[5.0, 0.0], [1.0, 0.0], [-1.0, -1.0], [1.0, 0.0], [0.0, 0.0]])
    assert scene_loss(student, teacher).item() == pytest.approx(3.4 / 4)


def test_instance_loss_by_hand() -> None:
    right, up, left, none = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]
    # Terms of picture 0: 0, 1 and padding; of 1: 2 and one the teacher does not have; of 2: nothing left.
    student = torch.tensor([[right, right, right], [right, right, right], [right, right, right]])
    teacher = torch.tensor([[right, up, left], [left, none, left], [none, none, left]])
    mask = torch.tensor([[True, True, False], [True, True, False], [True, True, False]])
    assert instance_loss(student, teacher, mask).item() == pytest.approx(((0 + 1) / 2 + 2) / 2)


def test_scene_and_instance_against_torch() -> None:
    student, teacher = random(5, 4, 6), random(5, 4, 6, seed=1)
    mask = torch.arange(4) < torch.tensor([4, 1, 2, 3, 0])[:, None]
    expected = [
        sum(1 - F.cosine_similarity(student[b, r], teacher[b, r], dim=0).item() for r in range(count)) / count
        for b, count in enumerate([4, 1, 2, 3])
    ]
    assert instance_loss(student, teacher, mask).item() == pytest.approx(sum(expected) / 4, rel=1e-5)
    one, other = student[0], teacher[0]
    torch.testing.assert_close(scene_loss(one, other), F.cosine_embedding_loss(one, other, torch.ones(4)))


def test_relation_loss_by_hand() -> None:
    # Two anchors at right angles, t = 1: the teacher points at the first (cosines 1, 0), the student at the second.
    student, teacher = torch.tensor([[0.0, 3.0]]), torch.tensor([[2.0, 0.0]])
    anchors = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])  # and a zero one, which is none
    near, far = math.e / (math.e + 1), 1 / (math.e + 1)
    expected = near * math.log(near / far) + far * math.log(far / near)
    assert relation_loss(student, teacher, anchors, temperature=1.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
def test_relation_loss_against_torch(temperature: float) -> None:
    student, teacher = random(5, 6), random(5, 6, seed=1)
    teacher[3] = 0
    terms = []
    for row in (0, 1, 2, 4):
        learned = F.cosine_similarity(student[row], ANCHORS) / temperature
        taught = F.cosine_similarity(teacher[row], ANCHORS) / temperature
        terms.append(F.kl_div(learned.log_softmax(0), taught.softmax(0), reduction="sum").item())
    found = relation_loss(student, teacher, ANCHORS, temperature=temperature)
    assert found.item() == pytest.approx(sum(terms) / 4, rel=1e-4)


def test_relation_is_blind_to_what_no_anchor_sees() -> None:
    # Both have the same cosines with the anchors, and differ along the third axis.
    student, teacher = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[1.0, 2.0, -4.0]])
    anchors = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert relation_loss(student, teacher, anchors).item() == pytest.approx(0, abs=1e-6)
    assert scene_loss(student, teacher).item() > 1


@pytest.mark.parametrize("anchors", [ANCHORS[:1], ANCHORS[:0], torch.zeros(3, 6)], ids=["one", "none", "all zero"])
def test_too_few_anchors_say_nothing(anchors: Tensor) -> None:
    student = random(4, 6).requires_grad_()
    found = relation_loss(student, random(4, 6, seed=1), anchors)
    (gradient,) = torch.autograd.grad(found, student)
    assert found.item() == 0
    assert gradient.abs().max() < 1e-6


def test_token_loss_on_one_grid_is_row_by_row() -> None:
    student, teacher = random(2, 6, 5), random(2, 6, 5, seed=1)
    expected = 1 - F.cosine_similarity(student, teacher, dim=-1).mean()
    torch.testing.assert_close(token_loss(student, teacher, (2, 3), (2, 3)), expected)


def test_token_loss_averages_to_a_coarser_teacher() -> None:
    # 2 x 4 student tokens, read row by row; the teacher's 1 x 2 see the left and the right half.
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    student = torch.stack([right, right, up, up, right, up, up, up])[None]
    teacher = torch.stack([right, up])[None]
    left_half = 3 / math.sqrt(3 * 3 + 1)  # the mean of three to the right and one up, against right
    assert token_loss(student, teacher, (2, 4), (1, 2)).item() == pytest.approx((1 - left_half) / 2)


def test_token_loss_interpolates_to_a_finer_teacher() -> None:
    # One row of two tokens to four: the outer stay, the inner are 3/4 of the near and 1/4 of the far one.
    student = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    teacher = torch.tensor([[[1.0, 0.0]] * 4])
    cosines = [1, 3 / math.sqrt(10), 1 / math.sqrt(10), 0]
    assert token_loss(student, teacher, (1, 2), (1, 4)).item() == pytest.approx(1 - sum(cosines) / 4)


def test_token_loss_treats_each_side_by_itself() -> None:
    # Rows 4 -> 2 are averaged, columns 2 -> 4 interpolated.
    student, teacher = random(3, 8, 5), random(3, 8, 5, seed=1)
    rows = student.reshape(3, 2, 2, 2, 5).mean(dim=2)  # (3, rows, columns, 5)
    first, second = rows[:, :, 0], rows[:, :, 1]
    mixed = torch.stack([first, 0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second, second], dim=2)
    expected = 1 - F.cosine_similarity(mixed.flatten(1, 2), teacher, dim=-1).mean()
    torch.testing.assert_close(token_loss(student, teacher, (4, 2), (2, 4)), expected)


@pytest.mark.parametrize(("grids", "who"), [(((2, 2), (2, 3)), "student"), (((2, 3), (4, 2)), "teacher")])
def test_a_grid_that_does_not_hold_the_tokens_is_named(
    grids: tuple[tuple[int, int], tuple[int, int]], who: str
) -> None:
    with pytest.raises(ValueError, match=f"the {who} has 6 tokens"):
        token_loss(random(1, 6, 4), random(1, 6, 4), *grids)


@each_loss
def test_what_is_alike_costs_nothing_and_a_step_down_makes_alike(
    loss: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    teacher = random(*shape, seed=1)
    assert loss(2 * teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    student = random(*shape).requires_grad_()
    before = loss(student, teacher)
    (gradient,) = torch.autograd.grad(before, student)
    assert loss(student - 0.1 * gradient, teacher).item() < before.item()


@each_loss
def test_the_teacher_gets_no_gradient(loss: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape).requires_grad_(), random(*shape, seed=1).requires_grad_()
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


def test_the_anchors_get_no_gradient() -> None:
    anchors = ANCHORS.clone().requires_grad_()
    relation_loss(random(4, 6).requires_grad_(), random(4, 6, seed=1), anchors).backward()
    assert anchors.grad is None


@each_loss
def test_pictures_the_teacher_does_not_have_change_nothing(
    loss: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    student, teacher = random(*shape), random(*shape, seed=1)
    teacher[1] = 0
    spoilt = student.clone()
    spoilt[1] = math.nan  # whatever is there does not even reach the gradient
    spoilt.requires_grad_()
    found = loss(spoilt, teacher)
    assert found.item() == loss(student, teacher).item()
    (gradient,) = torch.autograd.grad(found, spoilt)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().sum(dim=1) > 0).tolist() == [True, False, True, True]
    if shape == (4, 6):
        kept = torch.tensor([0, 2, 3])
        torch.testing.assert_close(found.detach(), loss(student[kept], teacher[kept]))


@each_loss
def test_an_empty_teacher_is_zero_and_trains_nothing(
    loss: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    student = random(*shape).requires_grad_()
    found = loss(student, torch.zeros(shape))
    (gradient,) = torch.autograd.grad(found, student)
    assert found.item() == 0
    assert torch.equal(gradient, torch.zeros(shape))


@each_loss
def test_autocast_and_short_inputs_compute_in_float32(
    loss: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    student, teacher = random(*shape), random(*shape, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(student, teacher)
    assert inside.dtype == torch.float32
    assert inside.item() == loss(student, teacher).item()
    short = student.bfloat16(), teacher.half()  # as they come: autocast's features, the store's signals
    assert loss(*short).item() == loss(short[0].float(), short[1].float()).item()


@each_loss
def test_gradients(loss: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape).double().requires_grad_(), random(*shape, seed=1).double()
    teacher[2] = 0
    double = loss
    if loss is LOSSES["relation"][0]:

        def double(one: Tensor, other: Tensor) -> Tensor:
            return relation_loss(one, other, ANCHORS.double())

    assert torch.autograd.gradcheck(lambda value: double(value, teacher), student)
