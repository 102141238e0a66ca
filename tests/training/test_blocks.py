from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ovgsr.config import ScaleSettings, TrainSettings
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.models.transformer import CrossAttentionLayer, DecoderLayer, SelfAttentionLayer
from ovgsr.tensors import TextEmbeddings
from ovgsr.training.blocks import recompute_blocks, repeated_blocks, split_like, whole
from ovgsr.training.engine import Engine


class _Normed(nn.Module):
    """A stage as convolutional backbones have them: blocks with batch statistics in lists in lists."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.ModuleList([nn.Linear(4, 4), nn.BatchNorm1d(4)])])


def test_blocks_are_the_entries_of_module_lists(make_student: Callable[..., SituationTransformer]) -> None:
    kinds = [type(block) for block in repeated_blocks(make_student(readout_layers=2, decoder_layers=1))]
    assert sorted(kinds, key=str) == [CrossAttentionLayer, CrossAttentionLayer, DecoderLayer, SelfAttentionLayer]
    assert [type(block) for block in repeated_blocks(_Normed())] == [nn.Linear, nn.BatchNorm1d]


def test_recomputing_keeps_less_and_changes_no_gradient(
    make_student: Callable[..., SituationTransformer], random_text: Callable[..., TextEmbeddings]
) -> None:
    student, text = make_student(encoder_layers=3, dropout=0.3).train(), random_text()
    features = torch.randn(2, student.tower.channels, 6, 6)

    def gradients() -> tuple[list[torch.Tensor], int]:
        torch.manual_seed(3)
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            encoded = student.encoder(features)
            student.recognize(encoded, text).logsumexp(-1).sum().backward()
        found = [weight.grad.clone() for weight in student.parameters() if weight.grad is not None]
        student.zero_grad()
        return found, sum(kept.values())

    plain, all_kept = gradients()
    recompute_blocks(student)
    again, kept = gradients()
    assert len(plain) == len(again) > 20
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other)
    assert kept < 0.7 * all_kept


def test_batch_statistics_are_not_computed_twice() -> None:
    model = _Normed()
    recompute_blocks(model)
    linear, norm = model.stages[0]  # type: ignore[misc]
    assert "forward" in vars(linear)
    assert "forward" not in vars(norm)


def test_one_process_splits_nothing() -> None:
    engine = Engine(TrainSettings(precision="no"), ScaleSettings(shard=True))
    model = engine.wrap(nn.ModuleList([nn.Linear(2, 2)]))
    weight = next(model.parameters())
    assert whole(weight) is weight
    assert split_like(weight, weight) is weight
    assert engine.gather("value") == ["value"]
