"""Where a picture lies on its canvas: by hand, and that padding cannot change what a student says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ovgsr.boxes import cxcywh_to_xyxy, scale_to_pixels
from ovgsr.models.checkpoint import StudentCheckpoint
from ovgsr.models.image_encoder import ImageTower
from ovgsr.models.placement import cell_mask, cell_positions, cells_covered, over_picture, place
from ovgsr.models.preprocess import Preprocess
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.tensors import TextEmbeddings

Student = Callable[..., SituationTransformer]


def _canvas(height: int, width: int, side: int, *, filling: float = 0.0, seed: int = 0) -> Tensor:
    """One letterboxed random picture (1, 4, side, side)."""
    canvas = torch.full((1, 4, side, side), filling)
    canvas[:, 3] = 0
    canvas[:, :3, :height, :width] = torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))
    canvas[:, 3, :height, :width] = 1
    return canvas


class _Patches(ImageTower):
    """A tower whose cells see nothing but themselves."""

    stride = multiple = 8
    channels, mean, std = 6, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, self.channels, 8, 8)

    def forward(self, pixels: Tensor, covered: Tensor | None = None) -> Tensor:
        return self.cells(pixels)  # type: ignore[no-any-return]


@pytest.fixture
def student(make_student: Student) -> SituationTransformer:
    """A student with a tower that cannot mix picture and padding itself."""
    student = make_student(distilled_readout=True)
    torch.manual_seed(1)
    student.tower = _Patches()
    student.encoder.project = nn.Linear(_Patches.channels, student.encoder.width)
    return student.eval()


PLACED = [
    # height, width of the picture, canvas; rows and columns that show something of it, of 4 x 4 cells of 8 pixels
    (32, 32, (4, 4)),
    (16, 32, (2, 4)),
    (17, 32, (3, 4)),  # one line of pixels is enough
    (32, 23, (4, 3)),
    (1, 32, (1, 4)),
]


@pytest.mark.parametrize(("height", "width", "cells"), PLACED)
def test_what_a_letterboxed_picture_covers(height: int, width: int, cells: tuple[int, int]) -> None:
    pixels, covered = place(_canvas(height, width, 32), 8)
    assert pixels.shape == (1, 3, 32, 32)
    assert covered is not None
    torch.testing.assert_close(covered, torch.tensor([[width / 32, height / 32]]))
    assert cells_covered((4, 4), covered).tolist() == [[cells[1], cells[0]]]
    mask = cell_mask((4, 4), covered)
    assert mask is not None
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[: cells[0], : cells[1]] = True
    assert torch.equal(mask.reshape(4, 4), expected)


def test_positions_are_those_in_the_picture() -> None:
    covered = torch.tensor([[1.0, 0.5]])
    positions = cell_positions((4, 2), covered, torch.device("cpu"))
    assert positions[0, :, 0].tolist() == [0.25, 0.75] * 4
    assert positions[0, ::2, 1].tolist() == [0.25, 0.75, 1.25, 1.75]  # four rows over twice the picture's height
    assert cell_positions((4, 2), None, torch.device("cpu")).shape == (8, 2)


def test_sides_that_are_no_multiple_are_padded_and_nothing_else_is() -> None:
    pixels = torch.randn(2, 3, 20, 32)
    padded, covered = place(pixels, 8)
    assert padded.shape == (2, 3, 24, 32)
    assert torch.equal(padded[:, :, :20], pixels)
    assert covered is not None
    torch.testing.assert_close(covered, torch.tensor([[1.0, 20 / 24]] * 2))
    same, nothing = place(pixels[:, :, :16], 8)
    assert nothing is None
    assert same.shape == (2, 3, 16, 32)


def test_a_map_over_the_picture_keeps_what_is_linear_in_it() -> None:
    covered = torch.tensor([[0.5, 1.0], [1.0, 1.0]])
    x, y = cell_positions((6, 8), covered, torch.device("cpu")).unbind(-1)
    moved = over_picture(torch.stack([x, y, x], dim=-1), (6, 8), covered)
    wanted = cell_positions((6, 8), None, torch.device("cpu")).expand(2, -1, 2)
    # Beyond the centres of the first and last of four (eight) columns there is nothing to go by.
    for row, columns in ((0, 4), (1, 8)):
        inside = (wanted[row, :, 0] - 0.5).abs() <= 0.5 - 0.5 / columns + 1e-6
        torch.testing.assert_close(moved[row, inside, :2], wanted[row, inside])
        assert moved[row, :, 0].max() <= 1, "padding, which lies beyond 1, has no part in it"
    tokens = torch.randn(1, 48, 3)
    assert over_picture(tokens, (6, 8), None) is tokens


@torch.no_grad()
def test_what_lies_in_the_padding_changes_nothing(
    student: SituationTransformer, random_text: Callable[..., TextEmbeddings]
) -> None:
    text, verb = random_text(), torch.tensor([1])
    seen = []
    for filling in (0.0, 50.0):
        encoded = student.encode(_canvas(16, 40, 64, filling=filling))
        scores, roles = student.predict_verb(encoded, text), student.fill_roles(encoded, verb, text)
        assert scores.distilled is not None
        assert roles.attention is not None
        assert encoded.mask is not None
        assert roles.attention[..., ~encoded.mask[0]].count_nonzero() == 0
        seen.append((encoded.scene, scores.recognition, scores.distilled, *roles.__dict__.values()))
    for first, second in zip(*seen, strict=True):
        assert torch.equal(first, second)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(16, 40), (40, 24)])
def test_a_letterboxed_picture_is_read_as_if_it_were_alone(
    student: SituationTransformer, random_text: Callable[..., TextEmbeddings], height: int, width: int
) -> None:
    """Its boxes, too, are those of the picture: nothing has to be mapped back from the canvas."""
    text, verb = random_text(), torch.tensor([1])
    canvas = _canvas(height, width, 64)
    boxed, alone = student.encode(canvas), student.encode(canvas[:, :3, :height, :width])
    torch.testing.assert_close(boxed.scene, alone.scene)
    torch.testing.assert_close(student.recognize(boxed, text), student.recognize(alone, text))
    first, second = student.fill_roles(boxed, verb, text), student.fill_roles(alone, verb, text)
    torch.testing.assert_close(first.boxes_cxcywh, second.boxes_cxcywh)
    torch.testing.assert_close(first.noun_logits, second.noun_logits)


def test_a_look_at_one_cell_is_a_box_around_it_in_the_pictures_pixels() -> None:
    """A picture of 200 x 100 pixels on a canvas of 64: cells of 8 are 25 of its pixels wide and high."""
    picture = Image.new("RGB", (200, 100))
    _, covered = place(Preprocess(64, resize="letterbox")(picture)[None], 8)
    positions = cell_positions((8, 8), covered, torch.device("cpu"))[0].reshape(8, 8, 2)
    box_cxcywh = torch.cat([positions[2, 5], torch.tensor([1 / 8, 1 / 4])])
    box_xyxy = scale_to_pixels(cxcywh_to_xyxy(box_cxcywh), torch.tensor([200.0, 100.0]))
    torch.testing.assert_close(box_xyxy, torch.tensor([125.0, 50.0, 150.0, 75.0]))


@torch.no_grad()
def test_a_square_picture_is_the_same_squashed_and_letterboxed(
    make_checkpoint: Callable[..., StudentCheckpoint], random_text: Callable[..., TextEmbeddings]
) -> None:
    checkpoint, text = make_checkpoint(), random_text()
    letterbox = replace(checkpoint.preprocess, resize="letterbox")
    picture = Image.effect_noise((50, 50), 80).convert("RGB")
    first, second = (checkpoint.model.encode(shown(picture)[None]) for shown in (checkpoint.preprocess, letterbox))
    torch.testing.assert_close(first.tokens, second.tokens)
    logits = [checkpoint.model.recognize(encoded, text) for encoded in (first, second)]
    torch.testing.assert_close(logits[0], logits[1])
