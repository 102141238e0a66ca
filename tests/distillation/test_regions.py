"""What stands in a role's box: the mean token there, and its place beside the prompts' reading of the role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cosine_similarity, normalize

from ovgsr.distillation.prompts import PromptReader, Readings, RoleInputs
from ovgsr.distillation.regions import REGION_SHARE, WithRegions, pooled_inside
from ovgsr.teacher.visual_tokens import VisualTokens

from .readers import Box, role_inputs


def _numbered(rows: int, columns: int) -> VisualTokens:
    """Token number n holds (n, 1)."""
    count = rows * columns
    return VisualTokens(torch.stack([torch.arange(float(count)), torch.ones(count)], dim=-1), (rows, columns))


TOP_LEFT: Box = (0.25, 0.25, 0.5, 0.5)


def test_the_mean_token_inside_a_box_by_hand() -> None:
    right_half: Box = (0.75, 0.5, 0.5, 1.0)
    uneven: Box = (0.3125, 0.125, 0.375, 0.25)  # half of the first row's first cell and the whole of its second
    roles = role_inputs([TOP_LEFT, right_half, uneven, None])
    found = pooled_inside([_numbered(4, 4)], roles)
    # cells 0 1 4 5; 2 3 6 7 10 11 14 15; (0 * 0.5 + 1) / 1.5
    expected = torch.tensor([[[2.5, 1.0], [8.5, 1.0], [2 / 3, 1.0], [0.0, 0.0]]])
    torch.testing.assert_close(found, expected)


def test_grids_of_any_kind_in_one_batch() -> None:
    roles = role_inputs([TOP_LEFT], [TOP_LEFT], [TOP_LEFT], pad=1)
    visual = [_numbered(2, 2), VisualTokens(torch.ones(7, 2), None), _numbered(1, 1)]
    found = pooled_inside(visual, roles)
    assert found.tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]]


def test_half_precision_tokens_are_summed_in_full() -> None:
    picture = VisualTokens(torch.full((256, 2), 1000.0, dtype=torch.float16), (16, 16))
    found = pooled_inside([picture], role_inputs([(0.5, 0.5, 1.0, 1.0)]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.full((1, 1, 2), 1000.0))


class Told(PromptReader):
    """Says of every role its text, and of the scene nothing."""

    def forward(self, teacher: Any, visual: Sequence[VisualTokens], roles: RoleInputs | None) -> Readings:
        scene = torch.zeros(len(visual), 3)
        return Readings(scene, None if roles is None else roles.texts * roles.mask[..., None])


def test_regions_stand_beside_what_is_told_each_with_its_share() -> None:
    teacher: Any = None
    corners: list[Box | None] = [(0.25, 0.25, 0.5, 0.5), (0.75, 0.25, 0.5, 0.5), (0.25, 0.75, 0.5, 0.5), None]
    roles = role_inputs(corners, corners[:2], pad=1)
    generator = torch.Generator().manual_seed(1)
    visual = [VisualTokens(5 + torch.randn(4, 6, generator=generator), (2, 2)) for _ in range(2)]
    reader = WithRegions(Told(), teacher, visual, roles)
    read = reader(teacher, visual, roles).roles
    assert read is not None
    width = roles.texts.shape[-1]
    told, seen = read[..., :width], read[..., width:]
    # Each part without its own mean, at its own length; a row of zeros where there is nothing.
    texts = roles.texts[roles.mask]
    torch.testing.assert_close(
        told[roles.mask], (1 - REGION_SHARE) ** 0.5 * normalize(texts - texts.mean(dim=0), dim=-1)
    )
    cells = pooled_inside(visual, roles)[roles.grounded]
    torch.testing.assert_close(seen[roles.grounded], REGION_SHARE**0.5 * normalize(cells - cells.mean(dim=0), dim=-1))
    assert not seen[~roles.grounded].any()
    assert not told[~roles.mask].any()
    # So that the whole's cosine is the weighted mean of its parts'.
    first, second = read[0, 0], read[0, 1]
    parts = [cosine_similarity(a, b, dim=0) for a, b in ((told[0, 0], told[0, 1]), (seen[0, 0], seen[0, 1]))]
    torch.testing.assert_close(
        cosine_similarity(first, second, dim=0), (1 - REGION_SHARE) * parts[0] + REGION_SHARE * parts[1]
    )


def test_a_reader_without_roles_stays_as_it_is() -> None:
    teacher: Any = None
    visual = [_numbered(2, 2)]
    reader = WithRegions(Told(), teacher, visual, role_inputs([TOP_LEFT]))
    assert reader(teacher, visual, None).roles is None
