from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ovgsr.models.checkpoint import Calibration
from ovgsr.models.decode import decode_situations, rank_verbs, repeat_pictures, split_scores, verb_log_probabilities
from ovgsr.tensors import RoleOutputs, TextEmbeddings, VerbScores
from ovgsr.vocabulary import Verb, Vocabulary

TEXT = TextEmbeddings(
    torch.zeros(3, 2), torch.zeros(3, 1, 2), torch.ones(3, 1, dtype=torch.bool), torch.zeros(5, 2), ""
)


def test_the_offset_moves_verbs_outside_training_only() -> None:
    scores = VerbScores(torch.tensor([[1.0, 2.0, 0.5]]))
    known = replace(TEXT, verb_classes=torch.tensor([0, -1, 7]))
    plain = verb_log_probabilities(scores, known, Calibration())
    moved = verb_log_probabilities(scores, known, Calibration(0.7))
    torch.testing.assert_close(plain, scores.recognition.log_softmax(dim=-1))
    torch.testing.assert_close(moved, torch.tensor([[1.0, 2.7, 0.5]]).log_softmax(dim=-1))
    unmoved = verb_log_probabilities(scores, TEXT, Calibration(0.7))
    assert torch.equal(unmoved, plain), "nobody said which verbs were in training"


def test_rare_verbs_have_a_constant_of_their_own() -> None:
    scores = VerbScores(torch.tensor([[1.0, 2.0, 0.5]]))
    known = replace(TEXT, verb_classes=torch.tensor([0, -1, 7]), rare_verbs=torch.tensor([False, False, True]))
    split = split_scores(scores, known, Calibration(0.5, rare_offset=0.25))
    assert split.offset.tolist() == [0, 0.5, 0.25]
    torch.testing.assert_close(split.fused, torch.tensor([[1.0, 2.5, 0.75]]).log_softmax(dim=-1))


def test_an_impossible_verb_has_probability_zero_whatever_the_offset() -> None:
    lowest = torch.finfo(torch.float32).min
    scores = VerbScores(torch.tensor([[1.0, lowest, 0.5], [lowest, lowest, lowest]]))
    known = replace(TEXT, verb_classes=torch.tensor([0, -1, 1]))
    probabilities = verb_log_probabilities(scores, known, Calibration(100.0)).exp()
    assert probabilities.isfinite().all()
    assert probabilities[0, 1] == 0
    torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(2))


def test_two_readouts_by_hand() -> None:
    """The distilled readout: 1/2 to training verbs in all. Among these the mixture is 3 to 1 in odds: 3/8 and 1/8."""
    recognition = torch.tensor([[9.0, 1.0, 5.0]]).log()  # of the unseen verb it says nothing that counts
    distilled = torch.tensor([[1.0, 1.0, 2.0]]).log()
    known = replace(TEXT, verb_classes=torch.tensor([0, 1, -1]))
    split = split_scores(VerbScores(recognition, distilled), known, Calibration(recognition_weight=0.5))
    torch.testing.assert_close(split.recognition.exp(), torch.tensor([[9, 1, 5]]) / 15)
    assert split.distilled is not None
    torch.testing.assert_close(split.distilled.exp(), torch.tensor([[0.25, 0.25, 0.5]]))
    assert split.offset.tolist() == [0, 0, 0]
    torch.testing.assert_close(split.fused.exp(), torch.tensor([[0.375, 0.125, 0.5]]))
    # A constant of log 3 makes odds of 1 to 1 into 3 to 1: 1/4 is left to the training verbs.
    lifted = split_scores(VerbScores(recognition, distilled), known, Calibration(math.log(3), recognition_weight=0.5))
    torch.testing.assert_close(lifted.offset, torch.tensor([0.0, 0.0, math.log(3)]))
    torch.testing.assert_close(lifted.fused.exp(), torch.tensor([[0.1875, 0.0625, 0.75]]))


def _log_softmax(row: list[float]) -> list[float]:
    total = math.log(sum(math.exp(value) for value in row))
    return [value - total for value in row]


def _fused_plainly(
    recognition: list[float], distilled: list[float] | None, known: list[bool], calibration: Calibration
) -> list[float]:
    """One picture, number by number."""
    first = _log_softmax(recognition)
    fused = list(first)
    if distilled is not None and calibration.recognition_weight < 1:
        second = _log_softmax(distilled)
        training = [place for place, is_known in enumerate(known) if is_known]
        fused = list(second)
        if training:
            weight = calibration.recognition_weight
            inside = _log_softmax([weight * first[p] + (1 - weight) * second[p] for p in training])
            share = math.log(sum(math.exp(second[p]) for p in training))
            for place, value in zip(training, inside, strict=True):
                fused[place] = share + value
    return _log_softmax([v + (0.0 if k else calibration.unseen_offset) for v, k in zip(fused, known, strict=True)])


