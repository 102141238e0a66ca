"""What comes with a picture from a teacher: tokens that follow the shown part, and views drawn by the seed."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ovgsr.boxes import cxcywh_to_xyxy
from ovgsr.data.augment import Augmentation, Shown, augment_shown, generator_for, token_map_shown
from ovgsr.data.collate import collate
from ovgsr.data.dataset import SituationDataset
from ovgsr.data.swig import image_folder, read_annotations, read_vocabulary
from ovgsr.data.teaching import RecordedView
from ovgsr.models.preprocess import Preprocess, load_image
from ovgsr.tensors import TeacherSignals

from .conftest import Write

PREPROCESS = Preprocess(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def _places(rows: int, columns: int) -> Tensor:
    """Tokens that say where in the picture they stand: (x, y) of their centres."""
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


SHOWN = [
    # grid, part of the picture: all of it, a flip, a crop, a flipped crop, a window beyond the edges
    ((4, 4), Shown()),
    ((4, 4), Shown(mirrored=True)),
    ((6, 8), Shown(0.25, 0.2, 0.75, 0.9)),
    ((6, 8), Shown(0.2, 0.1, 0.6, 0.5, mirrored=True)),
    ((5, 3), Shown(-0.2, -0.1, 1.1, 1.3)),
    ((1, 1), Shown(0.3, 0.3, 0.6, 0.6, mirrored=True)),
    ((3, 5), Shown(0.1, 0.0, 0.9, 1.0)),
]


@pytest.mark.parametrize(("grid", "shown"), SHOWN)
def test_tokens_follow_what_is_shown(grid: tuple[int, int], shown: Shown) -> None:
    """A linear function of the place is what bilinear sampling keeps: each token then says where it came from."""
    rows, columns = grid
    found = token_map_shown(_places(rows, columns), grid, shown).reshape(rows, columns, 2)
    for row in range(rows):
        for column in range(columns):
            across = (column + 0.5) / columns
            if shown.mirrored:
                across = 1 - across
            x = shown.left + across * (shown.right - shown.left)
            y = shown.top + (row + 0.5) / rows * (shown.bottom - shown.top)
            # Beyond the outermost centres the nearest tokens go on.
            x = min(max(x, 0.5 / columns), 1 - 0.5 / columns)
            y = min(max(y, 0.5 / rows), 1 - 0.5 / rows)
            assert found[row, column].tolist() == pytest.approx([x, y], abs=1e-5)


def test_a_flip_turns_rows_round_and_half_precision_stays() -> None:
    tokens = torch.arange(12, dtype=torch.float16).reshape(6, 2)  # two rows of three
    found = token_map_shown(tokens, (2, 3), Shown(mirrored=True))
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, tokens.reshape(2, 3, 2).flip(1).reshape(6, 2))
    torch.testing.assert_close(token_map_shown(tokens, (2, 3), Shown()), tokens)


def _ramp(width: int, height: int) -> Image.Image:
    """A picture whose colours say where they stand: red across, green down."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)[None, :] * 200 // width + 20
    pixels[..., 1] = np.arange(height)[:, None] * 200 // height + 20
    return Image.fromarray(pixels)


@pytest.mark.parametrize("index", range(6))
def test_the_part_that_is_shown_is_the_part_that_is_told(index: int) -> None:
    """Tokens of the colours of the whole picture, moved, are the colours of the picture that was cut and mirrored."""
    image = _ramp(96, 64)
    settings = Augmentation(flip=0.5, scale=(0.5, 0.9), translate=0.05, brightness=0, contrast=0, saturation=0)
    changed, _, shown = augment_shown(image, torch.zeros(0, 4), settings, generator_for(3, 0, index))
    assert (shown.left, shown.top, shown.right, shown.bottom) != (0, 0, 1, 1)
    x, y = _places(16, 16).unbind(-1)
    moved = token_map_shown(torch.stack([x * 200 + 20, y * 200 + 20], dim=-1), (16, 16), shown)
    small = np.asarray(changed.resize((16, 16), Image.Resampling.BOX), np.float32)[..., :2].reshape(-1, 2)
    inside = (moved > 27).all(dim=-1) & (moved < 213).all(dim=-1)  # near the picture's edge the nearest tokens go on
    assert inside.sum() > 100
    assert float((moved - torch.from_numpy(small)).abs()[inside].max()) < 6, "of 200 from edge to edge"


class Teacher:
    """Readings by hand: the scene says which picture it is, tokens where they stand, views what was drawn."""

    def __init__(self, views: int = 2) -> None:
        self.count = views

    def signals(self, index: int) -> TeacherSignals:
        scene = torch.nn.functional.one_hot(torch.tensor([index]), 3).float()
        return TeacherSignals(scene, torch.full((1, 4, 2), float(index)), _places(4, 4)[None], (4, 4))

    def views(self, generator: np.random.Generator) -> list[RecordedView]:
        drawn = generator.integers(200, size=self.count).tolist()
        return [
            RecordedView(Image.new("RGB", (20, 10), (value, value, value)), torch.full((3,), float(value)))
            for value in drawn
        ]


