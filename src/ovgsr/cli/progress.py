"""Progress bars of the commands, on standard error so that standard output stays clean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console()
messages = Console(stderr=True)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """How many a second."""
        return Text(f"{task.speed:.0f} {self.unit}/s" if task.speed else "", style="cyan")


@contextmanager
def progress_bar(title: str, unit: str = "pictures") -> Iterator[ProgressCallback]:
    """A bar that hears ``(done, total)``; gone when nothing reports to it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=messages, transient=not messages.is_terminal) as bar:
        yield ProgressCallback(bar, bar.add_task(title, total=None, note=""))


class ProgressCallback:
    """What long work calls as it goes."""

    def __init__(self, bar: Progress, task: object) -> None:
        self._bar = bar
        self._task = task

    def __call__(self, done: int, total: int, note: str | None = None) -> None:
        """``done`` of ``total`` pieces are finished."""
        fields = {} if note is None else {"note": note}
        self._bar.update(self._task, completed=done, total=total, **fields)  # type: ignore[arg-type]
