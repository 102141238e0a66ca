from __future__ import annotations

import math

import pytest
import torch

from ovgsr.losses.recognition import log_prior, noun_loss, verb_loss
from ovgsr.tensors import IGNORE


def test_noun_loss_against_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 6, generator=generator)
    nouns = torch.randint(0, 6, (4, 3, 3), generator=generator)
    nouns[0, 0, 1] = IGNORE  # two annotators left
    nouns[1, 2] = IGNORE  # nobody left: the role does not count
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[2, 1:] = False  # padding, with indices that must not be looked at
    total, roles = 0.0, 0
    for picture in range(4):
        for role in range(3):
            terms = []
            for annotator in range(3):
                index = int(nouns[picture, role, annotator])
                if mask[picture, role] and index != IGNORE:
                    row = logits[picture, role].tolist()
                    terms.append(math.log(sum(math.exp(value) for value in row)) - row[index])
            if terms:
                total += sum(terms) / len(terms)
                roles += 1
    assert roles == 9
    assert noun_loss(logits, nouns, mask).item() == pytest.approx(total / roles, rel=1e-5)


def test_noun_loss_of_nothing_is_zero_and_trains_nothing() -> None:
    logits = torch.randn(2, 2, 4, requires_grad=True)
    loss = noun_loss(logits, torch.full((2, 2, 3), IGNORE), torch.ones(2, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_ignored_annotators_and_padding_get_no_gradient() -> None:
    logits = torch.randn(1, 2, 4, requires_grad=True)
    nouns = torch.tensor([[[1, IGNORE], [2, 3]]])
    noun_loss(logits, nouns, torch.tensor([[True, False]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].abs().sum() > 0
    assert logits.grad[0, 1].abs().sum() == 0


def test_log_prior_by_hand() -> None:
    # 6, 2 and never: the last counts as half a picture, 8.5 in all
    expected = torch.tensor([6 / 8.5, 2 / 8.5, 0.5 / 8.5]).log()
    torch.testing.assert_close(log_prior(torch.tensor([6.0, 2.0, 0.0])), expected)
    torch.testing.assert_close(log_prior(torch.tensor([6.0, 2.0, 0.0]), tau=0.3), 0.3 * expected)


def test_balanced_softmax_is_the_papers_formula() -> None:
    # Ren et al. 2020, eq. 4: -log( n_y e^{l_y} / sum_i n_i e^{l_i} )
    counts = torch.tensor([90.0, 9.0, 1.0])
    logits = torch.tensor([[0.3, -0.2, 1.0], [1.0, 2.0, 0.5]])
    index = torch.tensor([2, 0])
    expected = 0.0
    for row, right in zip(logits.tolist(), index.tolist(), strict=True):
        weighted = [count * math.exp(value) for count, value in zip(counts.tolist(), row, strict=True)]
        expected -= math.log(weighted[right] / sum(weighted)) / 2
    assert verb_loss(logits, index, log_prior(counts)).item() == pytest.approx(expected, rel=1e-5)


def test_the_prior_pushes_a_rare_verb_up_and_a_common_one_less() -> None:
    counts = torch.tensor([90.0, 10.0])

    def push(right: int, prior: torch.Tensor | None) -> float:
        """How much a step down the gradient raises the right verb's logit."""
        logits = torch.zeros(1, 2, requires_grad=True)
        verb_loss(logits, torch.tensor([right]), prior).backward()
        assert logits.grad is not None
        return -float(logits.grad[0, right])

    # By hand: with the prior the probability of the right verb is its share, and the push is 1 - share.
    assert push(1, log_prior(counts)) == pytest.approx(0.9)
    assert push(0, log_prior(counts)) == pytest.approx(0.1)
    assert push(1, None) == push(0, None) == pytest.approx(0.5)
    assert 0.5 < push(1, log_prior(counts, tau=0.5)) < 0.9


def test_verb_loss_smoothes_the_target() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    wrong = math.log(1 + math.exp(2.0))  # -log softmax of the second verb
    right = wrong - 2
    expected = 0.9 * right + 0.1 * (right + wrong) / 2
    assert verb_loss(logits, torch.tensor([0]), label_smoothing=0.1).item() == pytest.approx(expected, rel=1e-5)
