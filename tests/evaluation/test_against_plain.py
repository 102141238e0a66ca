"""The vectorised evaluator and the plain one, written apart, give the same numbers on random pictures."""

from __future__ import annotations

import pytest

from evaluation.builders import load_benchmark, random_world
from ovgsr.evaluation.columns import encode_annotations, encode_predictions
from ovgsr.evaluation.scores import FourteenNumbers
from ovgsr.evaluation.swig import SituationMetrics

GROUPS = {"seen": ["v0", "v1", "v4", "absent"], "rare": ["v2"], "unseen": ["v3", "v5"]}


def flat(numbers: FourteenNumbers) -> dict[str, float]:
    found = {}
    for name, value in numbers.to_json().items():
        found |= {f"{name}.{metric}": v for metric, v in value.items()} if isinstance(value, dict) else {name: value}
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("profile", ["official", "coformer", "situformer"])
def test_same_numbers(profile, seed):
    annotated, predicted, nouns = random_world(300, seed)
    plain = load_benchmark("plain_evaluator").evaluate(predicted, annotated, profile, GROUPS, nouns)
    gold = encode_annotations(annotated, nouns=nouns)
    metric = SituationMetrics(profile, verbs=gold.verbs, groups=GROUPS, noun_vocabulary=nouns)
    metric.update(encode_predictions(predicted, gold), gold)
    scores = metric.compute()
    assert set(plain) == {"all", "seen", "rare", "unseen"}
    for group, averages in plain.items():
        result = scores.groups[group]
        assert flat(result.numbers) == pytest.approx(averages["profile"], abs=1e-9)
        assert flat(result.macro) == pytest.approx(averages["macro"], abs=1e-9)
        assert flat(result.per_image) == pytest.approx(averages["per_image"], abs=1e-9)
    # the world is no trivial one: every number is strictly between 0 and 100
    assert all(0 < value < 100 for value in plain["all"]["profile"].values())


def test_the_profiles_differ_on_these_pictures():
    annotated, predicted, nouns = random_world(300, 0)
    evaluate = load_benchmark("plain_evaluator").evaluate
    reports = [evaluate(predicted, annotated, p, None, nouns) for p in ("official", "coformer", "situformer")]
    grounded = {report["all"]["per_image"]["ground_truth_verb.grnd_value"] for report in reports}
    assert len(grounded) == 3
