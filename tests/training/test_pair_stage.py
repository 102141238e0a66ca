"""Stage 1 over pairs: readings of every training pair and of views, and no word of what the split hides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ovgsr.config import load_config
from ovgsr.data.hico_det import read_hico_det
from ovgsr.data.hoi_splits import read_hoi_split, training_fold
from ovgsr.data.swig import read_annotations, read_split
from ovgsr.distillation.pair_cuts import cut_name
from ovgsr.distillation.signal_store import SignalStore
from ovgsr.distillation.view_store import ViewStore
from ovgsr.distillation.word_space import WordSpace
from ovgsr.inflections import mentions
from ovgsr.models import text_encoder
from ovgsr.sketch.hoi_write import write_sketch_hoi
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.training.pair_parts import build_pair_parts, build_pair_task
from ovgsr.training.teacher_stage import prepare_signals

UNSEEN, DEV_UNSEEN = "carry", "wash"
OVERRIDES = [
    *("views.count=6", "views.candidates=2", "prompts.steps=2", "prompts.pictures=12", "prompts.batch_size=4"),
    *("prompts.roles=4", "prompts.views=2", "prompts.check_every=1", "prompts.dev_pictures=12"),
]


class Made(NamedTuple):
    """The data set, the stage's folder, the readings, and (part of the stage, text) for everything embedded."""

    root: Path
    work: Path
    store: SignalStore
    embedded: list[tuple[str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A drawn data set whose training pictures do show what the split hides."""
    root, work = tmp_path_factory.mktemp("pairs") / "hoi", tmp_path_factory.mktemp("pair_stage")
    write_sketch_hoi(root, seed=3, train=40, dev=20, test=1)
    hidden = {
        name: [[verb, thing] for verb, thing in read_hico_det(root, "train").interactions if verb == of]
        for name, of in (("unseen", UNSEEN), ("dev_unseen", DEV_UNSEEN))
    }
    split = {"format": "ovgsr-hoi-split-1", "name": "hidden", **hidden}
    (root / "hoi_split.json").write_text(json.dumps(split))
    parts, embedded = ["the start"], list[tuple[str, str]]()

    class Watcher:
        def stage(self, name: str) -> None:
            parts.append(name)

        def progress(self, done: int, total: int) -> None:
            assert 0 <= done <= total

    encode, of = text_encoder.CachedTextEncoder.encode, WordSpace.of

    def told(self: text_encoder.CachedTextEncoder, texts: Sequence[str]) -> Tensor:
        embedded.extend((parts[-1], text) for text in texts)
        return encode(self, texts)

    def of_the_teacher(vocabulary: Sequence[str], encoder: text_encoder.TextEncoder) -> WordSpace:
        parts.append("the teacher's vocabulary")
        try:
            return of(vocabulary, encoder)
        finally:
            parts.pop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_encoder.CachedTextEncoder, "encode", told)
        patch.setattr(WordSpace, "of", of_the_teacher)
        folder = prepare_signals("learned", data=root, work=work, overrides=OVERRIDES, device="cpu", observer=Watcher())
    yield Made(root, work, SignalStore.open(folder), embedded)


def test_every_training_pair_that_does_something_has_a_reading(made: Made) -> None:
    fold = training_fold(read_hico_det(made.root, "train"), read_hoi_split(made.root))
    names = [image.file_name for image in read_annotations(made.work / "cuts", "train")]
    assert list(made.store.info.pictures) == names
    assert len(names) > 40
    assert {name.rpartition("#")[0] for name in names} <= {image.file_name for image in fold.images}
    assert cut_name(fold.images[0].file_name, 0) in names
    scenes = torch.stack([made.store.scene(name) for name in names])
    torch.testing.assert_close(scenes.norm(dim=-1), torch.ones(len(names)), atol=2e-3, rtol=0)
    assert scenes.std(dim=0).max() > 0.01, "another pair, another reading"
    assert made.store.view_names == ViewStore.open(made.work / "views").names != ()


def test_no_hidden_verb_is_named(made: Made) -> None:
    split = read_split(made.work / "cuts")
    assert split is not None
    assert (split.unseen, split.dev_unseen) == (("carrying",), ("washing",))
    whole = read_hico_det(made.root, "train")
    assert {"carry", "wash"} <= {row.verb for image in whole.images for row in image.situations}, (
        "there is what to hide"
    )
    assert {image.situation.verb for image in read_annotations(made.work / "cuts", "train")} <= set(split.seen)
    told = [(part, text) for part, text in made.embedded if part != "the teacher's vocabulary"]
    assert {"dev pictures", "embedding the rationales", "rationales"} <= {part for part, _ in told}
    for part, text in told:
        hidden = split.unseen if part == "dev pictures" else (*split.unseen, *split.dev_unseen)
        assert not mentions(text, hidden), f"{part}: {text!r}"
    assert any(mentions(text, split.dev_unseen) for part, text in told if part == "dev pictures"), "it is noticed"
    written = (made.work / "rationales" / "rationales.jsonl").read_text(encoding="utf-8")
    assert "person" in written
    assert not mentions(written, (*split.unseen, *split.dev_unseen))


def test_what_a_pair_also_does_is_never_called_wrong(made: Made) -> None:
    others = json.loads((made.work / "cuts" / "SWiG_jsons" / "other_verbs.json").read_text(encoding="utf-8"))
    lines = (made.work / "rationales" / "rationales.jsonl").read_text(encoding="utf-8").splitlines()
    checked = 0
    for record in map(json.loads, lines):
        for name in {value for value in record.values() if isinstance(value, str)} & set(others):
            wrong = {negative["wrong"] for negative in record["glimpse"]["negatives"]}
            assert wrong and not wrong & set(others[name])
            checked += 1
    assert checked > 3


def test_verbs_that_the_teacher_has_no_word_for_are_told(made: Made) -> None:
    """By its own vocabulary, which knows "sitting" and not "holding"."""
    unnamed = made.store.info.details["unnamed_verbs"]
    seen = read_split(made.work / "cuts").seen  # type: ignore[union-attr]
    assert set(unnamed) < set(seen)
    words = {text.strip() for text in MultimodalLLM.from_pretrained("sketch", device="cpu").vocabulary}
    assert set(unnamed) == {verb for verb in seen if verb.split()[0] not in words}
    assert "holding" in unnamed
    assert "sitting on" not in unnamed


def test_a_student_can_learn_from_what_the_stage_leaves(made: Made) -> None:
    """Its pairs are the ones that were read, its views those that were made."""
    overrides = [
        *("task=interactions", f"data.root={made.root}", "data.image_size=32", "model.distilled_readout=true"),
        *("model.width=16", "model.heads=2", "pairs.queries=4", "pairs.agreeing=false"),
        *("train.batch_size=8", "distill.views=1"),
        *(f"distill.signals={made.work / 'learned'}", f"distill.view_store={made.work / 'views'}"),
    ]
    config = load_config(None, overrides)
    parts = build_pair_parts(config)
    batch = next(iter(parts.loader))
    losses, _ = build_pair_task(config, parts)(batch, *parts.beside_batch(torch.device("cpu")))
    assert {"scene", "relation"} <= losses.keys()
    assert batch.teacher.pairs.any()
    unnamed = made.store.info.details["unnamed_verbs"]
    cuts = {image.file_name: image.situation.verb for image in read_annotations(made.work / "cuts", "train")}
    others = json.loads((made.work / "cuts" / "SWiG_jsons" / "other_verbs.json").read_text(encoding="utf-8"))
    assert parts.readings is not None
    for index, image in enumerate(parts.data.train.images):
        for number, reading in enumerate(parts.readings.signals(index).pairs[0]):  # type: ignore[index]
            name = cut_name(image.file_name, number)
            verbs = {cuts[name], *others.get(name, ())} if name in cuts else set()
            assert torch.equal(reading, made.store.scene(name) * bool(verbs - set(unnamed)))
