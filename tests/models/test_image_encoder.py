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
    IMAGENET_STD,
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
    unit = max(32, tower.multiple)
    for height, width in ((unit, unit), (2 * unit, 3 * unit), (3 * unit, 2 * unit), (4 * unit, 4 * unit)):
        features = tower(torch.randn(2, 3, height, width))
        assert features.shape == (2, channels, height // stride, width // stride), (height, width)
        assert features.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", [*(name for name in MASKED if name != "clip-14"), "beit", "swin", "swinv2"])
def test_tokens_stand_where_their_pixels_are(name: str, folders: Callable[[str], Path]) -> None:
    """Rows, columns and special tokens would all show here: one changed patch changes its own cell most."""
    torch.manual_seed(0)
    tower, (rows, columns) = _built(folders(name)), (4, 6)
    pixels = torch.randn(1, 3, 32, 48)
    before = tower(pixels)
    for row, column in ((0, 0), (0, 5), (3, 0), (2, 3)):
        changed = pixels.clone()
        changed[..., row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = torch.randn(3, 8, 8)
        difference = (tower(changed) - before).square().sum(dim=1)[0]
        assert difference.shape == (rows, columns)
        assert divmod(int(difference.argmax()), columns) == (row, column)


@torch.no_grad()
@pytest.mark.parametrize("name", MASKED)
def test_tokens_of_padding_are_not_looked_at(name: str, folders: Callable[[str], Path]) -> None:
    tower = _built(folders(name))
    side = 4 * tower.stride
    pixels = torch.randn(2, 3, side, side)
    covered = torch.tensor([[1.0, 0.5], [0.75, 1.0]])
    other = pixels.clone()
    other[0, :, side // 2 :] = other[1, :, :, 3 * side // 4 :] = 7.0
    first, second = tower(pixels, covered), tower(other, covered)
    torch.testing.assert_close(first[0, :, :2], second[0, :, :2])
    torch.testing.assert_close(first[1, :, :, :3], second[1, :, :, :3])
    assert not torch.allclose(first[0], second[0]), "what is compared is there"
    assert not torch.allclose(first[0, :, :2], tower(pixels)[0, :, :2]), "without a mask it would be seen"


@torch.no_grad()
def test_siglip2_reads_a_letterboxed_picture_in_its_own_resolution(folders: Callable[[str], Path]) -> None:
    """And what its own processor would hand over is what we do: patches of y, x, colour, positions for their grid."""
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    tower = _built(folders("siglip2"))
    canvas = torch.randn(1, 3, 48, 48)
    picture = canvas[:, :, :32, :40]
    boxed = tower(canvas, torch.tensor([[40 / 48, 32 / 48]]))[:, :, :4, :5]
    torch.testing.assert_close(boxed, tower(picture))
    patches = torch.from_numpy(convert_image_to_patches(picture[0].numpy(), 8))[None]
    expected = tower.model(patches, torch.ones(1, 20, dtype=torch.long), torch.tensor([[4, 5]])).last_hidden_state
    torch.testing.assert_close(tower(picture), expected.mT.reshape(1, 16, 4, 5))


REAL_SIZES = [
    # class, what differs from the class' defaults (one layer does for a transformer), pixels, channels, grid
    ("CLIPVision", {"num_hidden_layers": 1}, (224, 224), 768, (7, 7)),  # ViT-B/32
    ("CLIPVision", {"num_hidden_layers": 1, "patch_size": 16}, (224, 448), 768, (14, 28)),
    (
        "CLIPVision",
        {"num_hidden_layers": 1, "patch_size": 14, "hidden_size": 1024, "num_attention_heads": 16},
        (336, 336),
        1024,
        (24, 24),
    ),
    ("SiglipVision", {"num_hidden_layers": 1, "patch_size": 14, "image_size": 384}, (378, 378), 768, (27, 27)),
    ("Dinov2", {"num_hidden_layers": 1, "patch_size": 14, "image_size": 518}, (224, 224), 768, (16, 16)),
    ("DINOv3ViT", {"num_hidden_layers": 1, "num_register_tokens": 4}, (512, 256), 384, (32, 16)),
    ("Swin", {}, (224, 320), 768, (7, 10)),
    ("ConvNextV2", {}, (224, 224), 768, (7, 7)),
    ("ResNet", {}, (224, 224), 2048, (7, 7)),
    ("MobileViT", {}, (256, 256), 640, (8, 8)),
    ("MobileNetV2", {}, (224, 224), 1280, (7, 7)),
]


@pytest.mark.parametrize(("kind", "fields", "pixels", "channels", "grid"), REAL_SIZES)
def test_classes_of_the_real_sizes_give_their_grid(
    kind: str, fields: dict[str, Any], pixels: tuple[int, int], channels: int, grid: tuple[int, int]
) -> None:
    """Shapes alone: on the device "meta" there are no numbers, so that a large model costs nothing."""
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**fields))
    tower = HuggingFaceTower(model, IMAGENET_MEAN, IMAGENET_STD)
    assert tower(torch.zeros(1, 3, *pixels, device="meta")).shape == (1, channels, *grid)


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
    (None, IMAGENET_MEAN),  # no file: the field's default, as the family has no other
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


FAMILIES = [
    # model, mean of its family, whether it reads blue first
    ("clip", 0.48145466, False),
    ("siglip2", 0.5, False),
    ("mobilenet2", 0.5, False),
    ("mobilevit", 0.0, True),  # neither scaled nor shifted
    ("dinov3", 0.485, False),
]


@pytest.mark.parametrize(("name", "mean", "blue_first"), FAMILIES)
def test_without_a_processors_file_the_family_decides(
    name: str, mean: float, blue_first: bool, folders: Callable[[str], Path]
) -> None:
    tower = _built(folders(name))
    assert (tower.mean[0], tower.flips_channels) == (mean, blue_first)


@torch.no_grad()
def test_a_model_that_was_trained_on_blue_first_gets_it(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders("mobilevit"), folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_flip_channel_order": False, "size": 256}))
    flipped, plain, pixels = _built(folders("mobilevit")), _built(folder), torch.randn(1, 3, 64, 64)
    assert plain.mean == (0.0, 0.0, 0.0)  # the file says nothing of it, the family does
    torch.testing.assert_close(flipped(pixels), plain(pixels.flip(1)))
    again = build_tower(ModelSettings(backbone=str(folder)), flipped.describe())
    assert isinstance(again, HuggingFaceTower)
    assert again.flips_channels


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
