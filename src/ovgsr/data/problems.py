"""What the check of a data set finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the file relative to the data set, the place in it ("" for the whole file), and a sentence."""

    file: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.message}" if self.field else f"{self.file}: {self.message}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was looked at and what is wrong with it."""

    root: Path
    problems: tuple[Problem, ...]
    pictures: Mapping[str, int] = field(default_factory=dict)
    """Fold -> the number of its records."""
    summary: tuple[str, ...] = ()
    """Sentences on what was found, wrong or not."""

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems
