"""The vectorised HICO-DET evaluator and the plain one, written apart, give the same numbers on random pictures."""

from __future__ import annotations

import pytest

from evaluation.builders import load_benchmark
from ovgsr.evaluation.hico_det import MODES, evaluate_pairs


@pytest.mark.parametrize("seed", [0, 1])
def test_same_numbers(seed: int) -> None:
    """Few different scores and box corners, so that ties and overlaps of exactly a half are common."""
    plain = load_benchmark("plain_hoi_evaluator")
    synthetic = load_benchmark("bench_hoi_evaluator").synthetic
    # 120 pairs a picture: the hundred that GEN-VLKT keeps are a choice
    images, predictions, interactions = synthetic(60, 120, 40, seed, grid=20, levels=150)
    report = evaluate_pairs(predictions, images, interactions)
    numbers = set()
    for mode in MODES:
        for setting, expected in plain.evaluate(predictions, images, interactions, mode).items():
            found = report.modes[mode][setting].average_precision
            assert {i: found[i] for i in expected} == pytest.approx({i: 100 * v for i, v in expected.items()}, abs=1e-9)
            assert len(expected) > 35
            numbers.add(round(report.modes[mode][setting].map_full, 6))
    assert len(numbers) == 2 * len(MODES), "the world tells every mode and setting apart"
    assert all(1 < number < 99 for number in numbers)
