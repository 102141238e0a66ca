"""Backbones: tiny random models of real transformers classes, saved to a folder and built from it by name."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ovgsr.config import ModelSettings
from ovgsr.models.checkpoint import StudentCheckpoint
from ovgsr.models.image_encoder import (
    IMAGENET_MEAN,
    SKETCH_MEAN,
    BackboneError,
    HuggingFaceTower,
    SketchTower,
    build_tower,
)
from ovgsr.tensors import TextEmbeddings

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
    "clip-vision": ("CLIPVision", _PATCHES, 16, 8),
    "clip": ("CLIP", {"text_config": _WORDS, "vision_config": _PATCHES}, 16, 8),  # both towers in one folder
    "siglip": ("Siglip", {"text_config": _WORDS, "vision_config": _PATCHES}, 16, 8),  # no class token, a pooling head
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
    "convnext": ("ConvNext", {**_STAGES, "image_size": 32}, 16, 32),
    "resnet": ("ResNet", {**_STAGES, "embedding_size": 4}, 16, 32),
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
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model, saved at the first call."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            import transformers

            kind, fields, _, _ = MODELS[name]
            torch.manual_seed(3)
            model_class = getattr(transformers, f"{kind}Model")
            model = model_class(getattr(transformers, f"{kind}Config")(**fields))
            made[name] = tmp_path_factory.mktemp(name)
            model.save_pretrained(made[name])
        return made[name]

    return folder


def _built(folder: Path, **settings: Any) -> HuggingFaceTower:
    tower = build_tower(ModelSettings(backbone=str(folder), **settings))
    assert isinstance(tower, HuggingFaceTower)
    return tower.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_gives_a_grid_for_any_size(name: str, folders: Callable[[str], Path]) -> None:
    _, _, channels, stride = MODELS[name]
    tower = _built(folders(name))
    assert tower.channels == channels
    for height, width in ((32, 32), (64, 96), (96, 64), (128, 128)):
        features = tower(torch.randn(2, 3, height, width))
        assert features.shape == (2, channels, height // stride, width // stride), (height, width)
        assert features.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit", "deit", "dinov2", "dinov2-registers", "clip-vision", "clip", "siglip", "swin"])
def test_tokens_stand_where_their_pixels_are(name: str, folders: Callable[[str], Path]) -> None:
    """Rows, columns and special tokens would all show here: one changed patch changes its own cell most."""
    tower, (rows, columns) = _built(folders(name)), (4, 6)
    pixels = torch.zeros(1, 3, 32, 48)
    before = tower(pixels)
    for row, column in ((0, 0), (0, 5), (3, 0), (2, 3)):
        changed = pixels.clone()
        changed[..., row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = torch.randn(3, 8, 8)
        difference = (tower(changed) - before).square().sum(dim=1)[0]
        assert difference.shape == (rows, columns)
        assert divmod(int(difference.argmax()), columns) == (row, column)


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_opens_without_the_backbones_folder(
    name: str,
    folders: Callable[[str], Path],
    make_checkpoint: Callable[..., StudentCheckpoint],
    random_text: Callable[..., TextEmbeddings],
    tmp_path: Path,
) -> None:
    source = tmp_path / "backbone"
    shutil.copytree(folders(name), source)
    checkpoint = make_checkpoint(backbone=str(source))
    checkpoint.save_pretrained(tmp_path / "student")
    shutil.rmtree(source)
    opened = StudentCheckpoint.from_pretrained(tmp_path / "student")
    pixels, text = torch.randn(2, 3, 64, 64), random_text()
    with torch.no_grad():
        first = checkpoint.model.predict_verb(checkpoint.model.encode(pixels), text)
        second = opened.model.predict_verb(opened.model.encode(pixels), text)
    assert torch.equal(first.recognition, second.recognition)
    assert (opened.model.tower.mean, opened.model.tower.std) == (
        checkpoint.model.tower.mean,
        checkpoint.model.tower.std,
    )


@pytest.mark.parametrize("name", ["vit", "siglip", "clip", "convnext"])
def test_weights_that_take_no_part_are_frozen(name: str, folders: Callable[[str], Path]) -> None:
    tower = _built(folders(name)).train()
    tower(torch.randn(2, 3, 64, 64)).square().sum().backward()
    for parameter_name, parameter in tower.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
    assert any(not parameter.requires_grad for parameter in tower.parameters()), "poolers and last norms"


def test_pretrained_weights_are_loaded_and_can_be_left_out(folders: Callable[[str], Path]) -> None:
    folder = folders("vit")
    torch.manual_seed(11)
    first, second = _built(folder), _built(folder)
    fresh = _built(folder, pretrained=False)
    weights = [tower.state_dict() for tower in (first, second, fresh)]
    name = next(key for key in weights[0] if key.endswith("patch_embeddings.projection.weight"))
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_half_precision_weights_become_float32(folders: Callable[[str], Path], tmp_path: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_pretrained(folders("vit"), dtype=torch.float16).save_pretrained(tmp_path)
    tower = _built(tmp_path)
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.float32}
    assert tower(torch.zeros(1, 3, 32, 32)).dtype == torch.float32


STATISTICS = [
    # preprocessor_config.json, mean
    (None, IMAGENET_MEAN),  # no file: the field's default
    ({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}, (0.5, 0.4, 0.3)),
    ({"do_normalize": False}, (0.0, 0.0, 0.0)),
    ({"size": 3}, IMAGENET_MEAN),  # says nothing about it
    # a processor class that would need torchvision is not asked for
    (
        {"image_processor_type": "ViTImageProcessorFast", "image_mean": [0.1] * 3, "image_std": [1.0] * 3},
        (0.1, 0.1, 0.1),
    ),
]


@pytest.mark.parametrize(("record", "mean"), STATISTICS)
def test_the_pixel_statistics_come_from_the_processors_file(
    folders: Callable[[str], Path], tmp_path: Path, record: dict[str, Any] | None, mean: tuple[float, ...]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders("vit"), folder)
    if record is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(record))
    assert _built(folder).mean == mean
    assert "torchvision" not in sys.modules


def _only_pickled(folder: Path) -> None:
    weights = next(folder.glob("*.safetensors"))
    weights.rename(folder / "pytorch_model.bin")


def _truncated(folder: Path) -> None:
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize("spoil", [_only_pickled, _truncated, _emptied])
def test_a_backbone_that_cannot_be_used_is_named(
    spoil: Callable[[Path], None], folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders("vit"), folder)
    spoil(folder)
    with pytest.raises(BackboneError, match=rf"model\.backbone '{folder}' cannot be loaded: .*safetensors weights"):
        _built(folder)


def test_tokens_that_are_no_grid_are_refused(folders: Callable[[str], Path]) -> None:
    tower = _built(folders("vit"))
    with pytest.raises(BackboneError, match="gives 5 tokens for 32 x 32 pixels, which is no grid"):
        tower._grid(torch.zeros(1, 3, 32, 32), 5)


def test_the_sketch_tower_has_stride_8() -> None:
    tower = build_tower(ModelSettings())
    assert isinstance(tower, SketchTower)
    assert tower.mean == SKETCH_MEAN
    for height, width in ((96, 96), (32, 64), (72, 40)):
        assert tower(torch.zeros(2, 3, height, width)).shape == (2, tower.channels, height // 8, width // 8)


def test_a_sketch_tower_of_other_sizes_is_built_again_from_its_description() -> None:
    tower = SketchTower(stem=8, channels=12, blocks=1)
    again = build_tower(ModelSettings(), tower.describe())
    again.load_state_dict(tower.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    assert again.channels == 12
    assert torch.equal(again.eval()(pixels), tower.eval()(pixels))


def test_a_frozen_backbone_has_no_trainable_weight(make_checkpoint: Callable[..., StudentCheckpoint]) -> None:
    model = make_checkpoint(freeze_backbone=True).model
    assert not any(parameter.requires_grad for parameter in model.tower.parameters())
    assert all(parameter.requires_grad for parameter in model.encoder.parameters())
