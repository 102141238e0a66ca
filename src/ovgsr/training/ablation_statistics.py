"""The numbers of an ablation table: means over seeds, paired differences, and how sure they are.

Two intervals stand beside a difference, both 95 %. Student's t over the seeds asks what other seeds would give, on
these very pictures. The bootstrap draws seeds and pictures anew (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993), so it also asks what other pictures of the same verbs would give. Three seeds make both wide.
A mean over interactions draws those in place of pictures (``ablation_interactions.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

DRAWS = 2000
T_QUANTILES = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452),
)
"""The 97.5 % quantile of Student's t with 1, 2, ... 29 degrees of freedom, as in any table."""
_CHUNK = 200


def mean(values: Sequence[float]) -> float | None:
    """The arithmetic mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample (n - 1); None of fewer than two values."""
    if len(values) < 2:
        return None
    centre = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def t_interval(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of the mean by Student's t; None of fewer than two values.

    Of more than 30 values the quantile of 29 degrees of freedom is used: a little too wide, never too narrow.
    """
    spread = deviation(values)
    if spread is None:
        return None
    quantile = T_QUANTILES[min(len(values) - 1, len(T_QUANTILES)) - 1]
    centre, margin = math.fsum(values) / len(values), quantile * spread / math.sqrt(len(values))
    return (centre - margin, centre + margin)


@dataclass(frozen=True)
class Difference:
    """One row minus another, seed by seed, in points."""

    seeds: tuple[int, ...]
    mean: float
    t_interval: Interval | None
    """Student's t over the seeds; None where only one seed is common to both rows."""
    bootstrap: Interval | None = None
    """Seeds and pictures (or interactions) drawn anew; None where they were not kept or the number is no such mean."""


def paired_difference(
    row: Mapping[int, float], against: Mapping[int, float], bootstrap: Interval | None = None
) -> Difference | None:
    """``row`` minus ``against``, both seed -> number, over the seeds that both have; None where they share none."""
    seeds = tuple(sorted(row.keys() & against.keys()))
    if not seeds:
        return None
    differences = [row[seed] - against[seed] for seed in seeds]
    return Difference(seeds, math.fsum(differences) / len(seeds), t_interval(differences), bootstrap)


@dataclass(frozen=True)
class PictureRecords:
    """One cell's test pictures, in the order of ``names``: what the bootstrap draws from."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    """seen, rare or unseen: the subset of the picture's verb."""
    rank: npt.NDArray[np.int64]
    """The annotated verb's rank, 0 = first, 5 = beyond five; without the constant for unseen verbs."""
    calibrated_rank: npt.NDArray[np.int64]
    """The same with the constant."""
    margin: Floats
    """Best known minus best unseen log score where the annotated verb leads its own side, else nan."""
    value: Floats
    """Share of the annotated verb's roles whose noun is right."""
    grounded_value: Floats
    """Share whose noun and box are right."""

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: npt.NDArray[np.int64]) -> PictureRecords:
        """The pictures at these positions, in this order."""
        chosen = rows.tolist()
        return PictureRecords(
            tuple(self.names[row] for row in chosen),
            tuple(self.groups[row] for row in chosen),
            self.rank[rows],
            self.calibrated_rank[rows],
            self.margin[rows],
            self.value[rows],
            self.grounded_value[rows],
        )


def paired(cells: Sequence[PictureRecords]) -> list[PictureRecords]:
    """The cells with the pictures that all of them have, in one order."""
    common = set(cells[0].names).intersection(*(cell.names for cell in cells[1:])) if cells else set()
    order = sorted(common)
    chosen = []
    for cell in cells:
        row_of = {name: row for row, name in enumerate(cell.names)}
        chosen.append(cell.take(np.array([row_of[name] for name in order], dtype=np.int64)))
    return chosen


