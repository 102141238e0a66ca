"""Stage 1 from end to end: a folder of readings for ``distill.signals``, with all that it takes made first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch

from ovgsr.config import SignalKind, load_config
from ovgsr.data.hoi_check import annotated_folds
from ovgsr.distillation.pair_cuts import write_pair_cuts
from ovgsr.distillation.plain_embedding import PlainEmbedding
from ovgsr.distillation.prompts import PromptReader
from ovgsr.distillation.regions import WithRegions
from ovgsr.distillation.signal_info import INFO_FILE
from ovgsr.distillation.word_space import PromptError
from ovgsr.training.reading import require_asked, write_readings
from ovgsr.training.stage_one import TUNED, fresh_prompts, tuned_prompts
from ovgsr.training.stage_parts import StageObserver, StageParts, Watchless

CUTS = "cuts"
"""The folder below ``work`` for the pairs of a data set of interactions."""
_CENTRED_ON = 256
"""Pictures whose readings tell what all readings share."""


def signals(stage: StageParts, kind: SignalKind) -> Path:
    """The folder for ``distill.signals`` (``distill.token_cache`` for the kind "tokens"), made or completed."""
    if kind == "tokens":
        stage.tokens()
        return stage.work / "tokens"
    folder = stage.work / kind
    if kind not in get_args(SignalKind):
        raise PromptError(f"there is no kind of signals called {kind!r}; choose from {', '.join(get_args(SignalKind))}")
    if (folder / INFO_FILE).is_file():
        require_asked(stage, kind, folder)
    else:
        views = stage.views() if stage.config.views.count else None
        write_readings(stage, kind, with_regions(stage, kind, reader(stage, kind)), folder, views)
    return folder


def reader(stage: StageParts, kind: SignalKind) -> PromptReader:
    """What reads the pictures for a kind of signals: tuned where the kind asks for it."""
    if kind == "embedding":
        return PlainEmbedding(stage.encoder)
    if kind in TUNED:
        return tuned_prompts(stage, kind, stage.work / "prompts" / kind)
    return fresh_prompts(stage, kind)


def with_regions(stage: StageParts, kind: SignalKind, prompts: PromptReader) -> PromptReader:
    """The reader, with the boxes' visual tokens beside its readings of the roles, but for kinds that go without."""
    if kind in ("embedding", "no_regions"):
        return prompts
    images = stage.data.train
    indices = sorted({place * len(images) // _CENTRED_ON for place in range(_CENTRED_ON)})
    visual = stage.tokens().read([images[index].file_name for index in indices], dtype=torch.float32).visual()
    return WithRegions(prompts.eval(), stage.teacher, visual, stage.roles(indices)).to(stage.teacher.device)


def prepare_signals(
    kind: SignalKind,
    *,
    data: Path,
    work: Path,
    teacher: str = "sketch",
    seed: int = 0,
    overrides: Sequence[str] = (),
    device: str | None = None,
    observer: StageObserver | None = None,
) -> Path:
    """The folder of one kind of signals for a data set, with all that it needs made first, below ``work``.

    ``overrides`` are settings of the stage (``prompts.*``, ``views.*``, ``model.text_encoder``); others are read too.
    Of a data set in HICO-DET's layout its pairs are read, as cuts in ``work/cuts``.
    """
    observer = observer or Watchless()
    config = load_config(None, [*overrides, f"data.root={json.dumps(str(data))}", f"train.seed={seed}"])
    if annotated_folds(data):
        observer.stage("cutting out the pairs")
        cuts = write_pair_cuts(
            data, work / CUTS, split=config.data.split, drop=config.pairs.drop, progress=observer.progress
        )
        config = config.model_copy(update={"data": config.data.model_copy(update={"root": str(cuts), "split": None})})
    return signals(StageParts(config, work, teacher=teacher, device=device, observer=observer), kind)
