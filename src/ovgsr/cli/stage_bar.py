"""A progress bar that follows the teacher's stage through its parts."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ovgsr.cli.progress import messages


class StageBar:
    """One line a part, with how much of it is done; usable as a ``StageObserver`` and as ``Progress``."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=messages,
        )
        self._task: TaskID | None = None
        self._part: str | None = None

    def __enter__(self) -> StageBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage(self, name: str) -> None:
        """Another part begins."""
        self._task = self._bar.add_task(name, total=None)

    def __call__(self, part: str, done: int, total: int) -> None:
        """So much of a part is done; the first time that it is named, it begins."""
        if part != self._part:
            self._part = part
            self.stage(part)
        self.progress(done, total)

    def progress(self, done: int, total: int) -> None:
        """So much of the part is done."""
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
