from __future__ import annotations

import pytest
import torch

from ovgsr.boxes import (
    area,
    clamp_to_image,
    cxcywh_to_xyxy,
    flip_horizontally,
    paired_giou,
    paired_iou,
    scale_to_pixels,
    scale_to_unit,
    xyxy_to_cxcywh,
)

Box = tuple[float, float, float, float]


def test_conversions_by_hand_and_back() -> None:
    boxes_xyxy = torch.tensor([[10.0, 20.0, 30.0, 80.0], [0.0, 0.0, 1.0, 1.0]])
    boxes_cxcywh = torch.tensor([[20.0, 50.0, 20.0, 60.0], [0.5, 0.5, 1.0, 1.0]])
    assert torch.equal(xyxy_to_cxcywh(boxes_xyxy), boxes_cxcywh)
    assert torch.equal(cxcywh_to_xyxy(boxes_cxcywh), boxes_xyxy)


def test_scaling_uses_width_for_x_and_height_for_y() -> None:
    boxes = torch.tensor([[[0.1, 0.2, 0.5, 1.0]], [[0.1, 0.2, 0.5, 1.0]]])
    sizes_wh = torch.tensor([[[100.0, 10.0]], [[20.0, 200.0]]])
    pixels = scale_to_pixels(boxes, sizes_wh)
    torch.testing.assert_close(pixels, torch.tensor([[[10.0, 2.0, 50.0, 10.0]], [[2.0, 40.0, 10.0, 200.0]]]))
    torch.testing.assert_close(scale_to_unit(pixels, sizes_wh), boxes)


def test_clamping_keeps_to_the_picture() -> None:
    boxes = torch.tensor([[-5.0, -1.0, 50.0, 8.0], [3.0, 4.0, 5.0, 6.0], [45.0, 12.0, 60.0, 20.0]])
    expected = [[0.0, 0.0, 40.0, 8.0], [3.0, 4.0, 5.0, 6.0], [40.0, 10.0, 40.0, 10.0]]
    assert clamp_to_image(boxes, torch.tensor([40.0, 10.0])).tolist() == expected


def test_flipping_twice_changes_nothing() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.4, 0.9]])
    torch.testing.assert_close(flip_horizontally(boxes), torch.tensor([[0.6, 0.2, 0.9, 0.9]]))
    torch.testing.assert_close(flip_horizontally(flip_horizontally(boxes)), boxes)


def _cells(box: Box) -> set[tuple[int, int]]:
    left, top, right, bottom = (int(value) for value in box)
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


PAIRS: list[tuple[Box, Box]] = [
    ((0, 0, 4, 4), (0, 0, 4, 4)),  # the same
    ((0, 0, 4, 4), (2, 1, 6, 3)),  # crossing
    ((0, 0, 9, 9), (3, 3, 4, 5)),  # inside
    ((0, 0, 2, 2), (2, 0, 4, 2)),  # touching
    ((0, 0, 2, 2), (7, 5, 9, 9)),  # far apart
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_overlap_against_counted_cells(first: Box, second: Box) -> None:
    """Boxes with whole coordinates, so that areas can be counted cell by cell."""
    a, b = _cells(first), _cells(second)
    union = len(a | b)
    hull = _cells(
        (min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3]))
    )
    one, two = torch.tensor([first]), torch.tensor([second])
    assert area(one).item() == len(a)
    assert paired_iou(one, two).item() == pytest.approx(len(a & b) / union)
    assert paired_giou(one, two).item() == pytest.approx(len(a & b) / union - (len(hull) - union) / len(hull))
    # Inclusive coordinates: the last pixel counts too.
    c, d = _cells((*first[:2], first[2] + 1, first[3] + 1)), _cells((*second[:2], second[2] + 1, second[3] + 1))
    assert area(one, inclusive=True).item() == len(c)
    assert paired_iou(one, two, inclusive=True).item() == pytest.approx(len(c & d) / len(c | d))


def test_boxes_without_area_are_no_accident() -> None:
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    inverted = torch.tensor([[5.0, 5.0, 1.0, 1.0]])
    assert paired_iou(point, point).item() == 0
    assert paired_iou(point, point, inclusive=True).item() == 1
    assert area(inverted).item() == 0
    assert paired_iou(inverted, torch.tensor([[0.0, 0.0, 9.0, 9.0]])).item() == 0
    assert paired_giou(point, point).isfinite().all()
