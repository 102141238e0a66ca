"""Which predicted pairs are right, and average precision: the arithmetic of the HICO-DET metric.

Rules: Chao et al., "Learning to detect human-object interactions", WACV 2018, and the code published with it. All in
float64, on 0-based continuous corners, which equals that code's inclusive pixels. No loop over pairs or pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovgsr.evaluation.hoi_columns import Flags, Floats, GoldPairs, Integers, ScoredPairs

LEAST_OVERLAP = 0.5


def overlaps(first_xyxy: Floats, second_xyxy: Floats, margin: float = 0.0) -> Floats:
    """IoU of boxes (..., 4) with boxes (..., 4); 0 where they share at most ``margin`` pixels of width or height."""
    low = np.maximum(first_xyxy[..., :2], second_xyxy[..., :2])
    shared = np.minimum(first_xyxy[..., 2:], second_xyxy[..., 2:]) - low
    intersection = np.where((shared > margin).all(axis=-1), shared[..., 0] * shared[..., 1], 0.0)
    union = _areas(first_xyxy) + _areas(second_xyxy) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=intersection > 0)


def _areas(boxes_xyxy: Floats) -> Floats:
    sides = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return sides[..., 0] * sides[..., 1]


def true_positives(pairs: ScoredPairs, gold: GoldPairs, *, strict: bool = False, margin: float = 0.0) -> Flags:
    """Which of the pairs, sorted ``best_first``, are right, shape (N,).

    A pair looks at the one annotated row of its picture and class with the largest min(IoU_human, IoU_object), the
    first on ties. It is right if that overlap is at least a half (``strict``: more than a half) and no better pair
    took the row before; there is no second choice.
    """
    gold_key = gold.sort_key(gold.image, gold.interaction)
    order = np.argsort(gold_key, kind="stable")
    key = gold.sort_key(pairs.image, pairs.interaction)
    start = np.searchsorted(gold_key[order], key, side="left")
    count = np.searchsorted(gold_key[order], key, side="right") - start
    looking = np.flatnonzero(count)  # the pairs whose picture has a row of their class
    right = np.zeros(len(pairs), dtype=np.bool_)
    if not len(looking):
        return right
    count, start = count[looking], start[looking]
    segment = np.cumsum(count) - count
    row = order[np.arange(count.sum()) + np.repeat(start - segment, count)]
    overlap = overlaps(pairs.boxes_xyxy[np.repeat(looking, count)], gold.boxes_xyxy[row], margin).min(axis=1)
    best = np.maximum.reduceat(overlap, segment)
    is_best = np.flatnonzero(overlap == np.repeat(best, count))
    chosen = row[is_best[np.searchsorted(is_best, segment)]]
    enough = best > LEAST_OVERLAP if strict else best >= LEAST_OVERLAP
    _, first = np.unique(chosen[enough], return_index=True)
    right[looking[enough][first]] = True
    return right


def average_precisions(interaction: Integers, right: Flags, totals: Integers, recall_bins: Sequence[float]) -> Floats:
    """Interpolated AP of each class, shape (C,): the mean over the bins of the best precision at that recall or more.

    ``interaction`` (N,) and ``right`` (N,) are of pairs sorted ``best_first``; ``totals`` (C,) counts annotated rows.
    0 for a class without a right pair, nan for one without an annotated row, which has no recall.
    """
    ends = np.searchsorted(interaction, np.arange(len(totals) + 1), side="left")
    result = np.full(len(totals), np.nan)
    for c in np.flatnonzero(totals):
        rank = np.flatnonzero(right[ends[c] : ends[c + 1]]) + 1
        found = np.arange(1, len(rank) + 1)
        best = np.maximum.accumulate((found / rank)[::-1])[::-1]
        needed = np.searchsorted(found / totals[c], recall_bins, side="left")
        result[c] = best[needed[needed < len(rank)]].sum() / len(recall_bins)
    return result


def best_of_each_picture(pairs: ScoredPairs, limit: int) -> Integers:
    """Positions of every picture's ``limit`` highest scores, which GEN-VLKT's ``HICOEvaluator`` looks up by value: of
    equal scores in a picture the first one's position is repeated and the others are lost."""
    order = np.lexsort((-pairs.score, pairs.image))
    image, score = pairs.image[order], pairs.score[order]
    rows = np.arange(len(order))
    new_image = np.diff(image, prepend=-1) != 0
    new_value = new_image | (np.diff(score, prepend=np.nan) != 0)
    start = np.maximum.accumulate(np.where(new_image, rows, 0))
    first_equal = np.maximum.accumulate(np.where(new_value, rows, 0))
    return order[first_equal[rows - start < limit]]


def without_near_copies(pairs: ScoredPairs, key: Integers, threshold: float) -> Integers:
    """Positions that greedy suppression keeps: within one ``key`` (N,), a pair goes where a better one is kept with
    IoU_human * IoU_object ** 0.5 over ``threshold`` (GEN-VLKT's ``pairwise_nms``)."""
    remaining = np.lexsort((-pairs.score, key))
    kept = []
    while len(remaining):
        leads = np.diff(key[remaining], prepend=-1) != 0
        leader = remaining[np.maximum.accumulate(np.where(leads, np.arange(len(remaining)), 0))]
        kept.append(remaining[leads])
        remaining, leader = remaining[~leads], leader[~leads]
        overlap = overlaps(pairs.boxes_xyxy[remaining], pairs.boxes_xyxy[leader])
        remaining = remaining[overlap[:, 0] * np.sqrt(overlap[:, 1]) <= threshold]
    return np.concatenate(kept) if kept else remaining
