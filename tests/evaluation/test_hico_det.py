"""The HICO-DET metric against values worked out by hand.

Examples are written in HICO-DET's own coordinates, 1-based inclusive pixels. Where code bases differ, the expected
values are those that their own matching and precision code gives on the same boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ovgsr.evaluation.columns import EvaluationError, Findings
from ovgsr.evaluation.hico_det import MODES, InteractionReport, KnownObjects, evaluate_pairs
from ovgsr.evaluation.hoi_columns import ScoredPairs, encode_gold, encode_pairs
from ovgsr.evaluation.hoi_matching import best_of_each_picture, overlaps, without_near_copies
from ovgsr.interactions import PairPrediction, ScoredPair
from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, Situation

Box = tuple[float, float, float, float]
Row = tuple[str, Box, Box]
RIDE, HOLD = ("ride", "horse"), ("hold", "cup")
HUMAN: Box = (1, 1, 100, 100)
THING: Box = (201, 1, 300, 100)
HALF: Box = (1, 1, 100, 50)


def corners(box: Box) -> BoxXyxy:
    """1-based inclusive pixels as 0-based continuous corners."""
    return (box[0] - 1, box[1] - 1, box[2], box[3])


def picture(name: str, *humans: Box, thing: Box = THING, interaction: tuple[str, str] = RIDE) -> AnnotatedImage:
    verb, noun = interaction
    situations = (
        Situation(
            verb,
            {"human": GroundedNoun("person", corners(human)), "object": GroundedNoun(noun, corners(thing))},
        )
        for human in humans
    )
    return AnnotatedImage(name, 640, 480, tuple(situations))


def found(
    name: str, *pairs: tuple[Box, float], thing: Box = THING, interaction: tuple[str, str] = RIDE
) -> PairPrediction:
    scored = (ScoredPair(corners(human), corners(thing), *interaction, score) for human, score in pairs)
    return PairPrediction(name, tuple(scored))


def report(
    images: Sequence[AnnotatedImage], predictions: Sequence[PairPrediction], known: KnownObjects | None = None
) -> InteractionReport:
    return evaluate_pairs(predictions, images, [RIDE], known_objects=known)


def maps(images: Sequence[AnnotatedImage], predictions: Sequence[PairPrediction]) -> list[float]:
    """The class's AP in 0..1 under official, upt and gen-vlkt."""
    modes = report(images, predictions).modes
    return [modes[name]["default"].map_full / 100 for name in ("official", "upt", "gen-vlkt")]


def many(rows: int, hits: int) -> tuple[list[AnnotatedImage], list[PairPrediction]]:
    """``rows`` pictures of one row each, the first ``hits`` of them found."""
    images = [picture(f"{i}.jpg", HUMAN) for i in range(rows)]
    return images, [found(f"{i}.jpg", *[(HUMAN, 0.9 - i / 100)] * (i < hits)) for i in range(rows)]


def test_p1_half_the_overlap_is_enough_but_for_upt() -> None:
    images = [picture("a", HUMAN)]
    assert maps(images, [found("a", (HALF, 0.9))]) == [1.0, 0.0, 1.0]
    # GEN-VLKT adds a pixel to what is predicted, so one less makes its exact half
    assert maps(images, [found("a", ((1, 1, 99, 49), 0.9))]) == [0.0, 0.0, 1.0]


def test_p2_a_little_more_than_half_is_enough_for_all() -> None:
    assert maps([picture("a", HUMAN)], [found("a", ((1, 1, 100, 51), 0.9))]) == [1.0] * 3


def test_p3_no_second_choice() -> None:
    images = [picture("a", HUMAN, (1, 1, 100, 130))]
    assert maps(images, [found("a", (HUMAN, 0.9), ((1, 1, 100, 105), 0.8))]) == pytest.approx([6 / 11] * 3)


def test_p4_eleven_points_not_all() -> None:
    images = [picture(name, HUMAN) for name in "abcd"]
    far: Box = (301, 301, 400, 400)
    boxes = [HUMAN, far, HUMAN, far, far, HUMAN]
    order = [(name, box, 0.9 - i / 10) for i, (name, box) in enumerate(zip("aabbcd", boxes, strict=True))]
    predictions = [found(name, *[(box, score) for n, box, score in order if n == name]) for name in "abcd"]
    expected = (3 * 1 + 3 * 2 / 3 + 2 * 1 / 2) / 11
    assert maps(images, predictions) == pytest.approx([expected] * 3)