def bootstrap_top1(
    row: Mapping[int, PictureRecords],
    against: Mapping[int, PictureRecords],
    group: str,
    *,
    calibrated: bool = True,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval | None:
    """95 % interval of the difference in verb top-1 (points) on the pictures of a group; None where there are none.

    Each draw takes seeds, then pictures, with replacement; both rows and all drawn seeds meet the same pictures,
    because all of them are scored on the same test pictures: that is what pairs them.
    """
    seeds, ours, theirs = _both(row, against)
    if not seeds:
        return None
    members = np.array([name == group for name in ours[0].groups], dtype=bool)
    if not members.any():
        return None

    def right(cells: Sequence[PictureRecords]) -> Floats:
        ranks = [cell.calibrated_rank if calibrated else cell.rank for cell in cells]
        return np.stack([(rank[members] == 0).astype(np.float64) for rank in ranks])

    gain = right(ours) - right(theirs)  # (seeds, pictures)
    return interval_of(100 * drawn_means(gain, draws, seed), seed)


def bootstrap_ausuc(
    row: Mapping[int, PictureRecords], against: Mapping[int, PictureRecords], *, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """95 % interval of the difference in AUSUC (points), drawn as in :func:`bootstrap_top1`.

    Seen and unseen pictures are drawn apart, so that each draw has as many of either as the test fold. None where one
    of the two is missing.
    """
    seeds, ours, theirs = _both(row, against)
    if not seeds:
        return None
    groups = np.array(ours[0].groups)
    seen, unseen = np.flatnonzero(groups == "seen"), np.flatnonzero(groups == "unseen")
    if not len(seen) or not len(unseen):
        return None
    of_seen, of_unseen = _drawn(len(seen), draws, seed), _drawn(len(unseen), draws, seed + 1)
    areas = [
        np.stack([weighted_ausuc(cell.margin[seen], cell.margin[unseen], of_seen, of_unseen) for cell in cells], axis=1)
        for cells in (ours, theirs)
    ]
    return interval_of(100 * (areas[0] - areas[1]), seed)


def weighted_ausuc(seen: Floats, unseen: Floats, of_seen: npt.NDArray[Any], of_unseen: npt.NDArray[Any]) -> Floats:
    """Areas (draws,) in 0..1 under the seen-unseen curve when pictures count ``of_seen`` (draws, S) times, and so on.

    ``seen`` (S,) and ``unseen`` (U,) are margins, nan where a picture is never right. A seen picture is right while
    the constant is below its margin, an unseen one from its margin on; so the area is the share of pairs (seen,
    unseen) whose seen margin is the larger, equal ones counting half.
    """
    can_seen, can_unseen = np.flatnonzero(~np.isnan(seen)), np.flatnonzero(~np.isnan(unseen))
    can_seen = can_seen[np.argsort(seen[can_seen], kind="stable")]
    margins, questions = seen[can_seen], unseen[can_unseen]
    upto, below = (np.searchsorted(margins, questions, side=side) for side in ("right", "left"))
    areas = []
    for start in range(0, len(of_seen), _CHUNK):
        ours = of_seen[start : start + _CHUNK].astype(np.float64)
        theirs = of_unseen[start : start + _CHUNK].astype(np.float64)
        summed = np.concatenate([np.zeros((len(ours), 1)), np.cumsum(ours[:, can_seen], axis=1)], axis=1)
        above = summed[:, -1:] - (summed[:, upto] + summed[:, below]) / 2
        pairs = ours.sum(axis=1) * theirs.sum(axis=1)
        areas.append((above * theirs[:, can_unseen]).sum(axis=1) / pairs)
    return np.concatenate(areas)


def _both(
    row: Mapping[int, PictureRecords], against: Mapping[int, PictureRecords]
) -> tuple[list[int], list[PictureRecords], list[PictureRecords]]:
    """The common seeds, and either row's cells of them with the pictures that all have."""
    seeds = sorted(row.keys() & against.keys())
    if not seeds:
        return [], [], []
    cells = paired([row[seed] for seed in seeds] + [against[seed] for seed in seeds])
    return (seeds, cells[: len(seeds)], cells[len(seeds) :]) if len(cells[0]) else ([], [], [])


def drawn_means(values: Floats, draws: int, seed: int) -> Floats:
    """Means (draws, seeds) of values (seeds, n), of pictures or classes: each draw takes n of the n with replacement,
    the same for all seeds, and for whatever else is drawn with the same ``seed`` and n."""
    count = values.shape[1]
    table = _drawn(count, draws, seed)
    parts = [table[start : start + _CHUNK].astype(np.float64) @ values.T for start in range(0, draws, _CHUNK)]
    means: Floats = np.concatenate(parts) / count
    return means


@lru_cache(maxsize=8)
def _drawn(count: int, draws: int, seed: int) -> npt.NDArray[np.uint8]:
    """(draws, count): how often each of them is in each draw of ``count`` with replacement.

    Kept, because every pair of rows is compared on the same draws.
    """
    generator = np.random.default_rng((seed, count))
    table = np.empty((draws, count), dtype=np.uint8)
    for row in table:  # one that is drawn more than 255 times is beyond any chance
        row[:] = np.bincount(generator.integers(count, size=count), minlength=count)
    return table


def interval_of(per_seed: Floats, seed: int) -> Interval:
    """The middle 95 % of (draws, seeds), each draw averaged over seeds that are drawn with replacement as well."""
    draws, seeds = per_seed.shape
    chosen = np.random.default_rng((seed, seeds, draws)).integers(seeds, size=(draws, seeds))
    drawn = np.take_along_axis(per_seed, chosen, axis=1).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return (float(low), float(high))
