"""Decoding against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ovgsr.models.pair_decode import (
    Combinations,
    PictureReading,
    decode_pairs,
    fused_verbs,
    read_detected,
    read_pictures,
)
from ovgsr.tensors import DetectedBoxes, PairOutputs
from ovgsr.vocabulary import Noun, Verb, Vocabulary

WORDS = Vocabulary((Verb("ride"), Verb("hold")), (Noun("horse", ("horse",)), Noun("ball", ("ball",))))
SIZES = torch.tensor([[200.0, 100.0]])


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _outputs() -> PairOutputs:
    """Three queries: the second is a near copy of the first, the third is elsewhere and reaches beyond the picture."""
    here, near, there = [0.5, 0.5, 0.2, 0.4], [0.51, 0.5, 0.2, 0.4], [0.9, 0.2, 0.4, 0.2]
    return PairOutputs(
        boxes_cxcywh=torch.tensor([[[here, here], [near, here], [there, here]]]),
        object_logits=torch.log(torch.tensor([[[0.2, 0.5, 0.3], [0.4, 0.5, 0.1], [0.7, 0.1, 0.2]]])),
        verb_logits=torch.tensor(
            [[[_logit(0.8), _logit(0.1)], [_logit(0.9), _logit(0.2)], [_logit(0.5), _logit(0.9)]]]
        ),
        features=torch.zeros(1, 3, 1),
    )


def _reading() -> PictureReading:
    (reading,) = read_pictures(_outputs(), SIZES, torch.ones(2))
    return reading


def test_scores_names_boxes_and_order() -> None:
    pairs = decode_pairs(_reading(), WORDS, Combinations.all_of(WORDS), kept=100, nms=None)
    assert len(pairs) == 3 * 4
    told = [(pair.verb, pair.object, pair.score) for pair in pairs[:4]]
    assert [(verb, thing) for verb, thing, _ in told] == [
        ("ride", "horse"), ("ride", "horse"), ("ride", "ball"), ("hold", "ball")
    ]  # fmt: skip
    assert [score for *_, score in told] == pytest.approx([0.45, 0.4, 0.24, 0.18], abs=1e-5)
    assert pairs[1].human_box_xyxy == pytest.approx((80, 30, 120, 70), abs=0.01)
    assert pairs[3].human_box_xyxy == pytest.approx((140, 10, 200, 30), abs=0.01), "cut off at the picture's edge"
    assert pairs[3].object_box_xyxy == pytest.approx((80, 30, 120, 70), abs=0.01)


def test_near_copies_of_the_same_interaction_go() -> None:
    everything = Combinations.all_of(WORDS)
    pairs = decode_pairs(_reading(), WORDS, everything, kept=100, nms=0.5)
    assert len(pairs) == 2 * 4
    riding = [pair for pair in pairs if (pair.verb, pair.object) == ("ride", "horse")]
    assert [pair.score for pair in riding] == pytest.approx([0.45, 0.05], abs=1e-5)
    holding = [pair for pair in pairs if (pair.verb, pair.object) == ("hold", "horse")]
    assert holding[0].score == pytest.approx(0.1, abs=1e-5), "of each interaction its own best query stays"
    # 2 pixels apart of 40: IoU 38 / 42
    loose = decode_pairs(_reading(), WORDS, everything, kept=100, nms=0.92)
    assert len(loose) == 3 * 4
    few = decode_pairs(_reading(), WORDS, everything, kept=2, nms=0.5)
    assert few == pairs[:2]


def test_only_listed_combinations_are_scored() -> None:
    listed = Combinations.listed([("hold", "ball"), ("eat", "ball"), ("ride", "cake"), ("ride", "horse")], WORDS)
    pairs = decode_pairs(_reading(), WORDS, listed, kept=100, nms=None)
    assert {(pair.verb, pair.object) for pair in pairs} == {("hold", "ball"), ("ride", "horse")}
    assert len(pairs) == 6
    everything = decode_pairs(_reading(), WORDS, Combinations.all_of(WORDS), kept=100, nms=None)
    assert set(pairs) < set(everything), "the mask changes no score"


def test_a_detectors_boxes_take_the_place_of_the_students() -> None:
    detected = DetectedBoxes(
        boxes_xyxy=torch.tensor([[80.0, 30, 120, 70], [82, 30, 122, 70], [0, 0, 9, 9], [140, 10, 200, 30]]),
        human=torch.tensor([True, False, False, True]),
        object_index=torch.tensor(
            [0, 1, 0, 0]
        ),  # "horse", a label that is not offered, and persons, who are not either
        scores=torch.tensor([0.9, 0.5, 1.0, 0.4]),
    )
    pairs = decode_pairs(read_detected(_reading(), detected), WORDS, Combinations.all_of(WORDS), kept=4, nms=None)
    overlap = 38 / 42  # the detected horse lies 2 pixels beside the queries' objects
    told = [(pair.verb, pair.object, pair.human_box_xyxy) for pair in pairs]
    assert told == [
        ("ride", "horse", (80, 30, 120, 70)), ("hold", "horse", (140, 10, 200, 30)),
        ("ride", "horse", (140, 10, 200, 30)), ("hold", "horse", (80, 30, 120, 70)),
    ]  # fmt: skip
    assert {pair.object_box_xyxy for pair in pairs} == {(82, 30, 122, 70)}
    expected = [0.45 * 0.8 * overlap, 0.2 * 0.9 * overlap, 0.2 * 0.5 * overlap, 0.45 * 0.1 * overlap]
    assert [pair.score for pair in pairs] == pytest.approx(expected, abs=1e-4)
    nobody = DetectedBoxes(torch.zeros(0, 4), torch.zeros(0).bool(), torch.zeros(0).long(), torch.zeros(0))
    assert decode_pairs(read_detected(_reading(), nobody), WORDS, Combinations.all_of(WORDS), kept=4, nms=0.5) == ()


def test_both_readouts_of_the_verbs_by_hand() -> None:
    """The cosine counts in the logit, verb by verb."""
    cosines = torch.tensor([[[0.5, -0.2], [0.0, 1.0], [0.1, 0.3]]])
    taught = replace(_outputs(), cosines=cosines)
    fused = fused_verbs(taught, torch.tensor([4.0, 0.0]))
    first = 1 / (1 + math.exp(-(math.log(0.8 / 0.2) + 4 * 0.5)))
    expected = [[first, 0.1], [0.9, 0.2], [1 / (1 + math.exp(-4 * 0.1)), 0.9]]
    torch.testing.assert_close(fused, torch.tensor([expected]))
    for outputs, weight in ((taught, 0.0), (_outputs(), 4.0)):
        torch.testing.assert_close(fused_verbs(outputs, torch.full((2,), weight)), taught.verb_logits.sigmoid())
