"""Image towers behind one signature: pixels (B, 3, H, W) -> a grid of features (B, C, h, w)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ovgsr.config import ModelSettings
from ovgsr.errors import OvgsrError, first_line
from ovgsr.models.preprocess import IMAGENET_MEAN, IMAGENET_STD

_Triple = tuple[float, float, float]

SKETCH_MEAN, SKETCH_STD = (0.55, 0.55, 0.50), (0.25, 0.25, 0.25)


class BackboneError(OvgsrError):
    """A backbone that cannot be built or whose output is no grid of features."""


class ImageTower(nn.Module):
    """What the student asks of a backbone: ``channels`` and a feature grid."""

    channels: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, channels, h, w) of normalised pixels (B, 3, H, W)."""
        raise BackboneError("an image tower must say how it turns pixels into features")

    def describe(self) -> dict[str, Any] | None:
        """What must be remembered to build this tower again without its source, or None."""
        return None


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.BatchNorm2d)
        nn.init.zeros_(last.weight)  # a block starts as the identity, which trains faster (Goyal et al. 2017)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.layers(x))


def _reduce(channels_in: int, channels_out: int, kernel: int, stride: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class SketchTower(ImageTower):
    """A small residual network trained from scratch: stride 8, so 96 pixels give a 12 x 12 grid."""

    mean, std = SKETCH_MEAN, SKETCH_STD

    def __init__(self, stem: int = 64, channels: int = 128, blocks: int = 2) -> None:
        super().__init__()
        self.stem, self.channels, self.blocks = stem, channels, blocks
        self.layers = nn.Sequential(
            _reduce(3, stem, 8, 4, 2),
            *(_Residual(stem) for _ in range(blocks)),
            _reduce(stem, channels, 3, 2, 1),
            *(_Residual(channels) for _ in range(blocks)),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, channels, H / 8, W / 8)."""
        return self.layers(pixels.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def describe(self) -> dict[str, Any]:
        """Its sizes, so that a checkpoint outlives a change of the defaults."""
        return {"stem": self.stem, "channels": self.channels, "blocks": self.blocks}


class HuggingFaceTower(ImageTower):
    """Any vision model of transformers that returns a token sequence or a feature map.

    Class and register tokens are dropped; positions are interpolated where the model can, so any input size works
    that its patches divide.
    """

    def __init__(self, model: nn.Module, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = mean, std
        self.config: Any = model.config
        self.interpolates = "interpolate_pos_encoding" in _argument_names(model)
        size = _side(getattr(self.config, "image_size", None)) or 224
        was_training = model.training
        model.eval()
        with torch.enable_grad():
            features = self(torch.zeros(1, 3, size, size))
            self._freeze_unused(features)
        self.channels = features.shape[1]
        model.train(was_training)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, channels, h, w)."""
        extra = {"interpolate_pos_encoding": True} if self.interpolates else {}
        output = self.model(pixel_values=pixels, **extra).last_hidden_state
        if output.ndim == 4:
            return output  # type: ignore[no-any-return]
        height, width = self._grid(pixels, output.shape[1])
        tokens = output[:, output.shape[1] - height * width :]
        return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)  # type: ignore[no-any-return]

    def _freeze_unused(self, features: Tensor) -> None:
        # Poolers and the like do not take part: several processes would wait for their gradients for ever.
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        gradients: Any = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                parameter.requires_grad_(False)

    def _grid(self, pixels: Tensor, count: int) -> tuple[int, int]:
        patch = _side(getattr(self.config, "patch_size", None))
        height, width = pixels.shape[-2:]
        if patch and (height // patch) * (width // patch) <= count:
            return height // patch, width // patch
        for stride in (64, 32, 16, 8, 4):  # hierarchical models such as Swin: the last stage's stride
            rows, columns = -(-height // stride), -(-width // stride)
            if rows * columns == count:
                return rows, columns
        raise BackboneError(
            f"the backbone {type(self.model).__name__} gives {count} tokens for {height} x {width} pixels, which is no "
            "grid; choose a model.backbone that returns patch tokens or a feature map"
        )

    def describe(self) -> dict[str, Any]:
        """The model's own configuration, so that a checkpoint can be opened without its source."""
        return {"config": self.config.to_dict(), "mean": list(self.mean), "std": list(self.std)}


def build_tower(settings: ModelSettings, described: Mapping[str, Any] | None = None) -> ImageTower:
    """The tower that ``settings.backbone`` names, or the one that a checkpoint ``described``.

    Raises BackboneError where a Hugging Face model cannot be found or holds no safetensors weights.
    """
    if settings.backbone == "sketch":
        return SketchTower(**(described or {}))
    return _described_tower(described) if described else _named_tower(settings)


def _named_tower(settings: ModelSettings) -> HuggingFaceTower:
    from transformers import AutoConfig, AutoModel

    name = settings.backbone
    try:
        if settings.pretrained:
            model = AutoModel.from_pretrained(name, use_safetensors=True, dtype=torch.float32)
        else:
            config = AutoConfig.from_pretrained(name)
            model = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        reason = first_line(error)
        raise BackboneError(
            f"model.backbone {name!r} cannot be loaded: {reason} Name a folder, or a model of the Hugging Face hub, "
            "with safetensors weights"
        ) from None
    return HuggingFaceTower(getattr(model, "vision_model", model), *_statistics(name))


def _statistics(name: str) -> tuple[_Triple, _Triple]:
    """Mean and standard deviation from the image processor's file; the processor itself may need torchvision."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        record, _ = ImageProcessingMixin.get_image_processor_dict(name)
        if record.get("do_normalize") is False:
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        return _triple(record["image_mean"]), _triple(record["image_std"])
    except (OSError, ValueError, KeyError, TypeError):
        return IMAGENET_MEAN, IMAGENET_STD  # nothing beside the weights: the field's default


def _described_tower(described: Mapping[str, Any]) -> HuggingFaceTower:
    from transformers import AutoConfig, AutoModel

    fields = dict(described["config"])
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return HuggingFaceTower(
        getattr(model, "vision_model", model), _triple(described["mean"]), _triple(described["std"])
    )


def _argument_names(model: nn.Module) -> set[str]:
    import inspect

    return set(inspect.signature(model.forward).parameters)


def _side(value: Any) -> int | None:
    if isinstance(value, list | tuple):
        return int(value[0]) if value else None
    return int(value) if value else None


def _triple(values: Any) -> _Triple:
    first, second, third = (float(value) for value in values)
    return first, second, third
