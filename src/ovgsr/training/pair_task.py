"""Human-object interactions as a task: the pair student with its losses."""

from __future__ import annotations

from torch import Tensor, nn

from ovgsr.config import LossSettings, PairSettings
from ovgsr.losses.pairs import Losses, pair_losses
from ovgsr.models.pair_transformer import PairTransformer
from ovgsr.tensors import Batch, TextEmbeddings


class PairTask(nn.Module):
    """The pair student on annotations."""

    def __init__(self, model: PairTransformer, loss: LossSettings, pairs: PairSettings) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.pairs = pairs
        self.projections = nn.ModuleDict()

    def forward(self, batch: Batch, text: TextEmbeddings, judged: Tensor) -> Losses:
        """Losses to add up, and numbers to look at, of one batch.

        ``text`` holds the training words only; ``judged`` (V, N) is True where a verb and an object may be
        judged together.
        """
        if batch.pairs is None:
            raise ValueError("training needs a batch with annotated pairs")
        layers = self.model.find_pairs(self.model.encode(batch.pixels), text)
        return pair_losses(layers, batch.pairs, judged, self.loss, self.pairs)
