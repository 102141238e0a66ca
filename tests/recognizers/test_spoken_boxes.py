"""Boxes as models say them: every notation with values worked out by hand, and nonsense that must give none."""

from __future__ import annotations

import math
import time

import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from ovgsr.recognizers.spoken_boxes import (
    WORDING,
    BoxFormat,
    box_format,
    boxes_in_text,
    resized_size,
    spoken_box,
)

PICTURE = (200, 100)  # width, height
RESIZED = (400, 400)  # as a model saw it: x halves, y quarters

FAMILIES = [
    ("qwen2_vl", "thousandths"),
    ("qwen2_5_vl", "resized_pixels"),
    ("qwen2_5_omni", "resized_pixels"),
    ("qwen3_vl", "thousandths"),
    ("qwen3_vl_moe", "thousandths"),
    ("internvl", "thousandths"),
    ("internvl_chat", "thousandths"),
    ("paligemma", "locations"),
    ("llava", "fractions"),
    ("llava_next", "fractions"),
    ("llava_onevision", "fractions"),
    ("a_family_of_tomorrow", "fractions"),
]


@pytest.mark.parametrize(("model_type", "expected"), FAMILIES)
def test_a_family_has_its_convention(model_type: str, expected: BoxFormat) -> None:
    assert box_format(model_type) == expected
    assert WORDING[expected].startswith("[x1, y1, x2, y2]")


SENSIBLE = [
    # Qwen2.5-VL: pixels of the 400 x 400 picture it saw; x * 200/400, y * 100/400
    ('{"bbox_2d": [40, 80, 240, 320], "label": "dog"}', "resized_pixels", (20.0, 20.0, 120.0, 80.0)),
    ({"bbox_2d": [40, 80, 240, 320]}, "resized_pixels", (20.0, 20.0, 120.0, 80.0)),
    ([{"bbox_2d": [40, 80, 240, 320]}], "resized_pixels", (20.0, 20.0, 120.0, 80.0)),
    ([40, 80, 440, 320], "resized_pixels", (20.0, 20.0, 200.0, 80.0)),  # 440 of 400 sticks out: cut
    # Qwen2-VL: thousandths between its marks; x * 0.2, y * 0.1. The marks hold in every family.
    ("<|box_start|>(100,200),(500,800)<|box_end|>", "thousandths", (20.0, 20.0, 100.0, 80.0)),
    ("<|box_start|>(100,200),(500,800)<|box_end|>", "resized_pixels", (20.0, 20.0, 100.0, 80.0)),
    ("<|box_start|>( 100 , 200 ), ( 500 , 800 )<|box_end|>", "fractions", (20.0, 20.0, 100.0, 80.0)),
    ("the dog (100,200),(500,800)", "thousandths", (20.0, 20.0, 100.0, 80.0)),  # marks lost in decoding
    # Qwen3-VL: thousandths in a bare list
    ([100, 200, 500, 800], "thousandths", (20.0, 20.0, 100.0, 80.0)),
    ([[100, 200, 500, 800], [1, 1, 2, 2]], "thousandths", (20.0, 20.0, 100.0, 80.0)),  # of several the first
    ([100, 200, 500, 1800], "thousandths", (20.0, 20.0, 100.0, 100.0)),  # below the picture: cut
    # InternVL
    ("<ref>dog</ref><box>[[100, 200, 500, 800]]</box>", "thousandths", (20.0, 20.0, 100.0, 80.0)),
    ("<box>[100, 200, 500, 800]</box>", "fractions", (20.0, 20.0, 100.0, 80.0)),
    ("[[100, 200, 500, 800]]", "thousandths", (20.0, 20.0, 100.0, 80.0)),  # marks lost in decoding
    # PaliGemma: y1 x1 y2 x2 of 1024; x * 200/1024, y * 100/1024
    ("<loc0256><loc0128><loc0768><loc0512> dog", "locations", (25.0, 25.0, 100.0, 75.0)),
    ("<loc0256><loc0128><loc0768><loc0512> dog", "fractions", (25.0, 25.0, 100.0, 75.0)),
    ("<loc0000><loc0000><loc1023><loc1023>", "locations", (0.0, 0.0, 199.8, 99.9)),  # 1023/1024 of 200 and of 100
    # LLaVA, Shikra: fractions
    ("The dog is at [0.1, 0.2, 0.5, 0.8].", "fractions", (20.0, 20.0, 100.0, 80.0)),
    ([0.1, 0.2, 0.5, 0.8], "fractions", (20.0, 20.0, 100.0, 80.0)),
    (["0.1", "0.2", "0.5", "0.8"], "fractions", (20.0, 20.0, 100.0, 80.0)),  # numbers as text
    ([0.1, -0.2, 0.5, 1.2], "fractions", (20.0, 0.0, 100.0, 100.0)),  # sticks out above and below: cut
    # Ambiguous lists, read as the docstring says
    ([0.1, 0.2, 0.5, 0.8], "thousandths", (20.0, 20.0, 100.0, 80.0)),
    ([0.1, 0.2, 0.5, 0.8], "resized_pixels", (20.0, 20.0, 100.0, 80.0)),
    ([0, 0, 1, 1], "resized_pixels", (0.0, 0.0, 200.0, 100.0)),  # never one pixel: the whole picture
    ([100, 200, 500, 800], "fractions", (20.0, 20.0, 100.0, 80.0)),  # more than 2: thousandths
    ([100, 200, 500, 800], "locations", (20.0, 20.0, 100.0, 80.0)),
]


