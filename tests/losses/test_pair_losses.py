"""Matching against every possible assignment, and the terms against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import Tensor

from ovgsr.config import DistillSettings, LossSettings, PairSettings
from ovgsr.losses.pairs import (
    match_layer,
    match_pairs,
    matching_cost,
    object_loss,
    pair_distillation_losses,
    pair_losses,
    verb_focal_loss,
)
from ovgsr.tensors import PairOutputs, PairTargets

LOSS = LossSettings(verb=2.0, noun=1.0, box_l1=5.0, box_giou=2.0)
PAIRS = PairSettings()


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _outputs(queries: int = 4, verbs: int = 3, things: int = 2, seed: int = 0, pictures: int = 2) -> PairOutputs:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(pictures, queries, *shape, generator=generator, requires_grad=True)

    boxes = torch.rand(pictures, queries, 2, 4, generator=generator) * 0.4 + 0.3
    return PairOutputs(boxes.requires_grad_(), random(1 + things), random(verbs), random(5))


def _targets(pictures: int = 2) -> PairTargets:
    """Three pairs in the first picture, one in the second."""
    generator = torch.Generator().manual_seed(1)
    return PairTargets(
        mask=torch.tensor([[True, True, True], [True, False, False]])[:pictures],
        boxes_cxcywh=(torch.rand(2, 3, 2, 4, generator=generator) * 0.4 + 0.3)[:pictures],
        object_index=torch.tensor([[1, 2, 2], [1, 0, 0]])[:pictures],
        verbs=torch.tensor([[[1, 0, 0], [1, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]]).bool()[:pictures],
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("queries", "pairs"), [(4, 3), (3, 3), (2, 4), (1, 2)])
def test_the_matching_is_the_best_of_all(seed: int, queries: int, pairs: int) -> None:
    cost = torch.rand(1, queries, pairs, generator=torch.Generator().manual_seed(seed))
    picture, query, pair = match_pairs(cost, torch.ones(1, pairs, dtype=torch.bool))
    assert len(query) == min(queries, pairs) == len(set(query.tolist())) == len(set(pair.tolist()))
    assert picture.tolist() == [0] * len(query)
    few, many = (cost[0], queries) if queries <= pairs else (cost[0].T, pairs)
    best = min(sum(float(few[row, column]) for row, column in enumerate(order)) for order in
               permutations(range(few.shape[1]), many))  # fmt: skip
    assert float(cost[picture, query, pair].sum()) == pytest.approx(best, abs=1e-6)


def test_padding_is_matched_with_nothing() -> None:
    cost = torch.zeros(2, 4, 3)
    cost[0, :, 1] = -9.0  # a tempting column, were it no padding
    picture, query, pair = match_pairs(cost, torch.tensor([[True, False, True], [False, False, False]]))
    assert picture.tolist() == [0, 0]
    assert sorted(pair.tolist()) == [0, 2]
    assert len(set(query.tolist())) == 2


def test_several_queries_answer_for_a_pair_where_it_is_offered_often() -> None:
    cost = torch.tensor([[[0.0, 9.0], [1.0, 9.0], [9.0, 2.0], [9.0, 3.0], [5.0, 5.0]]])
    _, query, pair = match_pairs(cost, torch.ones(1, 2, dtype=torch.bool), repeats=2)
    assert sorted(zip(query.tolist(), pair.tolist(), strict=True)) == [(0, 0), (1, 0), (2, 1), (3, 1)]
    padded = match_pairs(cost, torch.tensor([[True, False]]), repeats=2)
    assert sorted(padded[1].tolist()) == [0, 1] and padded[2].tolist() == [0, 0]


def test_the_cost_of_one_query_by_hand() -> None:
    outputs = PairOutputs(
        boxes_cxcywh=torch.tensor([[[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]]]]),
        object_logits=torch.tensor([[[0.0, math.log(2.0), 0.0]]]),  # probabilities 1/4, 1/2, 1/4
        verb_logits=torch.tensor([[[_logit(0.8), _logit(0.4), _logit(0.9)]]]),
        features=torch.zeros(1, 1, 1),
    )
    targets = PairTargets(
        mask=torch.tensor([[True]]),
        boxes_cxcywh=torch.tensor([[[[0.5, 0.5, 0.2, 0.2], [0.6, 0.5, 0.4, 0.4]]]]),
        object_index=torch.tensor([[1]]),
        verbs=torch.tensor([[[True, True, False]]]),
    )
    # The object's box costs most: 0.1 beside, overlap 0.3 * 0.4, union 0.2, hull 0.5 * 0.4.
    giou = 0.12 / 0.2 - 0.0
    expected = 1 * 0.5 + 2 * (1 - 0.6) + 5 * 0.1 + 2 * (1 - giou)
    assert float(matching_cost(outputs, targets, LOSS)) == pytest.approx(expected, abs=1e-5)


def test_the_focal_loss_by_hand() -> None:
    logits = torch.tensor([[_logit(0.9), _logit(0.2), _logit(0.6)]])
    wanted, counted = torch.tensor([[True, True, False]]), torch.tensor([[True, True, True]])
    positive = 0.25 * (0.1**2 * -math.log(0.9) + 0.8**2 * -math.log(0.2))
    negative = 0.75 * 0.6**2 * -math.log(0.4)
    loss = verb_focal_loss(logits, wanted, counted, alpha=0.25, gamma=2.0)
    assert float(loss) == pytest.approx((positive + negative) / 2, abs=1e-6)
    without = verb_focal_loss(logits, wanted, torch.tensor([[True, True, False]]), alpha=0.25, gamma=2.0)
    assert float(without) == pytest.approx(positive / 2, abs=1e-6)
    plain = verb_focal_loss(logits, wanted, counted, alpha=0.5, gamma=0.0)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted.float(), reduction="sum")
    assert float(plain) == pytest.approx(float(entropy) / 4, abs=1e-6)


def test_the_objects_cross_entropy_by_hand() -> None:
    logits = torch.log(torch.tensor([[[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]]))
    matches = (torch.tensor([0]), torch.tensor([2]), torch.tensor([2]))
    expected = (0.1 * -math.log(0.2) + 0.1 * -math.log(0.6) - math.log(0.8)) / 1.2
    assert float(object_loss(logits, matches, 0.1)) == pytest.approx(expected, abs=1e-6)


def test_a_combination_that_training_was_not_offered_is_no_negative() -> None:
    outputs, targets = _outputs(), _targets()
    trained = torch.tensor([[False, True, True], [False, False, True], [False, True, True]])
    losses, _ = pair_losses([outputs], [match_layer(outputs, targets, LOSS)], targets, trained, LOSS, PAIRS)
    (gradient,) = torch.autograd.grad(losses["verb"], outputs.verb_logits)
    picture, query, pair = match_pairs(matching_cost(outputs, targets, LOSS), targets.mask)
    assert len(picture) == 4
    for place, column in zip(zip(picture.tolist(), query.tolist(), strict=True), pair.tolist(), strict=True):
        thing = int(targets.object_index[place[0], column])
        assert (gradient[place] != 0).tolist() == trained[:, thing].tolist()
    others = torch.ones(gradient.shape[:2], dtype=torch.bool)
    others[picture, query] = False
    assert not gradient[others].any(), "what a query without a pair says of verbs is nobody's affair"


def test_terms_weights_and_earlier_layers() -> None:
    layers, targets, trained = [_outputs(seed=seed) for seed in (0, 1, 2)], _targets(), torch.ones(3, 3).bool()
    matches = [match_layer(layer, targets, LOSS) for layer in layers]
    single = [
        pair_losses([layer], [one], targets, trained, LOSS, PAIRS) for layer, one in zip(layers, matches, strict=True)
    ]
    losses, report = pair_losses(layers, matches, targets, trained, LOSS, PAIRS)
    assert list(losses) == list(report) == ["verb", "object", "box_l1", "box_giou", "auxiliary"]
    for name, weight in (("verb", 2), ("object", 1), ("box_l1", 5), ("box_giou", 2)):
        torch.testing.assert_close(losses[name], single[2][0][name])
        torch.testing.assert_close(losses[name], weight * report[name])
    earlier = sum(float(term.detach()) for terms, _ in single[:2] for term in terms.values())
    assert float(losses["auxiliary"]) == pytest.approx(earlier, rel=1e-5)


def test_pictures_without_a_pair_still_reach_every_output() -> None:
    """Data-parallel training waits for each gradient."""
    outputs = _outputs()
    empty = PairTargets(
        torch.zeros(2, 0).bool(), torch.zeros(2, 0, 2, 4), torch.zeros(2, 0).long(), torch.zeros(2, 0, 3).bool()
    )
    matches = [match_layer(outputs, empty, LOSS)]
    losses, _ = pair_losses([outputs], matches, empty, torch.ones(3, 3).bool(), LOSS, PAIRS)
    assert float(losses["verb"]) == float(losses["box_l1"]) == float(losses["box_giou"]) == 0
    total = torch.stack(list(losses.values())).sum()
    gradients = torch.autograd.grad(total, [outputs.boxes_cxcywh, outputs.object_logits, outputs.verb_logits])
    assert not gradients[0].any()
    assert gradients[1].any(), "every query learns that there is no object"
    assert not gradients[2].any()


def test_readings_are_learned_by_the_matched_queries_alone() -> None:
    """1 - cosine and the KL to all readings of the batch, worked out in plain Python; views in a part of their own."""
    generator = torch.Generator().manual_seed(3)
    learned = torch.nn.functional.normalize(torch.randn(2, 4, 3, generator=generator), dim=-1).requires_grad_()
    views = torch.nn.functional.normalize(torch.randn(1, 4, 3, generator=generator), dim=-1).requires_grad_()
    read = torch.zeros(2, 3, 3)
    read[0, 0], read[0, 2], read[1, 0] = torch.eye(3)  # the second pair of the first picture has no reading
    seen = torch.nn.functional.normalize(torch.ones(1, 1, 3), dim=-1)
    matches = (torch.tensor([0, 0, 0, 1]), torch.tensor([3, 1, 0, 2]), torch.tensor([0, 1, 2, 0]))
    composed = (torch.tensor([0]), torch.tensor([2]), torch.tensor([0]))
    outputs = [replace(_outputs(pictures=len(part)), distilled=part) for part in (learned, views)]
    settings = DistillSettings(signals="folder", scene=2.0, relation=0.5, relation_temperature=0.2)
    taught = [(outputs[0], matches, read), (outputs[1], composed, seen)]
    losses, report = pair_distillation_losses(taught, settings)
    said = [learned[0, 3], learned[0, 0], learned[1, 2], views[0, 2]]
    told = [read[0, 0], read[0, 2], read[1, 0], seen[0, 0]]
    apart = [
        1 - sum(a * b for a, b in zip(s.tolist(), t.tolist(), strict=True)) for s, t in zip(said, told, strict=True)
    ]
    assert float(report["scene"]) == pytest.approx(sum(apart) / 4, abs=1e-5)

    def likeness(vector: Tensor) -> list[float]:
        raised = [math.exp(float((vector * one).sum().detach()) / 0.2) for one in told]
        return [one / sum(raised) for one in raised]

    divergences = [
        sum(p * math.log(p / q) for p, q in zip(likeness(t), likeness(s), strict=True))
        for s, t in zip(said, told, strict=True)
    ]
    assert float(report["relation"]) == pytest.approx(sum(divergences) / 4, abs=1e-4)
    torch.testing.assert_close(losses["scene"].detach(), 2 * report["scene"])
    torch.testing.assert_close(losses["relation"].detach(), 0.5 * report["relation"])
    (gradient, of_views) = torch.autograd.grad(losses["scene"] + losses["relation"], [learned, views])
    assert gradient.any(dim=-1).nonzero().tolist() == [[0, 0], [0, 3], [1, 2]]
    assert of_views.any(dim=-1).nonzero().tolist() == [[0, 2]]


def test_boxes_and_object_of_views_count_like_annotated_ones() -> None:
    """Boxes: the mean over all matches. Object: every query of a picture, of a view only the one that answers."""
    outputs, views = _outputs(), _outputs(pictures=1)
    targets, known = _targets(2), replace(_targets(1), mask=torch.tensor([[True, False, False]]))
    matches, answering = match_layer(outputs, targets, LOSS), match_layer(views, known, LOSS)
    judged = torch.ones(3, 3, dtype=torch.bool)
    losses, report = pair_losses([outputs], [matches], targets, judged, LOSS, PAIRS, [(views, answering, known)])
    alone, told = pair_losses([outputs], [matches], targets, judged, LOSS, PAIRS)
    _, seen = pair_losses([views], [answering], known, judged, LOSS, PAIRS)
    count, query, thing = len(matches[0]), int(answering[1]), int(known.object_index[0, 0])
    for name in ("box_l1", "box_giou"):
        assert float(report[name]) == pytest.approx((count * float(told[name]) + float(seen[name])) / (count + 1))
    missing = -float(views.object_logits[0, query].log_softmax(dim=-1)[thing].detach())
    weight = count + PAIRS.no_object * (outputs.object_logits.shape[:2].numel() - count)
    assert float(report["object"]) == pytest.approx((weight * float(told["object"]) + missing) / (weight + 1), rel=1e-5)
    assert float(losses["verb"]) == float(alone["verb"]), "nobody knows what is done in a view"
    gradients = torch.autograd.grad(
        torch.stack(list(losses.values())).sum(),
        [views.boxes_cxcywh, views.object_logits, views.verb_logits],
        allow_unused=True,
    )
    assert [part is not None and part[0].any(dim=-1).sum().item() for part in gradients[1:]] == [1, False]
    assert gradients[0][0].flatten(1).any(dim=-1).nonzero().flatten().tolist() == [query]


def test_nothing_read_nothing_learned() -> None:
    learned = torch.randn(2, 4, 3, requires_grad=True)
    nobody = (torch.zeros(0).long(),) * 3
    losses, _ = pair_distillation_losses(
        [(replace(_outputs(), distilled=learned), nobody, torch.zeros(2, 0, 3))], DistillSettings(signals="folder")
    )
    (gradient,) = torch.autograd.grad(losses["scene"] + losses["relation"], [learned])
    assert not gradient.any()


def test_a_view_without_a_verb_is_matched_by_boxes_and_object() -> None:
    outputs = _outputs(pictures=1)
    views = replace(_targets(1), mask=torch.tensor([[True, False, False]]), verbs=torch.zeros(1, 3, 3).bool())
    loud = replace(outputs, verb_logits=torch.randn(1, 4, 3) * 50)
    chosen = match_layer(outputs, views, LOSS)
    assert [part.tolist() for part in match_layer(loud, views, LOSS)] == [part.tolist() for part in chosen]
    cost = matching_cost(outputs, views, LOSS)[0, :, 0]
    assert int(chosen[1]) == int(cost.argmin())
