from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ovgsr.config import BackboneSettings, DistillSettings, LossSettings, ModelSettings, OptimSettings
from ovgsr.models.image_adapter import tune
from ovgsr.models.image_encoder import build_tower
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.training.averaging import AveragedWeights
from ovgsr.training.optim import backbone_layers, build_optimizer, build_schedule, parameter_groups, rate_at
from ovgsr.training.tasks import SituationTask

SETTINGS = OptimSettings(learning_rate=0.1, warmup=0.2, final_scale=0.1)

RATES = [
    # step of 10, share of the peak: two steps up, then a cosine from 1 to 0.1 over eight
    (0, 0.5),
    (1, 1.0),
    (2, 1.0),
    (4, 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2),
    (6, 0.55),
    (10, 0.1),
    (99, 0.1),  # past the end it stays
]


@pytest.mark.parametrize(("step", "share"), RATES)
def test_the_rate_by_hand(step: int, share: float) -> None:
    assert rate_at(step, 10, SETTINGS) == pytest.approx(share)


def test_the_rate_of_tiny_runs_is_no_division_by_zero() -> None:
    assert rate_at(0, 1, SETTINGS) == 1.0
    assert rate_at(0, 100, OptimSettings(warmup=0)) == 1.0


def test_the_schedule_drives_every_group() -> None:
    settings = SETTINGS.model_copy(update={"backbone_scale": 0.25})
    model = nn.ModuleDict({"tower": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    optimizer = build_optimizer(model, settings)
    schedule = build_schedule(optimizer, 10, settings)
    rates = []
    for _ in range(3):
        rates.append(sorted({group["lr"] for group in optimizer.param_groups}))
        optimizer.step()
        schedule.step()
    assert rates == [pytest.approx([0.0125, 0.05]), pytest.approx([0.025, 0.1]), pytest.approx([0.025, 0.1])]


def test_the_backbone_and_the_undecayed_have_groups_of_their_own(
    make_student: Callable[..., SituationTransformer],
) -> None:
    settings = OptimSettings(learning_rate=0.1, backbone_scale=0.25, weight_decay=0.03)
    distill = DistillSettings(signals="readings")
    task = SituationTask(make_student(), LossSettings(), distill, role_width=6)  # what a run hands to the optimiser
    found = {}
    for group in parameter_groups(task, settings):
        for parameter in group["params"]:  # type: ignore[attr-defined]
            found[id(parameter)] = (group["lr"], group["weight_decay"])
    named = {name: found.pop(id(parameter)) for name, parameter in task.named_parameters()}
    assert not found, "every parameter once"
    assert named["model.tower.layers.0.0.weight"] == (0.025, 0.03)
    assert named["model.tower.layers.0.1.weight"] == (0.025, 0.0)  # batch norm
    assert named["model.merge.weight"] == (0.1, 0.03)
    assert named["model.merge.bias"] == (0.1, 0.0)
    assert named["model.verb_scores.log_scale"] == (0.1, 0.0)
    assert named["model.encoder.norm.weight"] == (0.1, 0.0)
    assert named["projections.roles.0.weight"] == (0.1, 0.0)  # a norm
    assert named["projections.roles.1.weight"] == (0.1, 0.03)


def test_a_frozen_backbone_is_left_out(make_student: Callable[..., SituationTransformer]) -> None:
    student = make_student()
    tune(student.tower, BackboneSettings(mode="frozen"))
    groups = parameter_groups(student, OptimSettings())
    trained = {id(parameter) for group in groups for parameter in group["params"]}  # type: ignore[attr-defined]
    assert trained.isdisjoint(id(parameter) for parameter in student.tower.parameters())
    assert trained == {id(parameter) for parameter in student.parameters() if parameter.requires_grad}


LAYERS = [
    # backbone, its layers: what stands before the blocks, each block, what stands after them and takes part
    ("vit", 3),  # embeddings, one block, the last norm; the pooler takes no part
    ("clip", 3),  # embeddings, a norm, one block
    ("swin", 7),  # embeddings, three stages of a block, merging of patches after two of them, the last norm
    ("resnet", 5),  # embedder and four stages
]


@pytest.mark.parametrize(("name", "count"), LAYERS)
def test_layers_of_a_backbone(name: str, count: int, backbones: Callable[[str], Path]) -> None:
    tower = build_tower(ModelSettings(backbone=str(backbones(name))))
    layers = backbone_layers(tower)
    assert len(layers) == count
    inside = [id(parameter) for layer in layers for parameter in layer]
    assert sorted(inside) == sorted(id(p) for p in tower.parameters() if p.requires_grad), "each once"
    assert any(parameter.ndim == 4 for parameter in layers[0]), "the first holds the convolution that reads pixels"


def test_rates_fall_from_layer_to_layer() -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(2, 2)
            self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
            self.norm = nn.LayerNorm(2)

    model = nn.ModuleDict({"tower": Blocks(), "head": nn.Linear(2, 2)})
    settings = OptimSettings(learning_rate=0.1, backbone_scale=0.5, layer_decay=0.5, weight_decay=0.03)
    rates = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, settings)
        for parameter in group["params"]  # type: ignore[attr-defined]
    }
    named = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert named == {
        "tower.stem.weight": (0.1 * 0.5 / 8, 0.03),
        "tower.stem.bias": (0.1 * 0.5 / 8, 0.0),
        "tower.blocks.0.weight": (0.1 * 0.5 / 4, 0.03),
        "tower.blocks.0.bias": (0.1 * 0.5 / 4, 0.0),
        "tower.blocks.1.weight": (0.1 * 0.5 / 2, 0.03),
        "tower.blocks.1.bias": (0.1 * 0.5 / 2, 0.0),
        "tower.norm.weight": (0.1 * 0.5, 0.0),
        "tower.norm.bias": (0.1 * 0.5, 0.0),
        "head.weight": (0.1, 0.03),
        "head.bias": (0.1, 0.0),
    }


def test_frozen_weights_are_not_averaged() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    averaged = AveragedWeights(model, decay=0.5)
    for _ in range(3):
        with torch.no_grad():
            model[1].weight.add_(1.0)
        averaged.update(model)
    assert averaged.tensors.keys() == {"1.weight", "1.bias"}
    assert not torch.equal(averaged.tensors["1.weight"], model[1].weight)


def test_averaged_weights_forget_their_start() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    averaged = AveragedWeights(model, decay=0.5)
    weight, expected = model[0].weight, 0.0
    for step, value in enumerate([8.0, 4.0, 2.0, 1.0]):
        with torch.no_grad():
            weight.fill_(value)
        averaged.update(model)
        # the first is copied; then decays of 2/11, 3/12, 4/13, all under 0.5
        decay = min(0.5, (1 + step) / (10 + step)) if step else 0.0
        expected = decay * expected + (1 - decay) * value
    assert averaged.tensors["0.weight"].item() == pytest.approx(expected)
    assert averaged.tensors["1.num_batches_tracked"].dtype == torch.long
