"""Prompts of each kind: fresh, tuned, and on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ovgsr.data.swig import image_folder
from ovgsr.distillation.prompts import InteractivePrompts, PromptReader
from ovgsr.distillation.rationale_texts import RationaleTexts
from ovgsr.distillation.token_block import TokenBlock
from ovgsr.distillation.word_space import PromptError
from ovgsr.files import write_atomically, write_text_atomically
from ovgsr.models.preprocess import load_image
from ovgsr.models.text_encoder import embed_vocabulary
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.tokens.cache import TokenCache
from ovgsr.teacher.visual_tokens import VisualTokens
from ovgsr.training.prompt_looks import PromptLooks, Watched
from ovgsr.training.prompt_tuning import HeldOut, PromptTuning, TuningData
from ovgsr.training.run_dir import optimizer_from_tensors, optimizer_to_tensors
from ovgsr.training.stage_parts import StageParts

TUNED = ("learned", "scene_only", "instance_only", "no_negatives", "no_regions", "block")
WEIGHTS, RECORD, STATE = "prompts.safetensors", "prompts.json", "state.safetensors"


def fresh_prompts(stage: StageParts, kind: str) -> PromptReader:
    """Prompts of a kind before any tuning, seeded."""
    torch.manual_seed(stage.seed)
    if kind == "block":
        return TokenBlock(stage.teacher, stage.words).to(stage.teacher.device)
    words = stage.words
    if kind == "known_words":
        words = words.naming_only(stage.data.vocabulary.verb_names, stage.teacher.vocabulary)
    # A part that is not learned stays the hand-written one, so that each row has both kinds of readings.
    return InteractivePrompts(
        stage.teacher,
        words,
        learn_scene=kind not in ("fixed", "known_words", "instance_only"),
        learn_instance=kind not in ("fixed", "known_words", "scene_only"),
    ).to(stage.teacher.device)


def tuned_prompts(stage: StageParts, kind: str, folder: Path) -> PromptReader:
    """Prompts of a kind, tuned: read from ``folder`` where they are finished, else tuned to the end and kept there.

    A killed run goes on from its last look at dev. Raises PromptError where the folder is of another make.
    """
    prompts = fresh_prompts(stage, kind)
    made = _make(stage, kind)
    if (folder / RECORD).is_file():
        _require_same(folder, made)
        load_prompts(prompts, folder)
        return prompts.requires_grad_(False)
    data, watched = tuning_data(stage, kind), _watched(stage)
    stage.observer.stage(f"tuning the prompts ({kind})")
    tuning = PromptTuning(
        prompts, fresh_prompts(stage, "fixed"), stage.teacher, data, stage.config.prompts, seed=stage.seed
    )
    _resume(tuning, folder, made)
    with PromptLooks(folder / "tensorboard", stage.teacher, watched, tuning.state.step) as looks:

        def watch(step: int, numbers: dict[str, float]) -> None:
            stage.observer.progress(step, stage.config.prompts.steps)
            looks.numbers(step, numbers)
            if "harmonic_mean" in numbers:  # a look at dev is where a killed run goes on
                looks.pictures(step, prompts)
                _save_state(tuning, folder, made)

        state = tuning.run(watch)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in prompts.state_dict().items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(weights, path))
    record = {"made": made, "history": state.history, "parameters": sum(p.numel() for p in prompts.parameters())}
    write_text_atomically(folder / RECORD, json.dumps(record, indent=1))
    (folder / STATE).unlink(missing_ok=True)
    return prompts.requires_grad_(False)


def load_prompts(prompts: PromptReader, folder: Path) -> None:
    """Puts the weights of ``folder`` into ``prompts``. Raises PromptError naming the file where they do not fit."""
    try:
        prompts.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise PromptError(f"{folder / WEIGHTS}: not the prompts of this teacher ({reason}); tune them anew") from None


def _make(stage: StageParts, kind: str) -> dict[str, Any]:
    """What decides how prompts come out."""
    return {
        "kind": kind,
        "teacher": stage.teacher.fingerprint,
        "text": stage.encoder.fingerprint,
        "settings": stage.config.prompts.model_dump(mode="json"),
        "rationales": stage.rationales.identity.template_sha256 + stage.rationales.identity.model,
        **stage.identity(),
    }


def _require_same(folder: Path, made: dict[str, Any]) -> None:
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))["made"]
    except (OSError, ValueError, KeyError, TypeError):
        raise PromptError(f"{folder / RECORD}: not a readable record; delete the folder and tune anew") from None
    for name, value in made.items():
        if found.get(name) != value:
            raise PromptError(
                f"{folder}: was tuned with {name} {found.get(name)!r}, not {value!r}; choose another folder"
            )


def tuning_data(stage: StageParts, kind: str) -> TuningData:
    """The pictures, rationales and views that prompts of a kind are tuned on, and dev's pictures to look at."""
    images = stage.data.train
    written = stage.rationales.read(images)
    cache = stage.tokens()
    limit = stage.config.prompts.pictures
    told = spread([image for image in images if image.file_name in written], limit)
    stage.observer.stage("embedding the rationales")
    form = "none" if kind == "no_negatives" else stage.config.prompts.negatives
    texts = RationaleTexts(told, written, stage.data.vocabulary, stage.encoder, negatives=form)
    views = stage.views() if stage.config.views.count else None
    view_cache = None if views is None else stage.view_tokens(views)
    names = () if views is None else views.names
    return TuningData(
        visual=_reader(cache, [image.file_name for image in told]),
        roles=stage.roles_of(told),
        texts=texts,
        views=None if view_cache is None else _reader(view_cache, names),
        view_count=len(names),
        held_out=_held_out(stage),
    )


