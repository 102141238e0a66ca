"""Maps over a picture: which part the teacher sees, where heat and tiles lie, how attention is shared among boxes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ovgsr.situation import BoxXyxy
from ovgsr.teacher.loading import TeacherError
from ovgsr.teacher.picture_maps import HEAT, MAP_WIDTH, attention_map, attention_shares, seen_region, token_map

GREY = Image.new("RGB", (MAP_WIDTH, MAP_WIDTH), (128, 128, 128))
WHOLE = (0.0, 0.0, float(MAP_WIDTH), float(MAP_WIDTH))


def clip(**settings: Any) -> Any:
    from transformers import CLIPImageProcessorPil

    return SimpleNamespace(image_processor=CLIPImageProcessorPil(**settings))


def padding_to_a_square(images: list[Image.Image], return_tensors: str) -> dict[str, torch.Tensor]:
    """As LLaVA's own: the picture in the middle of a square of the mean colour."""
    squares = []
    for image in images:
        side = max(image.size)
        square = Image.new("RGB", (side, side), (122, 116, 104))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        squares.append(np.asarray(square.resize((84, 84))).transpose(2, 0, 1) / 255.0)
    return {"pixel_values": torch.tensor(np.stack(squares))}


def patches(images: list[Image.Image], return_tensors: str) -> dict[str, torch.Tensor]:
    """As Qwen-VL: rows of patches, the whole picture stretched."""
    return {"pixel_values": torch.zeros(3 * 16, 1176)}


SIDE_336 = {"crop_size": {"height": 336, "width": 336}}
# The processor; the picture's size; the region worked out by hand.
REGIONS: list[tuple[str, Callable[[], Any], tuple[int, int], BoxXyxy]] = [
    # the shortest edge to 336, then the middle 336 x 336: a square of the height, in the middle of the width
    ("CLIP cuts a wide one", lambda: clip(size={"shortest_edge": 336}, **SIDE_336), (512, 384), (64, 0, 448, 384)),
    ("CLIP cuts a high one", lambda: clip(size={"shortest_edge": 336}, **SIDE_336), (300, 512), (0, 106, 300, 406)),
    ("CLIP keeps a square", lambda: clip(size={"shortest_edge": 336}, **SIDE_336), (96, 96), (0, 0, 96, 96)),
    # stretched to 48 x 48, of which the middle half of each side is cut out
    (
        "CLIP stretches, then cuts",
        lambda: clip(size={"height": 48, "width": 48}, crop_size={"height": 24, "width": 24}),
        (400, 200),
        (100, 50, 300, 150),
    ),
    (
        "CLIP stretches",
        lambda: clip(size={"height": 48, "width": 48}, do_center_crop=False),
        (400, 200),
        (0, 0, 400, 200),
    ),
    # half of a 400 x 400 square is padding: the region hangs over by 100 pixels above and below
    ("padding", lambda: SimpleNamespace(image_processor=padding_to_a_square), (400, 200), (0, -100, 400, 300)),
    ("patches", lambda: SimpleNamespace(image_processor=patches), (400, 200), (0, 0, 400, 200)),
    (
        "a picture beyond the probe's size",
        lambda: clip(size={"shortest_edge": 336}, **SIDE_336),
        (4000, 2000),
        (1000, 0, 3000, 2000),
    ),
    ("no processor", lambda: None, (400, 200), (0, 0, 400, 200)),
]


@pytest.mark.parametrize(("make", "size", "region"), [case[1:] for case in REGIONS], ids=[case[0] for case in REGIONS])
def test_the_region_that_is_seen(make: Callable[[], Any], size: tuple[int, int], region: BoxXyxy) -> None:
    assert seen_region(make(), *size) == pytest.approx(region, abs=max(size) / 150)


def test_heat_lies_where_the_attention_is() -> None:
    weights = torch.zeros(4, 4)
    weights[0, 3] = 0.5  # the upper right of 4 x 4 cells of 120 pixels
    pixels = np.asarray(attention_map(GREY, weights.flatten(), (4, 4), WHOLE), float)
    assert pixels.shape == (MAP_WIDTH, MAP_WIDTH, 3)
    hot, cold = pixels[30, 450], pixels[450, 30]
    # alpha is 0.45 without and 0.8 with full heat
    assert cold == pytest.approx(128 + 0.45 * (np.array(HEAT[0]) - 128), abs=1)
    assert hot == pytest.approx(128 + 0.8 * (np.array(HEAT[-1]) - 128), abs=4)


def test_what_is_not_seen_is_faded_and_heat_keeps_to_the_region() -> None:
    region = (120.0, 0.0, 360.0, 480.0)
    pixels = np.asarray(attention_map(GREY, torch.tensor([0.0, 1.0]), (1, 2), region), float)
    faded = 0.35 * 128 + 0.65 * 255
    for x in (0, 119, 360, 479):
        assert pixels[240, x] == pytest.approx([faded] * 3, abs=1)
    assert pixels[240, 350].sum() > pixels[240, 130].sum() + 200
    wide = attention_map(
        GREY, torch.tensor([0.0, 1.0]), (1, 2), (-480.0, 0.0, 480.0, 480.0)
    )  # the left cell is padding
    assert np.asarray(wide, float)[240, 470] == pytest.approx(128 + 0.8 * (np.array(HEAT[-1]) - 128), abs=4)