def _dataset(root: Path, teacher: Teacher | None, **options: object) -> SituationDataset:
    options = {"vocabulary": read_vocabulary(root), "augmentation": Augmentation(), "seed": 5} | options
    images = read_annotations(root, "train")
    return SituationDataset(
        images,
        image_folder(root),
        open_image=load_image,
        preprocess=PREPROCESS,
        teacher=teacher,
        **options,  # type: ignore[arg-type]
    )


def _flat(batch: object) -> list[Tensor]:
    found: list[Tensor] = []
    for value in vars(batch).values():
        if isinstance(value, Tensor):
            found.append(value)
        elif hasattr(value, "__dataclass_fields__"):
            found += _flat(value)
    return found


def _batch(dataset: SituationDataset, epoch: int) -> list[Tensor]:
    dataset.set_epoch(epoch)
    return _flat(collate([dataset[0], dataset[1]]))


def test_what_comes_with_a_picture_follows_from_seed_epoch_and_place(write_swig: Write) -> None:
    root = write_swig()
    first = _batch(_dataset(root, Teacher()), 3)
    again = _dataset(root, Teacher())
    _batch(again, 7)  # what was shown before plays no part
    assert all(torch.equal(a, b) for a, b in zip(first, _batch(again, 3), strict=True))
    copied = pickle.loads(pickle.dumps(_dataset(root, Teacher()).__dict__["_teacher"]))
    assert all(torch.equal(a, b) for a, b in zip(first, _batch(_dataset(root, copied), 3), strict=True))
    for other in (_batch(again, 4), _batch(_dataset(root, Teacher(), seed=6), 3)):
        assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_views_change_nothing_about_the_picture_itself(write_swig: Write) -> None:
    root = write_swig()
    with_views, without = _dataset(root, Teacher(2)), _dataset(root, None)
    for index in (0, 1):
        told, plain = with_views[index], without[index]
        assert torch.equal(told.pixels, plain.pixels)
        assert told.targets is not None
        assert plain.targets is not None
        assert torch.equal(told.targets.boxes_cxcywh, plain.targets.boxes_cxcywh)
        assert plain.teacher is None
        assert plain.views is None


def test_a_batch_of_readings_and_of_any_number_of_views(write_swig: Write) -> None:
    root = write_swig()
    dataset = _dataset(root, Teacher(2), augmentation=None)
    batch = collate([dataset[1], dataset[0]])
    assert batch.teacher is not None
    assert batch.teacher.scene is not None
    assert batch.teacher.scene.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert batch.teacher.roles is not None
    assert batch.teacher.roles.shape == (2, 4, 2)
    assert batch.teacher.roles[:, 0, 0].tolist() == [1, 0]
    assert batch.teacher.tokens is not None
    assert batch.teacher.tokens_grid == (4, 4)
    torch.testing.assert_close(batch.teacher.tokens, _places(4, 4).expand(2, -1, -1))
    assert batch.views is not None
    assert batch.views.pixels.shape == (4, 3, 8, 8)
    # Each view beside its own reading: both are the drawn number.
    torch.testing.assert_close(batch.views.pixels[:, 0, 0, 0] * 255, batch.views.scene[:, 0])
    assert len(set(batch.views.scene[:, 0].tolist())) > 1
    none = collate([_dataset(root, Teacher(0))[0]])
    assert none.views is None
    assert none.teacher is not None


def test_tokens_are_moved_with_the_picture_and_boxes(write_swig: Write) -> None:
    """Where a box went, the tokens say that they are of the place where it was."""
    root = write_swig()
    still, moving = _dataset(root, Teacher(), augmentation=None), _dataset(root, Teacher())
    assert still[0].targets is not None
    before = cxcywh_to_xyxy(still[0].targets.boxes_cxcywh[0, 0])
    moved_at_all = 0
    for epoch in range(12):
        moving.set_epoch(epoch)
        example = moving[0]
        assert example.targets is not None
        assert example.teacher is not None
        assert example.teacher.tokens is not None
        x, y = example.targets.boxes_cxcywh[0, 0, :2].tolist()
        plane = example.teacher.tokens[0].T.reshape(1, 2, 4, 4)
        at = torch.tensor([[[[x * 2 - 1, y * 2 - 1]]]])
        came_from = torch.nn.functional.grid_sample(plane, at, padding_mode="border", align_corners=False).flatten()
        assert before[0] - 0.1 < came_from[0] < before[2] + 0.1
        assert before[1] - 0.1 < came_from[1] < before[3] + 0.1
        moved_at_all += int((torch.tensor([x, y]) - (before[:2] + before[2:]) / 2).abs().max() > 0.05)
    assert moved_at_all > 3
