from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from ovgsr.config import LossSettings, PairSettings
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.models.pair_transformer import spread_points
from ovgsr.tensors import Batch, PairTargets, TextEmbeddings
from ovgsr.training.pair_task import PairTask

Make = Callable[..., PairCheckpoint]
Text = Callable[..., TextEmbeddings]


def test_shapes_of_every_layer(make_pair_checkpoint: Make, random_text: Text) -> None:
    model, text = make_pair_checkpoint().model, random_text((2, 2, 2), nouns=5)
    layers = model.find_pairs(model.encode(torch.randn(2, 3, 48, 32)), text)
    assert len(layers) == 2
    for outputs in layers:
        assert outputs.boxes_cxcywh.shape == (2, 5, 2, 4)
        assert bool(((outputs.boxes_cxcywh >= 0) & (outputs.boxes_cxcywh <= 1)).all())
        assert outputs.object_logits.shape == (2, 5, 5)  # no object, then four nouns
        assert outputs.verb_logits.shape == (2, 5, 3)
        assert outputs.features.shape == (2, 5, 16)


@torch.no_grad()
def test_a_word_changes_no_other_words_score(make_pair_checkpoint: Make, random_text: Text) -> None:
    model, text = make_pair_checkpoint().model, random_text((2, 2, 2), nouns=5)
    pixels = torch.randn(2, 3, 32, 32)
    whole = model(pixels, text)
    fewer = model(pixels, replace(text, verbs=text.verbs[[2, 0]], nouns=text.nouns[[0, 4, 1]]))
    torch.testing.assert_close(fewer.verb_logits, whole.verb_logits[..., [2, 0]])
    torch.testing.assert_close(fewer.object_logits, whole.object_logits[..., [0, 4, 1]])
    torch.testing.assert_close(fewer.boxes_cxcywh, whole.boxes_cxcywh)


@torch.no_grad()
def test_the_distilled_readout_is_a_cosine_beside_everything_else(
    make_pair_checkpoint: Make, random_text: Text
) -> None:
    plain, taught = make_pair_checkpoint().model, make_pair_checkpoint(distilled=True).model
    text, pixels = random_text((2, 2, 2), nouns=5), torch.randn(2, 3, 32, 32)
    text = replace(text, verb_names=text.verbs.flip(0))
    scores = taught.distilled_scores
    assert scores is not None
    assert taught.distilled is not None
    scores.centre.fill_(0.1)
    before, after = plain(pixels, text), taught(pixels, text)
    assert before.distilled is None
    assert before.cosines is None
    for name in ("boxes_cxcywh", "object_logits", "verb_logits"):
        assert torch.equal(getattr(before, name), getattr(after, name)), "the same student but for the readout"
    said = torch.nn.functional.normalize(scores.project(after.features + taught.distilled(after.features)), dim=-1)
    torch.testing.assert_close(after.distilled, said)
    words = torch.nn.functional.normalize(text.verbs + text.verbs.flip(0) - 0.1, dim=-1)
    torch.testing.assert_close(after.cosines, said @ words.T)


def test_every_trainable_weight_has_a_gradient(make_pair_checkpoint: Make, random_text: Text) -> None:
    """Data-parallel training waits for each of them."""
    task = PairTask(make_pair_checkpoint().model, LossSettings(), PairSettings())
    targets = PairTargets(
        mask=torch.tensor([[True], [False]]),
        boxes_cxcywh=torch.full((2, 1, 2, 4), 0.5),
        object_index=torch.tensor([[1], [0]]),
        verbs=torch.tensor([[[True, False, False]], [[False] * 3]]),
    )
    batch = Batch(torch.randn(2, 3, 32, 32), torch.ones(2, 2), torch.arange(2), pairs=targets)
    losses, _ = task(batch, random_text((2, 2, 2), nouns=5), torch.ones(3, 5, dtype=torch.bool))
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert not [name for name, value in task.named_parameters() if value.requires_grad and value.grad is None]


def test_anchors_are_spread_over_the_picture() -> None:
    for count in (1, 9, 24, 64, 100):
        points = spread_points(count)
        assert points.shape == (count, 2)
        assert bool(((points >= 0) & (points < 1)).all())
    closest = torch.pdist(spread_points(64)).min()
    assert float(closest) > 0.5 / 8, "half the spacing of a regular grid of as many points"
    quarters = (spread_points(64) * 2).floor().long() @ torch.tensor([1, 2])
    assert torch.bincount(quarters, minlength=4).tolist() == [16, 16, 16, 16] or min(torch.bincount(quarters)) >= 14
