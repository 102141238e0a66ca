from __future__ import annotations

import math

import pytest
import torch

from ovgsr.losses.grounding import box_losses, grounded_loss

Box = tuple[float, float, float, float]

CASES: list[tuple[str, Box, Box, float, float]] = [
    # what, predicted and target as (cx, cy, w, h), L1, GIoU
    ("the same", (0.5, 0.5, 0.4, 0.2), (0.5, 0.5, 0.4, 0.2), 0.0, 1.0),
    # (0, 0, .5, 1) and (.5, 0, 1, 1) touch: no overlap, the hull is the picture and full
    ("side by side", (0.25, 0.5, 0.5, 1.0), (0.75, 0.5, 0.5, 1.0), 0.5, 0.0),
    # (0, 0, .2, .2) and (.8, .8, 1, 1): union .08 in a hull of 1 -> -.92
    ("far corners", (0.1, 0.1, 0.2, 0.2), (0.9, 0.9, 0.2, 0.2), 1.6, -0.92),
    # half of the target: IoU .5, the hull is the target
    ("inside", (0.25, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0), 0.75, 0.5),
    # (0, 0, .6, .6) and (.2, .2, .8, .8): overlap .16, union .56, hull .64
    ("overlapping", (0.3, 0.3, 0.6, 0.6), (0.5, 0.5, 0.6, 0.6), 0.4, 0.16 / 0.56 - 0.08 / 0.64),
]


@pytest.mark.parametrize(("what", "predicted", "target", "l1", "giou"), CASES, ids=[case[0] for case in CASES])
def test_box_losses_by_hand(what: str, predicted: Box, target: Box, l1: float, giou: float) -> None:
    found = box_losses(torch.tensor([[predicted]]), torch.tensor([[target]]), torch.tensor([[True]]))
    assert found[0].item() == pytest.approx(l1, abs=1e-6)
    assert found[1].item() == pytest.approx(1 - giou, abs=1e-6)


def test_boxes_count_where_grounded_only() -> None:
    predicted = torch.tensor([[case[1] for case in CASES]], requires_grad=True)
    target = torch.tensor([[case[2] for case in CASES]])
    grounded = torch.tensor([[False, True, True, False, False]])
    l1, giou = box_losses(predicted, target, grounded)
    assert l1.item() == pytest.approx((0.5 + 1.6) / 2)
    assert giou.item() == pytest.approx((1.0 + 1.92) / 2)
    (l1 + giou).backward()
    assert predicted.grad is not None
    assert (predicted.grad.abs().sum(dim=-1) > 0).tolist() == grounded.tolist()


def test_nothing_grounded_is_zero_and_finite() -> None:
    predicted = torch.rand(2, 3, 4, requires_grad=True)
    l1, giou = box_losses(predicted, torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool))
    (l1 + giou).backward()
    assert (l1.item(), giou.item()) == (0, 0)
    assert predicted.grad is not None
    assert torch.equal(predicted.grad, torch.zeros_like(predicted))


def test_grounded_loss_against_loops() -> None:
    logits = torch.tensor([[0.5, -2.0, 3.0], [1.0, 0.0, -1.0]])
    grounded = torch.tensor([[True, False, False], [False, True, True]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    terms = []
    for picture in range(2):
        for role in range(3):
            if mask[picture, role]:
                probability = 1 / (1 + math.exp(-float(logits[picture, role])))
                terms.append(-math.log(probability if grounded[picture, role] else 1 - probability))
    assert len(terms) == 3
    assert grounded_loss(logits, grounded, mask).item() == pytest.approx(sum(terms) / 3, rel=1e-5)
    assert grounded_loss(logits, grounded, torch.zeros_like(mask)).item() == 0
