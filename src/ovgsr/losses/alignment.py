"""Negative-guided alignment (NMPA): what the prompts read from a teacher against the rationales of a picture.

Our reading of "From Semantics, Scene to Instance-awareness" (Cai et al. 2025, arXiv 2507.14686), which names the parts
and what each is for and leaves the formula open. With c = cos(u, .) of a reading u, e+ the embedding of its positive
rationale, e-_1..K those of its own negatives and e+_j the positives of other rows of the batch:

    L = -log [ exp(c(e+)/t) / ( exp(c(e+)/t) + sum_k exp(c(e-_k)/t) + sum_j exp(c(e+_j)/t) ) ]

L_glimpse reads the scene, and j runs over the pictures of another verb. L_gaze reads one role, and j runs over the same
role type with another filler. L_NMPA = L_glimpse + the mean of L_gaze over a picture's roles.

Letters: B rows, P rows of the in-batch pool, K own negatives, D text width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, distributed

from ovgsr.losses.processes import gathered_rows, process_count, row_counts
from ovgsr.tensors import Movable

NO_RATIONALE = -1
"""The group of a row nobody wrote a rationale about: it counts for nothing, neither as a row nor as a negative."""


@dataclass(frozen=True)
class Aligned(Movable):
    """Readings of scenes beside the embeddings of their rationales, row by row."""

    readings: Tensor  # (B, D), what the prompts read; the only field that is learned
    positives: Tensor  # (B, D), the embedding of the row's positive rationale
    negatives: Tensor  # (B, K, D), those of its negative ones; K may be 0
    negative_mask: Tensor  # (B, K) bool, False = padding
    groups: Tensor  # (B,) long, rows of one group are no negatives of each other: the verb; NO_RATIONALE = none


@dataclass(frozen=True)
class AlignedRoles(Aligned):
    """The same for roles, flattened: a row is one filled role of one picture, and its group is the filler (noun)."""

    role_types: Tensor  # (B,) long, which role it is (agent, tool ...)
    pictures: Tensor  # (B,) long, which picture of this process' batch it belongs to; any numbers


@dataclass(frozen=True)
class Pool(Movable):
    """The positives in-batch negatives are drawn from: a batch's, or those of all processes."""

    positives: Tensor  # (P, D)
    groups: Tensor  # (P,) long
    role_types: Tensor | None = None  # (P,) long, for roles


def unit_rows(rows: Tensor) -> Tensor:
    """Vectors (..., D) at unit length, float32 or wider; a zero vector stays zero, with a finite gradient."""
    # The bound on the length keeps a gradient through an almost empty vector within float32's range.
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=-1, eps=1e-6)


def contrast(
    readings: Tensor,
    positives: Tensor,
    negatives: Tensor,
    negative_mask: Tensor,
    same: Tensor,
    *,
    temperature: Tensor | float,
    all_positives: Tensor | None = None,
) -> Tensor:
    """The module's L of each row (B,), float32 or wider under autocast too.

    ``readings`` and ``positives`` (B, D), ``negatives`` (B, K, D) with ``negative_mask`` (B, K), K may be 0.
    ``all_positives`` (P, D) is the in-batch pool, ``positives`` by default; ``same`` (B, P) is True where a column must
    not be a negative of the row, which holds for the row's own positive at least. ``temperature`` is above 0, a number
    or a learned scalar tensor. A row with no negative left has loss 0 and gradient 0.
    """
    pool = positives if all_positives is None else all_positives
    if same.shape != (len(readings), len(pool)):
        raise ValueError(
            f"same is {tuple(same.shape)}; {len(readings)} rows and a pool of {len(pool)} need that shape."
        )
    with torch.autocast(readings.device.type, enabled=False):
        reading = unit_rows(readings)
        own = (reading * unit_rows(positives)).sum(dim=-1, keepdim=True)
        # Padding may hold anything: zeroed first, so that it cannot spoil a gradient either.
        wrong = unit_rows(negatives.masked_fill(~negative_mask[..., None], 0))
        from_own = torch.einsum("bd,bkd->bk", reading, wrong) - own
        from_batch = reading @ unit_rows(pool).T - own
        # Masked after the division: the gradient of -inf / temperature is not a number.
        against = (torch.cat([from_own, from_batch], dim=1) / temperature).masked_fill(
            torch.cat([~negative_mask, same], dim=1), -torch.inf
        )
        # log(1 + sum exp(against)): the positive's own term is the constant 0, so a row is never all -inf.
        return F.pad(against, (1, 0)).logsumexp(dim=1)


