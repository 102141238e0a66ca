"""What training is built from: above all that nothing of an unseen verb is in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ovgsr.config import Config
from ovgsr.data.errors import DataError
from ovgsr.data.swig import read_split
from ovgsr.models.heads import TextSimilarity
from ovgsr.training.build import DRAWN_NOTICE, build_parts
from ovgsr.training.training_data import read_training_data
from ovgsr.verb_split import VerbSplit

Make = Callable[..., Config]


@pytest.fixture(scope="module")
def split(sketch_root: Path) -> VerbSplit:
    found = read_split(sketch_root)
    assert found is not None
    assert found.unseen
    assert found.dev_unseen
    return found


def _with_extra_training_pictures(root: Path, copy: Path) -> Path:
    """The data set as a careless user might have it: dev and test records among those for training."""
    (copy / "SWiG_jsons").mkdir(parents=True)
    (copy / "images_512").symlink_to(root / "images_512")
    for file in (root / "SWiG_jsons").iterdir():
        (copy / "SWiG_jsons" / file.name).write_bytes(file.read_bytes())
    records = {}
    for fold in ("train", "dev", "test"):
        records |= json.loads((root / "SWiG_jsons" / f"{fold}.json").read_text(encoding="utf-8"))
    (copy / "SWiG_jsons" / "train.json").write_text(json.dumps(records), encoding="utf-8")
    return copy


def test_unseen_verbs_never_reach_training(
    sketch_root: Path, tmp_path: Path, tiny_config: Make, split: VerbSplit
) -> None:
    root = _with_extra_training_pictures(sketch_root, tmp_path / "careless")
    parts = build_parts(tiny_config(data={"root": str(root)}))
    hidden = {*split.unseen, *split.dev_unseen}
    assert hidden.isdisjoint(image.situation.verb for image in parts.dataset.images)
    assert hidden.isdisjoint(parts.data.vocabulary.verb_names)
    assert hidden.isdisjoint(parts.checkpoint.vocabulary.verb_names)
    assert parts.data.vocabulary.verb_names == split.training
    assert len(parts.verb_counts) == len(split.training) == len(parts.text.verbs)
    shown = {int(batch.targets.verb_index[i]) for batch in parts.loader for i in range(len(batch.indices))}  # type: ignore[union-attr]
    assert max(shown) < len(split.training)


def test_the_training_vocabulary_holds_the_nouns_of_training_pictures_only(
    sketch_root: Path, tiny_config: Make
) -> None:
    data = read_training_data(tiny_config().data)
    records = json.loads((sketch_root / "SWiG_jsons" / "train.json").read_text(encoding="utf-8"))
    used = {noun for record in records.values() for frame in record["frames"] for noun in frame.values()} - {""}
    assert {noun.key for noun in data.vocabulary.nouns} == used
    assert used.isdisjoint(data.split.unseen_nouns)
    assert len(data.vocabulary.nouns) < len(data.whole.nouns)


def test_a_vocabulary_file_of_a_run_knows_no_unseen_verb(trained_run: Path, split: VerbSplit) -> None:
    for file in (trained_run / "vocabulary.json", trained_run / "student" / "vocabulary.json"):
        assert tuple(json.loads(file.read_text(encoding="utf-8"))["verbs"]) == split.training


def test_the_dev_fold_has_no_picture_of_a_test_verb(tiny_config: Make, split: VerbSplit) -> None:
    verbs = {image.situation.verb for image in read_training_data(tiny_config().data).dev}
    assert verbs == {*split.training, *split.dev_unseen}


def test_a_split_file_of_the_users_own(tmp_path: Path, tiny_config: Make, split: VerbSplit) -> None:
    mine = tmp_path / "split.json"
    record = {"format": "ovgsr-split-1", "name": "mine", "seen": list(split.seen[:3]), "unseen": list(split.seen[3:])}
    mine.write_text(json.dumps(record), encoding="utf-8")
    data = read_training_data(tiny_config(data={"split": str(mine)}).data)
    assert data.vocabulary.verb_names == split.seen[:3]
    assert {image.situation.verb for image in data.train} == set(split.seen[:3])
    record["seen"] = list(split.unseen)
    record["unseen"] = []
    mine.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match="no training picture of a seen or rare verb of the split 'mine'"):
        read_training_data(tiny_config(data={"split": str(mine)}).data)
    record["seen"] = [*split.seen, "jugling"]
    mine.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=r"the split 'mine' names 'jugling' .* correct the names"):
        read_training_data(tiny_config(data={"split": str(mine)}).data)


def test_drawn_pictures_are_known_under_any_split(tmp_path: Path, tiny_config: Make, split: VerbSplit) -> None:
    mine = tmp_path / "split.json"
    mine.write_text(json.dumps({"format": "ovgsr-split-1", "name": "mine", "seen": split.seen}), encoding="utf-8")
    assert build_parts(tiny_config(data={"split": str(mine)})).checkpoint.provenance.notice == DRAWN_NOTICE


def test_the_counts_are_what_the_sampler_shows(tiny_config: Make) -> None:
    parts = build_parts(tiny_config(data={"rare_repeat": 2.5}))
    names = parts.data.vocabulary.verb_names
    shown = torch.zeros(len(names))
    for epoch in range(200):
        parts.sampler.begin(epoch)
        verbs = [names.index(parts.data.train[i].situation.verb) for i in parts.sampler]
        shown += torch.bincount(torch.tensor(verbs), minlength=len(names))
    torch.testing.assert_close(parts.verb_counts, shown / 200, atol=0.15, rtol=0)


def test_the_same_seed_builds_the_same_weights(tiny_config: Make) -> None:
    first, again, other = (build_parts(tiny_config(train={"seed": seed})) for seed in (3, 3, 4))
    states = [parts.checkpoint.model.state_dict() for parts in (first, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_centres_come_from_training_words_and_the_notice_from_the_data(tiny_config: Make) -> None:
    parts = build_parts(tiny_config(model={"distilled_readout": True}))
    model = parts.checkpoint.model
    assert isinstance(model.verb_scores, TextSimilarity)
    assert isinstance(model.noun_scores, TextSimilarity)
    torch.testing.assert_close(model.verb_scores.centre, parts.text.verbs.mean(dim=0))
    torch.testing.assert_close(model.noun_scores.centre, parts.text.nouns.mean(dim=0))
    assert parts.checkpoint.provenance.notice == DRAWN_NOTICE
    assert parts.checkpoint.provenance.dataset == "SketchSWiG"
