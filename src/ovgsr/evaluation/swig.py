"""The SWiG metrics under named profiles, many pictures at once (``docs/evaluation.md`` has the definitions).

Profiles follow the evaluators that published numbers come from: ``official`` Pratt et al. 2020 (SWiG, with the verb
gate its callers need), ``coformer`` Cho et al. 2022 (CoFormer, GSRTR), ``situformer`` Wei et al. 2022.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ovgsr.boxes import clamp_to_image, paired_iou
from ovgsr.evaluation.columns import (
    OUT_OF_VOCABULARY,
    AnnotationColumns,
    EvaluationError,
    PredictionColumns,
    encode_annotations,
    encode_predictions,
)
from ovgsr.evaluation.scores import COLUMNS, MEAN_UNIT, Average, SituationScores, scores_from_sums
from ovgsr.situation import AnnotatedImage, ImagePrediction

IOU_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Profile:
    """The rules in which published evaluators differ."""

    name: str
    average: Average
    """How value and its kin are averaged; verb accuracy is per image in all profiles."""
    inclusive: bool
    """Boxes hold both border pixels (+1 on every side), as SWiG's evaluator counts."""
    strict: bool
    """A match needs IoU > 0.5, not >= 0.5."""
    clamped: bool
    """The predicted box is first clamped to the picture."""
    oov_matches: bool
    """The answer "oov" is right where an annotator's noun is outside the noun vocabulary."""
    minus_one_matches: bool
    """A gold box with any coordinate -1, hence every ungrounded role, is matched by whatever is predicted."""


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "official": Profile("official", "macro", True, True, False, False, False),
        "coformer": Profile("coformer", "per_image", False, False, True, True, False),
        "situformer": Profile("situformer", "micro", True, True, False, True, True),
    }
)


def profile_named(name: str) -> Profile:
    """The profile of that name. Raises EvaluationError with the names there are."""
    if name not in PROFILES:
        raise EvaluationError(f"the profile {name!r} does not exist; choose from {', '.join(PROFILES)}")
    return PROFILES[name]


@dataclass(frozen=True)
class ImageScores:
    """Right or wrong, role by role, before any verb gate. Shapes (B, R); padded slots are False."""

    hits: Tensor
    grounded_hits: Tensor


def score_images(gold: AnnotationColumns, predicted: PredictionColumns, profile: Profile) -> ImageScores:
    """The nouns, and the nouns with their boxes, that are right under a profile."""
    # One annotator at a time: several times faster than a comparison over a last dimension of three.
    hits = torch.zeros_like(gold.role_mask)
    for nouns in gold.noun_index.unbind(dim=-1):
        hits |= predicted.noun_index == nouns
    if profile.oov_matches:
        hits |= (predicted.noun_index == OUT_OF_VOCABULARY) & gold.outside
    hits &= gold.role_mask
    return ImageScores(hits, _grounded_hits(hits, gold, predicted, profile))


