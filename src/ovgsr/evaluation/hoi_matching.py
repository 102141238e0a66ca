"""Which predicted pairs are right, and average precision: the arithmetic of the HICO-DET metric.

Rules: Chao et al., "Learning to detect human-object interactions", WACV 2018, and the code published with it. All in
float64, on 0-based continuous corners, which equals that code's inclusive pixels. No loop over pairs or pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovgsr.evaluation.hoi_columns import Flags, Floats, GoldPairs, Integers, ScoredPairs, boxes_at, ordered

LEAST_OVERLAP = 0.5


def overlaps(first_xyxy: Floats, second_xyxy: Floats, margin: float = 0.0) -> Floats:
    """IoU of boxes (..., 4) with boxes (..., 4); 0 where they share at most ``margin`` pixels of width or height."""
    width, height = (
        np.minimum(first_xyxy[..., side + 2], second_xyxy[..., side + 2])
        - np.maximum(first_xyxy[..., side], second_xyxy[..., side])
        for side in (0, 1)
    )
    intersection = np.where((width > margin) & (height > margin), width * height, 0.0)
    union = _areas(first_xyxy) + _areas(second_xyxy) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=intersection > 0)


def _areas(boxes_xyxy: Floats) -> Floats:
    return (boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1])


def true_positives(
    pairs: ScoredPairs, rows: Integers, gold: GoldPairs, *, strict: bool = False, added_pixel: float = 0.0
) -> Flags:
    """Which of the pairs at ``rows`` (n,), each class's best first, are right, shape (n,).

    A pair looks at the one annotated row of its picture and class with the largest min(IoU_human, IoU_object), the
    first on ties. It is right if that overlap is at least a half (``strict``: more than a half) and no better pair
    took the row before; there is no second choice. ``added_pixel``: see :func:`grown`.
    """
    gold_key = gold.sort_key(gold.image, gold.interaction)
    order = np.argsort(gold_key, kind="stable")
    groups, starts, counts = np.unique(gold_key[order], return_index=True, return_counts=True)
    group_of = np.zeros(len(gold.interactions) * len(gold.file_names), dtype=np.int32)
    group_of[groups] = np.arange(1, len(groups) + 1)
    group = group_of.take(gold.sort_key(pairs.image.take(rows), pairs.interaction.take(rows)))
    looking = np.flatnonzero(group)  # the pairs whose picture has a row of their class
    start, count = (values.take(group.take(looking) - 1) for values in (starts, counts))
    before = np.cumsum(count) - count
    gold_row = order[np.arange(count.sum()) + np.repeat(start - before, count)]
    looking = np.repeat(looking, count)
    overlap = np.full(len(looking), np.inf)
    for part in (0, 1):  # human, object: who fails at one box need not be looked at again
        predicted = grown(boxes_at(pairs.boxes_xyxy, rows.take(looking), part), added_pixel)
        overlap = np.minimum(overlap, overlaps(predicted, boxes_at(gold.boxes_xyxy, gold_row, part), added_pixel))
        enough = np.flatnonzero(overlap > LEAST_OVERLAP if strict else overlap >= LEAST_OVERLAP)
        looking, gold_row, overlap = (values.take(enough) for values in (looking, gold_row, overlap))
    choice = np.lexsort((-overlap, looking))  # stable: the first on ties
    looking, first = np.unique(looking[choice], return_index=True)
    _, best_pair = np.unique(gold_row[choice][first], return_index=True)
    right = np.zeros(len(rows), dtype=np.bool_)
    right[looking[best_pair]] = True
    return right


def grown(boxes_xyxy: Floats, added_pixel: float) -> Floats:
    """The boxes (..., 4) with so much added to width and height: corners taken for pixels that belong to the box."""
    if not added_pixel:
        return boxes_xyxy
    boxes_xyxy = boxes_xyxy.copy()
    boxes_xyxy[..., 2] += added_pixel
    boxes_xyxy[..., 3] += added_pixel
    return boxes_xyxy


def average_precisions(interaction: Integers, right: Flags, totals: Integers, recall_bins: Sequence[float]) -> Floats:
    """Interpolated AP of each class, shape (C,): the mean over the bins of the best precision at that recall or more.

    ``interaction`` (n,) and ``right`` (n,) are of pairs sorted by class, best first; ``totals`` (C,) counts annotated
    rows. 0 for a class without a right pair, nan for one without an annotated row, which has no recall.
    """
    classes = np.arange(len(totals) + 1)
    hit = np.flatnonzero(right)
    first_pair = np.searchsorted(interaction, classes)
    first_hit = np.searchsorted(interaction[hit], classes)
    found = np.arange(len(hit)) - first_hit[interaction[hit]] + 1  # right pairs of the class so far
    precision = found / (hit - first_pair[interaction[hit]] + 1)
    levels, rows = np.array(recall_bins), np.maximum(totals, 1)[:, None]
    needed = np.ceil(levels * rows)
    needed -= (needed - 1) / rows >= levels  # what a comparison of floats says, not what is true of the numbers
    needed += needed / rows < levels
    start = first_hit[:-1, None] + np.maximum(needed, 1).astype(np.int64) - 1
    end = np.broadcast_to(first_hit[1:, None], start.shape)
    best = np.zeros(start.shape)
    reached = start < end
    if reached.any():
        spans = np.stack((start[reached], end[reached]), axis=1).ravel()
        best[reached] = np.maximum.reduceat(np.append(precision, 0.0), spans)[::2]
    return np.where(totals > 0, best.sum(axis=1) / len(levels), np.nan)


def best_of_each_picture(pairs: ScoredPairs, best_first: Integers, limit: int) -> Integers:
    """Positions of every picture's ``limit`` highest scores, which GEN-VLKT's ``HICOEvaluator`` looks up by value: of
    equal scores in a picture the first one's position is repeated and the others are lost."""
    order = ordered(best_first, pairs.image)
    image, score = pairs.image.take(order), pairs.score.take(order)
    rows = np.arange(len(order))
    new_image = np.diff(image, prepend=-1) != 0
    new_value = new_image | (np.diff(score, prepend=np.nan) != 0)
    start = np.maximum.accumulate(np.where(new_image, rows, 0))
    first_equal = np.maximum.accumulate(np.where(new_value, rows, 0))
    return order[first_equal[rows - start < limit]]


