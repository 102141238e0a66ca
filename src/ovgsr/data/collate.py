"""Examples to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from ovgsr.data.dataset import Example
from ovgsr.data.pair_targets import join_pairs, join_rows
from ovgsr.tensors import IGNORE, Batch, PairTargets, Targets, TeacherSignals, Views


def collate(examples: Sequence[Example]) -> Batch:
    """A batch of the examples, in order. Where they were padded to different lengths, the longest counts."""
    targets = [example.targets for example in examples if example.targets is not None]
    if targets and len(targets) != len(examples):
        raise ValueError("some examples of the batch have targets and some have none")
    return Batch(
        pixels=torch.stack([example.pixels for example in examples]),
        sizes_wh=torch.tensor([example.size_wh for example in examples], dtype=torch.float32),
        indices=torch.tensor([example.index for example in examples], dtype=torch.long),
        targets=_join([item for item in targets if isinstance(item, Targets)]),
        pairs=join_pairs([item for item in targets if isinstance(item, PairTargets)]),
        teacher=_join_signals([example.teacher for example in examples if example.teacher is not None]),
        views=_join_views([example.views for example in examples if example.views is not None]),
    )


def _join_signals(signals: Sequence[TeacherSignals]) -> TeacherSignals | None:
    """Readings of a batch; all examples of a data set hold the same fields."""
    if not signals:
        return None
    first = signals[0]
    return TeacherSignals(
        scene=None if first.scene is None else torch.cat([item.scene for item in signals if item.scene is not None]),
        roles=None if first.roles is None else torch.cat([item.roles for item in signals if item.roles is not None]),
        tokens=None
        if first.tokens is None
        else torch.cat([item.tokens for item in signals if item.tokens is not None]),
        tokens_grid=first.tokens_grid,
        pairs=None if first.pairs is None else join_rows([item.pairs for item in signals if item.pairs is not None]),
    )


def _join_views(views: Sequence[Views]) -> Views | None:
    if not views:
        return None
    pairs = join_pairs([item.pairs for item in views if item.pairs is not None])
    return Views(torch.cat([item.pixels for item in views]), torch.cat([item.scene for item in views]), pairs)


def _join(targets: Sequence[Targets]) -> Targets | None:
    if not targets:
        return None
    roles = max(item.role_mask.shape[1] for item in targets)
    annotators = max(item.noun_index.shape[2] for item in targets)
    padded = [_pad(item, roles, annotators) for item in targets]
    joined: dict[str, Tensor] = {
        field.name: torch.cat([getattr(item, field.name) for item in padded]) for field in fields(Targets)
    }
    return Targets(**joined)


def _pad(targets: Targets, roles: int, annotators: int) -> Targets:
    extra = roles - targets.role_mask.shape[1]
    extra_annotators = annotators - targets.noun_index.shape[2]
    if not extra and not extra_annotators:
        return targets
    return Targets(
        verb_index=targets.verb_index,
        role_mask=pad(targets.role_mask, (0, extra)),
        noun_index=pad(targets.noun_index, (0, extra_annotators, 0, extra), value=IGNORE),
        boxes_cxcywh=pad(targets.boxes_cxcywh, (0, 0, 0, extra)),
        grounded=pad(targets.grounded, (0, extra)),
    )
