"""Stage 1 from end to end with the drawn teacher: what it may know, what a kill leaves, and what is made once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from stage_data import stage_config, write_small
from torch import Tensor

from ovgsr.config import Config, SignalKind
from ovgsr.data.swig import read_annotations
from ovgsr.distillation import view_store
from ovgsr.distillation.signal_store import SignalStore
from ovgsr.distillation.view_store import ViewStore
from ovgsr.distillation.word_space import WordSpace
from ovgsr.models import text_encoder
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.tokens.cache import TokenCache
from ovgsr.training import prompt_tuning, reading
from ovgsr.training.loop import Trainer
from ovgsr.training.run_dir import RunDir
from ovgsr.training.stage_one import RECORD, WEIGHTS, _held_out, tuning_data
from ovgsr.training.stage_parts import StageObserver, StageParts
from ovgsr.training.teacher_stage import reader, signals
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Verb, Vocabulary

KINDS: tuple[SignalKind, ...] = ("learned", "fixed", "embedding", "tokens")


class Killed(Exception):
    """What the observer raises in the place of a power cut."""


class Watcher:
    """Remembers which parts were begun, and what every text that is embedded was for."""

    def __init__(self) -> None:
        self.part = "the start"
        self.parts: list[str] = []
        self.embedded: list[tuple[str, str]] = []
        self.captions: set[str] = set()

    def stage(self, name: str) -> None:
        self.part = name
        self.parts.append(name)

    def progress(self, done: int, total: int) -> None:
        assert 0 <= done <= total


class KillsOnceInEachPart(Watcher):
    """Raises at the second sign of progress of every part that it meets for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, int] = {}

    def progress(self, done: int, total: int) -> None:
        super().progress(done, total)
        self.heard[self.part] = self.heard.get(self.part, 0) + 1
        if self.heard[self.part] == 2:
            raise Killed


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """So that there is a middle of every part to be killed in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_store, "BATCH", 5)
        patch.setattr(reading, "_BATCH", 7)
        yield


@pytest.fixture(scope="module")
def teacher() -> MultimodalLLM:
    return MultimodalLLM.from_pretrained("sketch", device="cpu")


@pytest.fixture(scope="module")
def root(sketch_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("careless") / "data"
    write_small(sketch_root, folder)
    return folder


@pytest.fixture(scope="module")
def split(root: Path) -> VerbSplit:
    record = json.loads((root / "SWiG_jsons" / "open_vocabulary_split.json").read_text(encoding="utf-8"))
    return VerbSplit.from_json(record)


@pytest.fixture(scope="module")
def config(root: Path) -> Config:
    return stage_config(root)


def _stage(
    config: Config, work: Path, teacher: MultimodalLLM, observer: StageObserver | None = None, name: str = "sketch"
) -> StageParts:
    stage = StageParts(config, work, teacher=name, device="cpu", observer=observer)
    vars(stage)["teacher"] = teacher  # the same weights again would only cost time
    return stage


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture(scope="module")
def stage(
    config: Config, teacher: MultimodalLLM, watcher: Watcher, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StageParts]:
    """All kinds of signals are there; every text that anybody embedded for them is in ``watcher.embedded``."""
    encode, of, generate = text_encoder.CachedTextEncoder.encode, WordSpace.of, MultimodalLLM.generate

    def said(self: MultimodalLLM, *given: Any, **named: Any) -> list[str]:
        replies = generate(self, *given, **named)
        watcher.captions.update(replies)
        return replies

    def told(self: text_encoder.CachedTextEncoder, texts: Sequence[str]) -> Tensor:
        watcher.embedded += [(watcher.part, text) for text in texts]
        return encode(self, texts)

    def of_the_teacher(vocabulary: Sequence[str], encoder: text_encoder.TextEncoder) -> WordSpace:
        before, watcher.part = watcher.part, "the teacher's vocabulary"
        try:
            return of(vocabulary, encoder)
        finally:
            watcher.part = before

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_encoder.CachedTextEncoder, "encode", told)
        patch.setattr(WordSpace, "of", of_the_teacher)
        patch.setattr(MultimodalLLM, "generate", said)
        made = _stage(config, tmp_path_factory.mktemp("stage") / "work", teacher, watcher)
        for kind in KINDS:
            signals(made, kind)
        yield made


def _files(folder: Path, *parts: str) -> dict[str, bytes]:
    """What the parts hold, but for locks and TensorBoard's files, whose names tell the time."""
    paths = [path for part in parts for path in (folder / part).rglob("*") if path.is_file()]
    kept = [path for path in paths if path.suffix != ".lock" and path.parent.name != "tensorboard"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def _sentences(verb: Verb, known: Vocabulary) -> list[str]:
    """What would give a verb away: its texts, but for those that a training verb has word for word."""
    shared = {other.role_text(role) for other in known.verbs for role in other.roles}
    own = [verb.text, *([verb.definition] if verb.definition else [])]
    return own + [text for text in map(verb.role_text, verb.roles) if text not in shared]


def _mentions(text: str, verb: Verb, known: Vocabulary) -> bool:
    named = re.search(rf"\b{re.escape(verb.name)}\b", text, re.IGNORECASE) is not None
    return named or any(sentence in text for sentence in _sentences(verb, known))


def test_every_kind_has_readings_of_every_training_picture(stage: StageParts) -> None:
    names = [image.file_name for image in stage.data.train]
    records = json.loads((stage.data.root / "SWiG_jsons" / "train.json").read_text(encoding="utf-8"))
    kept = stage.data.split.pictures(read_annotations(stage.data.root, "train"), "train")
    assert names == [image.file_name for image in kept]
    assert 30 < len(names) < len(records)
    for kind in KINDS[:3]:
        store = SignalStore.open(stage.work / kind, text_fingerprint=stage.encoder.fingerprint)
        assert list(store.info.pictures) == names
        assert store.view_names == ViewStore.open(stage.work / "views").names
        scenes = torch.stack([store.scene(name) for name in names])
        torch.testing.assert_close(scenes.norm(dim=-1), torch.ones(len(names)), atol=2e-3, rtol=0)
        assert scenes.std(dim=0).max() > 0.01, "another picture, another reading"
    width = {kind: SignalStore.open(stage.work / kind).info.role_width for kind in KINDS[:3]}
    regions = stage.teacher.hidden_size
    assert width == {"learned": 384 + regions, "fixed": 384 + regions, "embedding": regions}
    assert TokenCache.open(signals(stage, "tokens")).missing(names) == []


def test_parts_are_made_once_whatever_asks_for_them(stage: StageParts, watcher: Watcher) -> None:
    assert watcher.parts.count("tuning the prompts (learned)") == 1
    assert watcher.parts.count("rationales") == 1
    before = _files(stage.work, "tokens", "view_tokens", "views", "rationales", "prompts")
    times = {path: path.stat().st_mtime_ns for path in stage.work.rglob("*") if path.suffix != ".lock"}
    begun = len(watcher.parts)
    for kind in KINDS:
        signals(stage, kind)
    assert watcher.parts[begun:] == ["visual tokens"], "finished readings are not looked at again"
    assert _files(stage.work, "tokens", "view_tokens", "views", "rationales", "prompts") == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_two_at_a_time_in_one_folder_wait_for_each_other(stage: StageParts, tmp_path: Path) -> None:
    work = tmp_path / "shared"
    both = [StageParts(stage.config, work), StageParts(stage.config, work)]
    with ThreadPoolExecutor(2) as pool:
        stores = list(pool.map(lambda one: one.rationales, both))
        caches = list(pool.map(lambda one: one.tokens(), both))
    assert stores[0].identity == stores[1].identity
    names = [image.file_name for image in stage.data.train]
    first, second = (cache.read(names, dtype=torch.float32).tokens for cache in caches)
    assert torch.equal(first, second)


def test_no_text_of_an_unseen_verb_is_embedded_for_the_teacher(
    stage: StageParts, watcher: Watcher, split: VerbSplit
) -> None:
    """The test's unseen verbs nowhere; dev's own among dev's competing verbs alone."""
    whole, known = stage.data.whole, stage.data.vocabulary
    nouns = {noun.text for noun in known.answers}
    assert {"the teacher's vocabulary", "dev pictures", "embedding the rationales", "rationales"} <= {
        part for part, _ in watcher.embedded
    }
    for part, text in set(watcher.embedded):
        if part == "the teacher's vocabulary" or text in nouns:
            continue  # what words the LLM knows is its own affair; a noun of a training picture may be explained so
        if part.endswith("(embedding)"):
            assert text in watcher.captions, "what the LLM said by itself, of a training picture or of a view"
            continue
        hidden = split.unseen if part == "dev pictures" else (*split.unseen, *split.dev_unseen)
        if part == "dev pictures" and text in {noun.text for noun in whole.answers}:
            continue
        said = [verb for verb in hidden if _mentions(text, whole.verb(verb), known)]
        assert not said, f"{part}: {text!r}"
    on_dev = [text for part, text in watcher.embedded if part == "dev pictures"]
    for verb in split.dev_unseen:
        assert any(_mentions(text, whole.verb(verb), known) for text in on_dev), "a mention is noticed"
    of_teacher = {text for part, text in watcher.embedded if part == "the teacher's vocabulary"}
    assert of_teacher == {
        text.strip() for text, word in zip(stage.teacher.vocabulary, stage.words.words, strict=True) if word
    }
    assert any(verb in of_teacher for verb in split.unseen), "which is why this one place is left out"


def test_no_picture_of_an_unseen_verb_is_used(stage: StageParts, split: VerbSplit) -> None:
    """Besides: pictures of the test's unseen verbs are broken files here."""
    records = json.loads((stage.data.root / "SWiG_jsons" / "train.json").read_text(encoding="utf-8"))
    hidden = {name for name, record in records.items() if record["verb"] in (*split.unseen, *split.dev_unseen)}
    assert len(hidden) >= 5, "the training file does hold such pictures"
    used = [image.file_name for image in stage.data.train]
    assert hidden.isdisjoint(used)
    data = tuning_data(stage, "learned")
    assert {image.situation.verb for image in data.texts.images} <= set(split.training)
    assert hidden.isdisjoint(image.file_name for image in data.texts.images)
    assert hidden.isdisjoint(TokenCache.open(stage.work / "tokens").contents)
    views = ViewStore.open(stage.work / "views")
    assert 0 < len(views) <= 10
    # Plans name pictures by their place: in the training pictures that the views' settings were made of.
    assert views.settings.data == view_store.source_fingerprint(stage.data.train)
    places = {place for view in views.views for place in (view.plan.base, *(cut.picture for cut in view.plan.cuts))}
    assert max(places) < len(used)
    rationales = (stage.work / "rationales" / "rationales.jsonl").read_text(encoding="utf-8")
    assert not any(name in rationales for name in hidden)


def test_what_prompts_are_aligned_with_and_told_knows_training_verbs_only(stage: StageParts, split: VerbSplit) -> None:
    data, whole, known = tuning_data(stage, "learned"), stage.data.whole, stage.data.vocabulary
    for text in data.texts.texts:
        assert not [v for v in (*split.unseen, *split.dev_unseen) if _mentions(text, whole.verb(v), known)], text
    assert len(stage.roles.targets.verb_index.unique()) == len(split.training)
    held_out = _held_out(stage)
    assert held_out is not None
    assert len(held_out.words) == len(split.training) + len(split.dev_unseen)
    assert int(held_out.verb_index.max()) < len(held_out.words)
    assert set(held_out.groups) == {"seen", "rare", "unseen"}
    assert torch.stack(list(held_out.groups.values())).sum(dim=0).tolist() == [1] * len(held_out.verb_index)


def test_the_choice_of_views_knows_training_verbs_only(
    stage: StageParts, split: VerbSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovgsr.training import stage_parts

    told: list[tuple[str, ...]] = []
    real = stage_parts.NovelPictures

    def spied(teacher: object, words: object, verbs: Sequence[str], settings: object) -> object:
        told.append(tuple(verbs))
        return real(teacher, words, verbs, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(stage_parts, "NovelPictures", spied)
    stage.views()
    assert told == [split.training]


def test_a_training_run_on_the_readings_embeds_no_unseen_test_verb(
    stage: StageParts, watcher: Watcher, root: Path, split: VerbSplit, tmp_path: Path
) -> None:
    watcher.part, begun = "building", len(watcher.embedded)
    config = stage_config(
        root,
        model={"distilled_readout": True},
        distill={"signals": str(stage.work / "learned"), "views": 1.0, "view_store": str(stage.work / "views")},
        train={"epochs": 1},
    )
    trainer = Trainer(config, RunDir(tmp_path / "run"))
    watcher.part = "training"
    trainer.fit()
    whole, known = stage.data.whole, stage.data.vocabulary
    nouns = {noun.text for noun in whole.answers}
    texts = [(part, text) for part, text in watcher.embedded[begun:] if text not in nouns]
    assert {part for part, _ in texts} == {"building", "training"}
    for part, text in set(texts):
        hidden = split.unseen if part == "training" else (*split.unseen, *split.dev_unseen)  # dev is looked at
        assert not [verb for verb in hidden if _mentions(text, whole.verb(verb), known)], f"{part}: {text!r}"
    student = json.loads((tmp_path / "run" / "student" / "vocabulary.json").read_text(encoding="utf-8"))
    assert tuple(student["verbs"]) == split.training


def test_killed_in_the_middle_of_every_part_and_resumed(
    config: Config, teacher: MultimodalLLM, stage: StageParts, tmp_path: Path
) -> None:
    """The same prompts, views, rationales and readings, byte for byte; tokens lie in other shards and are the same."""
    killer, kills, work = KillsOnceInEachPart(), [], tmp_path / "work"
    for kind in KINDS:
        while True:
            resumed = _stage(config, work, teacher, killer)
            vars(resumed).update({name: vars(stage)[name] for name in ("data", "encoder", "words")})
            try:
                signals(resumed, kind)
                break
            except Killed:
                kills.append(killer.part)
    assert set(kills) >= {
        "composite views",
        "visual tokens",
        "visual tokens of the views",
        "rationales",
        "tuning the prompts (learned)",
        "reading the pictures (learned)",
        "reading the views (learned)",
        "reading the pictures (fixed)",
        "reading the pictures (embedding)",
    }
    for part in ("views", "rationales", "prompts", "learned", "fixed", "embedding"):
        found, expected = _files(work, part), _files(stage.work, part)
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == [], part
    names = [image.file_name for image in stage.data.train]
    tokens = [TokenCache.open(folder / "tokens").read(names) for folder in (work, stage.work)]
    assert torch.equal(tokens[0].tokens, tokens[1].tokens)


DEV = [
    # dev's scores before the first step and after each of three, and the step whose prompts are kept
    ([10.0, 50.0, 20.0, 30.0], 1),
    ([10.0, 20.0, 60.0, 60.0], 3),  # of equals the later
    ([40.0, 10.0, 10.0, 10.0], 0),
]


class KillsBeforeEachStep(Watcher):
    """Raises once at each step of tuning: the state on disk is that of the look at dev before it."""

    def __init__(self) -> None:
        super().__init__()
        self.killed: set[int] = set()

    def progress(self, done: int, total: int) -> None:
        super().progress(done, total)
        if self.part.startswith("tuning") and done and done not in self.killed:
            self.killed.add(done)
            raise Killed


@pytest.mark.parametrize(("scores", "best"), DEV)
def test_the_prompts_that_did_best_on_dev_are_kept_wherever_a_run_was_killed(
    config: Config,
    teacher: MultimodalLLM,
    stage: StageParts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scores: list[float],
    best: int,
) -> None:
    runs: list[prompt_tuning.PromptTuning] = []
    states: dict[int, dict[str, Tensor]] = {}
    begin = prompt_tuning.PromptTuning.__init__

    def begun(self: prompt_tuning.PromptTuning, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        runs.append(self)

    def looked_at(prompts: torch.nn.Module, *_: object) -> dict[str, float]:
        step = runs[-1].state.step
        states[step] = {name: value.detach().clone() for name, value in prompts.state_dict().items()}
        return {"harmonic_mean": scores[step]}

    monkeypatch.setattr(prompt_tuning.PromptTuning, "__init__", begun)
    monkeypatch.setattr(prompt_tuning, "zero_shot", looked_at)

    def tune(folder: Path, observer: Watcher) -> dict[str, bytes]:
        folder.mkdir(exist_ok=True)
        for part in ("tokens", "view_tokens", "views", "rationales"):
            if not (folder / part).exists():
                (folder / part).symlink_to(stage.work / part)
        this = _stage(config, folder, teacher, observer)
        vars(this).update({name: vars(stage)[name] for name in ("data", "encoder", "words")})
        reader(this, "learned")
        return _files(folder, "prompts")

    whole = tune(tmp_path / "whole", Watcher())
    kept = load(whole[f"prompts/learned/{WEIGHTS}"])
    assert all(torch.equal(kept[name], value) for name, value in states[best].items())
    assert not torch.equal(states[0]["scene"], states[1]["scene"])
    history = json.loads(whole[f"prompts/learned/{RECORD}"])["history"]
    assert [(entry["step"], entry["harmonic_mean"]) for entry in history] == list(enumerate(scores))
    killer = KillsBeforeEachStep()
    for _ in range(3):
        with pytest.raises(Killed):
            tune(tmp_path / "killed", killer)
    assert tune(tmp_path / "killed", killer) == whole
