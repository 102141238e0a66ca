"""Readouts: verbs and nouns by similarity to text (or to learned class vectors), boxes and grounded-or-not."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovgsr.models.transformer import CrossAttentionLayer, FeedForward

_INITIAL_SCALE = math.log(15.0)
_LARGEST_SCALE = math.log(100.0)  # CLIP's bound: above it the softmax saturates and training can diverge


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context without mixed precision: bfloat16 keeps three digits, too few for cosines and for coordinates."""
    return torch.autocast(tensor.device.type, enabled=False)


class TextSimilarity(nn.Module):
    """Scores words by the cosine between a projected feature and their text embeddings, times a learned scale.

    ``centre`` is the mean text embedding of the training words: sentence embeddings of one template share a large
    common part, and taking it off spreads the words apart. It is data about the template, not a list of words.
    """

    centre: Tensor

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, text_width))
        self.log_scale = nn.Parameter(torch.tensor([_INITIAL_SCALE]))  # FSDP splits nothing without a dimension
        self.register_buffer("centre", torch.zeros(text_width))

    def embed(self, features: Tensor) -> Tensor:
        """Unit-length text-space embedding (..., D) of features (..., C), in float32."""
        return F.normalize(self.project(features).float(), dim=-1)

    def words(self, texts: Tensor) -> Tensor:
        """Centred, unit-length words (N, D)."""
        return F.normalize(texts.float() - self.centre, dim=-1)

    def forward(self, features: Tensor, texts: Tensor) -> Tensor:
        """Logits (..., N) of words with text embeddings (N, D)."""
        return self.score(self.embed(features), texts)

    def score(self, embedding: Tensor, texts: Tensor) -> Tensor:
        """Logits (..., N) of words with text embeddings (N, D) for what :meth:`embed` gave."""
        with full_precision(embedding):
            scale = self.log_scale.clamp(max=_LARGEST_SCALE).exp()
            return scale * embedding @ self.words(texts).T


class ClassSimilarity(nn.Module):
    """The closed-vocabulary baseline: a learned vector a training class in place of a text embedding.

    A word that was no training class gets the lowest logit there is: it can never win.
    """

    def __init__(self, width: int, text_width: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, text_width))
        self.vectors = nn.Parameter(torch.randn(classes, text_width) / math.sqrt(text_width))
        self.log_scale = nn.Parameter(torch.tensor([_INITIAL_SCALE]))  # FSDP splits nothing without a dimension

    def forward(self, features: Tensor, word_classes: Tensor) -> Tensor:
        """Logits (..., N) of offered words whose training classes are ``word_classes`` (N,), -1 = none."""
        embedding = F.normalize(self.project(features).float(), dim=-1)
        with full_precision(features):
            scale = self.log_scale.clamp(max=_LARGEST_SCALE).exp()
            logits = scale * embedding @ F.normalize(self.vectors, dim=-1).T
        offered = logits[..., word_classes.clamp(min=0)]
        return offered.masked_fill(word_classes < 0, torch.finfo(offered.dtype).min)


class Readout(nn.Module):
    """Reads the scene: learned queries, started from the scene embedding, look at the image tokens."""

    def __init__(self, width: int, heads: int, layers: int, queries: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.05)
        self.layers = nn.ModuleList(CrossAttentionLayer(width, heads, dropout) for _ in range(layers))

    def forward(self, scene: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """One feature (B, C) a picture from the scene embedding (B, C) and tokens (B, T, C).

        ``mask`` (B, T), here and below, is False at padded tokens.
        """
        queries = scene[:, None] + self.queries
        for layer in self.layers:
            queries = layer(queries, tokens, mask)
        return queries.mean(dim=1)

    def attention(self, scene: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Where the readout looks: weights (B, T), float32, that sum to 1 for each picture.

        The mean over layers, heads and queries, for every layer adds what it saw to the same feature.
        """
        queries, looks = scene[:, None] + self.queries, []
        for layer in self.layers:
            looks.append(cast(CrossAttentionLayer, layer).weights(queries, tokens, mask).mean(dim=(1, 2)))
            queries = layer(queries, tokens, mask)
        return torch.stack(looks).mean(dim=0)


class BoxHead(nn.Module):
    """A box from where a role looks: the attention's centre and spread, corrected by a perceptron.

    Starting from a soft arg-max over the grid makes localisation learnable in a few thousand pictures.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.refine = FeedForward(2 * width + 4, width, 4)

    def forward(
        self,
        queries: Tensor,
        tokens: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        near: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (B, R, 4) as cxcywh in 0..1, what was looked at (B, R, C), and the attention (B, R, T).

        ``positions`` (T, 2) or (B, T, 2) are the tokens' centres in 0..1. ``near`` (R, T) or (B, R, T) is added to the
        attention's logits.
        """
        logits = self.query(queries) @ self.key(tokens).transpose(1, 2) / math.sqrt(queries.shape[-1])
        if near is not None:
            logits = logits + near
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None], torch.finfo(logits.dtype).min)
        with full_precision(tokens):
            attention = logits.float().softmax(dim=-1)
            centre = attention @ positions
            spread = (attention @ positions.square() - centre.square()).clamp(min=1e-6).sqrt()
        looked_at = attention.to(tokens.dtype) @ tokens
        hints = torch.cat([queries, looked_at, centre.to(queries.dtype), spread.to(queries.dtype)], dim=-1)
        change = self.refine(hints).float()
        boxes_cxcywh = torch.cat(
            [(centre + 0.3 * change[..., :2].tanh()).clamp(0, 1), (change[..., 2:] - 1.0).sigmoid()], dim=-1
        )
        return boxes_cxcywh, looked_at, attention
