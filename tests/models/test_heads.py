from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ovgsr.models.heads import BoxHead, ClassSimilarity, Readout, TextSimilarity
from ovgsr.models.transformer import CrossAttentionLayer, grid_positions


def test_text_similarity_is_a_scaled_cosine_of_centred_words() -> None:
    torch.manual_seed(0)
    head = TextSimilarity(8, 6)
    head.centre.copy_(torch.randn(6) * 0.2)
    features, words = torch.randn(3, 8), F.normalize(torch.randn(5, 6), dim=-1)
    logits = head(features, words)
    projected = head.project(features)
    for picture in range(3):
        for word in range(5):
            a, b = projected[picture], words[word] - head.centre
            a, b = a.detach(), b.detach()
            cosine = float(a @ b) / (float(a.norm()) * float(b.norm()))
            assert math.isclose(logits[picture, word].item(), 15 * cosine, abs_tol=1e-4)


def test_the_scale_is_bounded() -> None:
    head = TextSimilarity(8, 6)
    features, words = torch.randn(3, 8), F.normalize(torch.randn(5, 6), dim=-1)
    with torch.no_grad():
        head.log_scale.fill_(20.0)
    assert head(features, words).abs().max() <= 100.001


def test_closed_classes_are_looked_up_and_strangers_never_win() -> None:
    torch.manual_seed(0)
    head = ClassSimilarity(8, 6, classes=3)
    features = torch.randn(4, 8)
    every = head(features, torch.tensor([0, 1, 2]))
    offered = head(features, torch.tensor([2, -1, 0]))
    assert torch.equal(offered[:, [0, 2]], every[:, [2, 0]])
    assert offered.softmax(dim=-1)[:, 1].abs().sum() == 0
    assert offered.isfinite().all()


def test_the_readout_knows_no_order_of_tokens() -> None:
    torch.manual_seed(0)
    readout = Readout(8, 2, layers=2).eval()
    scene, tokens = torch.randn(2, 8), torch.randn(2, 6, 8)
    torch.testing.assert_close(readout(scene, tokens), readout(scene, tokens[:, torch.randperm(6)]))
    assert not torch.allclose(readout(scene, tokens), readout(-scene, tokens))


def test_where_a_readout_looks_is_what_its_layers_take() -> None:
    """Worked out again by hand from the layers' own projections, and found through the values that come out."""
    torch.manual_seed(0)
    readout = Readout(8, 2, layers=2).eval()
    scene, tokens = torch.randn(3, 8), torch.randn(3, 5, 8)
    looks = readout.attention(scene, tokens)
    assert looks.shape == (3, 5)
    torch.testing.assert_close(looks.sum(dim=-1), torch.ones(3))
    queries, expected = scene[:, None] + readout.queries, torch.zeros(3, 5)
    for layer in readout.layers:
        assert isinstance(layer, CrossAttentionLayer)
        attention = layer.attention
        normed = layer.norm_attention(queries)
        key, value = attention.key_value(tokens).chunk(2, dim=-1)
        heads = []
        for head in (slice(0, 4), slice(4, 8)):
            weights = (attention.query(normed)[..., head] @ key[..., head].transpose(1, 2) / 2.0).softmax(dim=-1)
            heads.append(weights @ value[..., head])
            expected += weights.mean(dim=1) / 4  # two layers, two heads
        torch.testing.assert_close(attention.output(torch.cat(heads, dim=-1)), attention(normed, tokens))
        queries = layer(queries, tokens)
    torch.testing.assert_close(looks, expected)


def test_a_readout_looks_where_its_feature_comes_from() -> None:
    torch.manual_seed(0)
    readout = Readout(8, 2, layers=1).eval()
    scene, tokens = torch.randn(1, 8), torch.randn(1, 5, 8)
    layer = readout.layers[0]
    assert isinstance(layer, CrossAttentionLayer)
    with torch.no_grad():
        layer.attention.query.weight.zero_()  # every query asks the same: the keys' bias direction
        layer.attention.query.bias.fill_(1.0)
        layer.attention.key_value.weight[:8] = torch.eye(8)
        layer.attention.key_value.bias.zero_()
        tokens[0, 3] = 30.0
    looks = readout.attention(scene, tokens)[0]
    assert looks[3] > 0.999
    other = tokens.clone()
    other[0, [0, 1, 2, 4]] = torch.randn(4, 8)
    torch.testing.assert_close(readout(scene, tokens), readout(scene, other), atol=1e-3, rtol=0)


def test_a_box_starts_at_the_centre_and_spread_of_its_attention() -> None:
    torch.manual_seed(0)
    head = BoxHead(4)
    positions = grid_positions(3, 5, torch.device("cpu"))
    queries, tokens = torch.randn(2, 3, 4), torch.randn(2, 15, 4)
    boxes_cxcywh, looked_at, attention = head(queries, tokens, positions)
    assert boxes_cxcywh.shape == (2, 3, 4)
    assert ((boxes_cxcywh >= 0) & (boxes_cxcywh <= 1)).all()
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(2, 3))
    torch.testing.assert_close(looked_at, attention @ tokens)
    seen: list[torch.Tensor] = []
    head.refine.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(queries, tokens, positions)
    weights = attention[1, 2]
    centre = (weights[:, None] * positions).sum(dim=0)
    variance = (weights[:, None] * (positions - centre) ** 2).sum(dim=0)
    torch.testing.assert_close(seen[0][1, 2, -4:], torch.cat([centre, variance.sqrt()]), atol=1e-4, rtol=0)


def test_the_box_head_learns_to_find_a_bright_cell() -> None:
    torch.manual_seed(0)
    head, positions = BoxHead(8), grid_positions(6, 6, torch.device("cpu"))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)

    def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        cell = torch.randint(0, 36, (count,))
        tokens = 0.1 * torch.randn(count, 36, 8)
        tokens[torch.arange(count), cell, 3] += 2.0
        return tokens, torch.cat([positions[cell], torch.full((count, 2), 1 / 6)], dim=-1)

    for _ in range(120):
        tokens, target = batch(32)
        boxes_cxcywh, _, _ = head(torch.ones(32, 1, 8), tokens, positions)
        loss = (boxes_cxcywh[:, 0] - target).abs().sum(dim=-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens, target = batch(200)
    boxes_cxcywh, _, attention = head(torch.ones(200, 1, 8), tokens, positions)
    error = (boxes_cxcywh[:, 0] - target).abs()
    assert error[:, :2].mean() < 0.05, "a third of a cell"
    assert error[:, 2:].mean() < 0.03
    found = attention[:, 0].argmax(dim=-1)
    assert (positions[found] == target[:, :2]).all(dim=-1).float().mean() > 0.95