KNOWN = [
    # which offered verbs were in training
    [True, False, True, False, True],
    [True] * 5,
    [False] * 5,
    [False, False, False, False, True],
]


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(),
        Calibration(1.5, recognition_weight=0.8),
        Calibration(-2.0, recognition_weight=0.0),
        Calibration(3.0),
    ],
)
@pytest.mark.parametrize("taught", [True, False])
def test_the_fusion_against_plain_loops(known: list[bool], calibration: Calibration, taught: bool) -> None:
    generator = torch.Generator().manual_seed(len(known) + int(taught))
    recognition, distilled = (4 * torch.randn(3, 5, generator=generator) for _ in range(2))
    text = replace(TEXT, verb_classes=torch.tensor([place if is_known else -1 for place, is_known in enumerate(known)]))
    split = split_scores(VerbScores(recognition, distilled if taught else None), text, calibration)
    rows = zip(recognition.tolist(), distilled.tolist(), strict=True)
    expected = [_fused_plainly(first, second if taught else None, known, calibration) for first, second in rows]
    torch.testing.assert_close(split.fused, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(split.fused.exp().sum(dim=-1), torch.ones(3))
    assert (split.distilled is None) == (not taught or calibration.recognition_weight == 1)


def test_a_closed_recognizer_leaves_unknown_verbs_to_the_distilled_readout() -> None:
    """Its logit of a verb that was no class is the lowest number there is: no NaN comes of mixing it."""
    lowest = torch.finfo(torch.float32).min
    scores = VerbScores(torch.tensor([[1.0, 1.0, lowest]]), torch.tensor([[0.0, 0.0, math.log(2)]]))
    known = replace(TEXT, verb_classes=torch.tensor([0, 1, -1]))
    fused = split_scores(scores, known, Calibration(recognition_weight=0.7)).fused
    torch.testing.assert_close(fused.exp(), torch.tensor([[0.25, 0.25, 0.5]]))


def test_the_ranking_is_best_first_and_ties_keep_their_order(tiny_vocabulary: Vocabulary) -> None:
    probabilities = torch.tensor([[0.2, 0.6, 0.2], [0.25, 0.25, 0.5]])
    ranking = rank_verbs(probabilities.log(), tiny_vocabulary)
    assert ranking[0] == (("cutting", 0.6), ("throwing", 0.2), ("barking", 0.2))
    assert ranking[1] == (("barking", 0.5), ("throwing", 0.25), ("cutting", 0.25))


def _outputs(noun: list[int], boxes: list[list[float]], grounded: list[float]) -> RoleOutputs:
    """One picture; the chosen noun of each role has a logit of log 7 against four of 0: probability 7/11."""
    logits = torch.zeros(1, len(noun), 5)
    logits[0, torch.arange(len(noun)), torch.tensor(noun)] = torch.tensor(7.0).log()
    return RoleOutputs(logits, torch.tensor([boxes]), torch.tensor([grounded]), torch.zeros(1, len(noun), 4))


def test_a_situation_by_hand(tiny_vocabulary: Vocabulary) -> None:
    outputs = _outputs(
        noun=[1, 0, 4],
        boxes=[[0.5, 0.5, 0.5, 1.0], [0.5, 0.5, 0.1, 0.1], [0.9, 0.1, 0.4, 0.4]],
        grounded=[2.0, 9.0, -0.1],  # the second role is empty: it has no box, however sure the grounding is
    )
    (situation,) = decode_situations(
        outputs, torch.tensor([1]), [0.25], torch.tensor([[200.0, 100.0]]), tiny_vocabulary
    )
    assert (situation.verb, situation.score, situation.frame_borrowed_from) == ("cutting", 0.25, None)
    assert situation.roles == ("agent", "item", "tool")
    agent, item, tool = situation.nouns.values()
    assert (agent.noun, agent.box_xyxy, agent.score) == ("n1", (50.0, 0.0, 150.0, 100.0), 0.6364)
    assert agent.grounded_score == pytest.approx(0.8808)  # the logistic function of 2
    assert (item.noun, item.box_xyxy) == ("", None)
    assert (tool.noun, tool.box_xyxy) == ("n4", None)
    assert tool.grounded_score == pytest.approx(0.475)


def test_boxes_are_clamped_to_each_pictures_own_size_and_padding_is_left_out(tiny_vocabulary: Vocabulary) -> None:
    one = _outputs([1, 2, 3], [[0.9, 0.1, 0.4, 0.4]] * 3, [1.0, 1.0, 1.0])
    outputs = RoleOutputs(
        *(repeat_pictures(t, 2) for t in (one.noun_logits, one.boxes_cxcywh, one.grounded_logits, one.features))
    )
    sizes = torch.tensor([[10.0, 20.0], [640.0, 480.0]])
    first, second = decode_situations(outputs, torch.tensor([0, 2]), [None, None], sizes, tiny_vocabulary)
    assert first.roles == ("agent", "item")
    assert first.nouns["agent"].box_xyxy == (7.0, 0.0, 10.0, 6.0)  # 0.7 to 1.1 across, -0.1 to 0.3 down
    assert second.roles == ("agent",)
    assert second.nouns["agent"].box_xyxy == (448.0, 0.0, 640.0, 144.0)


def test_a_borrowed_frame_is_said(tiny_vocabulary: Vocabulary) -> None:
    lent = replace(tiny_vocabulary, verbs=(Verb("hurling", ("agent", "item"), borrowed_from="throwing"),))
    outputs = _outputs([1, 2], [[0.5, 0.5, 1.0, 1.0]] * 2, [1.0, 1.0])
    (situation,) = decode_situations(outputs, torch.tensor([0]), [0.5], torch.tensor([[9.0, 9.0]]), lent)
    assert situation.frame_borrowed_from == "throwing"


def test_repeated_pictures_stay_together() -> None:
    assert repeat_pictures(torch.tensor([[1, 2], [3, 4]]), 2).tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    assert repeat_pictures(torch.zeros(2, 3), 0).shape == (0, 3)
