"""Three ways for a backbone to learn: what trains, what is kept in memory, and what a deployed student consists of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ovgsr.config import BackboneSettings, ModelSettings
from ovgsr.models.checkpoint import StudentCheckpoint
from ovgsr.models.image_adapter import merged_weights, tune
from ovgsr.models.image_encoder import BackboneError, ImageTower, SketchTower, build_tower

ADAPTER = BackboneSettings(mode="adapter", lora_rank=2)
FROZEN = BackboneSettings(mode="frozen")


def _tower(folder: Path, settings: BackboneSettings) -> ImageTower:
    tower = build_tower(ModelSettings(backbone=str(folder)))
    tune(tower, settings)
    return tower


def _teach(module: nn.Module) -> None:
    """Adapters as they are after training: at first their product is zero."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if ".lora_" in name:
                parameter.copy_(0.3 * torch.randn_like(parameter))


@torch.no_grad()
@pytest.mark.parametrize("name", ["clip", "dinov3", "siglip2", "swin", "convnext", "resnet", "mobilevit", "mobilenet2"])
def test_an_adapter_starts_at_the_backbone_and_learns_beside_it(name: str, backbones: Callable[[str], Path]) -> None:
    plain = build_tower(ModelSettings(backbone=str(backbones(name)))).eval().double()
    adapted = _tower(backbones(name), ADAPTER).double()
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    before = plain(pixels)
    assert torch.equal(adapted(pixels), before)
    trained = {key for key, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(".lora_" in key for key in trained)
    _teach(adapted)
    learned = adapted(pixels)
    change = (learned - before).abs().max()  # tiny where random weights give features of 1e-9
    assert change > 0
    merged = merged_weights(adapted)
    assert merged.keys() == plain.state_dict().keys()
    plain.load_state_dict(merged)
    assert (learned - plain(pixels)).abs().max() < 1e-6 * change


def test_every_adapter_takes_part(backbones: Callable[[str], Path]) -> None:
    """SigLIP's pooling head has linear layers as well; several processes would wait for their gradients for ever."""
    for name in ("siglip", "vit"):
        tower = _tower(backbones(name), ADAPTER)
        _teach(tower)
        tower(torch.randn(1, 3, 32, 32)).square().sum().backward()
        for key, parameter in tower.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, key


def test_layers_with_adapters_can_be_named(backbones: Callable[[str], Path]) -> None:
    settings = ADAPTER.model_copy(update={"lora_targets": ("q_proj", "mlp.fc1"), "lora_alpha": 6})
    tower = _tower(backbones("clip"), settings)
    adapted = {key.split(".lora_")[0] for key, _ in tower.named_parameters() if ".lora_A" in key}
    assert adapted == {"model.encoder.layers.0.self_attn.q_proj", "model.encoder.layers.0.mlp.fc1"}
    layer: Any = tower.get_submodule("model.encoder.layers.0.mlp.fc1")
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert (down.shape, up.shape) == ((2, 16), (16, 2))
    _teach(tower)
    torch.testing.assert_close(layer.get_delta_weight("default"), 6 / 2 * up @ down)  # Hu et al. 2021, section 4.1
    with pytest.raises(
        BackboneError, match=r"no layer of the backbone is named query; its .* end in: fc1, fc2, k_proj"
    ):
        _tower(backbones("clip"), ADAPTER.model_copy(update={"lora_targets": ("query",)}))


def test_a_network_without_such_layers_is_named() -> None:
    with pytest.raises(BackboneError, match=r"no layer of the backbone is named linear; .* end in: none"):
        tune(SketchTower(stem=4, channels=4, blocks=1), ADAPTER)


def test_without_peft_the_extra_is_named(backbones: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BackboneError, match=r"pip install 'ovgsr\[train\]'"):
        _tower(backbones("clip"), ADAPTER)


@torch.no_grad()
def test_a_saved_student_has_no_adapters_and_opens_without_peft(
    make_checkpoint: Callable[..., StudentCheckpoint],
    backbones: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    checkpoint = make_checkpoint(backbone=str(backbones("clip")))
    checkpoint.save_pretrained(tmp_path / "plain")
    tune(checkpoint.model.tower, ADAPTER)
    _teach(checkpoint.model)
    checkpoint.save_pretrained(tmp_path / "adapted")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("plain", "adapted")]
    assert sizes[0] == sizes[1]
    monkeypatch.setitem(sys.modules, "peft", None)
    opened = StudentCheckpoint.from_pretrained(tmp_path / "adapted").model
    unadapted = StudentCheckpoint.from_pretrained(tmp_path / "plain").model
    assert [type(module) for module in opened.modules()] == [type(module) for module in unadapted.modules()]
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(opened.encode(pixels).tokens, checkpoint.model.encode(pixels).tokens)
    assert not torch.allclose(opened.encode(pixels).tokens, unadapted.encode(pixels).tokens, atol=1e-4)
    assert any(".lora_" in key for key in checkpoint.model.state_dict()), "training can go on"


@pytest.mark.parametrize("settings", [ADAPTER, FROZEN], ids=["adapter", "frozen"])
def test_a_held_backbone_keeps_its_statistics(settings: BackboneSettings, backbones: Callable[[str], Path]) -> None:
    tower = _tower(backbones("resnet"), settings)
    student = nn.ModuleDict({"tower": tower, "head": nn.BatchNorm2d(16)}).train()
    before = {key: tensor.clone() for key, tensor in tower.state_dict().items() if "running" in key}
    student["head"](tower(torch.randn(4, 3, 64, 64)))
    assert before
    assert all(torch.equal(tensor, tower.state_dict()[key]) for key, tensor in before.items())
    assert student["head"].training
    assert not any(module.training for module in tower.modules())


@pytest.mark.parametrize("name", ["clip", "resnet", "sketch"])
def test_a_frozen_backbone_keeps_nothing_for_a_backward_pass(name: str, backbones: Callable[[str], Path]) -> None:
    folder = name if name == "sketch" else str(backbones(name))
    kept: dict[str, int] = {}
    for mode in ("full", "frozen"):
        tower = build_tower(ModelSettings(backbone=folder)).train()
        tune(tower, BackboneSettings(mode=mode))
        saved: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, to=saved: to.append(t) or t, lambda t: t):  # type: ignore[misc]
            features = tower(torch.randn(2, 3, 64, 64))
        kept[mode] = sum(tensor.numel() for tensor in saved)
        assert features.requires_grad == (mode == "full")
    assert kept["frozen"] == 0 < kept["full"]