@pytest.mark.parametrize(("said", "spoken", "expected"), SENSIBLE)
def test_a_box_in_pixels(said: object, spoken: BoxFormat, expected: tuple[float, ...]) -> None:
    assert spoken_box(said, spoken, PICTURE, RESIZED) == pytest.approx(expected, abs=0.011)


def test_without_the_resized_size_pixels_are_the_pictures_own() -> None:
    assert spoken_box([20, 20, 120, 80], "resized_pixels", PICTURE) == (20.0, 20.0, 120.0, 80.0)


NONSENSE = [
    None,
    "",
    "no box here",
    7,
    True,
    [],
    {},
    [[]],
    [1, 2, 3],
    [1, 2, 3, 4, 5],
    [True, False, True, True],
    [None, 1, 2, 3],
    ["left", "top", "right", "bottom"],
    [math.nan, 0.1, 0.5, 0.8],
    [0.1, 0.1, math.inf, 0.8],
    [0, 0, 10**400, 5],  # an integer beyond any float
    [0, 0, 2e6, 5],  # beyond any picture
    "[0, 0, 1e999, 5]",
    [500, 200, 100, 800],  # inverted
    [100, 800, 500, 200],
    [100, 200, 100, 800],  # no width
    [1100, 1100, 1200, 1200],  # wholly outside
    [-50, -50, -10, -10],
    [100, 200, 100.01, 800],  # narrower than a hundredth of a pixel
    {"bbox_2d": {"bbox_2d": {"bbox_2d": {"bbox_2d": {"bbox_2d": [100, 200, 500, 800]}}}}},  # too deep
    {"label": [100, 200, 500, 800]},
    "<loc0256><loc0128><loc0768>",  # three tokens
    "<loc0768><loc0128><loc0256><loc0512>",  # inverted
    "[nan, 0.2, 0.5, 0.8]",
    "x" * 4000 + "[100, 200, 500, 800]",  # beyond what is read
]


@pytest.mark.parametrize("said", NONSENSE, ids=lambda said: str(said)[:40])
def test_nonsense_is_no_box(said: object) -> None:
    assert spoken_box(said, "thousandths", PICTURE) is None


def test_every_box_of_a_text_in_order() -> None:
    text = "[0, 0, 500, 500] a man, <box>[[100, 200, 500, 800]]</box> a dog, [9, 9, 3, 3] nothing, [500,500,1000,1000]"
    assert boxes_in_text(text, "thousandths", PICTURE) == [
        (0.0, 0.0, 100.0, 50.0),
        (20.0, 20.0, 100.0, 80.0),  # once, though its list would be read as well
        (100.0, 50.0, 200.0, 100.0),
    ]


@pytest.mark.parametrize("piece", ["[", "[1", "<box>", "1", " ", "(1,1),", "<loc0001>", "[1," + " " * 9])
def test_hostile_text_costs_little(piece: str) -> None:
    started = time.perf_counter()
    boxes_in_text(piece * 100_000, "thousandths", PICTURE)
    assert time.perf_counter() - started < 2


def test_a_deep_list_is_no_recursion() -> None:
    said: list[object] = [100, 200, 500, 800]
    for _ in range(10_000):
        said = [said]
    assert spoken_box(said, "thousandths", PICTURE) is None


SIZES = [(640, 480), (96, 96), (30, 20), (4000, 3000), (199, 1), (1001, 333)]


@pytest.mark.parametrize("picture_wh", SIZES)
def test_the_resized_size_is_that_of_transformers(picture_wh: tuple[int, int]) -> None:
    width, height = picture_wh
    rows, columns = smart_resize(height, width, factor=28, min_pixels=3136, max_pixels=1_003_520)
    assert resized_size(picture_wh, 28, 3136, 1_003_520) == (columns, rows)


def test_a_picture_that_the_resizing_refuses() -> None:
    assert resized_size((201, 1), 28, 3136, 1_003_520) is None
    assert resized_size((0, 5), 28, 3136, 1_003_520) is None
