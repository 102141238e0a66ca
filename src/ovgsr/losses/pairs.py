"""Human-object interactions: which query answers for which annotated pair, and what it costs.

Queries and annotated pairs are matched one to one at the least total cost (Carion et al. 2020), for every decoder layer
by itself; in the earlier ones several queries answer for a pair, so that more of them learn from it (hybrid matching,
Jia et al. 2023). The terms are QPIC's (Tamura et al. 2021): L1 and 1 - GIoU of both boxes, cross-entropy of the object
with "no object" for the queries left over, and the focal loss of every verb. Where a teacher has read the pairs, the
matched queries' distilled readout learns its readings, in the last layer. One pair of a composite view is known but for
its verb; its boxes and object are taught as well: copied and pasted things help to find things (Ghiasi et al. 2021).

Letters: B pictures, P annotated pairs, Q queries, V verbs, N answers (no object first).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ovgsr.boxes import cxcywh_to_xyxy, paired_giou
from ovgsr.config import DistillSettings, LossSettings, PairSettings
from ovgsr.losses.distillation import reading_losses
from ovgsr.losses.grounding import box_losses
from ovgsr.losses.processes import joined_count
from ovgsr.tensors import PairOutputs, PairTargets

Losses = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Weighted terms to be summed, and the unweighted ones to be looked at."""

Matches = tuple[Tensor, Tensor, Tensor]
"""Picture, query and annotated pair of each match, (M,) long each."""

Composed = tuple[PairOutputs, Matches, PairTargets]
"""Of views: outputs, which queries answer for the pairs that they are of, and what is known of these: all but verbs."""

Taught = tuple[PairOutputs, Matches, Tensor]
"""Outputs, which queries answer for which pairs, and the teacher's readings (B, P, D) of these."""


def pair_losses(
    layers: Sequence[PairOutputs],
    matches: Sequence[Matches],
    targets: PairTargets,
    judged: Tensor,
    settings: LossSettings,
    pairs: PairSettings,
    views: Sequence[Composed] = (),
) -> Losses:
    """The terms of the last decoder layer, and as ``auxiliary`` the sum of all terms of the earlier ones.

    ``matches`` are each layer's (:func:`match_layer`). ``judged`` (V, N) is True where a verb and an object may be
    judged together. A combination that a split holds out is nobody's negative: what an annotator would say of it is not
    for training to know. ``views``, one entry a layer if any, count among the boxes and objects; whether there is
    something else in a view is not asked.
    """
    beside: Sequence[Composed | None] = views or [None] * len(layers)
    every = [
        _terms(outputs, one, targets, judged, pairs, view)
        for outputs, one, view in zip(layers, matches, beside, strict=True)
    ]
    weights = {"verb": settings.verb, "object": settings.noun, "box_l1": settings.box_l1, "box_giou": settings.box_giou}
    weighted = [{name: weights[name] * term for name, term in terms.items()} for terms in every]
    losses, report = weighted[-1], {name: term.detach() for name, term in every[-1].items()}
    if len(layers) > 1:
        losses["auxiliary"] = torch.stack([term for terms in weighted[:-1] for term in terms.values()]).sum()
        report["auxiliary"] = losses["auxiliary"].detach()
    return losses, report


def pair_distillation_losses(taught: Sequence[Taught], settings: DistillSettings) -> Losses:
    """The terms that a teacher's readings of pairs give: of training pictures and, in a part of its own, of views.

    A pair without a reading is a row of zeros and does not count (``losses.distillation``).
    """
    learned, read = [], []
    for outputs, (picture, query, pair), readings in taught:
        assert outputs.distilled is not None, "a student with a distilled readout"
        learned.append(outputs.distilled[picture, query])
        read.append(readings[picture, pair])
    report = reading_losses(torch.cat(learned), torch.cat(read), settings.relation_temperature)
    losses = {"scene": settings.scene * report["scene"], "relation": settings.relation * report["relation"]}
    return losses, {name: term.detach() for name, term in report.items()}


def match_layer(outputs: PairOutputs, targets: PairTargets, settings: LossSettings, repeats: int = 1) -> Matches:
    """Which query of a decoder layer answers for which annotated pair. Pairs without a verb are matched by the rest.

    With ``repeats`` a pair is answered for by so many queries, where there are enough of them.
    """
    return match_pairs(matching_cost(outputs, targets, settings), targets.mask, repeats)


