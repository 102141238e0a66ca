"""What an ablation asks of a task: how a cell is scored, the table's columns, and what intervals are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ovgsr.config import Config
from ovgsr.models.checkpoint import Checkpoint
from ovgsr.report import PictureSection
from ovgsr.training.ablation import Ablation, Cell, Progress
from ovgsr.training.ablation_statistics import Interval

Records = TypeVar("Records")
"""What one cell's test pictures, or interactions, scored one by one."""

SAMPLES = 600
"""At most so many test pictures, evenly spread, have what was predicted kept for showing."""


@dataclass(frozen=True)
class Column:
    """One number of a cell: what it is called and where its results file has it."""

    key: str
    title: str
    path: tuple[str, ...]
    calibrated: bool = False
    """Read with the constants for unseen and rare verbs where the results file has it."""
    digits: int = 1


@dataclass(frozen=True)
class Part:
    """Columns that stand in one table, narrow enough to read."""

    title: str
    columns: tuple[Column, ...]
    note: str = ""
    compared: bool = True
    """Whether rows are compared by its columns."""


COST = Part(
    "What a row costs",
    (
        Column("step_ms", "ms a training step", ("timing", "step_ms")),
        Column("pictures", "training pictures", ("cost", "pictures"), digits=0),
        Column("steps", "training steps", ("cost", "steps"), digits=0),
        Column("parameters", "student parameters", ("cost", "parameters"), digits=0),
    ),
    "ms a training step: the median over the run's log, on the machine that ran it.",
    compared=False,
)
"""The last part of every task's table."""


class Scoring(Protocol[Records]):
    """The part of an ablation that depends on the task."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The table; each column in one part."""

    @property
    def summary(self) -> Part:
        """What the command line shows of it."""

    @property
    def note(self) -> str:
        """What its numbers are."""

    @property
    def drawn(self) -> str:
        """For which columns there is a bootstrap interval, and what is drawn anew for it."""

    def score(self, ablation: Ablation, cell: Cell, config: Config, progress: Progress) -> dict[str, Any]:
        """The results file of a trained cell, whose records and samples are written on the way."""

    def score_teacher(self, ablation: Ablation, cell: Cell, progress: Progress) -> dict[str, Any]:
        """The results file of a row that is the prompted teacher itself, with its records."""

    def records(self, cell: Cell) -> Records | None:
        """What intervals of a finished cell are drawn from; None where it was not kept.

        Raises AblationError for a file that is damaged.
        """

    def intervals(
        self, row: Mapping[int, Records], against: Mapping[int, Records], draws: int
    ) -> Mapping[str, Interval]:
        """Column -> 95 % bootstrap interval of ``row`` minus ``against``, both seed -> records."""

    def differing_pictures(
        self, ablation: Ablation, cells: tuple[Cell, Cell], titles: tuple[str, str], count: int
    ) -> Sequence[PictureSection]:
        """Test pictures on which two finished cells differ, at most ``count`` a section."""


def columns_of(scoring: Scoring[Any]) -> tuple[Column, ...]:
    """All columns of a task's table, in order."""
    return tuple(column for part in scoring.parts for column in part.columns)


def cost_of(cell: Cell, checkpoint: Checkpoint[Any]) -> dict[str, Any]:
    """The block ``cost`` of a trained cell's results file."""
    return {
        "pictures": checkpoint.provenance.details.get("train_pictures"),
        "steps": max((record["step"] for record in cell.run.read_log()), default=0),
        "parameters": sum(weight.numel() for weight in checkpoint.model.parameters()),
    }
