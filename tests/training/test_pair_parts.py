"""What training on interactions is built from: above all that nothing unseen is in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.toy_hoi import INTERACTIONS, write_toy_hoi
from torch import Tensor

from ovgsr.config import Config, validate_config
from ovgsr.data.errors import DataError
from ovgsr.models.text_encoder import load_text_encoder
from ovgsr.training import pair_parts
from ovgsr.training.pair_parts import build_pair_parts, build_pair_task, read_pair_data
from ovgsr.training.validate import Alone

UNSEEN = [["sit_on", "crate"], ["kick", "ball"]]
DEV_UNSEEN = [["hold", "ball"]]
"""What is left: hold crate, stand_on crate. Nobody kicks or sits any more, and there is no ball."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_toy_hoi(tmp_path_factory.mktemp("toy") / "data", train=24, dev=8, test=2)
    split = {"format": "ovgsr-hoi-split-1", "name": "toy", "unseen": UNSEEN, "dev_unseen": DEV_UNSEEN}
    (root / "hoi_split.json").write_text(json.dumps(split))
    return root


def _config(root: Path, **sections: dict[str, Any]) -> Config:
    plain: dict[str, Any] = {
        "task": "interactions",
        "data": {"root": str(root), "image_size": 32},
        "model": {"width": 16, "heads": 2},
        "pairs": {"queries": 4},
        "train": {"batch_size": 4, "threads": 1},
    }
    return validate_config({**plain, **{n: plain.get(n, {}) | fields for n, fields in sections.items()}}, "a test")


class Listener:
    """A text encoder that remembers what it was asked to read."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.read: list[str] = []
        self.width, self.fingerprint = inner.width, inner.fingerprint

    def encode(self, texts: Sequence[str]) -> Tensor:
        self.read += texts
        return self.inner.encode(texts)  # type: ignore[no-any-return]


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> list[Listener]:
    made: list[Listener] = []

    def load(name: str) -> Listener:
        made.append(Listener(load_text_encoder(name)))
        return made[-1]

    monkeypatch.setattr(pair_parts, "load_text_encoder", load)
    return made


def test_nothing_unseen_reaches_training(data: Path, listeners: list[Listener]) -> None:
    config = _config(data)
    parts = build_pair_parts(config)
    task = build_pair_task(config, parts)
    text, trained = parts.beside_batch(torch.device("cpu"))
    seen = {("hold", "crate"), ("stand_on", "crate")}
    assert set(parts.checkpoint.interactions) == seen
    assert parts.checkpoint.vocabulary.verb_names == ("hold", "stand_on")
    assert [noun.key for noun in parts.checkpoint.vocabulary.nouns] == ["crate"]
    rows = {(s.verb, s.nouns["object"].noun) for image in parts.dataset.images for s in image.situations}
    assert rows == {("hold", "crate")}, "who stands on a crate also sits on it: the whole pair goes"
    assert trained.tolist() == [[False, True], [False, True]]
    for batch in parts.loader:
        losses, _ = task(batch, text, trained)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    heard = " | ".join(listeners[0].read)
    assert "holding" in heard
    assert "standing on" in heard
    for word in ("kick", "sit", "ball"):
        assert word not in heard
    parts.validate(torch.device("cpu"), config, Alone())
    heard = " | ".join(listeners[0].read)
    assert "ball" in heard, "dev has unseen interactions of its own"
    for word in ("kick", "sit"):
        assert word not in heard, "those of the test stay unheard of"


def test_by_the_other_policy_the_seen_rows_of_a_pair_stay(data: Path) -> None:
    kept = read_pair_data(_config(data, pairs={"drop": "rows"})).train
    rows = {(s.verb, s.nouns["object"].noun) for image in kept.images for s in image.situations}
    assert rows == {("hold", "crate"), ("stand_on", "crate")}
    assert set(kept.interactions) == rows


def test_the_look_at_dev(data: Path) -> None:
    config = _config(data)
    dev = read_pair_data(config).dev
    assert dev is not None
    assert ("kick", "ball") not in dev.interactions
    assert {(s.verb, s.nouns["object"].noun) for image in dev.images for s in image.situations} <= set(dev.interactions)
    assert len(dev.images) == 8, "pictures without a row stay: what is found in them counts"
    scores = build_pair_parts(config).validate(torch.device("cpu"), config, Alone())
    assert {"map_full", "map_seen", "map_unseen", "map_harmonic"} <= scores.keys()
    (data / "instances_dev2015.json").rename(data / "kept")
    try:
        assert build_pair_parts(config).validate(torch.device("cpu"), config, Alone()) == {}
    finally:
        (data / "kept").rename(data / "instances_dev2015.json")


def test_without_a_split_everything_is_seen(tmp_path: Path) -> None:
    root = write_toy_hoi(tmp_path / "data", train=4, dev=1, test=1)
    parts = build_pair_parts(_config(root))
    assert list(parts.checkpoint.interactions) == INTERACTIONS
    assert parts.checkpoint.provenance.notice == ""
    (root / "sketch_hoi.json").write_text("{}")
    assert "drawn pictures only" in build_pair_parts(_config(root)).checkpoint.provenance.notice


def test_a_split_that_leaves_nothing_is_named(data: Path, tmp_path: Path) -> None:
    everything = {"format": "ovgsr-hoi-split-1", "name": "all", "unseen": [list(one) for one in INTERACTIONS]}
    (tmp_path / "all.json").write_text(json.dumps(everything))
    with pytest.raises(DataError, match="no training picture with an interaction that the split leaves to training"):
        read_pair_data(_config(data, data={"split": str(tmp_path / "all.json")}))


def test_the_same_seed_builds_the_same_weights(data: Path) -> None:
    build: Callable[[int], dict[str, Tensor]] = lambda seed: (  # noqa: E731
        build_pair_parts(_config(data, train={"seed": seed})).checkpoint.model.state_dict()
    )
    first, again, other = build(3), build(3), build(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
