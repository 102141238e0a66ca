from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ovgsr.models.decode import decode_situations, rank_verbs, repeat_pictures, verb_log_probabilities
from ovgsr.tensors import RoleOutputs, TextEmbeddings, VerbScores
from ovgsr.vocabulary import Verb, Vocabulary

TEXT = TextEmbeddings(
    torch.zeros(3, 2), torch.zeros(3, 1, 2), torch.ones(3, 1, dtype=torch.bool), torch.zeros(5, 2), ""
)


def test_the_offset_moves_verbs_outside_training_only() -> None:
    scores = VerbScores(torch.tensor([[1.0, 2.0, 0.5]]))
    known = replace(TEXT, verb_classes=torch.tensor([0, -1, 7]))
    plain, moved = verb_log_probabilities(scores, known), verb_log_probabilities(scores, known, 0.7)
    torch.testing.assert_close(plain, scores.recognition.log_softmax(dim=-1))
    torch.testing.assert_close(moved, torch.tensor([[1.0, 2.7, 0.5]]).log_softmax(dim=-1))
    assert torch.equal(verb_log_probabilities(scores, TEXT, 0.7), plain), "nobody said which verbs were in training"


def test_an_impossible_verb_has_probability_zero_whatever_the_offset() -> None:
    lowest = torch.finfo(torch.float32).min
    scores = VerbScores(torch.tensor([[1.0, lowest, 0.5], [lowest, lowest, lowest]]))
    known = replace(TEXT, verb_classes=torch.tensor([0, -1, 1]))
    probabilities = verb_log_probabilities(scores, known, 100.0).exp()
    assert probabilities.isfinite().all()
    assert probabilities[0, 1] == 0
    torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(2))


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
