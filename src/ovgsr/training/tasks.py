"""A task is a model with its losses: a batch in, ``(losses, report)`` out."""

from __future__ import annotations

from torch import Tensor, nn

from ovgsr.config import LossSettings
from ovgsr.losses.criterion import task_losses
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.tensors import Batch, TextEmbeddings


class SupervisedTask(nn.Module):
    """The student on annotations alone."""

    def __init__(self, model: SituationTransformer, settings: LossSettings) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        for teachers in (model.distilled, model.distilled_scores):
            if teachers is not None:
                # No loss of this task reaches them, and DistributedDataParallel waits for every trainable weight.
                teachers.requires_grad_(False)

    def forward(
        self, batch: Batch, text: TextEmbeddings, verb_counts: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses to add up, and numbers to look at, of one batch; ``text`` holds the training verbs and nouns only."""
        targets = batch.targets
        if targets is None:
            raise ValueError("training needs a batch with targets")
        encoded = self.model.encode(batch.pixels)
        scores = self.model.predict_verb(encoded, text)
        roles = self.model.fill_roles(encoded, targets.verb_index, text)
        losses, report = task_losses(scores, roles, targets, self.settings, verb_counts)
        report["verb_top1"] = (scores.recognition.argmax(dim=-1) == targets.verb_index).float().mean()
        return losses, report
