"""Tiny configurations of real transformers classes: a backbone of random weights in a folder, in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_LAYERS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_PATCHES = {**_LAYERS, "image_size": 32, "patch_size": 8}
_WORDS = {**_LAYERS, "vocab_size": 10, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1}
_STAGES = {"hidden_sizes": [4, 8, 8, 16], "depths": [1, 1, 1, 1]}

MODELS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    # name: (class, its configuration, channels, stride)
    "vit": ("ViT", _PATCHES, 16, 8),  # a class token and a pooler
    "deit": ("DeiT", _PATCHES, 16, 8),  # two special tokens
    "dinov2": ("Dinov2", _PATCHES, 16, 8),  # interpolates without being asked
    "dinov2-registers": ("Dinov2WithRegisters", {**_PATCHES, "num_register_tokens": 3}, 16, 8),
    "dinov3": ("DINOv3ViT", {**_PATCHES, "num_register_tokens": 4}, 16, 8),  # rotary positions
    "beit": ("Beit", {**_PATCHES, "use_absolute_position_embeddings": True}, 16, 8),
    "clip-vision": ("CLIPVision", _PATCHES, 16, 8),
    "clip-14": ("CLIPVision", {**_PATCHES, "image_size": 28, "patch_size": 14}, 16, 14),  # as ViT-L/14
    "clip": ("CLIP", {"text_config": _WORDS, "vision_config": _PATCHES}, 16, 8),  # both towers in one folder
    "siglip": ("Siglip", {"text_config": _WORDS, "vision_config": _PATCHES}, 16, 8),  # no class token, a pooling head
    "siglip2": (  # NaFlex: takes patches, not pixels
        "Siglip2",
        {"text_config": _WORDS, "vision_config": {**_LAYERS, "patch_size": 8, "num_patches": 16}},
        16,
        8,
    ),
    "swin": (  # hierarchical, its output a sequence of the last stage's tokens
        "Swin",
        {
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 8,
            "depths": [1, 1, 1],
            "num_heads": [1, 2, 2],
            "window_size": 2,
        },
        32,
        8,
    ),
    "swinv2": (
        "Swinv2",
        {
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 8,
            "depths": [1, 1, 1],
            "num_heads": [1, 2, 2],
            "window_size": 2,
        },
        32,
        8,
    ),
    "convnext": ("ConvNext", {**_STAGES, "image_size": 32}, 16, 32),
    "convnextv2": ("ConvNextV2", {**_STAGES, "image_size": 32}, 16, 32),
    "dinov3-convnext": ("DINOv3ConvNext", {**_STAGES, "image_size": 32}, 16, 32),  # a map as tokens, and a pooled one
    "resnet": ("ResNet", {**_STAGES, "embedding_size": 4}, 16, 32),
    "mobilenet1": ("MobileNetV1", {"depth_multiplier": 0.0625, "image_size": 32}, 64, 32),
    "mobilenet2": ("MobileNetV2", {"depth_multiplier": 0.125, "image_size": 32}, 1280, 32),
    "mobilevit": (
        "MobileViT",
        {
            "image_size": 32,
            "hidden_sizes": [8, 8, 8],
            "neck_hidden_sizes": [4, 8, 8, 8, 8, 8, 16],
            "num_attention_heads": 2,
        },
        16,
        32,
    ),
    "mobilevit2": ("MobileViTV2", {"image_size": 64, "width_multiplier": 0.125}, 64, 32),
}
MASKED = [
    *("vit", "deit", "dinov2", "dinov2-registers", "dinov3"),
    *("clip-vision", "clip-14", "clip", "siglip", "siglip2"),
]
"""Whose attention leaves padding out."""


def save_backbone(name: str, folder: Path) -> Path:
    """Saves the model of ``MODELS`` with weights of its own, as a user has it in a folder."""
    import torch
    import transformers

    kind, fields, _, _ = MODELS[name]
    torch.manual_seed(3)
    getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**fields)).save_pretrained(folder)
    return folder
