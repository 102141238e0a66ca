"""Under the shipped split of SWiG's real vocabulary nothing of an unseen verb reaches training: no picture, no word.

Pictures exist only where training or dev may open them, and the text encoder notes what it is asked to embed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ovgsr.config import Config, validate_config
from ovgsr.data.swig import read_split_file
from ovgsr.distillation.rationale_data import RationaleData, write_template_rationales
from ovgsr.inflections import mentions
from ovgsr.models.text_encoder import CachedTextEncoder
from ovgsr.training import validate
from ovgsr.training.loop import train
from ovgsr.training.training_data import read_training_data
from ovgsr.vocabulary import swig_vocabulary

SPLIT = read_split_file(Path("ov_swig"))
HELD = (*SPLIT.unseen, *SPLIT.dev_unseen)
VOCABULARY = swig_vocabulary()


def texts_of(verbs: Sequence[str]) -> set[str]:
    """The sentences that would give verbs away, but for phrases that a training verb has word for word."""
    known = {VOCABULARY.verb(verb).role_text(role) for verb in SPLIT.training for role in VOCABULARY.verb(verb).roles}
    own = {VOCABULARY.verb(verb).role_text(role) for verb in verbs for role in VOCABULARY.verb(verb).roles}
    return {VOCABULARY.verb(verb).text for verb in verbs} | (own - known)


def allowed(records: dict[str, Any]) -> set[str]:
    """The pictures that training may see, worked out from the records alone."""
    unseen = set(SPLIT.unseen_nouns)
    kept: dict[str, list[str]] = {}
    for name, record in records.items():
        nouns = {noun for frame in record["frames"] for noun in frame.values()}
        if record["verb"] not in HELD and not nouns & unseen:
            kept.setdefault(record["verb"], []).append(name)
    for verb in SPLIT.rare:
        kept[verb] = sorted(kept[verb], key=lambda name: hashlib.sha256(f"0:{name}".encode()).hexdigest())[:10]
    return {name for names in kept.values() for name in names}


@pytest.fixture(scope="module")
def root(swig_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records, with pictures of what training and dev may open and of nothing else."""
    root = tmp_path_factory.mktemp("unseen") / "swig"
    (root / "images_512").mkdir(parents=True)
    (root / "SWiG_jsons").symlink_to(swig_records / "SWiG_jsons")
    one = root / "one.jpg"
    Image.effect_noise((32, 24), 60).convert("RGB").save(one)
    dev = json.loads((root / "SWiG_jsons" / "dev.json").read_text(encoding="utf-8"))
    names = allowed(json.loads((root / "SWiG_jsons" / "train.json").read_text(encoding="utf-8")))
    names |= {name for name, record in dev.items() if record["verb"] not in SPLIT.unseen}
    for name in names:
        (root / "images_512" / name).symlink_to(one)
    return root


@pytest.fixture
def embedded() -> Iterator[list[str]]:
    """Every text that anybody embeds; the embeddings are made up, so no model is loaded."""
    asked: list[str] = []

    def encode(self: CachedTextEncoder, texts: Sequence[str]) -> Tensor:
        asked.extend(texts)
        rows = [np.random.default_rng([*text.encode()]).normal(size=self.width) for text in texts]
        return torch.nn.functional.normalize(torch.tensor(np.array(rows), dtype=torch.float32), dim=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CachedTextEncoder, "encode", encode)
        yield asked


def config(root: Path) -> Config:
    return validate_config(
        {
            "name": "tiny",
            "data": {"root": str(root), "split": "ov_swig", "image_size": 16},
            "model": {"width": 8, "heads": 1, "encoder_layers": 0, "readout_layers": 1, "decoder_layers": 1},
            "train": {"epochs": 1, "max_steps": 2, "batch_size": 8, "precision": "no", "threads": 1},
        },
        "a test",
    )


def test_training_data_hold_no_unseen_verb_and_no_unseen_noun(root: Path) -> None:
    data = read_training_data(config(root).data)
    records = json.loads((root / "SWiG_jsons" / "train.json").read_text(encoding="utf-8"))
    expected = allowed(records)
    assert [image.file_name for image in data.train] == [name for name in records if name in expected]
    assert len(data.train) < len(records) - 12 * len(HELD)
    assert data.vocabulary.verb_names == SPLIT.training
    assert all(data.vocabulary.answer_index(key) is None for key in SPLIT.unseen_nouns)
    assert {image.situation.verb for image in data.dev} == {*SPLIT.training, *SPLIT.dev_unseen}
    assert set(data.dev_groups(data.dev)) == {"seen", "rare", "unseen"}


def test_a_run_meets_no_unseen_verb(
    root: Path, embedded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training, checks on dev, and the constants that dev chooses: a picture too many would be missing."""
    before_dev: list[int] = []
    look = validate.predict_dev

    def noted(*arguments: Any) -> Any:
        before_dev.append(len(embedded))
        return look(*arguments)

    monkeypatch.setattr(validate, "predict_dev", noted)
    train(config(root), tmp_path / "run")
    student = json.loads((tmp_path / "run" / "student" / "config.json").read_text(encoding="utf-8"))
    assert student["provenance"]["details"]["split_sha256"] == SPLIT.fingerprint
    assert before_dev
    assert not texts_of(SPLIT.unseen) & set(embedded)
    # The dev fold's own unseen verbs compete on dev, and only there.
    assert not texts_of(HELD) & set(embedded[: before_dev[0]])
    assert texts_of(SPLIT.dev_unseen) & set(embedded)


def test_rationales_and_their_negatives_name_no_unseen_verb(root: Path, embedded: list[str], tmp_path: Path) -> None:
    data = RationaleData.read(root, Path("ov_swig"))
    assert [i.file_name for i in data.images] == [i.file_name for i in read_training_data(config(root).data).train]
    assignments = data.assignments(k=2, seed=0)
    assert not texts_of(HELD) & set(embedded)
    words = {noun.gloss for noun in map(VOCABULARY.noun, SPLIT.unseen_nouns)}
    images = data.images[::100]
    for image in images:
        facts = assignments.facts(image)
        assert set(facts.offered) <= set(SPLIT.training)
        assert not words & {word for wrong in facts.wrong_fillers.values() for word in wrong}
    store = write_template_rationales(tmp_path / "rationales", replace(data, images=images))
    written = store.read(images)
    assert len(written) > len(images) * 0.9
    for image in images:
        if image.file_name in written:
            text = " . ".join(written[image.file_name].texts())
            assert not mentions(text, HELD, assignments.facts(image).nouns), text
