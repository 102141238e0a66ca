"""Seen against unseen: the curve against a brute-force sweep, the chosen constant against its definition."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from evaluation.builders import annotation, prediction
from ovgsr.evaluation.columns import EvaluationError
from ovgsr.evaluation.open_vocabulary import RankingRecord, apply_offset, choose_offset, seen_unseen_curve
from ovgsr.verb_split import VerbSplit

SPLIT = VerbSplit("tiny", seen=("s0", "s1", "s2"), rare=("r0",), unseen=("u0", "u1"), dev_unseen=("d0", "d1"))
UNSEEN = {"test": {"u0", "u1"}, "dev": {"d0", "d1"}}


def gold_of(verbs):
    return [annotation(f"{v}_{i}.jpg", v, {"agent": (["n"] * 3, None)}) for i, v in enumerate(verbs)]


def world(fold: str, images: int, seed: int, logits: bool = False, digits: int = 3):
    """Random scores that favour the true verb and hold the unseen ones back; rounded, so that ties occur."""
    state = random.Random(seed)
    verbs = SPLIT.candidates(fold)
    annotated = gold_of([state.choice(verbs) for _ in range(images)])
    predictions = []
    for image in annotated:
        scores = {}
        for verb in verbs:
            score = state.gauss(0, 1) + 1.2 * (verb == image.situation.verb) - 1.0 * (verb in UNSEEN[fold])
            scores[verb] = round(score, 1) if logits else score
        if not logits:
            total = sum(map(math.exp, scores.values()))
            scores = {verb: round(math.exp(score) / total, digits) for verb, score in scores.items()}
        predictions.append(prediction(image.file_name, scores, {}))
    return annotated, predictions


def record_of(annotated, predictions, fold="test"):
    record = RankingRecord({a.file_name: a.situation.verb for a in annotated}, SPLIT, fold)
    assert [p.file_name for p in record.watch(predictions)] == [p.file_name for p in predictions]
    return record


def brute_force_area(annotated, predictions, logits: bool) -> float:
    """Re-ranks every picture at a constant between any two values at which anything could change."""
    tables = []
    for image, predicted in zip(annotated, predictions, strict=True):
        scores = {v: s if logits else math.log(max(s, 1e-300)) for v, s in predicted.ranking}
        tables.append((image.situation.verb, scores))
    gaps = {a - b for _, t in tables for v, a in t.items() for w, b in t.items() if v[0] != "u" and w[0] == "u"}
    edges = sorted(gaps)
    constants = [edges[0] - 1, *((a + b) / 2 for a, b in pairwise(edges)), edges[-1] + 1]
    points = []
    for constant in constants:
        right = {"s": [], "u": [], "r": []}
        for verb, table in tables:
            # ties within a side go to the verb ranked first, as in the ranking itself
            best = max(table, key=lambda v: table[v] + (constant if v[0] == "u" else 0.0))
            right[verb[0]].append(best == verb)
        points.append((np.mean(right["u"]), np.mean(right["s"])))
    area = 0.0
    for (u0, s0), (u1, s1) in pairwise(points):
        area += (u1 - u0) * (s0 + s1) / 2
    return 100 * area


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ausuc_equals_the_brute_force_sweep(seed, logits):
    annotated, predictions = world("test", 40, seed, logits)
    scores = record_of(annotated, predictions).scores()
    expected = brute_force_area(annotated, predictions, logits)
    assert 5 < expected < 95
    assert scores.ausuc == pytest.approx(expected, abs=1e-9)
    assert scores.reasons == ()


def test_curve_by_hand():
    # Two seen pictures right below 1 and 3; of two unseen ones one is right above 2, the other never.
    curve = seen_unseen_curve(np.array([1.0, 3.0]), 2, np.array([2.0]), 2)
    assert curve.seen.tolist() == [1, 0.5, 0.5, 0]
    assert curve.unseen.tolist() == [0, 0, 0.5, 0.5]
    assert curve.area == 0.25  # height .5 over the unseen accuracies 0 to .5
    # A seen and an unseen picture that change at the same constant: a diagonal, half the square.
    assert seen_unseen_curve(np.array([1.0]), 1, np.array([1.0]), 1).area == 0.5
    # Nobody is ever right.
    assert seen_unseen_curve(np.array([]), 3, np.array([]), 3).area == 0


def test_a_picture_without_a_prediction_is_wrong_on_the_whole_curve():
    annotated, predictions = world("test", 40, 0)
    kept = [p for p in predictions if not p.file_name.startswith("u")]
    curve = record_of(annotated, kept).curve()
    assert curve is not None
    assert curve.unseen.max() == 0
    assert curve.seen.max() > 0


def test_top5_files_have_no_ausuc_and_say_why():
    annotated, predictions = world("test", 40, 0)
    cut = [prediction(p.file_name, dict(p.ranking[:3]), {}) for p in predictions]
    scores = record_of(annotated, cut).scores()
    assert scores.ausuc is None
    assert scores.unseen_among_unseen is None
    assert "every competing verb (6)" in scores.reasons[0]
    assert "unseen verb in every ranking" in scores.reasons[1]
    assert scores.chance_verb_top1 == pytest.approx(100 / 6)
    assert scores.chance_unseen_among_unseen == 50


def test_a_ranking_is_not_whole_by_its_length():
    annotated = gold_of(["s0", "u0"])
    ranked = ["s0", "s1", "s2", "r0", "u0", "elsewhere"]  # six verbs compete: this one lacks u1
    scores = record_of(annotated, [prediction(a.file_name, ranked, {}) for a in annotated]).scores()
    assert scores.ausuc is None
    assert "the rankings of 2 pictures lack some" in scores.reasons[0]


def test_closed_vocabulary_never_answers_an_unseen_verb():
    annotated = gold_of(["s0", "u0"])
    closed = [prediction(a.file_name, ["s0", "s1", "s2", "r0"], {}) for a in annotated]
    scores = record_of(annotated, closed).scores()
    assert scores.unseen_among_unseen == 0
    assert scores.ausuc is None


def test_a_probability_of_zero_answers_nothing():
    """The closed baseline offered unseen verbs: each has 0, and the one named first must not win by its place."""
    annotated = gold_of(["s0", "u0", "u1"])
    scores = {"s0": 0.7, "s1": 0.2, "s2": 0.1, "r0": 0.0, "u0": 0.0, "u1": 0.0}
    found = record_of(annotated, [prediction(image.file_name, scores, {}) for image in annotated]).scores()
    assert (found.ausuc, found.unseen_among_unseen) == (0.0, 0.0)


def test_unseen_among_unseen_ignores_the_other_verbs():
    annotated = gold_of(["u0", "u1", "u1"])
    rankings = [["s0", "s1", "s2", "r0", "u0", "u1"], ["s0", "u1", "u0"], ["u0", "u1"]]
    predictions = [prediction(a.file_name, r, {}) for a, r in zip(annotated, rankings, strict=True)]
    assert record_of(annotated, predictions).scores().unseen_among_unseen == pytest.approx(200 / 3)


def seen_top1(annotated, predictions) -> float:
    ranked = {p.file_name: p.ranking[0][0] for p in predictions}
    verbs = [(ranked[a.file_name], a.situation.verb) for a in annotated if a.situation.verb.startswith("s")]
    return 100 * sum(best == verb for best, verb in verbs) / len(verbs)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("cost", [0.0, 3.0, 10.0])
def test_the_chosen_constant_is_the_largest_that_costs_no_more(cost, logits):
    annotated, predictions = world("dev", 300, 7, logits, digits=12)
    offset = choose_offset(predictions, annotated, SPLIT, cost=cost)
    base = seen_top1(annotated, predictions)
    assert base - seen_top1(annotated, apply_offset(predictions, offset, UNSEEN["dev"])) <= cost + 1e-9
    beyond = apply_offset(predictions, offset + 1e-6, UNSEEN["dev"])
    assert base - seen_top1(annotated, beyond) > cost
    assert offset > 0


def test_the_constant_owes_nothing_to_pictures_of_other_verbs():
    annotated, predictions = world("dev", 100, 1)
    only_seen = [a for a in annotated if a.situation.verb.startswith("s")]
    assert choose_offset(predictions, annotated, SPLIT) == choose_offset(predictions, only_seen, SPLIT)


CANNOT_CHOOSE = [
    pytest.param(["d0"], SPLIT, 3.0, None, "needs development pictures of seen verbs", id="no seen picture"),
    pytest.param(["s0"], SPLIT, 3.0, 2, "score of every competing verb", id="rankings cut off"),
    pytest.param(["s0"], SPLIT, -1.0, None, "at least 0 points", id="negative cost"),
    pytest.param(["s0"], VerbSplit("x", ("s0", "s1", "s2")), 3.0, None, "no unseen verb", id="nothing unseen"),
]


@pytest.mark.parametrize(("verbs", "split", "cost", "ranked", "complaint"), CANNOT_CHOOSE)
def test_constants_that_cannot_be_chosen(verbs, split, cost, ranked, complaint):
    annotated = gold_of(verbs)
    predictions = [prediction(a.file_name, SPLIT.candidates("dev")[:ranked], {}) for a in annotated]
    with pytest.raises(EvaluationError, match=complaint):
        choose_offset(predictions, annotated, split, cost=cost)


def test_apply_offset_by_hand():
    # .6, .3, .1 with the unseen verb's odds four times as high: .6, .3, .4, scaled back to the sum 1
    given = prediction("a.jpg", {"s0": 0.6, "s1": 0.3, "u0": 0.1}, {})
    (moved,) = apply_offset([given], math.log(4), {"u0"})
    assert [verb for verb, _ in moved.ranking] == ["s0", "u0", "s1"]
    assert [score for _, score in moved.ranking] == pytest.approx([0.6 / 1.3, 0.4 / 1.3, 0.3 / 1.3])
    # logits are shifted as they are
    (moved,) = apply_offset([prediction("a.jpg", {"s0": 2.0, "u0": -1.0}, {})], 4.0, {"u0"})
    assert moved.ranking == (("u0", 3.0), ("s0", 2.0))
    # at equal scores the known verb stays ahead
    (moved,) = apply_offset([prediction("a.jpg", {"s0": 2.0, "u0": -1.0}, {})], 3.0, {"u0"})
    assert moved.ranking == (("s0", 2.0), ("u0", 2.0))


@pytest.mark.parametrize("offset", [0.0, 0.7, 3.0])
def test_ranks_after_an_offset_are_those_of_the_reranked_predictions(offset):
    annotated, predictions = world("test", 60, 3)
    record = RankingRecord({a.file_name: a.situation.verb for a in annotated}, SPLIT, "test", keep=5)
    list(record.watch(predictions))
    moved = {p.file_name: [v for v, _ in p.ranking] for p in apply_offset(predictions, offset, UNSEEN["test"])}
    expected = {a.file_name: min(moved[a.file_name].index(a.situation.verb), 5) for a in annotated}
    assert record.ranks(offset) == expected
