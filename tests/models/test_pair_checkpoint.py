from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ovgsr.models.checkpoint import CheckpointError, StudentCheckpoint, checkpoint_format
from ovgsr.models.pair_checkpoint import PAIR_FORMAT, PairCheckpoint
from ovgsr.tensors import TextEmbeddings
from ovgsr.vocabulary import Verb, Vocabulary

Make = Callable[..., PairCheckpoint]


@torch.no_grad()
def test_a_round_trip_gives_the_same_outputs_to_the_bit(
    make_pair_checkpoint: Make, random_text: Callable[..., TextEmbeddings], tmp_path: Path
) -> None:
    checkpoint = make_pair_checkpoint(nms=None, no_object=0.2)
    checkpoint.model.verb_scores.centre.fill_(0.1)
    checkpoint.save_pretrained(tmp_path)
    opened = PairCheckpoint.from_pretrained(tmp_path)
    pixels, text = torch.randn(2, 3, 32, 32), random_text()
    before, after = checkpoint.model(pixels, text), opened.model(pixels, text)
    for name in ("boxes_cxcywh", "object_logits", "verb_logits", "features"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert (opened.pairs, opened.settings) == (checkpoint.pairs, checkpoint.settings)
    assert opened.interactions == checkpoint.interactions
    assert opened.vocabulary == checkpoint.vocabulary
    assert checkpoint_format(tmp_path) == PAIR_FORMAT
    assert "PairRecognizer" in (tmp_path / "README.md").read_text()


@torch.no_grad()
def test_a_distilled_readout_and_its_weights_come_back(
    make_pair_checkpoint: Make, random_text: Callable[..., TextEmbeddings], tmp_path: Path
) -> None:
    checkpoint = make_pair_checkpoint(distilled=True)
    checkpoint.distilled_weight, checkpoint.unmet_weight = 2.5, 9.0
    checkpoint.save_pretrained(tmp_path)
    opened = PairCheckpoint.from_pretrained(tmp_path)
    assert (opened.distilled_weight, opened.unmet_weight) == (2.5, 9)
    pixels, text = torch.randn(2, 3, 32, 32), random_text()
    before, after = checkpoint.model(pixels, text), opened.model(pixels, text)
    assert before.cosines is not None
    assert torch.equal(before.cosines, after.cosines)
    words = Vocabulary((*opened.vocabulary.verbs, Verb("no_interaction"), Verb("feed")), opened.vocabulary.nouns)
    weights = opened.distilled_weights(words).tolist()
    assert weights == [2.5, 2.5, 0, 9], "no teacher reads pairs without interaction; training had no feeding"
    config = json.loads((tmp_path / "config.json").read_text())
    for name, weight in (("unmet_weight", 2.5), ("distilled_weight", 0)):  # as earlier versions wrote it
        del config[name]
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert PairCheckpoint.from_pretrained(tmp_path).unmet_weight == weight


def test_a_checkpoint_of_the_other_task_is_refused(
    make_pair_checkpoint: Make, make_checkpoint: Callable[..., StudentCheckpoint], tmp_path: Path
) -> None:
    make_pair_checkpoint().save_pretrained(tmp_path / "pairs")
    make_checkpoint().save_pretrained(tmp_path / "situations")
    with pytest.raises(CheckpointError, match=r"'format' is 'ovgsr-pairs-1', expected 'ovgsr-student-1'"):
        StudentCheckpoint.from_pretrained(tmp_path / "pairs")
    with pytest.raises(CheckpointError, match=r"'format' is 'ovgsr-student-1', expected 'ovgsr-pairs-1'"):
        PairCheckpoint.from_pretrained(tmp_path / "situations")


def test_a_field_of_the_wrong_kind_is_named(make_pair_checkpoint: Make, tmp_path: Path) -> None:
    make_pair_checkpoint().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["interactions"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json: a field is missing or of the wrong kind: 'interactions'"):
        PairCheckpoint.from_pretrained(tmp_path)
