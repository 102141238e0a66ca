"""From teacher to student: the embeddings of scene and roles, what they are close to, and the tokens.

Everywhere the teacher's side is detached, and a teacher row that is all zero is one the teacher does not have: it is
ignored, and a loss with no row left is 0 with gradient 0. Cosines are float32 or wider, under autocast too. Means are
over the joined batch of all processes (``losses.processes``).

Letters: B pictures, R roles, D width of the teacher's embeddings (the student's side is already projected to it), A
anchors, N and M the student's and the teacher's tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ovgsr.losses.alignment import unit_rows
from ovgsr.losses.processes import joined_count, joined_rows

Grid = tuple[int, int]
"""Rows and columns of a token map, read row by row."""


def reading_losses(student: Tensor, teacher: Tensor, temperature: float) -> dict[str, Tensor]:
    """What a distilled readout (B, D) learns from readings (B, D): ``scene``, and ``relation`` to all of the batch."""
    teacher = teacher.float()
    return {
        "scene": scene_loss(student, teacher),
        "relation": relation_loss(student, teacher, joined_rows(teacher), temperature=temperature),
    }


def scene_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """L_scene: the mean of 1 - cos of scene embeddings (B, D) over the pictures the teacher has, a scalar."""
    known = _known(teacher)
    return _mean(_one_minus_cosine(student, teacher, known), known)


def instance_loss(student: Tensor, teacher: Tensor, role_mask: Tensor) -> Tensor:
    """L_inst: the mean of 1 - cos of role embeddings (B, R, D) over a picture's roles, then over pictures, a scalar.

    ``role_mask`` (B, R) is False for padding. A picture without a role the teacher has does not count.
    """
    known = _known(teacher) & role_mask
    of_picture = _one_minus_cosine(student, teacher, known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
    return _mean(of_picture, known.any(dim=1))


def relation_loss(student: Tensor, teacher: Tensor, anchors: Tensor, *, temperature: float = 0.1) -> Tensor:
    """L_sem: KL( softmax(cos(teacher, anchors) / t) || softmax(cos(student, anchors) / t) ), a scalar.

    ``student`` and ``teacher`` (B, D); ``anchors`` (A, D), such as the embeddings of the batch's rationales, get no
    gradient, and zero ones are left out. The mean over the pictures the teacher has. What the student learns is not
    where the teacher's embedding lies but what it is close to, as in relational (Park et al. 2019) and
    similarity-preserving distillation (Tung and Mori 2019), here as a distribution. Not scaled by t squared.
    """
    known = _known(teacher)
    with torch.autocast(student.device.type, enabled=False):
        towards = unit_rows(anchors.detach()[_known(anchors)]).T
        learned = (unit_rows(_emptied(student, known)) @ towards / temperature).log_softmax(dim=-1)
        taught = (unit_rows(teacher.detach()) @ towards / temperature).log_softmax(dim=-1)
        of_row = F.kl_div(learned, taught, reduction="none", log_target=True).sum(dim=-1)
    return _mean(of_row, known)


def token_loss(student: Tensor, teacher: Tensor, student_grid: Grid, teacher_grid: Grid) -> Tensor:
    """The mean of 1 - cos of image tokens over the tokens the teacher has, a scalar: hints as in FitNets.

    ``student`` (B, N, D) lies on ``student_grid``, ``teacher`` (B, M, D) on ``teacher_grid``, (rows, columns) of the
    same picture. The student's map is brought to the teacher's grid: averaged along a side where the teacher is
    coarser, interpolated linearly where it is finer. Romero et al. 2015 compare by squared distance; cosine leaves the
    scale of the student's features free. Raises ValueError where a grid does not hold its tokens.
    """
    for name, tokens, (rows, columns) in (("student", student, student_grid), ("teacher", teacher, teacher_grid)):
        if tokens.shape[1] != rows * columns:
            raise ValueError(f"the {name} has {tokens.shape[1]} tokens, which no grid of {rows} x {columns} holds.")
    wide = student.to(torch.promote_types(student.dtype, torch.float32))
    fields = wide.mT.reshape(len(wide), wide.shape[2], *student_grid)
    coarsest = min(student_grid[0], teacher_grid[0]), min(student_grid[1], teacher_grid[1])
    fields = F.adaptive_avg_pool2d(fields, coarsest)
    if coarsest != teacher_grid:
        fields = F.interpolate(fields, size=teacher_grid, mode="bilinear", align_corners=False)
    known = _known(teacher)
    return _mean(_one_minus_cosine(fields.flatten(2).mT, teacher, known), known)


def _known(vectors: Tensor) -> Tensor:
    """(..., D) -> (...) bool, False where a vector is all zero."""
    return (vectors != 0).any(dim=-1)


def _emptied(student: Tensor, known: Tensor) -> Tensor:
    """The student's rows, zero where they do not count: whatever padding holds, it cannot spoil a gradient."""
    return student.masked_fill(~known[..., None], 0)


def _one_minus_cosine(student: Tensor, teacher: Tensor, known: Tensor) -> Tensor:
    """(..., D) twice -> (...), 0 where not ``known``."""
    cosine = (unit_rows(_emptied(student, known)) * unit_rows(teacher.detach())).sum(dim=-1)
    return (1 - cosine) * known


def _mean(terms: Tensor, counted: Tensor) -> Tensor:
    return (terms * counted).sum() / joined_count(counted.sum())