def _terms(
    outputs: PairOutputs,
    matches: Matches,
    targets: PairTargets,
    judged: Tensor,
    pairs: PairSettings,
    composed: Composed | None,
) -> dict[str, Tensor]:
    picture, query, pair = matches
    boxes, wanted = outputs.boxes_cxcywh[picture, query], targets.boxes_cxcywh[picture, pair]
    things = targets.object_index[picture, pair]
    shown: tuple[Tensor, Tensor] | None = None
    if composed is not None:
        views, (view, answering, of), known = composed
        boxes = torch.cat([boxes, views.boxes_cxcywh[view, answering]])
        wanted = torch.cat([wanted, known.boxes_cxcywh[view, of]])
        shown = views.object_logits[view, answering], known.object_index[view, of]
    everything = torch.ones(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    l1, giou = box_losses(boxes, wanted, everything)
    return {
        "verb": verb_focal_loss(
            outputs.verb_logits[picture, query],
            targets.verbs[picture, pair],
            judged[:, things].T,
            alpha=pairs.focal_alpha,
            gamma=pairs.focal_gamma,
        ),
        "object": object_loss(outputs.object_logits, (picture, query, things), pairs.no_object, shown),
        "box_l1": l1,
        "box_giou": giou,
    }


@torch.no_grad()
def matching_cost(outputs: PairOutputs, targets: PairTargets, settings: LossSettings) -> Tensor:
    """What it costs (B, Q, P) to let a query answer for an annotated pair, in the losses' weights.

    The object costs 1 - its probability; the verbs as QPIC has it: the mean probability missing of those that are
    annotated; the boxes what the worse of the two costs.
    """
    count = targets.mask.shape[1]
    things = targets.object_index[:, None].expand(-1, outputs.object_logits.shape[1], -1)
    thing = 1 - outputs.object_logits.float().softmax(dim=-1).gather(-1, things)
    wanted = targets.verbs.float()
    share = wanted / wanted.sum(dim=-1, keepdim=True).clamp(min=1)
    verb = 1 - outputs.verb_logits.float().sigmoid() @ share.transpose(1, 2)
    boxes = outputs.boxes_cxcywh.float()[:, :, None].expand(-1, -1, count, -1, -1)
    gold = targets.boxes_cxcywh[:, None].expand_as(boxes)
    distance = (boxes - gold).abs().sum(dim=-1).amax(dim=-1)
    giou = 1 - paired_giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(gold)).amin(dim=-1)
    return settings.noun * thing + settings.verb * verb + settings.box_l1 * distance + settings.box_giou * giou


@torch.no_grad()
def match_pairs(cost: Tensor, mask: Tensor, repeats: int = 1) -> Matches:
    """The matches of least total cost (B, Q, P), picture by picture; ``mask`` (B, P) is False at padding.

    Each pair is offered ``repeats`` times. Where that is more than there are queries, what costs most goes without.
    """
    costs, real = cost.float().cpu().numpy(), mask.cpu().numpy()
    found: list[tuple[int, int, int]] = []
    for number, (table, own) in enumerate(zip(costs, real, strict=True)):
        places = np.tile(own.nonzero()[0], repeats)
        rows, columns = linear_sum_assignment(table[:, places])
        found += [(number, int(row), int(places[column])) for row, column in zip(rows, columns, strict=True)]
    picture, query, pair = torch.tensor(found, dtype=torch.long, device=cost.device).reshape(-1, 3).unbind(dim=1)
    return picture, query, pair


def verb_focal_loss(logits: Tensor, wanted: Tensor, counted: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Focal loss (Lin et al. 2017) of verb logits (M, V) against ``wanted`` (M, V), a scalar.

    Summed over the verbs of a pair that are ``counted`` (M, V), mean over the annotated verbs; 0 with gradient 0 where
    there are none.
    """
    logits = logits.float()
    right = wanted.to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, right, reduction="none")
    missing = (logits.sigmoid() - right).abs()
    share = alpha * right + (1 - alpha) * (1 - right)
    return (share * missing**gamma * entropy * counted).sum() / joined_count(right.sum())


def object_loss(
    logits: Tensor, matches: Matches, no_object: float, shown: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Cross-entropy of object logits (B, Q, N); a query without a match should say "no object", with a smaller weight.

    ``matches`` are picture, query and the object's answer index; ``shown`` are further logits (M, N) and their objects
    (M,). A weighted mean over the queries, a scalar.
    """
    picture, query, things = matches
    wanted = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
    wanted[picture, query] = things
    logits, wanted = logits.flatten(0, 1), wanted.flatten()
    if shown is not None:
        logits, wanted = torch.cat([logits, shown[0]]), torch.cat([wanted, shown[1]])
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[0] = no_object
    total = F.cross_entropy(logits.float(), wanted, weight, reduction="sum")
    return total / joined_count(weight[wanted].sum())
