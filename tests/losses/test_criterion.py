from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ovgsr.config import LossSettings
from ovgsr.losses.criterion import task_losses
from ovgsr.losses.recognition import log_prior, verb_loss
from ovgsr.tensors import RoleOutputs, Targets, VerbScores

COUNTS = torch.tensor([50.0, 5.0, 1.0])


def _case() -> tuple[VerbScores, RoleOutputs, Targets]:
    torch.manual_seed(0)
    roles = RoleOutputs(
        noun_logits=torch.randn(2, 2, 4, requires_grad=True),
        boxes_cxcywh=torch.rand(2, 2, 4, requires_grad=True),
        grounded_logits=torch.randn(2, 2, requires_grad=True),
        features=torch.zeros(2, 2, 8),
    )
    targets = Targets(
        verb_index=torch.tensor([2, 0]),
        role_mask=torch.tensor([[True, True], [True, False]]),
        noun_index=torch.tensor([[[1, 1], [0, 2]], [[3, 3], [-1, -1]]]),
        boxes_cxcywh=torch.rand(2, 2, 4),
        grounded=torch.tensor([[True, False], [True, False]]),
    )
    scores = VerbScores(torch.randn(2, 3, requires_grad=True), distilled=torch.randn(2, 3, requires_grad=True))
    return scores, roles, targets


def test_terms_are_weighted_and_the_report_is_not() -> None:
    scores, roles, targets = _case()
    settings = LossSettings(verb=2, noun=3, box_l1=5, box_giou=7, grounded=11)
    losses, report = task_losses(scores, roles, targets, settings, COUNTS)
    assert list(losses) == list(report) == ["verb", "noun", "box_l1", "box_giou", "grounded"]
    for name, weight in (("verb", 2), ("noun", 3), ("box_l1", 5), ("box_giou", 7), ("grounded", 11)):
        assert losses[name].item() == pytest.approx(weight * report[name].item(), rel=1e-6)
        assert not report[name].requires_grad


def test_cross_entropy_never_touches_the_distilled_readout() -> None:
    scores, roles, targets = _case()
    losses, _ = task_losses(scores, roles, targets, LossSettings(), COUNTS)
    torch.stack(list(losses.values())).sum().backward()
    assert scores.distilled is not None
    assert scores.distilled.grad is None
    assert scores.recognition.grad is not None


BALANCE = [
    # setting, strength, the prior it stands for
    ("none", 1.0, None),
    ("balanced_softmax", 0.3, log_prior(COUNTS)),  # has no strength of its own
    ("logit_adjustment", 0.3, log_prior(COUNTS, 0.3)),
    ("logit_adjustment", 1.0, log_prior(COUNTS)),  # tau 1 is balanced softmax
]


@pytest.mark.parametrize(("balance", "tau", "prior"), BALANCE)
def test_the_balance_chooses_the_prior(balance: str, tau: float, prior: torch.Tensor | None) -> None:
    scores, roles, targets = _case()
    settings = LossSettings.model_validate({"balance": balance, "adjustment": tau})
    losses, _ = task_losses(scores, roles, targets, settings, COUNTS)
    assert losses["verb"].item() == pytest.approx(verb_loss(scores.recognition, targets.verb_index, prior).item())


def test_a_batch_with_nothing_grounded_and_no_known_noun_is_finite() -> None:
    scores, roles, targets = _case()
    bare = replace(
        targets,
        noun_index=torch.full((2, 2, 2), -1),
        boxes_cxcywh=torch.zeros(2, 2, 4),
        grounded=torch.zeros(2, 2, dtype=torch.bool),
    )
    losses, _ = task_losses(scores, roles, bare, LossSettings(), COUNTS)
    assert losses["noun"].item() == losses["box_l1"].item() == losses["box_giou"].item() == 0
    torch.stack(list(losses.values())).sum().backward()
    for tensor in (scores.recognition, roles.noun_logits, roles.boxes_cxcywh, roles.grounded_logits):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