def test_one_outlier_does_not_darken_the_rest() -> None:
    weights = torch.full((20, 20), 0.1)
    weights[0, 0] = 100.0  # an attention sink, one cell of 400
    pixels = np.asarray(attention_map(GREY, weights.flatten(), (20, 20), WHOLE), float)
    assert pixels[400, 400] == pytest.approx(128 + 0.8 * (np.array(HEAT[-1]) - 128), abs=4)


def test_no_attention_at_all_is_a_dark_map() -> None:
    pixels = np.asarray(attention_map(GREY, torch.zeros(4), (2, 2), WHOLE), float)
    assert pixels[200, 200] == pytest.approx(128 + 0.45 * (np.array(HEAT[0]) - 128), abs=1)


def test_shares_by_hand() -> None:
    weights = torch.tensor([0.1, 0.2, 0.3, 0.2])  # 2 x 2 cells of 50 x 50 pixels; sum 0.8
    boxes = {
        "left": (0.0, 0.0, 50.0, 100.0),  # cells 0.1 and 0.3: 0.4 of 0.8
        "half a cell": (50.0, 0.0, 100.0, 25.0),  # half of 0.2
        "beyond": (200.0, 0.0, 300.0, 100.0),
        "turned round": (100.0, 100.0, 50.0, 50.0),  # the last cell
    }
    found = attention_shares(weights, (2, 2), (0.0, 0.0, 100.0, 100.0), boxes)
    assert found["left"] == pytest.approx((0.5, 0.5))
    assert found["half a cell"] == pytest.approx((0.125, 0.125))
    assert found["beyond"] == pytest.approx((0.0, 0.0))
    assert found["turned round"] == pytest.approx((0.25, 0.25))
    # The teacher sees the right half only: its four cells are 25 wide, and the box covers two of them.
    cut = attention_shares(weights, (2, 2), (50.0, 0.0, 100.0, 100.0), {"box": (0.0, 0.0, 75.0, 100.0)})
    assert cut["box"] == pytest.approx((0.5, 0.5))


def test_tiles_of_like_tokens_have_like_colours() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(2, 32, generator=generator)
    tokens = torch.stack([kinds[0], kinds[1], kinds[1], kinds[0]])
    tiles, share = token_map(GREY, tokens, (2, 2), WHOLE)
    pixels = np.asarray(tiles, float)
    corners = [pixels[y, x] for y in (60, 420) for x in (60, 420)]
    assert share == pytest.approx(1.0)  # two kinds: one axis says it all
    assert corners[0] == pytest.approx(corners[3], abs=1)
    assert corners[1] == pytest.approx(corners[2], abs=1)
    assert abs(corners[0] - corners[1]).max() > 100


@pytest.mark.parametrize(("count", "width"), [(48, 12), (12, 48)], ids=["more tokens than numbers", "fewer"])
def test_the_components_are_those_of_a_singular_value_decomposition(count: int, width: int) -> None:
    tokens = torch.randn(count, width, generator=torch.Generator().manual_seed(1)).double()
    tiles, share = token_map(GREY, tokens, (4, count // 4), WHOLE)
    centred = tokens - tokens.mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    assert share == pytest.approx(float((s[:3] ** 2).sum() / (s**2).sum()))
    first = u[:, 0] * s[0]
    first = first if first.pow(3).sum() > 0 else -first
    row, column = divmod(int(first.argmax()), count // 4)
    red = np.asarray(tiles, float)[..., 0]
    cell = 480 // (count // 4)
    assert red[row * 120 + 60, column * cell + cell // 2] == pytest.approx(128 + 0.62 * 127, abs=1)  # the reddest
    assert np.array_equal(np.asarray(tiles), np.asarray(token_map(GREY, tokens, (4, count // 4), WHOLE)[0]))


def test_equal_tokens_and_single_ones_are_no_error() -> None:
    for count in (1, 4):
        tiles, share = token_map(GREY, torch.ones(count, 8), (1, count), WHOLE)
        assert share == 1.0
        assert tiles.size == GREY.size


@pytest.mark.parametrize(
    ("weights", "words"),
    [(torch.ones(5), "5 weights are no 2 x 2 map"), (torch.tensor([1.0, float("nan"), 0, 0]), "fp32")],
    ids=["of another grid", "not finite"],
)
def test_bad_weights_are_sentences(weights: torch.Tensor, words: str) -> None:
    with pytest.raises(TeacherError, match=words):
        attention_map(GREY, weights, (2, 2), WHOLE)
    with pytest.raises(TeacherError, match="no 2 x 2 map of finite numbers"):
        token_map(GREY, weights[:, None], (2, 2), WHOLE)


def test_long_pictures_stay_small() -> None:
    for size in ((3000, 20), (20, 3000)):
        image = Image.new("L", size)
        drawn = attention_map(image, torch.ones(4), (2, 2), (0.0, 0.0, float(size[0]), float(size[1])))
        assert max(drawn.size) <= 960
        assert min(drawn.size) >= 1
