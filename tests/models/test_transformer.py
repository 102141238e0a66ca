from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovgsr.models.transformer import (
    Attention,
    CrossAttentionLayer,
    DecoderLayer,
    SelfAttentionLayer,
    grid_positions,
    sinusoids,
)

WIDTH, HEADS = 12, 3


def _torch_attention(attention: Attention, queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    """The same weights through torch's own multi-head attention."""
    key_weight, value_weight = attention.key_value.weight.chunk(2)
    key_bias, value_bias = attention.key_value.bias.chunk(2)
    output, _ = F.multi_head_attention_forward(
        queries.transpose(0, 1),
        keys.transpose(0, 1),
        keys.transpose(0, 1),
        embed_dim_to_check=WIDTH,
        num_heads=HEADS,
        in_proj_weight=None,
        in_proj_bias=torch.cat([attention.query.bias, key_bias, value_bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=attention.output.weight,
        out_proj_bias=attention.output.bias,
        training=False,
        key_padding_mask=None if mask is None else ~mask,
        use_separate_proj_weight=True,
        q_proj_weight=attention.query.weight,
        k_proj_weight=key_weight,
        v_proj_weight=value_weight,
    )
    return output.transpose(0, 1)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_torchs(masked: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(WIDTH, HEADS).eval()
    queries, keys = torch.randn(2, 4, WIDTH), torch.randn(2, 7, WIDTH)
    mask = torch.tensor([[True] * 5 + [False] * 2, [True] * 7]) if masked else None
    torch.testing.assert_close(attention(queries, keys, mask), _torch_attention(attention, queries, keys, mask))


def test_attention_is_the_formula_for_one_head() -> None:
    torch.manual_seed(0)
    attention = Attention(4, 1).eval()
    queries, keys = torch.randn(1, 2, 4), torch.randn(1, 3, 4)
    key, value = attention.key_value(keys[0]).chunk(2, dim=-1)
    rows = []
    for query in attention.query(queries[0]):
        weights = (key @ query / math.sqrt(4)).softmax(dim=0)
        rows.append(attention.output((weights[:, None] * value).sum(dim=0)))
    torch.testing.assert_close(attention(queries, keys)[0], torch.stack(rows))


def test_masked_tokens_change_nothing() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False]])
    tokens = torch.randn(1, 3, WIDTH)
    other = tokens.clone()
    other[:, 2] = 100.0
    among = SelfAttentionLayer(WIDTH, HEADS).eval()
    torch.testing.assert_close(among(tokens, mask)[:, :2], among(other, mask)[:, :2])
    assert not torch.allclose(among(tokens)[:, :2], among(other)[:, :2])
    queries = torch.randn(1, 2, WIDTH)
    across = CrossAttentionLayer(WIDTH, HEADS).eval()
    torch.testing.assert_close(across(queries, tokens, mask), across(queries, other, mask))
    decoder = DecoderLayer(WIDTH, HEADS).eval()
    image = torch.randn(1, 5, WIDTH)
    torch.testing.assert_close(decoder(tokens, image, mask)[:, :2], decoder(other, image, mask)[:, :2])


def test_queries_see_one_another_in_the_decoder_alone() -> None:
    torch.manual_seed(0)
    queries, image = torch.randn(1, 2, WIDTH), torch.randn(1, 5, WIDTH)
    changed = queries.clone()
    changed[:, 1] += torch.randn(WIDTH)
    across = CrossAttentionLayer(WIDTH, HEADS).eval()
    torch.testing.assert_close(across(queries, image)[:, 0], across(changed, image)[:, 0])
    decoder, both = DecoderLayer(WIDTH, HEADS).eval(), torch.ones(1, 2, dtype=torch.bool)
    assert not torch.allclose(decoder(queries, image, both)[:, 0], decoder(changed, image, both)[:, 0])


def test_dropout_works_in_training_only() -> None:
    torch.manual_seed(0)
    layer, tokens = SelfAttentionLayer(WIDTH, HEADS, dropout=0.5), torch.randn(1, 3, WIDTH)
    assert not torch.equal(layer.train()(tokens), layer(tokens))
    assert torch.equal(layer.eval()(tokens), layer(tokens))


def test_grid_positions_by_hand() -> None:
    # two rows of three: x runs first
    expected = [(1 / 6, 0.25), (0.5, 0.25), (5 / 6, 0.25), (1 / 6, 0.75), (0.5, 0.75), (5 / 6, 0.75)]
    torch.testing.assert_close(grid_positions(2, 3, torch.device("cpu")), torch.tensor(expected))


@pytest.mark.parametrize("width", [8, 16, 18])  # 18 is no multiple of 4: the rest is zero
def test_sinusoids_tell_every_place_apart(width: int) -> None:
    features = sinusoids(grid_positions(5, 9, torch.device("cpu")), width)
    assert features.shape == (45, width)
    distance = torch.cdist(features, features) + torch.eye(45)
    assert distance.min() > 0.1
    assert features[:, width // 4 * 4 :].abs().sum() == 0


@pytest.mark.parametrize(("queries", "folded"), [(1, True), (4, True), (5, False)])
def test_few_queries_are_folded_and_nothing_else_changes(queries: int, folded: bool) -> None:
    """Width 32 and 4 heads: up to 4 queries go the short way; values and gradients are those of the long one."""
    attention = Attention(32, 4).double()
    asked, keys = torch.randn(2, queries, 32).double(), torch.randn(2, 9, 32).double().requires_grad_()
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    called = []
    original = attention._folded
    attention._folded = lambda *given: called.append(1) or original(*given)  # type: ignore[method-assign, assignment]
    for key_mask in (None, mask):
        found = attention(asked, keys, key_mask)
        # Padding the queries past the limit takes the long way for the same queries.
        long = attention(torch.cat([asked, torch.zeros(2, 8, 32).double()], dim=1), keys, key_mask)[:, :queries]
        torch.testing.assert_close(found, long)
        short, full = (
            torch.autograd.grad(result.square().sum(), (keys, attention.key_value.weight)) for result in (found, long)
        )
        torch.testing.assert_close(short[0], full[0])
        torch.testing.assert_close(short[1], full[1])
    assert bool(called) == folded