def _watched(stage: StageParts, count: int = 6) -> Watched:
    """A few training pictures, far apart."""
    images = stage.data.train
    indices = sorted({place * len(images) // count for place in range(count)})
    chosen = [images[index] for index in indices]
    return Watched(
        chosen,
        [load_image(image_folder(stage.data.root) / image.file_name) for image in chosen],
        stage.tokens().read([image.file_name for image in chosen], dtype=torch.float32).visual(),
        stage.roles(indices),
        [stage.data.vocabulary.verb(image.situation.verb).roles for image in chosen],
    )


def _reader(cache: TokenCache, names: Sequence[str]) -> Any:
    def read(indices: Sequence[int]) -> list[VisualTokens]:
        return cache.read([names[index] for index in indices], dtype=torch.float32).visual()

    return read


def _held_out(stage: StageParts) -> HeldOut | None:
    """Some dev pictures and dev's competing verbs; the test's unseen verbs are neither shown nor named."""
    data, limit = stage.data, stage.config.prompts.dev_pictures
    images = spread(data.dev, limit)
    if not images:
        return None
    vocabulary = data.whole.with_verbs(data.split.candidates("dev"))
    stage.observer.stage("dev pictures")
    visual: list[VisualTokens] = []
    for start in range(0, len(images), 16):
        part = images[start : start + 16]
        pictures = [load_image(image_folder(data.root) / image.file_name) for image in part]
        visual += stage.teacher.visual_tokens(pictures)
        stage.observer.progress(len(visual), len(images))
    words = embed_vocabulary(vocabulary, stage.encoder).told_verbs
    training = torch.tensor([name in data.vocabulary for name in vocabulary.verb_names])
    centred = torch.nn.functional.normalize(words - words[training].mean(dim=0), dim=-1)
    gold = torch.tensor([vocabulary.verb_index(image.situation.verb) for image in images])
    return HeldOut(visual, gold, centred, data.dev_groups(images))


def spread(images: Sequence[AnnotatedImage], limit: int) -> list[AnnotatedImage]:
    """At most ``limit`` pictures, evenly over the list, which is sorted by verb in most data sets."""
    if len(images) <= limit:
        return list(images)
    return [images[index * len(images) // limit] for index in range(limit)]


def _save_state(tuning: PromptTuning, folder: Path, made: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = tuning.state
    tensors = {f"prompts.{name}": value for name, value in tuning.prompts.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    tensors |= optimizer_to_tensors(tuning.optimizer) | {"temperature": tuning.temperature.detach()}
    whole = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    record = {"made": made, "step": state.step, "best_score": state.best_score, "history": state.history}
    metadata = {"record": json.dumps(record)}
    write_atomically(folder / STATE, lambda path: save_file(whole, path, metadata=metadata))


def _resume(tuning: PromptTuning, folder: Path, made: dict[str, Any]) -> None:
    """Goes on where a killed run left a state of the same make; any other state is from the start."""
    from safetensors import safe_open

    try:
        with safe_open(folder / STATE, "pt") as file:
            record = json.loads(file.metadata()["record"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return
    if record["made"] != made:
        return

    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    tuning.prompts.load_state_dict(under("prompts."))
    optimizer_from_tensors(tuning.optimizer, tensors)
    with torch.no_grad():
        tuning.temperature.copy_(tensors["temperature"])
    tuning.state.step, tuning.state.best_score = record["step"], record["best_score"]
    tuning.state.best, tuning.state.history = under("best."), record["history"]
