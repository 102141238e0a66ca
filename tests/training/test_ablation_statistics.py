"""Means, intervals and the bootstrap: worked by hand, against scipy, and against plain loops over the draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from ovgsr.training.ablation_statistics import (
    T_QUANTILES,
    PictureRecords,
    bootstrap_ausuc,
    bootstrap_top1,
    deviation,
    mean,
    paired,
    paired_difference,
    t_interval,
    weighted_ausuc,
)

NAN = math.nan


def records(
    ranks: Sequence[int],
    groups: Sequence[str] | None = None,
    margins: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
) -> PictureRecords:
    count = len(ranks)
    return PictureRecords(
        names=tuple(names or (f"p{k:03}" for k in range(count))),
        groups=tuple(groups or ["seen"] * count),
        rank=np.array(ranks) + 1,
        calibrated_rank=np.array(ranks),
        margin=np.array(margins if margins is not None else [NAN] * count, dtype=np.float64),
        value=np.zeros(count),
        grounded_value=np.zeros(count),
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, None)),
        ([4.0], (4.0, None)),  # one seed has no spread
        ([1.0, 3.0], (2.0, math.sqrt(2))),  # ((1)^2 + (1)^2) / (2 - 1) = 2
        ([2.0, 4.0, 9.0], (5.0, math.sqrt(13))),  # (9 + 1 + 16) / 2
    ],
)
def test_mean_and_deviation(values: list[float], expected: tuple[float | None, float | None]) -> None:
    assert (mean(values), deviation(values)) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_the_table_of_t_is_scipys() -> None:
    for freedom, quantile in enumerate(T_QUANTILES, start=1):
        assert quantile == pytest.approx(stats.t.ppf(0.975, freedom), abs=5e-5)
    assert len(T_QUANTILES) == 29


def test_the_t_interval() -> None:
    # 1, 3: mean 2, standard error sqrt(2) / sqrt(2) = 1, quantile of one degree of freedom 12.706
    assert t_interval([1.0, 3.0]) == pytest.approx((2 - 12.7062, 2 + 12.7062))
    values = [3.1, 4.7, 2.2, 5.0, 4.4]
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx(expected, abs=1e-4)
    assert t_interval([1.0]) is None
    many = list(range(40))  # beyond the table: wider than exact, by little
    exact = stats.t.interval(0.95, 39, loc=np.mean(many), scale=stats.sem(many))
    found = t_interval([float(value) for value in many])
    assert found is not None
    assert exact[0] - 0.2 < found[0] < exact[0]


def test_a_difference_is_paired_by_seed() -> None:
    # Seeds 0 and 2 are common: 5 - 4 = 1 and 9 - 6 = 3; seed 1 and seed 7 have no partner.
    difference = paired_difference({0: 5.0, 1: 70.0, 2: 9.0}, {0: 4.0, 2: 6.0, 7: 1.0})
    assert difference is not None
    assert difference.seeds == (0, 2)
    assert difference.mean == 2.0
    assert difference.t_interval == pytest.approx((2 - 12.7062, 2 + 12.7062))
    one = paired_difference({0: 5.0}, {0: 4.5})
    assert one is not None
    assert (one.mean, one.t_interval) == (0.5, None)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_pictures_are_paired_by_name() -> None:
    first = records([0, 1, 2], names=("a", "b", "c"))
    second = records([9, 8, 7], names=("c", "x", "a"))
    ours, theirs = paired([first, second])
    assert ours.names == theirs.names == ("a", "c")
    assert ours.calibrated_rank.tolist() == [0, 2]
    assert theirs.calibrated_rank.tolist() == [7, 9]


def test_top1_that_differs_everywhere_has_no_doubt() -> None:
    # Ours is right on all four, theirs on none: every draw of seeds and pictures gives 100.
    right, wrong = records([0, 0, 0, 0]), records([1, 2, 5, 3])
    assert bootstrap_top1({0: right, 1: right}, {0: wrong, 1: wrong}, "seen", draws=50) == (100.0, 100.0)
    assert bootstrap_top1({0: right}, {0: right}, "seen", draws=50) == (0.0, 0.0)
    assert bootstrap_top1({0: right}, {0: wrong}, "unseen", draws=50) is None
    assert bootstrap_top1({0: right}, {1: wrong}, "seen", draws=50) is None
    # Without the constant (``rank``, one worse in these records) ours is right nowhere.
    assert bootstrap_top1({0: right}, {0: wrong}, "seen", calibrated=False, draws=50) == (0.0, 0.0)


def test_the_bootstrap_of_one_seed_is_that_of_pictures() -> None:
    # 400 pictures, ours right on 60 %, theirs on the first 50 % of the same: the gain is a share of 0.1.
    ours, theirs = records([0] * 240 + [1] * 160), records([0] * 200 + [1] * 200)
    found = bootstrap_top1({3: ours}, {3: theirs}, "seen")
    assert found is not None
    margin = 1.96 * 100 * math.sqrt(0.1 * 0.9 / 400)
    assert found == pytest.approx((10 - margin, 10 + margin), abs=0.5)
    # Unpaired, as if the pictures were others, it would be far wider: 1.96 * sqrt(0.24 / 400 + 0.25 / 400) = 6.9 points
    assert found[1] - found[0] < 7


def test_the_bootstrap_draws_seeds_as_well() -> None:
    # Two seeds, gain 0 in one and 100 in the other on every picture: draws of two seeds give 0, 50 or 100.
    right, wrong = records([0] * 30), records([1] * 30)
    assert bootstrap_top1({0: right, 1: right}, {0: wrong, 1: right}, "seen", draws=400) == (0.0, 100.0)


def plain_ausuc(seen: Sequence[float], unseen: Sequence[float]) -> float:
    """The curve walked point by point, trapezoid by trapezoid."""
    edges = sorted({margin for margin in (*seen, *unseen) if not math.isnan(margin)})
    points = [(sum(not math.isnan(m) for m in seen) / len(seen), 0.0)]
    for edge in edges:
        still = sum(margin > edge for margin in seen) / len(seen)
        by_now = sum(margin <= edge for margin in unseen) / len(unseen)
        points.append((still, by_now))
    steps = itertools.pairwise(points)
    return sum((low[0] + high[0]) / 2 * (high[1] - low[1]) for low, high in steps)


def test_ausuc_by_hand() -> None:
    # Seen margins 3 and 1 (one more never right), unseen 2 and 1: pairs (3,2) (3,1) count 1, (1,1) a half, (1,2) 0;
    # 2.5 of 3 * 2 pairs.
    once = np.ones((1, 3), dtype=np.uint8), np.ones((1, 2), dtype=np.uint8)
    assert weighted_ausuc(np.array([3.0, NAN, 1.0]), np.array([2.0, 1.0]), *once) == pytest.approx([2.5 / 6])
    assert plain_ausuc([3.0, NAN, 1.0], [2.0, 1.0]) == pytest.approx(2.5 / 6)


def test_ausuc_of_draws_is_that_of_repeated_pictures() -> None:
    generator = np.random.default_rng(4)
    for _ in range(20):
        seen = np.round(generator.normal(1, 1, size=7), 1)  # rounded: ties on the same side and across
        unseen = np.round(generator.normal(0, 1, size=5), 1)
        seen[generator.random(7) < 0.3] = NAN
        unseen[generator.random(5) < 0.3] = NAN
        times_seen = generator.multinomial(7, [1 / 7] * 7, size=3).astype(np.uint8)
        times_unseen = generator.multinomial(5, [1 / 5] * 5, size=3).astype(np.uint8)
        expected = [
            plain_ausuc(np.repeat(seen, a).tolist(), np.repeat(unseen, b).tolist())
            for a, b in zip(times_seen, times_unseen, strict=True)
        ]
        assert weighted_ausuc(seen, unseen, times_seen, times_unseen) == pytest.approx(expected)


def test_the_bootstrap_of_ausuc() -> None:
    groups = ["seen"] * 40 + ["unseen"] * 20 + ["rare"] * 5
    # Ours parts the sides whatever is drawn (area 1), theirs never (0); rare pictures have no say.
    ours = records([0] * 65, groups, [5.0] * 40 + [-5.0] * 20 + [NAN] * 5)
    theirs = records([0] * 65, groups, [-5.0] * 40 + [5.0] * 20 + [NAN] * 5)
    assert bootstrap_ausuc({0: ours}, {0: theirs}, draws=30) == (100.0, 100.0)
    mixed = records([0] * 65, groups, [5.0] * 20 + [NAN] * 20 + [-5.0] * 20 + [NAN] * 5)
    found = bootstrap_ausuc({0: mixed}, {0: theirs})
    assert found is not None  # the area is the share of seen pictures that are right: 50 +- 1.96 * sqrt(0.25 / 40)
    assert found == pytest.approx((50 - 15.5, 50 + 15.5), abs=2.6)
    assert bootstrap_ausuc({0: ours}, {0: theirs}, draws=30, seed=1) == (100.0, 100.0)
    only_seen = records([0] * 3)
    assert bootstrap_ausuc({0: only_seen}, {0: only_seen}, draws=30) is None


def test_intervals_repeat_themselves() -> None:
    ours, theirs = records([0, 1, 0, 1, 0, 0, 2]), records([1, 1, 0, 0, 0, 1, 0])
    assert bootstrap_top1({0: ours}, {0: theirs}, "seen") == bootstrap_top1({0: ours}, {0: theirs}, "seen")
