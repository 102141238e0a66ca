"""What the teacher sees inside a role's box: its visual tokens there, beside what the prompts say of the role.

The expected word of a small thing is often wrong; the tokens behind it are not words and say more of how it looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ovgsr.distillation.box_mask import box_coverage
from ovgsr.distillation.prompts import PromptReader, Readings, RoleInputs
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.visual_tokens import VisualTokens

REGION_SHARE = 2 / 3
"""The regions' part of a role's reading, the prompts' is the rest: what world.md found to serve nouns."""


class WithRegions(PromptReader):
    """Another reader's readings, with the tokens inside each role's box beside its reading of the role.

    Both are centred by what some pictures' readings share, so that neither drowns the other: the cosine to the longer
    vector is then the weighted mean of the cosines to its two parts.
    """

    told_centre: Tensor  # (D,)
    region_centre: Tensor  # (D_t,)

    def __init__(
        self, reader: PromptReader, teacher: MultimodalLLM, visual: Sequence[VisualTokens], roles: RoleInputs
    ) -> None:
        """``visual`` and ``roles`` are of the pictures that the centres are taken from, a few hundred."""
        super().__init__()
        self.reader = reader
        with torch.no_grad():
            told = reader(teacher, visual, roles).roles
            regions = pooled_inside(visual, roles)
        self.register_buffer("told_centre", _mean(regions.new_zeros(1) if told is None else told))
        self.register_buffer("region_centre", _mean(regions))

    def forward(self, teacher: MultimodalLLM, visual: Sequence[VisualTokens], roles: RoleInputs | None) -> Readings:
        """Readings of B pictures; the roles' have the width of both parts together."""
        read: Readings = self.reader(teacher, visual, roles)
        if roles is None or read.roles is None:
            return read
        regions = pooled_inside(visual, roles).to(read.roles.device)
        told = _centred(read.roles.float(), self.told_centre)
        seen = _centred(regions, self.region_centre)
        return Readings(read.scene, torch.cat([(1 - REGION_SHARE) ** 0.5 * told, REGION_SHARE**0.5 * seen], dim=-1))


def _mean(rows: Tensor) -> Tensor:
    """The mean (D,) of the rows (..., D) that are not zero."""
    return rows.float().sum(dim=tuple(range(rows.ndim - 1))) / rows.any(dim=-1).sum().clamp(min=1)


def _centred(rows: Tensor, centre: Tensor) -> Tensor:
    """Unit-length rows (..., D) without what they share; zeros, where there is no reading, stay zeros."""
    return torch.where(rows.any(dim=-1, keepdim=True), normalize(rows - centre, dim=-1), 0.0)


def pooled_inside(visual: Sequence[VisualTokens], roles: RoleInputs) -> Tensor:
    """The mean visual token (B, R, width) inside each role's box; zeros without a box or a grid."""
    width = visual[0].tokens.shape[-1]
    found = torch.zeros(*roles.mask.shape, width, device=roles.boxes_cxcywh.device)
    for index, picture in enumerate(visual):
        if picture.grid is None:
            continue
        cover = box_coverage(roles.boxes_cxcywh[index].float(), picture.grid)
        cover = cover * (roles.grounded[index] & roles.mask[index])[:, None]
        inside = cover @ picture.tokens.to(cover.device, torch.float32)
        found[index] = inside / cover.sum(dim=-1, keepdim=True).clamp(min=1e-6)
    return found
