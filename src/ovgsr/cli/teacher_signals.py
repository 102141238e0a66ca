"""``ovgsr teacher signals``: stage 1 from end to end, so that training a student needs no LLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

SWIG_PICTURES, SWIG_ROLES = 75_702, 6


def signals(
    data: Annotated[Path, typer.Option(help="Folder of the data set, in SWiG or HICO-DET layout.")],
    work: Annotated[Path, typer.Option(help="Folder of the stage: tokens, rationales, views, prompts, signals.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings to change: prompts.steps=300 views.count=20000 ...")
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="learned (MIPD), fixed (hand-written prompt), known_words (the same, naming training verbs only), "
            "scene_only, instance_only, no_negatives, no_regions, block, embedding (no prompt), tokens."
        ),
    ] = "learned",
    teacher: Annotated[str, typer.Option(help="Multimodal LLM: folder, hub name, or 'sketch'.")] = "sketch",
    split: Annotated[
        Path | None,
        typer.Option(
            help="Split file, ov_swig, or HICO-DET's rf_uc, nf_uc, uo, uv, uc0 ... uc4; default: the data set's own."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of views and prompts.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
) -> None:
    """Let a frozen teacher read the training pictures, and composite views of them, into a few vectors a picture.

    Of human-object interactions each training pair is read, cut out of its picture (WORK/cuts).

    Makes what is missing below --work: the teacher's visual tokens, rationales (by template, unless
    `ovgsr teacher rationales --out WORK/rationales` has put an LLM's there), views, tuned prompts, and the signals that
    `distill.signals` of a recipe names. A stopped run is finished by the same command.
    """
    from typing import get_args

    from ovgsr.cli.progress import console
    from ovgsr.cli.stage_bar import StageBar
    from ovgsr.config import SignalKind
    from ovgsr.errors import OvgsrError
    from ovgsr.training.teacher_stage import prepare_signals

    if kind not in get_args(SignalKind):
        raise OvgsrError(f"--kind must be one of {', '.join(get_args(SignalKind))}, not {kind!r}")
    changes = [*(overrides or []), *([f"data.split={json.dumps(str(split))}"] if split else [])]
    with StageBar() as bar:
        folder = prepare_signals(
            kind,  # type: ignore[arg-type]
            data=data,
            work=work,
            teacher=teacher,
            seed=seed,
            overrides=changes,
            device=device,
            observer=bar,
        )
    console.print(f"signals: {folder}", highlight=False, markup=False, soft_wrap=True)
    if kind == "tokens":
        console.print("train with: distill.token_cache=" + str(folder) + " distill.tokens=1", highlight=False)
        return
    _tell(folder, work)


def _tell(folder: Path, work: Path) -> None:
    from ovgsr.cli.progress import console
    from ovgsr.distillation.signal_store import SignalStore, estimate_bytes

    store = SignalStore.open(folder)
    info = store.info
    whole = estimate_bytes(SWIG_PICTURES, SWIG_ROLES, info.width, info.role_width, 0)
    console.print(
        f"{len(store)} pictures, {store.views} views, {store.bytes_per_picture:.0f} bytes a picture "
        f"(SWiG's {SWIG_PICTURES:,} training pictures with six roles: {whole / 1e6:.0f} MB)",
        highlight=False,
        soft_wrap=True,
    )
    views = f" distill.view_store={work / 'views'} distill.views=0.75" if store.views else ""
    console.print(
        f"train with: model.distilled_readout=true distill.signals={folder}{views}", highlight=False, soft_wrap=True
    )