@pytest.mark.parametrize(
    ("hits", "expected"), [(3, [3, 3, 3]), (6, [7, 7, 6]), (7, [8, 8, 7])], ids=["P5a", "P5b", "P5c"]
)
def test_p5_recall_bins_are_floats(hits: int, expected: list[int]) -> None:
    assert maps(*many(10, hits)) == pytest.approx([bins / 11 for bins in expected])


def test_p6_false_positives_of_pictures_without_rows() -> None:
    predictions = [found("a", (HUMAN, 0.8)), found("b", (HUMAN, 0.9))]
    assert maps([picture("a", HUMAN), picture("b")], predictions) == [0.5, 1.0, 0.5]


def test_p7_both_boxes_must_match() -> None:
    prediction = found("a", ((1, 1, 100, 90), 0.9), thing=(201, 1, 300, 45))
    assert maps([picture("a", HUMAN)], [prediction]) == [0.0] * 3


def test_p8_a_duplicate_is_wrong() -> None:
    images = [picture("a", HUMAN), picture("b", HUMAN)]
    predictions = [found("a", (HUMAN, 0.9), ((1, 1, 100, 69), 0.8)), found("b", (HUMAN, 0.7))]
    expected = (6 * 1 + 5 * 2 / 3) / 11
    assert maps(images, predictions) == pytest.approx([expected] * 3)


def test_p9_the_better_score_takes_the_row_though_its_overlap_is_worse() -> None:
    images = [picture("a", HUMAN), picture("b", HUMAN)]
    predictions = [found("a", ((1, 1, 100, 60), 0.9), (HUMAN, 0.8)), found("b", (HUMAN, 0.7))]
    assert maps(images, predictions) == pytest.approx([(6 * 1 + 5 * 2 / 3) / 11] * 3)
    assert maps(images[:1], predictions[:1]) == [1.0] * 3


def test_p10_known_object() -> None:
    images = [picture("a", HUMAN), picture("b")]
    predictions = [found("a", (HUMAN, 0.8)), found("b", (HUMAN, 0.9))]
    official = report(images, predictions).modes["official"]
    assert (official["default"].map_full, official["known_object"].map_full) == (50.0, 100.0)
    labels = KnownObjects("image labels", {"a": ["horse"], "b": ["horse", "cup"]})  # pairs marked invisible in b
    with_labels = report(images, predictions, labels)
    assert with_labels.modes["official"]["known_object"].map_full == 50.0
    assert with_labels.to_json()["known_objects"] == "image labels"


def test_p11_gen_vlkt_looks_scores_up_by_value() -> None:
    pairs = scored([HUMAN] * 4, [THING] * 4, [0.9, 0.5, 0.5, 0.1])
    assert best_of_each_picture(pairs, pairs.best_first(), 3).tolist() == [0, 1, 1]
    assert best_of_each_picture(pairs, pairs.best_first(), 9).tolist() == [0, 1, 1, 3]


def test_p12_pair_nms_drops_above_the_threshold_only() -> None:
    close = scored([HUMAN, (1, 1, 100, 80)], [THING, (201, 1, 300, 90)], [0.9, 0.8])  # .8 * .9 ** .5 = .759
    at_it = scored([HUMAN, (1, 1, 100, 70)], [THING, THING], [0.9, 0.8])  # .7 * 1
    assert without_near_copies(close, close.best_first(), 0.7).tolist() == [0]
    assert without_near_copies(at_it, at_it.best_first(), 0.7).tolist() == [0, 1]
    for name in ("image", "interaction"):
        elsewhere = replace(close, **{name: np.array([0, 1])})
        assert without_near_copies(elsewhere, close.best_first(), 0.7).tolist() == [0, 1], f"another {name}"


def test_p13_gen_vlkt_adds_a_pixel_to_continuous_boxes() -> None:
    row, predicted = np.array([0.0, 0.0, 10.0, 10.0]), np.array([0.0, 0.0, 10.0, 4.5])
    assert overlaps(predicted, row) == pytest.approx(0.45)
    assert overlaps(predicted + np.array([0, 0, 1, 1]), row, margin=1.0) == pytest.approx(55 / 105.5)
    images = [picture("a", (1, 1, 10, 10))]
    thin = PairPrediction("a", (ScoredPair((0, 0, 10, 4.5), corners(THING), *RIDE, 0.9),))
    assert maps(images, [thin]) == [0.0, 0.0, 1.0]


