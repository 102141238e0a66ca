"""The plan of an ablation: which rows, what each of them changes, which seeds, and what is compared with what.

A plan is a YAML file (``configs/ablations/*.yaml``), read strictly: an unknown key is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ovgsr.config import SignalKind
from ovgsr.errors import OvgsrError

DEFAULTS = "custom"
"""The recipe name that stands for the defaults of ``ovgsr.config``."""
SIGNALS = "signals"
"""The folder of the teacher's stage, beside those of the rows."""
VIEWS = "views"
"""The folder in it that holds the composite views."""
_OWN_KEYS = ("data.root", "train.seed", "distill.signals", "distill.token_cache", "distill.view_store")
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class AblationError(OvgsrError):
    """A plan or a folder of cells that cannot be used; the message names it and the remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Strict):
    """One row of the table: a recipe with changes, and what a teacher leaves for it."""

    name: str
    """Its folder, and what ``--rows`` calls it."""
    title: str
    says: str
    """One sentence: what it is and why it is there."""
    recipe: str = DEFAULTS
    overrides: tuple[str, ...] = ()
    """``section.key=value``."""
    signals: SignalKind | None = None
    teacher_only: bool = False
    """No student: the teacher itself is prompted and scored."""
    teacher_roles: Literal["json", "likelihood"] = "json"
    """How a ``teacher_only`` row reads the roles."""

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or name == SIGNALS:
            raise ValueError(f"{name!r} is to be a folder: small letters, digits and _ (and not {SIGNALS!r})")
        return name

    @field_validator("overrides")
    @classmethod
    def _leaves_the_cell_alone(cls, overrides: tuple[str, ...]) -> tuple[str, ...]:
        return checked_overrides(overrides)

    @model_validator(mode="after")
    def _teacher_trains_nothing(self) -> Row:
        if self.teacher_only and (self.signals or self.overrides):
            raise ValueError(f"the row {self.name!r} is the teacher alone; leave out signals and overrides")
        return self


class AblationPlan(_Strict):
    """The whole table."""

    title: str = "Ablation"
    rows: tuple[Row, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    against: str
    """The row that the paired differences are taken from."""
    also_against: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    """Changes common to all rows, such as the number of epochs."""
    fold: Literal["dev", "test"] = "test"

    @field_validator("overrides")
    @classmethod
    def _leaves_the_cells_alone(cls, overrides: tuple[str, ...]) -> tuple[str, ...]:
        return checked_overrides(overrides)

    @model_validator(mode="after")
    def _hangs_together(self) -> AblationPlan:
        names = [row.name for row in self.rows]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise ValueError(f"two rows are called {double!r}; rename one")
        for name in (self.against, *self.also_against):
            if name not in names:
                raise ValueError(f"against: there is no row {name!r}; the rows are {', '.join(names)}")
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds: give whole numbers of at least 0, each once")
        return self

    def row(self, name: str) -> Row:
        """The row of that name. Raises AblationError with the names there are."""
        for row in self.rows:
            if row.name == name:
                return row
        known = [row.name for row in self.rows]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the rows are {', '.join(known)}"
        raise AblationError(f"the plan has no row {name!r}; {hint}")


def load_plan(path: Path | str) -> AblationPlan:
    """A plan from a YAML file, or by the name of one that the package carries (``sketch``).

    Raises AblationError naming the file, the key and the remedy.
    """
    from yaml import YAMLError, safe_load

    found = _find_plan(path)
    try:
        plain = safe_load(found.read_text(encoding="utf-8"))
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise AblationError(f"{found}: not a readable plan: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict):
        raise AblationError(f"{found}: a plan is a map with the keys rows, seeds and against")
    try:
        return AblationPlan.model_validate(plain)
    except ValidationError as error:
        raise AblationError(f"{found}: " + "; ".join(_explain(problem) for problem in error.errors())) from None


def _find_plan(path: Path | str) -> Path:
    given = Path(path)
    if given.is_file():
        return given
    folder = Path(__file__).parent.parent / "configs" / "ablations"
    named = folder / f"{given.name.removesuffix('.yaml')}.yaml"
    if given.parent == Path() and named.is_file():
        return named
    known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise AblationError(f"{path}: there is no such plan file; the package's plans are: {known}")


def _explain(problem: Any) -> str:
    place = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        fields = Row.model_fields if place[0] == "rows" else AblationPlan.model_fields
        near = difflib.get_close_matches(place[-1], list(fields), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
        return f"unknown key {'.'.join(place)!r}; {hint}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(place)}: {message}" if place else message


def checked_overrides(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides as they are. Raises ValueError for one that is none, or that a cell sets for itself."""
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise ValueError(f"the override {override!r} is not of the form section.key=value")
        if key.strip() in _OWN_KEYS:
            raise ValueError(f"the override {override!r} sets what each cell sets for itself; leave it out")
    return tuple(overrides)
