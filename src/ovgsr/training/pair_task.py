"""Human-object interactions as a task: the pair student with its losses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ovgsr.config import DistillSettings, LossSettings, PairSettings
from ovgsr.losses.pairs import Composed, Losses, Taught, match_layer, pair_distillation_losses, pair_losses
from ovgsr.models.pair_transformer import PairTransformer
from ovgsr.tensors import Batch, PairOutputs, TextEmbeddings


class PairTask(nn.Module):
    """The pair student on annotations and, where ``distill`` asks for it, on a frozen teacher's readings of pairs."""

    def __init__(
        self, model: PairTransformer, loss: LossSettings, pairs: PairSettings, distill: DistillSettings | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.pairs = pairs
        self.distill = distill or DistillSettings()
        self.projections = nn.ModuleDict()
        # DistributedDataParallel waits for every trainable weight, so what no loss reaches must not be trainable.
        if model.distilled is not None and model.distilled_scores is not None:
            model.distilled.requires_grad_(self.distill.teaches_readout)
            model.distilled_scores.requires_grad_(self.distill.teaches_readout)
            model.distilled_scores.log_scale.requires_grad_(False)  # cosines are learned; dev chooses their weight

    def forward(self, batch: Batch, text: TextEmbeddings, judged: Tensor) -> Losses:
        """Losses to add up, and numbers to look at, of one batch.

        ``text`` holds the training words only; ``judged`` (V, N) is True where a verb and an object may be
        judged together.
        """
        targets, views = batch.pairs, batch.views
        if targets is None:
            raise ValueError("training needs a batch with annotated pairs")
        count = len(batch.pixels)
        pixels = batch.pixels if views is None else torch.cat([batch.pixels, views.pixels])
        everything = self.model.find_pairs(self.model.encode(pixels), text)
        layers = [layer.first(count) for layer in everything]
        repeats = [self.pairs.repeats] * (len(layers) - 1) + [1]  # the last layer must tell near copies apart
        matches = [match_layer(layer, targets, self.loss, n) for layer, n in zip(layers, repeats, strict=True)]
        composed: list[Composed] = []
        if views is not None and views.pairs is not None:
            for outputs, n in zip((layer.after(count) for layer in everything), repeats, strict=True):
                composed.append((outputs, match_layer(outputs, views.pairs, self.loss, n), views.pairs))
        boxed = composed if self.pairs.view_boxes else []
        losses, report = pair_losses(layers, matches, targets, judged, self.loss, self.pairs, boxed)
        if self.distill.teaches_readout and batch.teacher is not None and batch.teacher.pairs is not None:
            taught: list[Taught] = [(self._learning(layers[-1]), matches[-1], batch.teacher.pairs)]
            if views is not None and composed:
                outputs, answering, _ = composed[-1]
                taught.append((self._learning(outputs), answering, views.scene[:, None]))
            learned, told = pair_distillation_losses(taught, self.distill)
            losses, report = losses | learned, report | told
        return losses, report

    def _learning(self, outputs: PairOutputs) -> PairOutputs:
        """The outputs whose distilled readout learns: by itself, unless the readings are to shape the features too."""
        if self.pairs.shape_features:
            return outputs
        return replace(outputs, distilled=self.model.embed_pairs(outputs.features.detach()))
