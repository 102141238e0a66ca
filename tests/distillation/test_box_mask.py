from __future__ import annotations

import pytest
import torch

from ovgsr.distillation.box_mask import attention_bias, box_coverage

SIDE = 120
"""Pixels a side: every grid below divides it, and every box below ends at a pixel's edge."""
BOXES_XYXY = [
    (0, 0, 120, 120),  # the whole picture
    (0, 0, 60, 60),
    (13, 37, 77, 101),
    (50, 10, 51, 110),  # one pixel wide
    (-40, 30, 30, 200),  # beyond the edges
    (119, 119, 120, 120),
    (130, 130, 150, 150),  # outside altogether
]
GRIDS = [(1, 1), (4, 4), (3, 5), (1, 8), (10, 2)]


def _cxcywh(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    left, top, right, bottom = torch.tensor(boxes, dtype=torch.float64).unbind(-1)
    return torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=-1) / SIDE


@pytest.mark.parametrize("grid", GRIDS)
def test_coverage_against_counting_pixels(grid: tuple[int, int]) -> None:
    found = box_coverage(_cxcywh(*BOXES_XYXY), grid)
    rows, columns = grid
    high, wide = SIDE // rows, SIDE // columns
    for box, row in zip(BOXES_XYXY, found, strict=True):
        picture = torch.zeros(SIDE, SIDE, dtype=torch.float64)
        picture[max(box[1], 0) : max(box[3], 0), max(box[0], 0) : max(box[2], 0)] = 1
        cells = [
            picture[y * high : (y + 1) * high, x * wide : (x + 1) * wide].mean()
            for y in range(rows)
            for x in range(columns)
        ]
        torch.testing.assert_close(row, torch.stack(cells), atol=1e-9, rtol=0)


def test_coverage_of_any_shape_of_boxes() -> None:
    boxes = _cxcywh(*BOXES_XYXY[:6]).reshape(2, 3, 4)
    found = box_coverage(boxes, (3, 5))
    assert found.shape == (2, 3, 15)
    torch.testing.assert_close(found[1, 0], box_coverage(boxes[1, 0], (3, 5)))


def test_the_bias_by_hand() -> None:
    """A grid of one row of four; the box covers the second cell, half of the third and a fifth of the first."""
    box = torch.tensor([0.2 * 0.25, 0.0, 0.0, 0.0])  # how far the left edge lies into the first cell
    left, right = 0.25 - float(box[0]), 0.625
    boxes = torch.tensor([[(left + right) / 2, 0.5, right - left, 1.0]])
    found = attention_bias(boxes, torch.tensor([True]), (1, 4), 5.0)
    # Half a cell counts as inside; a fifth as two fifths, so that three fifths of -5 are left.
    torch.testing.assert_close(found, torch.tensor([[-3.0, 0.0, 0.0, -5.0]]))


def test_inside_is_zero_and_far_outside_the_whole_strength() -> None:
    boxes = _cxcywh((30, 30, 90, 60)).float()
    found = attention_bias(boxes, torch.tensor([True]), (4, 4), torch.tensor(7.0)).reshape(4, 4)
    assert found[1, 1:3].tolist() == [0, 0]
    outside = found.clone()
    outside[1, 1:3] = -7
    assert (outside == -7).all()


def test_a_thin_box_still_points_at_its_cells() -> None:
    """It covers little of any cell: what it covers most is inside all the same."""
    found = attention_bias(_cxcywh((50, 10, 51, 50)).float(), torch.tensor([True]), (3, 3), 4.0).reshape(3, 3)
    assert found[0, 1] == 0
    assert found[:, [0, 2]].eq(-4).all()
    # 30 of its 40 pixels lie in the first row of cells and 10 in the second: a third as much of the cell
    assert found[1, 1].item() == pytest.approx(-4 * (1 - 1 / 3), abs=1e-4)
    assert found[2, 1] == -4


UNMASKED = [
    (_cxcywh((0, 0, 30, 30)), False),  # not grounded, whatever box stands there
    (torch.zeros(1, 4), False),
    (_cxcywh((130, 130, 150, 150)), True),  # beyond the picture's edge
    (_cxcywh((0, 0, 120, 120)), True),  # the whole picture is no mask
]


@pytest.mark.parametrize(("box", "grounded"), UNMASKED)
def test_who_sees_the_whole_picture(box: torch.Tensor, grounded: bool) -> None:
    found = attention_bias(box.float(), torch.tensor([grounded]), (4, 4), 9.0)
    assert (found == 0).all()


def test_the_strength_is_learned_through_the_mask() -> None:
    strength = torch.tensor(2.0, requires_grad=True)
    found = attention_bias(_cxcywh((0, 0, 60, 120)).float(), torch.tensor([True]), (1, 2), strength)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert strength.grad is not None
    assert strength.grad.item() == -1  # one token lies outside