def _grounded_hits(hits: Tensor, gold: AnnotationColumns, predicted: PredictionColumns, profile: Profile) -> Tensor:
    """Of the right nouns (B, R), those whose boxes match too; boxes are compared where it still matters only."""
    if profile.minus_one_matches:
        grounded_hits = hits & (~gold.grounded | (gold.boxes_xyxy == -1).any(dim=-1))
    else:
        grounded_hits = hits & ~(gold.grounded | predicted.boxed)
    grounded_hits = grounded_hits.contiguous()
    flat = (hits & gold.grounded & predicted.boxed & ~grounded_hits).reshape(-1).nonzero()[:, 0]
    boxes_xyxy = predicted.boxes_xyxy.reshape(-1, 4).index_select(0, flat)
    truth_xyxy = gold.boxes_xyxy.reshape(-1, 4).index_select(0, flat)
    if profile.clamped:
        boxes_xyxy = clamp_to_image(boxes_xyxy, gold.sizes_wh.index_select(0, flat // hits.shape[1]))
    iou = paired_iou(boxes_xyxy, truth_xyxy, inclusive=profile.inclusive)
    matches = iou > IOU_THRESHOLD if profile.strict else iou >= IOU_THRESHOLD
    grounded_hits.view(-1)[flat] = matches
    return grounded_hits


def sum_scores(gold: AnnotationColumns, predicted: PredictionColumns, profile: Profile) -> Tensor:
    """The sums (V, 22) int64 of ``scores.COLUMNS``, one row a verb of ``gold.verbs``."""
    scores = score_images(gold, predicted, profile)
    slots = gold.role_mask.sum(dim=1)
    per_image = [torch.ones_like(slots), slots, *_counts(scores.hits, slots), *_counts(scores.grounded_hits, slots)]
    # Summed apart for verbs ranked first, second to fifth and beyond: every gate is then a sum of such sums.
    rank_class = (predicted.gold_rank >= 1).long() + (predicted.gold_rank >= 5).long()
    by_class = torch.zeros(3 * len(gold.verbs), len(per_image), dtype=torch.int64, device=slots.device)
    by_class.index_add_(0, gold.verb_index * 3 + rank_class, torch.stack(per_image, dim=1))
    top1, top5, every = by_class.view(-1, 3, len(per_image)).cumsum(dim=1).unbind(dim=1)
    return torch.cat([every[:, :2], top1[:, :1], top5[:, :1], top1[:, 2:], top5[:, 2:], every[:, 2:]], dim=1)


def _counts(hits: Tensor, slots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each picture: hits, hits / roles in parts of MEAN_UNIT (exact), all right. Shapes (B,) int64."""
    count = hits.sum(dim=1)
    return count, count * (MEAN_UNIT // slots), (count == slots).to(torch.int64)


class SituationMetrics(Metric):
    """The fourteen numbers of a profile, accumulated batch by batch and across processes.

    The states are whole numbers a verb, so any division of the pictures among batches and processes gives the same
    result. A picture that is counted twice raises EvaluationError: what a sampler repeats to fill up its last batch
    is named by ``valid_mask``.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    sums: Tensor
    identities: list[Tensor]

    def __init__(
        self,
        profile: str = "official",
        *,
        verbs: Sequence[str],
        groups: Mapping[str, Sequence[str]] | None = None,
        noun_vocabulary: Collection[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """``verbs``: every verb an annotation may have. ``groups``: subsets to report beside "all"."""
        super().__init__(**kwargs)
        self.profile = profile_named(profile)
        self.verbs = tuple(verbs)
        self.groups = {name: tuple(members) for name, members in (groups or {}).items()}
        self.noun_vocabulary = noun_vocabulary
        sums = torch.zeros(len(self.verbs), len(COLUMNS), dtype=torch.int64)
        self.add_state("sums", sums, dist_reduce_fx="sum")
        self.add_state("identities", [], dist_reduce_fx="cat")
        self._keep_integer_identities()

    def update(
        self,
        predictions: Sequence[ImagePrediction] | PredictionColumns,
        annotated: Sequence[AnnotatedImage] | AnnotationColumns,
        valid_mask: Sequence[bool] | Tensor | None = None,
    ) -> None:
        """Counts a batch: predictions and annotations of the same pictures in the same order, as objects or columns.

        ``valid_mask`` (B,) is False where a picture only pads the batch. Raises EvaluationError where the two do not
        belong together, or a picture has been counted before.
        """
        if len(predictions) != len(annotated):
            raise EvaluationError(f"{len(predictions)} predictions for {len(annotated)} annotated pictures")
        rows = torch.arange(len(annotated))
        if valid_mask is not None:
            rows = rows[torch.as_tensor(valid_mask, dtype=torch.bool).cpu()]
        gold, predicted = self._columns(predictions, annotated, rows)
        self._refuse_repeats(gold)
        sums = sum_scores(gold, predicted, self.profile)
        self.sums += sums.to(self.sums.device)
        self.identities.append(gold.identities.to(self.sums.device))

    def compute(self) -> SituationScores:
        """The results of everything counted, in all processes. Raises EvaluationError for a picture counted twice."""
        identities = dim_zero_cat(self.identities)
        doubles = len(identities) - len(set(identities.tolist()))
        if doubles:
            message = f"{doubles} pictures were counted twice across processes"
            raise EvaluationError(f"{message}; name the sampler's padding in update(..., valid_mask)")
        return scores_from_sums(self.sums, self.verbs, self.groups, self.profile.name, self.profile.average)

    def reset(self) -> None:
        """Forgets everything counted."""
        super().reset()
        self._keep_integer_identities()

    def _keep_integer_identities(self) -> None:
        # A process without any picture would otherwise send an empty float tensor to processes that send integers.
        self.identities.append(torch.empty(0, dtype=torch.int64, device=self.sums.device))

    def _columns(
        self,
        predictions: Sequence[ImagePrediction] | PredictionColumns,
        annotated: Sequence[AnnotatedImage] | AnnotationColumns,
        rows: Tensor,
    ) -> tuple[AnnotationColumns, PredictionColumns]:
        if isinstance(annotated, AnnotationColumns):
            if annotated.verbs != self.verbs:
                raise EvaluationError("the annotations were encoded with other verbs than this metric's; use the same")
            gold = annotated.take(rows)
        else:
            chosen = [annotated[row] for row in rows.tolist()]
            gold = encode_annotations(chosen, self.verbs, self.noun_vocabulary)
        if isinstance(predictions, PredictionColumns):
            return gold, predictions.take(rows)
        picked = [predictions[row] for row in rows.tolist()]
        for prediction, name in zip(picked, gold.file_names, strict=True):
            if prediction.file_name != name:
                message = f"the prediction of {prediction.file_name} stands beside the annotation of {name}"
                raise EvaluationError(f"{message}; bring both into the same order")
        return gold, encode_predictions(picked, gold)

    def _refuse_repeats(self, gold: AnnotationColumns) -> None:
        before = dim_zero_cat(self.identities).cpu()
        new = gold.identities.cpu()
        again = torch.isin(new, before)
        if bool(again.any()):
            name = gold.file_names[int(again.nonzero()[0])]
            raise EvaluationError(f"{name} was counted before; name a sampler's padding in update(..., valid_mask)")
        if len(set(new.tolist())) != len(new):
            raise EvaluationError("a batch holds a picture twice; name a sampler's padding in update(..., valid_mask)")
