"""Image towers behind one signature: pixels (B, 3, H, W) -> a grid of features (B, C, h, w)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ovgsr.config import ModelSettings
from ovgsr.errors import OvgsrError, first_line
from ovgsr.models.placement import cell_mask, cells_covered
from ovgsr.models.preprocess import IMAGENET_MEAN, IMAGENET_STD

_Triple = tuple[float, float, float]
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_UNCHANGED = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_FAMILY_STATISTICS: dict[str, tuple[_Triple, _Triple]] = {
    "clip": _CLIP,
    "siglip": _HALF,
    "mobilenet": _HALF,
    "mobilevit": _UNCHANGED,
}
"""Start of a model type -> mean and standard deviation that its processor has; ImageNet's elsewhere."""
_TAKES_A_MASK = {
    "clip_vision_model",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "siglip_vision_model",
    "vit",
}
"""Model types whose attention leaves tokens out."""

SKETCH_MEAN, SKETCH_STD = (0.55, 0.55, 0.50), (0.25, 0.25, 0.25)


class BackboneError(OvgsrError):
    """A backbone that cannot be built or whose output is no grid of features."""


class ImageTower(nn.Module):
    """What the student asks of a backbone: ``channels`` and a feature grid."""

    channels: int
    stride: int
    multiple: int
    mean: _Triple
    std: _Triple
    held = False
    """Whether it computes as in evaluation even while the student around it trains (``models/image_adapter.py``)."""

    def forward(self, pixels: Tensor, covered: Tensor | None = None) -> Tensor:
        """Features (B, channels, H / stride, W / stride) of normalised pixels (B, 3, H, W).

        H and W are multiples of ``multiple``, which in most towers is the stride. ``covered`` (B, 2): what of width and
        height the pictures cover, the rest being padding.
        """
        raise BackboneError("an image tower must say how it turns pixels into features")

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode; a held tower stays in evaluation mode, its batch statistics as they are."""
        return super().train(mode and not self.held)

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
    stride = multiple = 8

    def __init__(self, stem: int = 64, channels: int = 128, blocks: int = 2) -> None:
        super().__init__()
        self.stem, self.channels, self.blocks = stem, channels, blocks
        self.layers = nn.Sequential(
            _reduce(3, stem, 8, 4, 2),
            *(_Residual(stem) for _ in range(blocks)),
            _reduce(stem, channels, 3, 2, 1),
            *(_Residual(channels) for _ in range(blocks)),
        )

    def forward(self, pixels: Tensor, covered: Tensor | None = None) -> Tensor:
        """Features (B, channels, H / 8, W / 8); padding is seen as the mean colour."""
        return self.layers(pixels.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def describe(self) -> dict[str, Any]:
        """Its sizes, so that a checkpoint outlives a change of the defaults."""
        return {"stem": self.stem, "channels": self.channels, "blocks": self.blocks}


class HuggingFaceTower(ImageTower):
    """Any vision model of transformers that returns a token sequence or a feature map; docs/backbones.md lists them.

    Class and register tokens are dropped; positions are interpolated where the model has some. In the models of
    ``_TAKES_A_MASK`` and in SigLIP 2's NaFlex models tokens of padding are not looked at; convolutions and windows see
    padding as the mean colour.
    """

    def __init__(self, model: nn.Module, mean: _Triple, std: _Triple, flips_channels: bool = False) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = mean, std
        self.flips_channels = flips_channels  # trained on blue, green, red
        self.config = cast(Any, model.config)
        self.interpolates = "interpolate_pos_encoding" in _argument_names(model)
        self.takes_patches = self.config.model_type == "siglip2_vision_model"
        self._measure()

    def forward(self, pixels: Tensor, covered: Tensor | None = None) -> Tensor:
        """Features (B, channels, h, w)."""
        grid = pixels.shape[-2] // self.stride, pixels.shape[-1] // self.stride
        output = self._features(pixels, grid, covered)
        if output.ndim == 4:
            return output
        tokens = output[:, self.special_tokens :]
        return tokens.mT.reshape(tokens.shape[0], -1, *self._grid(pixels, output.shape[1]))

    def _grid(self, pixels: Tensor, count: int) -> tuple[int, int]:
        height, width = pixels.shape[-2:]
        rows, columns = height // self.stride, width // self.stride
        if rows * columns + self.special_tokens == count:
            return rows, columns
        raise BackboneError(
            f"the backbone {type(self.model).__name__} gives {count} tokens for {height} x {width} pixels, which is no "
            "grid; choose a model.backbone that returns patch tokens or a feature map"
        )

    def _features(self, pixels: Tensor, grid: tuple[int, int], covered: Tensor | None) -> Tensor:
        if self.flips_channels:
            pixels = pixels.flip(1)
        if self.takes_patches:
            return self._naflex(pixels, grid, covered)
        extra: dict[str, Any] = {"interpolate_pos_encoding": True} if self.interpolates else {}
        mask = cell_mask(grid, covered) if self.config.model_type in _TAKES_A_MASK else None
        if mask is not None:
            extra["attention_mask"] = nn.functional.pad(mask, (self.special_tokens, 0), value=True)[:, None, None]
        return self.model(pixel_values=pixels, **extra).last_hidden_state  # type: ignore[no-any-return]

    def _naflex(self, pixels: Tensor, grid: tuple[int, int], covered: Tensor | None) -> Tensor:
        """SigLIP 2 in its own resolution: patches of the picture first, then padding, and each picture's own grid."""
        patches = nn.functional.pixel_unshuffle(pixels, self.stride).flatten(2)
        # (B, colour, y, x, T) in the model's order of a patch's values: y, x, colour
        patches = patches.reshape(patches.shape[0], 3, -1, patches.shape[-1]).permute(0, 3, 2, 1).flatten(2)
        mask = cell_mask(grid, covered)
        if mask is None or covered is None:
            mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
            shapes = torch.tensor([grid]).expand(patches.shape[0], 2)
            return self.model(patches, mask, shapes).last_hidden_state  # type: ignore[no-any-return]
        order = mask.logical_not().long().argsort(dim=1, stable=True)
        shapes = cells_covered(grid, covered).flip(-1).cpu()
        sorted_patches = patches.gather(1, order[..., None].expand_as(patches))
        output: Tensor = self.model(sorted_patches, mask.gather(1, order), shapes).last_hidden_state
        return output.gather(1, order.argsort(dim=1)[..., None].expand_as(output))

    def _measure(self) -> None:
        """Finds channels, stride and special tokens with one picture, and freezes what takes no part.

        Poolers and the like would get no gradient, for which several processes would wait for ever.
        """
        patch = _side(getattr(self.config, "patch_size", None)) or 0
        side = _side(getattr(self.config, "image_size", None)) or 224
        if self.takes_patches:
            side = math.isqrt(self.config.num_patches) * patch
        elif not patch:
            side += -side % 64  # convolutions round up; 64 pixels hold whole cells of any stride
        self.stride, self.special_tokens = patch, 0
        was_training = self.model.training
        self.model.eval()
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        with torch.enable_grad():
            pixels = torch.zeros(1, 3, side, side, device=parameters[0].device)
            output = self._features(pixels, (side // max(patch, 1),) * 2, None)
            gradients: Any = torch.autograd.grad(output.sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                parameter.requires_grad_(False)
        self.model.train(was_training)
        if output.ndim == 4:
            self.channels, rows = output.shape[1:3]
        else:
            self.channels, count = output.shape[2], output.shape[1]
            whole = patch and (side // patch) ** 2 <= count
            rows = side // patch if whole else math.isqrt(count)  # Swin and its like merge their patches
            self.special_tokens = count - rows * rows
        self.stride = self.multiple = round(side / rows)
        if self.config.model_type == "mobilevitv2":
            self.multiple *= patch  # it cuts its map into patches, and what is left over would be lost

    def describe(self) -> dict[str, Any]:
        """The model's own configuration, so that a checkpoint can be opened without its source."""
        return {
            "config": self.config.to_dict(),
            "mean": list(self.mean),
            "std": list(self.std),
            "flips_channels": self.flips_channels,
        }


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
    vision = getattr(model, "vision_model", model)
    return HuggingFaceTower(vision, *_statistics(name, vision.config.model_type))


def _statistics(name: str, model_type: str) -> tuple[_Triple, _Triple, bool]:
    """Mean, standard deviation, and whether colours are blue first, from the image processor's file.

    Read without the processor itself, which may need torchvision. What the file leaves out is the family's.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    family = next((prefix for prefix in _FAMILY_STATISTICS if model_type.startswith(prefix)), "")
    mean, std = _FAMILY_STATISTICS.get(family, (IMAGENET_MEAN, IMAGENET_STD))
    flips = family == "mobilevit"
    try:
        record, _ = ImageProcessingMixin.get_image_processor_dict(name)
        flips = bool(record.get("do_flip_channel_order", flips))
        if record.get("do_normalize") is False:
            mean, std = _UNCHANGED
        elif record.get("image_mean") and record.get("image_std"):
            mean, std = _triple(record["image_mean"]), _triple(record["image_std"])
    except (OSError, ValueError, TypeError):
        pass  # nothing usable beside the weights
    return mean, std, flips


def _described_tower(described: Mapping[str, Any]) -> HuggingFaceTower:
    from transformers import AutoConfig, AutoModel

    fields = dict(described["config"])
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return HuggingFaceTower(
        getattr(model, "vision_model", model),
        _triple(described["mean"]),
        _triple(described["std"]),
        bool(described.get("flips_channels", False)),
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
