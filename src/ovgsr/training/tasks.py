"""A task is a model with its losses: a batch in, ``(losses, report)`` out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ovgsr.config import DistillSettings, LossSettings
from ovgsr.losses.criterion import distillation_losses, task_losses
from ovgsr.models.placement import over_picture
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.tensors import Batch, TextEmbeddings

Losses = tuple[dict[str, Tensor], dict[str, Tensor]]


class SituationTask(nn.Module):
    """The student on annotations and, where ``distill`` asks for it, on a frozen teacher's readings from disk.

    ``role_width`` and ``token_width`` are the widths of the teacher's role readings and visual tokens. The projections
    that are compared with them belong to the task: they are left behind when the student is exported.
    """

    def __init__(
        self,
        model: SituationTransformer,
        loss: LossSettings,
        distill: DistillSettings,
        *,
        role_width: int = 0,
        token_width: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.distill = distill
        width = model.encoder.width
        self.projections = nn.ModuleDict()
        if distill.instance and role_width:
            self.projections["roles"] = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, role_width))
        if distill.tokens and token_width:
            self.projections["tokens"] = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, token_width))
        # DistributedDataParallel waits for every trainable weight, so what no loss reaches must not be trainable.
        if model.distilled is not None and not distill.teaches_readout:
            model.distilled.requires_grad_(False)
        if model.distilled_scores is not None:
            model.distilled_scores.requires_grad_(distill.teaches_readout)
            model.distilled_scores.log_scale.requires_grad_(False)  # cosines are learned; dev chooses the scale

    def forward(self, batch: Batch, text: TextEmbeddings, verb_counts: Tensor) -> Losses:
        """Losses to add up, and numbers to look at, of one batch; ``text`` holds the training verbs and nouns only."""
        targets = batch.targets
        if targets is None:
            raise ValueError("training needs a batch with targets")
        count = len(batch.pixels)
        pixels = batch.pixels if batch.views is None else torch.cat([batch.pixels, batch.views.pixels])
        everything = self.model.encode(pixels)
        encoded = everything.first(count)
        recognition = self.model.recognize(encoded, text)
        roles = self.model.fill_roles(encoded, targets.verb_index, text)
        losses, report = task_losses(recognition, roles, targets, self.loss, verb_counts)
        report["verb_top1"] = (recognition.argmax(dim=-1) == targets.verb_index).float().mean()
        if self.distill.teaches_readout or self.projections:
            learned, told = distillation_losses(
                self.distill,
                batch,
                targets.verb_index,
                text,
                scene=self.model.embed_scene(everything) if self.distill.teaches_readout else None,
                roles=self._project("roles", roles.features),
                tokens=self._project("tokens", over_picture(encoded.tokens, encoded.grid, encoded.covered)),
                grid=encoded.grid,
                words=self.model.distilled_scores,
            )
            losses, report = losses | learned, report | told
        return losses, report

    def _project(self, name: str, features: Tensor) -> Tensor | None:
        return self.projections[name](features) if name in self.projections else None
