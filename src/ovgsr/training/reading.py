"""One pass of a reader over training pictures and views: a few vectors a picture, on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovgsr.distillation.prompts import PromptReader
from ovgsr.distillation.signal_info import UNNAMED, SignalError, SignalInfo
from ovgsr.distillation.signal_store import SignalStore, SignalWriter
from ovgsr.distillation.view_store import ViewStore
from ovgsr.training.stage_one import TUNED
from ovgsr.training.stage_parts import StageParts

_BATCH = 50


def write_readings(
    stage: StageParts, kind: str, reader: PromptReader, folder: Path, views: ViewStore | None
) -> SignalStore:
    """Reads every training picture (with its roles) and every view (the scene alone) that ``folder`` still lacks.

    The teacher reads pixels only: of an annotation it is told the names of the roles and where they are, never the verb
    or a noun; of a view nothing.
    """
    reader.eval()
    cache = stage.tokens()
    names = [image.file_name for image in stage.data.train]
    place = {name: index for index, name in enumerate(names)}
    with torch.no_grad():
        sample = reader(stage.teacher, cache.read(names[:1], dtype=torch.float32).visual(), stage.roles([0]))
    info = SignalInfo(
        kind=kind,
        teacher=stage.teacher.fingerprint,
        teacher_name=stage.name,
        text_fingerprint=stage.encoder.fingerprint,
        width=stage.encoder.width,
        role_width=0 if sample.roles is None else sample.roles.shape[-1],
        max_roles=stage.data.vocabulary.max_roles,
        views_digest="" if views is None else views.digest,
        details=asked(stage, kind) | _weights(reader) | {UNNAMED: unnamed_verbs(stage, kind)},
    )
    writer = SignalWriter(folder, info, names, () if views is None else views.names)
    stage.observer.stage(f"reading the pictures ({kind})")
    missing = writer.missing()
    with torch.no_grad():
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            roles = stage.roles([place[name] for name in part])
            read = reader(stage.teacher, cache.read(part, dtype=torch.float32).visual(), roles)
            writer.add(part, read.scene, read.roles)
            stage.observer.progress(len(names) - len(missing) + start + len(part), len(names))
        if views is not None:
            _read_views(stage, kind, reader, writer, views)
    return writer.finish()


def _read_views(stage: StageParts, kind: str, reader: PromptReader, writer: SignalWriter, views: ViewStore) -> None:
    """The mean reading of a view and its mirror image: what only one of them shows, the teacher makes up."""
    caches = [stage.view_tokens(views), stage.view_tokens(views, mirrored=True)]
    stage.observer.stage(f"reading the views ({kind})")
    missing = writer.missing_views()
    for start in range(0, len(missing), _BATCH):
        part = missing[start : start + _BATCH]
        read = [reader(stage.teacher, cache.read(part, dtype=torch.float32).visual(), None).scene for cache in caches]
        writer.add_views(part, torch.stack(read).mean(dim=0))
        stage.observer.progress(len(views) - len(missing) + start + len(part), len(views))


def unnamed_verbs(stage: StageParts, kind: str) -> list[str]:
    """The training verbs that no reading of this kind can name: no action of the teacher's vocabulary begins them.

    The teacher calls them something else ("wearing" is no word of the embedded one). None where a reading is no mean of
    the teacher's words.
    """
    if kind == "embedding":
        return []
    vocabulary = stage.teacher.vocabulary
    said = {vocabulary[index].strip().lower() for index in stage.words.gerunds.nonzero()[:, 0].tolist()}
    return sorted(verb for verb in stage.data.vocabulary.verb_names if verb.split()[0].lower() not in said)


def asked(stage: StageParts, kind: str) -> dict[str, Any]:
    """The settings that a kind of readings depends on, as its folder remembers them."""
    if kind not in TUNED:
        return stage.identity()
    written = stage.rationales.identity
    tuned = {
        "prompts": stage.config.prompts.model_dump(mode="json"),
        "rationales": f"{written.model}:{written.template_sha256}",
    }
    return stage.identity() | tuned


def require_asked(stage: StageParts, kind: str, folder: Path) -> None:
    """Raises SignalError where finished readings were made with other settings; no teacher is loaded to find out."""
    found = SignalStore.open(folder).info.details
    for name, value in asked(stage, kind).items():
        if found.get(name) != value:
            raise SignalError(
                f"{folder}: these readings were made with {name} {found.get(name)!r}, not {value!r}; "
                "choose another folder, or delete this one"
            )


def _weights(reader: nn.Module) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name, weight in sorted(reader.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().float().numpy().tobytes())
    return {
        "weights": digest.hexdigest(),  # prompts tuned anew must not go on in an older folder
        "parameters": sum(parameter.numel() for parameter in reader.parameters()),
    }