def glimpse_loss(scene: Aligned, temperature: Tensor | float, gathered: Pool | None = None) -> Tensor:
    """L_glimpse, a scalar: the mean over the rows that have a rationale, 0 with gradient 0 where none has.

    ``gathered`` (see gather_pool) adds the pictures of other processes as negatives. The mean stays that of this
    process' rows: weighted with the processes' numbers of rows that have a rationale, the means average to the loss of
    the joined batch; unweighted, as data-parallel training averages, they do where those numbers are equal.
    """
    kept = scene.groups != NO_RATIONALE
    pool = _with_rationale(gathered or Pool(scene.positives, scene.groups))
    groups = scene.groups[kept]
    of_row = _contrast_of(scene, kept, pool, groups[:, None] == pool.groups, temperature)
    return of_row.sum() / max(len(of_row), 1)


def gaze_loss(roles: AlignedRoles, temperature: Tensor | float, gathered: Pool | None = None) -> Tensor:
    """L_gaze, a scalar: the mean over a picture's roles that have a rationale, then over the pictures that have one.

    In-batch negatives are the positives of other fillers in the same role type. 0 with gradient 0 where no role has a
    rationale. ``gathered`` needs role types; the processes' losses average as those of glimpse_loss do, weighted with
    their numbers of pictures, each picture being whole in one process.
    """
    kept = roles.groups != NO_RATIONALE
    pool = _with_rationale(gathered or Pool(roles.positives, roles.groups, roles.role_types))
    if pool.role_types is None:
        raise ValueError("gaze_loss needs a pool with role types: pass them to gather_pool.")
    groups, role_types, pictures = roles.groups[kept], roles.role_types[kept], roles.pictures[kept]
    same = (groups[:, None] == pool.groups) | (role_types[:, None] != pool.role_types)
    of_row = _contrast_of(roles, kept, pool, same, temperature)
    roles_of_picture = (pictures[:, None] == pictures).sum(dim=1)
    weights = roles_of_picture.to(of_row.dtype).reciprocal()  # a picture's roles weigh 1 together
    return (of_row * weights).sum() / weights.sum().clamp(min=1)


def gather_pool(positives: Tensor, groups: Tensor, role_types: Tensor | None = None) -> Pool:
    """The pool of all processes in the order of their ranks; this process' own where there is only one.

    ``positives`` (B, D), ``groups`` and ``role_types`` (B,) long; B may differ between processes and be 0, D may not.
    Group and role numbers must mean the same in every process (places in the vocabulary, not in the batch). A
    collective call: every process makes it, or all wait. A gradient flows through this process' own rows only: the
    others' are frozen text embeddings.
    """
    if process_count() == 1:
        return Pool(positives, groups, role_types)
    counts = row_counts(len(positives), positives.device)
    labels = torch.stack([groups] if role_types is None else [groups, role_types], dim=1)
    vectors = gathered_rows(positives.detach(), counts)
    vectors[distributed.get_rank()] = positives
    gathered = torch.cat(gathered_rows(labels, counts))
    return Pool(torch.cat(vectors), gathered[:, 0], None if role_types is None else gathered[:, 1])


def _with_rationale(pool: Pool) -> Pool:
    kept = pool.groups != NO_RATIONALE
    role_types = None if pool.role_types is None else pool.role_types[kept]
    return Pool(pool.positives[kept], pool.groups[kept], role_types)


def _contrast_of(rows: Aligned, kept: Tensor, pool: Pool, same: Tensor, temperature: Tensor | float) -> Tensor:
    return contrast(
        rows.readings[kept],
        rows.positives[kept],
        rows.negatives[kept],
        rows.negative_mask[kept],
        same,
        temperature=temperature,
        all_positives=pool.positives,
    )
