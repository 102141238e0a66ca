"""One cell of an ablation: the teacher's stage, training, and scoring by the way of its task."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from ovgsr.config import Config, SignalKind
from ovgsr.files import write_text_atomically
from ovgsr.training.ablation import Ablation, Cell, Progress
from ovgsr.training.ablation_interactions import InteractionScoring
from ovgsr.training.ablation_scoring import Scoring
from ovgsr.training.ablation_situations import SituationScoring
from ovgsr.training.loop import train
from ovgsr.training.run_dir import RunDir

SCORINGS: Mapping[str, Scoring[Any]] = MappingProxyType(
    {"situations": SituationScoring(), "interactions": InteractionScoring()}
)
"""How the cells of a task are scored."""


class StageWatcher(Protocol):
    """Whoever watches the teacher's stage."""

    def stage(self, name: str) -> None:
        """A part of the stage is begun."""

    def progress(self, done: int, total: int) -> None:
        """``done`` of ``total`` pieces of it."""


class PrepareSignals(Protocol):
    """The teacher's stage: what it leaves for a kind of row, in the folder that it returns; resumable."""

    def __call__(
        self,
        kind: SignalKind,
        *,
        data: Path,
        work: Path,
        teacher: str,
        seed: int,
        overrides: Sequence[str],
        device: str | None = None,
        observer: StageWatcher | None = None,
    ) -> Path:
        """The folder for ``distill.signals``."""


class _Stage:
    """The teacher's stage and the training loop, told as progress of a cell."""

    def __init__(self, report: Progress) -> None:
        self.report = report
        self.name, self.steps = "teacher", 0

    def stage(self, name: str) -> None:
        self.name = name

    def progress(self, done: int, total: int) -> None:
        self.report(self.name, done, total)

    def started(self, step: int, steps: int) -> None:
        self.steps = steps
        self.report("training", step, steps)

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        self.report("training", step, self.steps)

    def validated(self, epoch: int, scores: dict[str, float]) -> None: ...


def run_cell(ablation: Ablation, cell: Cell, progress: Progress, *, prepare: PrepareSignals | None = None) -> None:
    """Carries a cell to its results file, going on where an earlier attempt stopped.

    ``prepare`` is the teacher's stage, by default that of ``training/teacher_stage.py``. Raises OvgsrError where the
    cell's settings, its data or its teacher cannot be used.
    """
    began = time.monotonic()
    ablation.open(cell)
    scoring = SCORINGS[ablation.task]
    if cell.row.teacher_only:
        results = scoring.score_teacher(ablation, cell, progress)
        seconds_per_step = None
    else:
        signals = prepared(ablation, cell, progress, prepare)
        config = ablation.config(cell, signals)
        if not (cell.run.student / "config.json").is_file():
            resume = (cell.run.path / "config.json").is_file()
            train(config, cell.run.path, resume=resume, observer=_Stage(progress))
        results = scoring.score(ablation, cell, config, progress)
        seconds_per_step = step_seconds(cell.run, config)
    results |= {"row": cell.row.name, "seed": cell.seed}
    timing = {"seconds": round(time.monotonic() - began, 2), "seconds_per_step": seconds_per_step}
    write_text_atomically(cell.timing, json.dumps(timing))
    write_text_atomically(cell.results, json.dumps(results, indent=2))  # last: it is what a finished cell is known by


def prepared(ablation: Ablation, cell: Cell, progress: Progress, prepare: PrepareSignals | None = None) -> Path | None:
    """The folder of the signals that a cell's row learns from; None where it learns from none.

    The stage has a seed of its own, the plan's first: the rows' seeds share one teacher.
    """
    if cell.row.signals is None:
        return None
    if prepare is None:
        from ovgsr.training.teacher_stage import prepare_signals

        prepare = prepare_signals
    return prepare(
        cell.row.signals,
        data=ablation.data,
        work=ablation.work,
        teacher=ablation.teacher,
        seed=ablation.plan.seeds[0],
        overrides=ablation.common,
        device=ablation.device,
        observer=_Stage(progress),
    )


def step_seconds(run: RunDir, config: Config) -> float | None:
    """The median time of an optimiser step over the run's log; None where it has no line of it.

    A line's ``pictures_per_second`` is that of its epoch so far; ``seconds_per_step`` is used where a line has it.
    """
    share = config.train.batch_size * config.train.accumulate
    found = []
    for record in run.read_log():
        if "seconds_per_step" in record:
            found.append(float(record["seconds_per_step"]))
        elif record.get("pictures_per_second"):
            found.append(share / float(record["pictures_per_second"]))
    return statistics.median(found) if found else None
