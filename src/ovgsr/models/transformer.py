"""Transformer blocks, free of task words: pre-norm attention layers over tokens of any number.

Layer layout after Vaswani et al. 2017 with normalisation first (Xiong et al. 2020).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention from queries (B, Q, C) to keys (B, K, C)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Attended values (B, Q, C); ``key_mask`` (B, K) is True where a key may be looked at."""
        batch, count, width = queries.shape
        if 2 * count * self.heads <= width:
            return self.output(self._folded(queries, keys, key_mask))  # type: ignore[no-any-return]
        split = (batch, -1, self.heads, width // self.heads)
        query = self.query(queries).reshape(split).transpose(1, 2)
        key, value = (part.reshape(split).transpose(1, 2) for part in self.key_value(keys).chunk(2, dim=-1))
        mask = None if key_mask is None else key_mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        return self.output(attended.transpose(1, 2).reshape(batch, count, width))  # type: ignore[no-any-return]

    def _folded(self, queries: Tensor, keys: Tensor, key_mask: Tensor | None) -> Tensor:
        """The same for a few queries, with the keys' and values' projections folded into queries and result.

        q . (W k) = (W^T q) . k and sum a (W v) = W sum a v, so that not every token has to be projected: with 2 queries
        of 4 heads and 128 channels, a sixteenth of the work. A key's bias adds the same to all logits of a query.
        """
        batch, count, width = queries.shape
        size = width // self.heads
        weight: Tensor = self.key_value.weight
        bias: Tensor = self.key_value.bias
        to_key, to_value = weight.reshape(2, self.heads, size, width)
        query: Tensor = self.query(queries).reshape(batch, count, self.heads, size)
        folded = torch.einsum("bqhd,hdw->bqhw", query, to_key).reshape(batch, count * self.heads, width)
        logits = folded @ keys.transpose(1, 2) / math.sqrt(size)
        if key_mask is not None:
            logits = logits.masked_fill(~key_mask[:, None], torch.finfo(logits.dtype).min)
        weights = logits.softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        weights = F.dropout(weights, self.dropout, self.training).to(logits.dtype)
        gathered = (weights @ keys).reshape(batch, count, self.heads, width)
        attended = torch.einsum("bqhw,hdw->bqhd", gathered, to_value)
        # Dropped weights no longer sum to 1, and the value's bias is weighted like the rest of it.
        share = weights.sum(dim=-1).reshape(batch, count, self.heads, 1)
        attended = attended + share * bias[width:].reshape(self.heads, size)
        return attended.reshape(batch, count, width)

    def weights(self, queries: Tensor, keys: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """How much each query looks at each key: (B, heads, Q, K), float32, each row sums to 1.

        Computed a second time: the fused attention of :meth:`forward` never holds these.
        """
        split = (len(queries), -1, self.heads, queries.shape[-1] // self.heads)
        query = self.query(queries).reshape(split).transpose(1, 2)
        key = self.key_value(keys).chunk(2, dim=-1)[0].reshape(split).transpose(1, 2)
        logits: Tensor = query @ key.transpose(2, 3) / math.sqrt(split[-1])
        if key_mask is not None:
            logits = logits.masked_fill(~key_mask[:, None, None], torch.finfo(logits.dtype).min)
        return logits.float().softmax(dim=-1)


class FeedForward(nn.Sequential):
    """The two-layer perceptron of a transformer layer, or a head of one."""

    def __init__(self, width_in: int, width_hidden: int, width_out: int, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(width_in, width_hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(width_hidden, width_out)
        )


class SelfAttentionLayer(nn.Module):
    """Tokens look at one another."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm_forward = nn.LayerNorm(width)
        self.forward_layer = FeedForward(width, 2 * width, width, dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, T, C) in, tokens out; ``mask`` (B, T) is True where a token counts."""
        normed = self.norm_attention(tokens)
        tokens = tokens + self.attention(normed, normed, mask)
        return tokens + self.forward_layer(self.norm_forward(tokens))  # type: ignore[no-any-return]


class CrossAttentionLayer(nn.Module):
    """Queries look at tokens."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm_forward = nn.LayerNorm(width)
        self.forward_layer = FeedForward(width, 2 * width, width, dropout)

    def forward(self, queries: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries (B, Q, C) after looking at ``tokens`` (B, T, C); ``mask`` (B, T) is True where a token counts."""
        queries = queries + self.attention(self.norm_attention(queries), tokens, mask)
        return queries + self.forward_layer(self.norm_forward(queries))  # type: ignore[no-any-return]

    def weights(self, queries: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """How much each query looks at each token in this layer: (B, heads, Q, T), float32."""
        return self.attention.weights(self.norm_attention(queries), tokens, mask)


class DecoderLayer(nn.Module):
    """Queries look at one another, then at tokens."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.among_queries = SelfAttentionLayer(width, heads, dropout)
        self.to_tokens = CrossAttentionLayer(width, heads, dropout)

    def forward(self, queries: Tensor, tokens: Tensor, query_mask: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Queries (B, Q, C); ``query_mask`` (B, Q) and the tokens' ``mask`` (B, T) are False at padding."""
        return self.to_tokens(self.among_queries(queries, query_mask), tokens, mask)  # type: ignore[no-any-return]


def grid_positions(height: int, width: int, device: torch.device) -> Tensor:
    """Centres (height * width, 2) of a grid's cells as (x, y) in 0..1, row by row."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y], dim=-1).reshape(-1, 2)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Sine and cosine features (..., width) of positions (..., 2) in 0..1, so that any grid has its positions."""
    bands = width // 4
    frequencies = 2.0 ** torch.linspace(0, 5, bands, device=positions.device) * torch.pi
    angles = positions[..., None] * frequencies
    features = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    return F.pad(features, (0, width - features.shape[-1]))