def scored(humans: Sequence[Box], things: Sequence[Box], scores: Sequence[float]) -> ScoredPairs:
    """Pairs of one class and picture, in order."""
    boxes = np.array([[corners(h), corners(t)] for h, t in zip(humans, things, strict=True)], dtype=np.float64)
    zeros = np.zeros(len(scores), dtype=np.int64)
    return ScoredPairs(zeros, zeros, boxes, np.array(scores))


def test_the_pair_with_the_best_overlap_of_both_boxes_decides() -> None:
    """The human of the second row fits better, the first row's smaller of the two overlaps is larger."""
    first, second = picture("a", (1, 1, 100, 90)), picture("a", HUMAN, thing=(201, 1, 300, 70))
    images = [AnnotatedImage("a", 640, 480, (*first.situations, *second.situations))]
    both = [found("a", (HUMAN, 0.9), ((1, 1, 100, 91), 0.8))]  # both look at the first row
    assert maps(images, both)[:2] == pytest.approx([6 / 11] * 2)


def test_gen_vlkt_keeps_a_hundred_of_a_picture() -> None:
    others = [found("a", *[((1, 1, 10 + i, 10), 0.9 - i / 1000) for i in range(100)], interaction=HOLD)]
    pairs = (*others[0].pairs, *found("a", (HUMAN, 0.1)).pairs)
    result = evaluate_pairs([PairPrediction("a", pairs)], [picture("a", HUMAN)], [RIDE, HOLD])
    full = {name: settings["default"].average_precision[RIDE] for name, settings in result.modes.items()}
    assert full == {"official": 100.0, "upt": 100.0, "gen-vlkt": 0.0}


def test_equal_scores_are_taken_by_picture_then_by_order() -> None:
    images = [picture("a", HUMAN), picture("b", HUMAN)]
    miss: Box = (401, 1, 500, 100)
    predictions = [found("b", (HUMAN, 0.5)), found("a", (miss, 0.5), (HUMAN, 0.5))]
    # by picture: a's miss, a's hit, b's hit
    expected = (6 * 2 / 3 + 5 * 2 / 3) / 11
    assert maps(images, predictions)[:2] == pytest.approx([expected] * 2)


def test_the_means_and_the_check() -> None:
    a, b, c, d = classes = [("ride", "horse"), ("feed", "horse"), ("hold", "cup"), ("wash", "cup")]
    images = [picture(f"{i}.jpg", HUMAN, interaction=c) for i, c in enumerate(classes)]
    hit = [found(f"{i}.jpg", (HUMAN, 0.9), interaction=classes[i]) for i in (0, 1)]
    half = found("2.jpg", (HUMAN, 0.8), ((201, 1, 300, 100), 0.9), interaction=c)
    splits = {"uc0": [a, d], "uc1": [d], "uc2": [b], "uc3": [c], "uc4": [c], "own": [a, b, c]}
    result = evaluate_pairs([*hit, half], images, classes, rare=[c], splits=splits, modes=["official"])
    means = result.modes["official"]["default"]
    assert list(means.average_precision.values()) == [100.0, 100.0, 50.0, 0.0], "a class without a pair has AP 0"
    assert (means.map_full, means.map_rare, means.map_non_rare) == (62.5, 50.0, pytest.approx(200 / 3))
    own = means.splits["own"]
    assert (own.map_unseen, own.map_seen, own.harmonic_mean) == (pytest.approx(250 / 3), 0.0, 0.0)
    assert own.map_full == pytest.approx(62.5)
    assert means.splits["uc0"].harmonic_mean == pytest.approx(2 * 50 * 75 / 125)
    five = means.splits["uc"]
    assert five.map_unseen == pytest.approx((50 + 0 + 100 + 50 + 50) / 5)
    assert five.map_seen == pytest.approx((75 + 250 / 3 + 50 + 200 / 3 + 200 / 3) / 5)
    assert means.largest_disagreement < 1e-12
    assert result.classes["own_unseen"] == 3
    left_out = evaluate_pairs([*hit, half], images, classes, splits={"own": [a]}, left_out={"own": [b, c]})
    own = left_out.modes["official"]["default"].splits["own"]
    assert (own.map_unseen, own.map_seen, own.map_both, own.weight) == (100.0, 0.0, 50.0, 0.5)
    assert left_out.classes["own_seen"] == 1
    assert result.to_json()["mode"] == "official"


