"""Every difference between the published evaluators, one case each, and averages worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from evaluation.builders import annotation, prediction
from ovgsr.evaluation.columns import EvaluationError, encode_annotations, encode_predictions
from ovgsr.evaluation.scores import FourteenNumbers, SettingScores
from ovgsr.evaluation.swig import SituationMetrics
from ovgsr.situation import AnnotatedImage, ImagePrediction

A, B = "n00000001", "n00000002"
FULL = (0.0, 0.0, 100.0, 100.0)
VERBS = ("v2", "v6", "w")


def measure(
    pairs: list[tuple[AnnotatedImage, ImagePrediction]], profile: str, nouns: list[str] | None = None
) -> FourteenNumbers:
    metric = SituationMetrics(profile, verbs=VERBS, noun_vocabulary=nouns)
    metric.update([predicted for _, predicted in pairs], [gold for gold, _ in pairs])
    return metric.compute().all.numbers


def one_role(gold, answer, profile, nouns=None, size=(640, 480)) -> SettingScores:
    """One picture of a verb with one role, its verb ranked first."""
    image = annotation("w_1.jpg", "w", {"agent": gold}, size)
    return measure([(image, prediction("w_1.jpg", ["w"], {"w": {"agent": answer}}))], profile, nouns).top1


# gold nouns, answer, noun vocabulary, profiles for which the answer is right
NOUNS = [
    pytest.param([A, B, A], B, None, "OCS", id="1 any annotator's noun is right"),
    pytest.param(["", "", A], "", None, "OCS", id="2 the empty noun is an ordinary answer"),
    pytest.param([A, A, B], "", None, "", id="2b and wrong where no annotator left the role empty"),
    pytest.param([A, A, B], "oov", [A], "CS", id="3 oov is right if an annotator's noun is outside; official never"),
    pytest.param([A, A, B], "oov", [A, B], "", id="3b oov is wrong where the vocabulary holds them all"),
    pytest.param([A, "", A], "oov", [A], "", id="3c the empty noun is never outside"),
    pytest.param([A, A, B], "oov", None, "", id="3d no vocabulary, nothing is outside"),
    pytest.param(["oov", A, A], "oov", None, "", id="3e official: the word oov is right not even literally"),
    pytest.param([A, A, "Pad"], "Pad", None, "", id="3f Pad is no answer"),
    pytest.param([A, A, A], "n99999999", [A], "", id="a noun nobody gave"),
]
PROFILES = {"O": "official", "C": "coformer", "S": "situformer"}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("gold", "answer", "nouns", "right"), NOUNS)
def test_nouns(gold, answer, nouns, right, profile):
    scores = one_role((gold, None), (answer, None), PROFILES[profile], nouns)
    expected = 100.0 if profile in right else 0.0
    assert (scores.value, scores.value_all, scores.grnd_value, scores.grnd_value_all) == (expected,) * 4


# gold box, predicted box, profiles that call it a match; numbers are those of the parity study's cases
BOXES = [
    # inclusive 50*100 / 100*100 = .5 exactly and strict; continuous 49*99 / 99*99 = .49495
    pytest.param((0, 0, 99, 99), (0, 0, 99, 49), "", id="4 inclusive exactly one half"),
    # continuous 50/100 = .5 exactly and not strict; inclusive 51/101 = .50495
    pytest.param((0, 0, 100, 100), (0, 0, 100, 50), "OCS", id="5 continuous exactly one half"),
    # inclusive 15*15 / 21*21 = .5102; continuous 14*14 / 20*20 = .49
    pytest.param((0, 0, 20, 20), (0, 0, 14, 14), "OS", id="6 small boxes gain from the border pixel"),
    # inclusive 11*5.9 / 11*11 = .5364; continuous 4.9/10 = .49
    pytest.param((0, 0, 10, 10), (0, 0, 10, 4.9), "OS", id="7 the same with a fraction"),
    # continuous 60*90 / 120*90 = .5; inclusive 61 / 121 = .5041
    pytest.param((0, 0, 90, 90), (30, 0, 120, 90), "OCS", id="8 shifted by a third"),
    pytest.param(None, None, "OCS", id="9 none and none"),
    # SituFormer's evaluator lets an ungrounded role match anything
    pytest.param(None, (0, 0, 50, 50), "S", id="9b none, but a box is predicted"),
    pytest.param((0, 0, 50, 50), None, "", id="10 a box, but none is predicted"),
    pytest.param((5, -1, 50, 50), (200, 200, 300, 300), "S", id="13 one coordinate of the gold box is -1"),
    pytest.param((5, -1, 50, 50), None, "S", id="13b and none is predicted"),
    # the half-absent box still is a box where it is found
    pytest.param((5, -1, 50, 50), (5, -1, 50, 50), "OCS", id="13c and is found exactly"),
    pytest.param((0, 0, 50, 50), (0, 0, 50, 50), "OCS", id="zero is a coordinate"),
    pytest.param((10, 10, 50, 50), (50, 50, 10, 10), "", id="an inverted box covers nothing"),
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("gold", "box", "right"), BOXES)
def test_boxes(gold, box, right, profile):
    scores = one_role(([A, A, A], gold), (A, box), PROFILES[profile])
    assert scores.value == 100.0
    assert scores.grnd_value == scores.grnd_value_all == (100.0 if profile in right else 0.0)


@pytest.mark.parametrize(("profile", "expected"), [("official", 0.0), ("coformer", 100.0), ("situformer", 0.0)])
def test_12_only_coformer_clamps_to_the_picture(profile, expected):
    # 100 x 100 picture: clamped the boxes are equal, unclamped 51*101 / 111*101 = .459
    scores = one_role(([A, A, A], (50, 0, 100, 100)), (A, (50, 0, 160, 100)), profile, size=(100, 100))
    assert scores.grnd_value == expected


def whole(name: str, verb: str, roles: int, right: bool, ranked: list[str] | None = None):
    """A picture whose roles, none grounded, are all right or all wrong."""
    image = annotation(name, verb, {f"r{i}": ([A, A, A], None) for i in range(roles)})
    answer = (A if right else B, None)
    return image, prediction(name, ranked or [verb], {verb: {f"r{i}": answer for i in range(roles)}})


@pytest.mark.parametrize("profile", PROFILES.values())
def test_14_a_wrong_verb_closes_the_gate_but_not_for_the_true_verb(profile):
    numbers = measure([whole("v2_1.jpg", "v2", 2, True, ranked=["v6"])], profile)
    assert (numbers.verb_top1, numbers.verb_top5) == (0, 0)
    assert numbers.top1 == numbers.top5 == SettingScores(0, 0, 0, 0)
    assert numbers.ground_truth_verb == SettingScores(100, 100, 100, 100)


# pictures right of v2 (2 roles), pictures wrong of v6 (6 roles), profile, value, value-all, verb top-1
AVERAGES = [
    (1, 1, "official", 50, 50),  # 15 mean over two verbs
    (1, 1, "coformer", 50, 50),  # 15 mean over two pictures
    (1, 1, "situformer", 25, 50),  # 15 two of eight slots; -all stays per picture
    (3, 1, "official", 50, 50),  # 16 two verbs still
    (3, 1, "coformer", 75, 75),  # 16 three of four pictures
    (3, 1, "situformer", 50, 75),  # 16 six of twelve slots
]


@pytest.mark.parametrize(("of_v2", "of_v6", "profile", "value", "value_all"), AVERAGES)
def test_averages(of_v2, of_v6, profile, value, value_all):
    pairs = [whole(f"v2_{i}.jpg", "v2", 2, True) for i in range(of_v2)]
    pairs += [whole(f"v6_{i}.jpg", "v6", 6, False, ranked=["w"]) for i in range(of_v6)]
    numbers = measure(pairs, profile)
    assert numbers.ground_truth_verb == SettingScores(value, value_all, value, value_all)
    assert numbers.verb_top1 == 100 * of_v2 / (of_v2 + of_v6)  # the verb is per picture in every profile


@pytest.mark.parametrize(
    ("profile", "grnd", "grnd_all"), [("official", 200 / 3, 0), ("coformer", 200 / 3, 0), ("situformer", 100, 100)]
)
def test_17_an_invented_box_costs_the_role(profile, grnd, grnd_all):
    gold = {"agent": ([A] * 3, FULL), "item": ([A] * 3, None), "place": ([A] * 3, None)}
    answers = {"agent": (A, FULL), "item": (A, FULL), "place": (A, None)}
    image = annotation("w_1.jpg", "w", gold)
    scores = measure([(image, prediction("w_1.jpg", ["w"], {"w": answers}))], profile).top1
    assert scores.grnd_value == pytest.approx(grnd, abs=1e-12)
    assert scores.grnd_value_all == grnd_all


@pytest.mark.parametrize("profile", PROFILES.values())
@pytest.mark.parametrize("second", [FULL, (200.0, 200.0, 300.0, 300.0)])
def test_18_19_right_boxes_do_not_help_wrong_nouns(profile, second):
    image = annotation("w_1.jpg", "w", {"agent": ([A] * 3, FULL), "item": ([A] * 3, FULL)})
    answers = {"agent": (B, FULL), "item": (B, second)}
    scores = measure([(image, prediction("w_1.jpg", ["w"], {"w": answers}))], profile).ground_truth_verb
    assert scores == SettingScores(0, 0, 0, 0)


@pytest.mark.parametrize("profile", PROFILES.values())
def test_20_no_grounded_role_and_none_predicted(profile):
    assert measure([whole("v2_1.jpg", "v2", 2, True)], profile).top1 == SettingScores(100, 100, 100, 100)


def test_21_top5_looks_at_the_pictures_own_five():
    pairs = [
        whole("v2_1.jpg", "v2", 2, True, ranked=["v6", "a", "b", "c", "d"]),
        whole("v6_1.jpg", "v6", 6, True, ranked=["v2", "e", "f", "g", "h"]),
    ]
    assert measure(pairs, "official").verb_top5 == 0


# rank of the true verb, top-1, top-5
RANKS = [(1, 100, 100), (2, 0, 100), (5, 0, 100), (6, 0, 0), (None, 0, 0)]


@pytest.mark.parametrize("profile", PROFILES.values())
@pytest.mark.parametrize(("rank", "top1", "top5"), RANKS)
def test_22_rank_within_five_does_not_matter(profile, rank, top1, top5):
    ranked = ["a", "b", "c", "d", "e", "f"]
    if rank:
        ranked.insert(rank - 1, "v2")
    numbers = measure([whole("v2_1.jpg", "v2", 2, True, ranked)], profile)
    assert (numbers.verb_top1, numbers.verb_top5) == (top1, top5)
    assert numbers.top1 == SettingScores(*[top1] * 4)
    assert numbers.top5 == SettingScores(*[top5] * 4)
    assert numbers.ground_truth_verb == SettingScores(100, 100, 100, 100)


def test_23_batches_do_not_weigh():
    # per-picture scores 1, 1, 1, 0 in batches of 3 and 1: .75, where a mean of batch means says .5
    pairs = [whole(f"v2_{i}.jpg", "v2", 2, i < 3) for i in range(4)]
    metric = SituationMetrics("coformer", verbs=VERBS)
    for batch in (pairs[:3], pairs[3:]):
        metric.update([p for _, p in batch], [g for g, _ in batch])
    assert metric.compute().all.numbers.top1.value == 75


def test_24_padding_is_not_counted_and_a_repeat_is_refused():
    pairs = [whole(f"v2_{i}.jpg", "v2", 2, i == 0) for i in range(2)]
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    metric = SituationMetrics("coformer", verbs=VERBS)
    # a sampler fills a batch of three with the first picture again
    metric.update([*predicted, predicted[0]], [*gold, gold[0]], valid_mask=[True, True, False])
    assert metric.compute().all.images == 2
    assert metric.compute().all.numbers.top1.value == 50
    with pytest.raises(EvaluationError, match=r"v2_0\.jpg was counted before.*valid_mask"):
        metric.update(predicted[:1], gold[:1])
    assert metric.compute().all.images == 2  # a refused batch leaves no trace
    metric.reset()
    metric.update(predicted[:1], gold[:1])
    assert metric.compute().all.numbers.top1.value == 100
    with pytest.raises(EvaluationError, match="twice"):
        SituationMetrics("coformer", verbs=VERBS).update([*predicted, predicted[0]], [*gold, gold[0]])


def test_subsets_have_both_averages_and_their_counts():
    pairs = [whole(f"v2_{i}.jpg", "v2", 2, True) for i in range(3)]
    pairs += [whole("v6_1.jpg", "v6", 6, False, ranked=["w"]), whole("w_1.jpg", "w", 1, True, ranked=["v2"])]
    groups = {"seen": ("v2", "v6"), "rare": (), "unseen": ("w",)}
    metric = SituationMetrics("official", verbs=VERBS, groups=groups)
    metric.update([p for _, p in pairs], [g for g, _ in pairs])
    scores = metric.compute()
    seen = scores.groups["seen"]
    assert seen.images == 4
    assert (seen.macro.ground_truth_verb.value, seen.per_image.ground_truth_verb.value) == (50, 75)
    assert (seen.macro.verb_top1, seen.per_image.verb_top1, seen.numbers.verb_top1) == (50, 75, 75)
    assert scores.groups["rare"].images == 0
    assert math.isnan(scores.groups["rare"].numbers.verb_top1)
    assert scores.to_json()["rare"]["top1"]["value"] is None
    assert scores.groups["unseen"].numbers.verb_top1 == 0
    assert scores.harmonic_mean_verb_top1 == 0  # one of the two is 0


def test_columns_from_tensors_score_like_objects():
    pairs = [whole(f"v2_{i}.jpg", "v2", 2, i < 3, ["v2"] if i else ["v6", "v2"]) for i in range(5)]
    gold = encode_annotations([g for g, _ in pairs], VERBS)
    columns = encode_predictions([p for _, p in pairs], gold)
    by_objects, by_columns = (SituationMetrics("official", verbs=VERBS) for _ in range(2))
    by_objects.update([p for _, p in pairs], [g for g, _ in pairs])
    by_columns.update(columns, gold, valid_mask=torch.tensor([True] * 5))
    assert torch.equal(by_objects.sums, by_columns.sums)
    assert by_columns.compute().all.numbers.top1.value == 40  # of five, three are right and one of those ranks second


BAD_UPDATES = [
    pytest.param(lambda g, p: (p[:1], g), "1 predictions for 2", id="lengths differ"),
    pytest.param(lambda g, p: (p[::-1], g), "stands beside the annotation", id="order differs"),
    pytest.param(lambda g, p: (p, encode_annotations(g)), "other verbs", id="columns of other verbs"),
]


@pytest.mark.parametrize(("change", "complaint"), BAD_UPDATES)
def test_batches_that_do_not_belong_together(change, complaint):
    pairs = [whole(f"v2_{i}.jpg", "v2", 2, True) for i in range(2)]
    with pytest.raises(EvaluationError, match=complaint):
        SituationMetrics("official", verbs=VERBS).update(*change([g for g, _ in pairs], [p for _, p in pairs]))


def test_an_unknown_profile_names_those_there_are():
    with pytest.raises(EvaluationError, match="official, coformer, situformer"):
        SituationMetrics("clipsitu", verbs=VERBS)


def test_a_verb_outside_the_metric_is_named():
    gold, predicted = whole("x_1.jpg", "x", 1, True)
    with pytest.raises(EvaluationError, match=r"x_1\.jpg: the verb 'x'"):
        SituationMetrics("official", verbs=VERBS).update([predicted], [gold])
