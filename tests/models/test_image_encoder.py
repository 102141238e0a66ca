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

from ovgsr.config import DistillSettings, LossSettings, ModelSettings, OptimSettings
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
from ovgsr.tensors import Batch, Targets, TextEmbeddings
from ovgsr.training.optim import build_optimizer
from ovgsr.training.tasks import SituationTask
from tiny_backbones import MASKED, MODELS


def _train_one_step(checkpoint: StudentCheckpoint, pixels: torch.Tensor, text: TextEmbeddings) -> None:
    targets = Targets(
        verb_index=torch.tensor([1, 0]),
        role_mask=torch.tensor([[True, True, True], [True, True, False]]),
        noun_index=torch.tensor([[[1], [2], [0]], [[3], [4], [-1]]]),
        boxes_cxcywh=torch.full((2, 3, 4), 0.5),
        grounded=torch.tensor([[True, False, True], [True, False, False]]),
    )
    task = SituationTask(checkpoint.model, LossSettings(), DistillSettings()).train()
    optimizer = build_optimizer(task, OptimSettings())
    losses, _ = task(Batch(pixels, torch.ones(2, 2), torch.arange(2), targets), text, torch.ones(3))
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
    checkpoint.model.eval()


def _built(folder: Path, **settings: Any) -> HuggingFaceTower:
    tower = build_tower(ModelSettings(backbone=str(folder), **settings))
    assert isinstance(tower, HuggingFaceTower)
    return tower.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_gives_a_grid_for_any_size(name: str, backbones: Callable[[str], Path]) -> None:
    _, _, channels, stride = MODELS[name]
    tower = _built(backbones(name))
    assert tower.channels == channels
    unit = max(32, tower.multiple)
    for height, width in ((unit, unit), (2 * unit, 3 * unit), (3 * unit, 2 * unit), (4 * unit, 4 * unit)):
        features = tower(torch.randn(2, 3, height, width))
        assert features.shape == (2, channels, height // stride, width // stride), (height, width)
        assert features.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", [*(name for name in MASKED if name != "clip-14"), "beit", "swin", "swinv2"])
def test_tokens_stand_where_their_pixels_are(name: str, backbones: Callable[[str], Path]) -> None:
    """Rows, columns and special tokens would all show here: one changed patch changes its own cell most."""
    torch.manual_seed(0)
    tower, (rows, columns) = _built(backbones(name)), (4, 6)
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
def test_tokens_of_padding_are_not_looked_at(name: str, backbones: Callable[[str], Path]) -> None:
    tower = _built(backbones(name))
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
def test_siglip2_reads_a_letterboxed_picture_in_its_own_resolution(backbones: Callable[[str], Path]) -> None:
    """And what its own processor would hand over is what we do: patches of y, x, colour, positions for their grid."""
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    tower = _built(backbones("siglip2"))
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
def test_a_trained_checkpoint_opens_without_the_backbones_folder(
    name: str,
    backbones: Callable[[str], Path],
    make_checkpoint: Callable[..., StudentCheckpoint],
    random_text: Callable[..., TextEmbeddings],
    tmp_path: Path,
) -> None:
    source = tmp_path / "backbone"
    shutil.copytree(backbones(name), source)
    checkpoint = make_checkpoint(backbone=str(source))
    pixels, text = torch.randn(2, 3, 64, 64), random_text()
    before = {key: tensor.clone() for key, tensor in checkpoint.model.tower.state_dict().items()}
    _train_one_step(checkpoint, pixels, text)
    changed = [
        key for key, tensor in checkpoint.model.tower.state_dict().items() if not torch.equal(tensor, before[key])
    ]
    assert len(changed) > len(before) / 2, "it learns"
    checkpoint.save_pretrained(tmp_path / "student")
    shutil.rmtree(source)
    opened = StudentCheckpoint.from_pretrained(tmp_path / "student")
    with torch.no_grad():
        first = checkpoint.model.predict_verb(checkpoint.model.encode(pixels), text)
        second = opened.model.predict_verb(opened.model.encode(pixels), text)
    assert torch.equal(first.recognition, second.recognition)
    assert (opened.model.tower.mean, opened.model.tower.std) == (
        checkpoint.model.tower.mean,
        checkpoint.model.tower.std,
    )


@pytest.mark.parametrize("name", ["vit", "siglip", "clip", "convnext"])
def test_weights_that_take_no_part_are_frozen(name: str, backbones: Callable[[str], Path]) -> None:
    tower = _built(backbones(name)).train()
    tower(torch.randn(2, 3, 64, 64)).square().sum().backward()
    for parameter_name, parameter in tower.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
    assert any(not parameter.requires_grad for parameter in tower.parameters()), "poolers and last norms"


def test_pretrained_weights_are_loaded_and_can_be_left_out(backbones: Callable[[str], Path]) -> None:
    folder = backbones("vit")
    torch.manual_seed(11)
    first, second = _built(folder), _built(folder)
    fresh = _built(folder, pretrained=False)
    weights = [tower.state_dict() for tower in (first, second, fresh)]
    name = next(key for key in weights[0] if key.endswith("patch_embeddings.projection.weight"))
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_half_precision_weights_become_float32(backbones: Callable[[str], Path], tmp_path: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_pretrained(backbones("vit"), dtype=torch.float16).save_pretrained(tmp_path)
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
    backbones: Callable[[str], Path], tmp_path: Path, record: dict[str, Any] | None, mean: tuple[float, ...]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(backbones("vit"), folder)
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
    name: str, mean: float, blue_first: bool, backbones: Callable[[str], Path]
) -> None:
    tower = _built(backbones(name))
    assert (tower.mean[0], tower.flips_channels) == (mean, blue_first)


@torch.no_grad()
def test_a_model_that_was_trained_on_blue_first_gets_it(backbones: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(backbones("mobilevit"), folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_flip_channel_order": False, "size": 256}))
    flipped, plain, pixels = _built(backbones("mobilevit")), _built(folder), torch.randn(1, 3, 64, 64)
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
    spoil: Callable[[Path], None], backbones: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(backbones("vit"), folder)
    spoil(folder)
    with pytest.raises(BackboneError, match=rf"model\.backbone '{folder}' cannot be loaded: .*safetensors weights"):
        _built(folder)


def test_tokens_that_are_no_grid_are_refused(backbones: Callable[[str], Path]) -> None:
    tower = _built(backbones("vit"))
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
