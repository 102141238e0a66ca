"""The student for human-object interactions: picture and words in, scored pairs of boxes out.

After QPIC (Tamura et al. 2021) and ``method.md``: the image tower and the scene encoder of the student; pair queries
look at one another and at the image tokens; each gives a human's box, an object's box, the object by its text (or none)
and, each by itself, verbs by their texts. A second verb readout may learn a teacher's readings of pairs
(``docs/mipd.md``). Words arrive as embeddings only, so the vocabulary is an argument and never a property of the
weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ovgsr.models.heads import BoxHead, TextSimilarity, full_precision
from ovgsr.models.image_encoder import ImageTower
from ovgsr.models.placement import cell_positions, place
from ovgsr.models.situation_transformer import SceneEncoder
from ovgsr.models.transformer import DecoderLayer, FeedForward, sinusoids
from ovgsr.tensors import Encoded, PairOutputs, TextEmbeddings

_FIRST_REACH = math.log(8.0)
"""A query starts by looking a quarter of the picture around its anchor: exp(-8 d^2) is 0.6 there."""
_RARE_VERB = -3.0
"""Where verb logits start: a verb is done by few pairs, which focal loss likes to know (Lin et al. 2017)."""


class PairTransformer(nn.Module):
    """The pair network; its tower and encoder come built (see ``models/build.py``)."""

    anchors: Tensor

    def __init__(
        self,
        tower: ImageTower,
        encoder: SceneEncoder,
        *,
        text_width: int,
        queries: int,
        heads: int,
        layers: int,
        dropout: float = 0.0,
        distilled_readout: bool = False,
    ) -> None:
        super().__init__()
        width = encoder.width
        self.tower = tower
        self.encoder = encoder
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.05)
        self.register_buffer("anchors", spread_points(queries), persistent=False)
        self.position = nn.Linear(width, width)
        self.reach = nn.Parameter(torch.full((2,), _FIRST_REACH))
        self.layers = nn.ModuleList(DecoderLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.human_box = BoxHead(width)
        self.object_box = BoxHead(width)
        self.merge = nn.Linear(3 * width, width)
        self.object_scores = TextSimilarity(width, text_width)
        self.no_object = nn.Linear(width, 1)
        self.verb_scores = TextSimilarity(width, text_width)
        self.verb_bias = nn.Parameter(torch.tensor(_RARE_VERB))
        self.distilled = FeedForward(width, 2 * width, width) if distilled_readout else None
        self.distilled_scores = TextSimilarity(width, text_width) if distilled_readout else None

    def encode(self, pixels: Tensor) -> Encoded:
        """Image tokens and scene embedding of pixels (B, 3, H, W), or (B, 4, H, W) where they say what is padding."""
        pixels, covered = place(pixels, self.tower.multiple)
        return self.encoder(self.tower(pixels, covered), covered)  # type: ignore[no-any-return]

    def find_pairs(self, encoded: Encoded, text: TextEmbeddings) -> list[PairOutputs]:
        """What each decoder layer says, the last one's word last; the earlier ones are for training."""
        return [self._read(queries, encoded, text) for queries in self._decode(encoded)]

    def forward(self, pixels: Tensor, text: TextEmbeddings) -> PairOutputs:
        """The last layer's word on pixels (B, 3, H, W)."""
        encoded = self.encode(pixels)
        return self._read(self._decode(encoded)[-1], encoded, text)

    def _decode(self, encoded: Encoded) -> list[Tensor]:
        """The queries (B, Q, C) after each layer."""
        queries = self.queries + self.position(sinusoids(self.anchors, self.queries.shape[1]))
        queries = queries.expand(encoded.tokens.shape[0], -1, -1)
        found = []
        for layer in self.layers:
            queries = layer(queries, encoded.tokens, None, encoded.mask)
            found.append(self.norm(queries))
        return found

    def _read(self, queries: Tensor, encoded: Encoded, text: TextEmbeddings) -> PairOutputs:
        positions = cell_positions(encoded.grid, encoded.covered, queries.device)
        away = (self.anchors[:, None] - positions[..., None, :, :]).square().sum(dim=-1)
        near = [-away * reach.exp() for reach in self.reach]
        human_cxcywh, human, _ = self.human_box(queries, encoded.tokens, positions, encoded.mask, near[0])
        object_cxcywh, thing, _ = self.object_box(queries, encoded.tokens, positions, encoded.mask, near[1])
        features = self.merge(torch.cat([queries, human, thing], dim=-1))
        distilled = self.embed_pairs(features)
        return PairOutputs(
            boxes_cxcywh=torch.stack([human_cxcywh, object_cxcywh], dim=2),
            object_logits=torch.cat(
                [self.no_object(features).float(), self.object_scores(features, text.nouns[1:])], dim=-1
            ),
            verb_logits=self.verb_scores(features, text.verbs) + self.verb_bias,
            features=features,
            distilled=distilled,
            cosines=None if distilled is None else self._cosines(distilled, text),
        )

    def embed_pairs(self, features: Tensor) -> Tensor | None:
        """The distilled readout's unit-length embeddings (B, Q, D): what a teacher's readings are compared with."""
        if self.distilled is None or self.distilled_scores is None:
            return None
        # What annotations ask of the features is not what a teacher says: a projection alone reads it much worse.
        embedding: Tensor = self.distilled_scores.embed(features + self.distilled(features))
        return embedding

    def _cosines(self, distilled: Tensor, text: TextEmbeddings) -> Tensor:
        assert self.distilled_scores is not None
        with full_precision(distilled):
            return distilled @ self.distilled_scores.words(text.told_verbs).T


def spread_points(count: int) -> Tensor:
    """Points (count, 2) in 0..1, evenly spread for any count (Roberts 2018, the R2 sequence)."""
    plastic = 1.32471795724474602596
    steps = torch.tensor([1 / plastic, 1 / plastic**2], dtype=torch.float64)
    return ((0.5 + torch.arange(1, count + 1)[:, None] * steps) % 1).float()
