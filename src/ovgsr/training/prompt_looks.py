"""Where prompts look while they are tuned: heat maps over a few training pictures, for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ovgsr.distillation.prompts import (
    INSTANCE_QUESTION,
    SCENE_QUESTION,
    InteractivePrompts,
    PromptReader,
    RoleInputs,
)
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.picture_maps import attention_map, seen_region
from ovgsr.teacher.visual_tokens import VisualTokens
from ovgsr.training.engine import MissingExtraError

_SIDE = 240
_ROLES_SHOWN = 4


@dataclass(frozen=True)
class Watched:
    """Some training pictures with all that prompts are told of them."""

    images: Sequence[AnnotatedImage]
    pictures: Sequence[Image.Image]
    visual: Sequence[VisualTokens]
    roles: RoleInputs
    role_names: Sequence[Sequence[str]]


class PromptLooks:
    """A TensorBoard log of a tuning run: the scene prompt's and each role's look at a few pictures, and the losses."""

    def __init__(self, folder: Path, teacher: MultimodalLLM, watched: Watched, start: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("tuning prompts needs the extra 'train': pip install 'ovgsr[train]'") from None
        self._writer: Any = SummaryWriter(str(folder), purge_step=start or None)
        self._teacher, self._watched = teacher, watched

    def __enter__(self) -> PromptLooks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()

    def numbers(self, step: int, numbers: dict[str, float]) -> None:
        """Losses, or dev's scores, of a step."""
        for name, value in numbers.items():
            self._writer.add_scalar(f"prompts/{name}", value, step)

    def pictures(self, step: int, prompts: PromptReader) -> None:
        """A row a picture: the picture, where the scene prompt looks, where each role's does."""
        if not isinstance(prompts, InteractivePrompts) or any(v.grid is None for v in self._watched.visual):
            return  # a block reads tokens without an LLM whose attention could be shown
        self._writer.add_image("prompts look at", np.asarray(self.sheet(prompts)), step, dataformats="HWC")

    def sheet(self, prompts: InteractivePrompts) -> Image.Image:
        """All the maps as one picture; columns: picture, scene, then the first roles in frame order."""
        watched = self._watched
        with torch.no_grad():
            scene, roles = prompt_attention(prompts, self._teacher, watched.visual, watched.roles)
        columns = 2 + _ROLES_SHOWN
        sheet = Image.new("RGB", (columns * _SIDE, len(watched.pictures) * _SIDE), "white")
        for row, picture in enumerate(watched.pictures):
            region = seen_region(getattr(self._teacher, "processor", None), *picture.size)
            grid = watched.visual[row].grid
            assert grid is not None
            count = grid[0] * grid[1]
            maps = [scene[row, :count], *roles[row, : len(watched.role_names[row])][:_ROLES_SHOWN, :count]]
            cells = [picture, *(attention_map(picture, weights, grid, region) for weights in maps)]
            for column, cell in enumerate(cells):
                sheet.paste(cell.convert("RGB").resize((_SIDE, _SIDE)), (column * _SIDE, row * _SIDE))
        return sheet


def prompt_attention(
    prompts: InteractivePrompts, teacher: MultimodalLLM, visual: Sequence[VisualTokens], roles: RoleInputs
) -> tuple[Tensor, Tensor]:
    """Where the scene prompt (B, M) and each role's prompts (B, R, M) look, at the words that are read."""
    scene, instance = prompts.soft_tokens(len(visual), roles)
    of_scene = teacher.soft_token_attention(list(visual), scene, question=SCENE_QUESTION)[:, prompts.action]
    found = torch.zeros(*roles.mask.shape, of_scene.shape[-1])
    if instance is not None:
        where = roles.mask.nonzero()
        bias = prompts.ragged_bias(visual, roles, instance.shape[2])
        looks = teacher.soft_token_attention(
            [visual[index] for index in where[:, 0].tolist()],
            instance[roles.mask],
            question=INSTANCE_QUESTION,
            attention_bias=None if bias is None else bias[where[:, 0], where[:, 1]],
        )[:, -1]
        found[where.cpu().unbind(1)] = looks
    return of_scene, found