def without_near_copies(
    pairs: ScoredPairs, best_first: Integers, threshold: float, added_pixel: float = 0.0
) -> Integers:
    """Those positions that greedy suppression keeps: within a picture and class, a pair goes where a better one is kept
    with IoU_human * IoU_object ** 0.5 over ``threshold`` (GEN-VLKT's ``pairwise_nms``)."""
    remaining = ordered(ordered(best_first, pairs.image), pairs.interaction)
    kept = []
    while len(remaining):
        image, interaction = pairs.image.take(remaining), pairs.interaction.take(remaining)
        leads = (np.diff(image, prepend=-1) != 0) | (np.diff(interaction, prepend=-1) != 0)
        leaders, others = remaining[leads], np.flatnonzero(~leads)
        leader = leaders.take(np.cumsum(leads).take(others) - 1)
        kept.append(leaders)
        remaining = remaining.take(others)
        close = _overlap_of(pairs, 0, leader, remaining, added_pixel)
        both = np.flatnonzero(close > threshold)  # the product is no larger than its first factor
        close[both] *= np.sqrt(_overlap_of(pairs, 1, leader.take(both), remaining.take(both), added_pixel))
        remaining = remaining[close <= threshold]
    return np.concatenate(kept) if kept else remaining


def _overlap_of(pairs: ScoredPairs, part: int, first: Integers, second: Integers, added_pixel: float) -> Floats:
    one, other = (grown(boxes_at(pairs.boxes_xyxy, rows, part), added_pixel) for rows in (first, second))
    return overlaps(one, other)