def test_classes_without_a_row_count_in_no_mean() -> None:
    result = evaluate_pairs([found("a", (HUMAN, 1.0))], [picture("a", HUMAN)], [RIDE, HOLD], splits={"own": [HOLD]})
    means = result.modes["official"]["default"]
    assert means.map_full == 100.0
    assert math.isnan(means.average_precision[HOLD])
    assert result.counts == {"no_row": 1}
    block = result.to_json()["default"]
    assert block["own"]["map_unseen"] is None
    assert (block["map_rare"], block["map_full"]) == (None, 100.0)


def test_what_cannot_be_scored_is_counted() -> None:
    images = [picture("a", HUMAN), picture("b", HUMAN)]
    stranger = found("a", (HUMAN, 0.99), interaction=("ride", "unicorn"))
    predictions = [
        PairPrediction("a", (*stranger.pairs, *found("a", (HUMAN, 0.9)).pairs)),
        found("a", (THING, 0.95)),
        found("elsewhere", (HUMAN, 0.9)),
    ]
    result = report(images, predictions)
    assert result.counts == {"unlisted": 1, "duplicate": 1, "not_in_data": 1, "missing_image": 1}
    assert len(result.warnings) == 4
    assert result.modes["official"]["default"].map_full == pytest.approx(100 * 6 / 11)


def test_nothing_predicted_is_zero() -> None:
    assert maps([picture("a", HUMAN)], [PairPrediction("a", ())]) == [0.0] * 3


def test_the_results_file() -> None:
    record = report([picture("a", HUMAN)], [found("a", (HUMAN, 1.0))]).to_json()
    assert record["mode"] == "official"
    assert record["default"]["map_full"] == record["known_object"]["map_full"] == 100.0
    assert record["known_objects"] == "a picture has the objects of its annotated rows"
    assert [record["modes"][name]["mode"] for name in ("upt", "gen-vlkt")] == ["upt", "gen-vlkt"]


@pytest.mark.parametrize(
    ("images", "interactions", "options", "message"),
    [
        ([], [RIDE], {}, "no annotated picture"),
        ([picture("a", HUMAN)], [HOLD], {}, "a, 'ride': 'ride horse' is not among"),
        ([picture("a", HUMAN)], [RIDE, RIDE], {}, "listed twice"),
        ([picture("a", HUMAN)] * 2, [RIDE], {}, "annotated twice"),
        ([AnnotatedImage("a", 9, 9, (Situation("ride", {}),))], [RIDE], {}, "needs the roles 'human' and 'object'"),
        ([picture("a", HUMAN)], [RIDE], {"modes": ["matlab"]}, "choose from official, upt, gen-vlkt"),
        ([picture("a", HUMAN)], [RIDE], {"modes": []}, "no mode"),
        ([picture("a", HUMAN)], [RIDE], {"splits": {"own": [HOLD]}}, "the split 'own': 'hold cup' is not among"),
    ],
)
def test_bad_input_is_named(images, interactions, options, message) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate_pairs([], images, interactions, **options)


def test_every_mode_has_eleven_bins() -> None:
    assert {len(mode.recall_bins) for mode in MODES.values()} == {11}


def test_predictions_become_columns_in_the_order_of_the_data() -> None:
    gold = encode_gold([picture("a", HUMAN), picture("b")], [HOLD, RIDE])
    columns = encode_pairs([found("b", (HUMAN, 0.25)), found("a", (HALF, 0.5), (HUMAN, 0.75))], gold, Findings())
    assert columns.image.tolist() == [1, 0, 0]
    assert columns.interaction.tolist() == [1, 1, 1]
    assert columns.score.tolist() == [0.25, 0.5, 0.75]
    assert columns.boxes_xyxy[1].tolist() == [[0, 0, 100, 50], [200, 0, 300, 100]]
    assert columns.best_first().tolist() == [2, 1, 0]
