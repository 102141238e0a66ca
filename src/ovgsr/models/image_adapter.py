"""How a backbone learns: all of it, low-rank adapters beside frozen weights (LoRA), or not at all.

LoRA after Hu et al. 2021 (arXiv 2106.09685), by the package peft. A checkpoint holds the sum of weight and adapter, so
that a student is deployed without peft, and no larger or slower than one whose backbone was trained as a whole.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ovgsr.config import BackboneSettings
from ovgsr.models.image_encoder import BackboneError, ImageTower

_ADAPTER = "default"


def tune(tower: ImageTower, settings: BackboneSettings) -> None:
    """Makes of ``tower`` what ``settings.mode`` asks for.

    In the modes ``adapter`` and ``frozen`` its own weights and batch statistics stay as they are: it computes as in
    evaluation while the student around it trains. Without an adapter nothing is kept for a backward pass either, since
    nothing in it has a gradient.

    Raises BackboneError where peft is missing, or no layer can be given an adapter.
    """
    if settings.mode == "full":
        return
    targets = _layers_to_adapt(tower, settings.lora_targets) if settings.mode == "adapter" else []
    tower.requires_grad_(False)
    tower.held = True
    tower.eval()
    if targets:
        _add_adapters(tower, targets, settings)


def merged_weights(module: nn.Module) -> dict[str, Tensor]:
    """The module's state with every adapter added to its layer's weight, under the names it has without adapters."""
    weights = module.state_dict()
    for name, layer in module.named_modules():
        delta = getattr(layer, "get_delta_weight", None)
        if callable(delta):
            with torch.no_grad():
                weights[f"{name}.base_layer.weight"] = weights[f"{name}.base_layer.weight"] + delta(_ADAPTER)
    return {name.replace(".base_layer.", "."): tensor for name, tensor in weights.items() if ".lora_" not in name}


def _layers_to_adapt(tower: ImageTower, ends: tuple[str, ...]) -> list[str]:
    """Names of linear layers and 1 x 1 convolutions that take part in the features, of those that ``ends`` name."""
    found = [
        name
        for name, layer in tower.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))
        if layer.weight.requires_grad and getattr(layer, "groups", 1) == 1
    ]
    chosen = [name for name in found if not ends or any(f".{name}".endswith(f".{end}") for end in ends)]
    if not chosen:
        known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in found})) or "none"
        raise BackboneError(
            f"backbone.mode=adapter: no layer of the backbone is named {' or '.join(ends) or 'linear'}; its linear "
            f"layers and 1 x 1 convolutions end in: {known}"
        )
    return chosen


def _add_adapters(tower: ImageTower, targets: list[str], settings: BackboneSettings) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise BackboneError("backbone.mode=adapter needs the extra 'train': pip install 'ovgsr[train]'") from None
    names = [f"0.{name}" for name in targets]
    config = LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules=names)
    # Wrapped, for peft would take a module that has a configuration for a model of transformers.
    inject_adapter_in_model(config, nn.Sequential(tower), adapter_name=_ADAPTER)
    for layer in tower.modules():
        base = getattr(layer, "base_layer", None)
        if isinstance(base, nn.Conv2d):  # MobileNet pads by what it reads off a convolution
            for field in ("stride", "kernel_size", "dilation"):
                setattr(layer, field, getattr(base, field))
