from __future__ import annotations

import numpy as np
import pytest
import torch

from ovgsr.training.sampling import EpochSampler, epoch_order, repeat_factors, sampled_verb_counts

LABELS = [0] * 12 + [1] * 4 + [2] * 2  # verb 3 has no picture


def test_rare_verbs_are_shown_more_often_up_to_a_bound() -> None:
    factors = repeat_factors(LABELS, 4, most=4.0)
    # 12 pictures once, 4 pictures thrice as often, 2 would be six times as often and are held at 4
    assert factors.tolist() == [1.0] * 12 + [3.0] * 4 + [4.0] * 2
    assert sampled_verb_counts(LABELS, 4, factors).tolist() == [12, 12, 8, 0]
    assert repeat_factors(LABELS, 4, most=1.0).tolist() == [1.0] * 18


def test_an_epoch_shows_every_picture_as_often_as_its_factor_says() -> None:
    factors = np.array([1.0, 2.0, 2.3, 3.0])
    times = np.array([np.bincount(epoch_order(factors, seed=0, epoch=e), minlength=4) for e in range(400)])
    assert (times[:, [0, 1, 3]] == [1, 2, 3]).all()
    assert set(times[:, 2]) == {2, 3}
    assert times[:, 2].mean() == pytest.approx(2.3, abs=0.07)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    factors = repeat_factors(LABELS, 4, most=2.5)
    orders = {key: epoch_order(factors, *key).tolist() for key in ((0, 0), (0, 1), (1, 0))}
    for key, order in orders.items():
        np.random.seed(3)  # other random numbers have no say  # noqa: NPY002
        torch.manual_seed(3)
        assert epoch_order(factors, *key).tolist() == order
    assert len({tuple(order) for order in orders.values()}) == 3
    assert orders[0, 0] != sorted(orders[0, 0])


def test_a_resumed_epoch_goes_on_where_it_stopped() -> None:
    factors = repeat_factors(LABELS, 4, most=2.5)
    sampler = EpochSampler(factors, seed=5)
    sampler.begin(3)
    whole = list(sampler)
    assert whole == epoch_order(factors, 5, 3).tolist()
    assert len(sampler) == len(whole)
    sampler.begin(3, skip=10)
    assert list(sampler) == whole[10:]
    assert len(sampler) == len(whole) - 10
    sampler.begin(4)
    assert list(sampler) != whole
