"""The progress bar of a training run."""

from __future__ import annotations

from contextlib import ExitStack

from ovgsr.cli.progress import messages, progress_bar


class TrainingBar:
    """Shows steps, losses and speed while a run goes, and a line for each look at dev."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.steps = 0
        self._stack = ExitStack()
        self._note = ""

    def __enter__(self) -> TrainingBar:
        self._bar = self._stack.enter_context(progress_bar(self.title, "steps"))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def started(self, step: int, steps: int) -> None:
        """The run goes from ``step`` to ``steps``."""
        self.steps = steps
        self._bar(step, steps)

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        """An optimiser step is done; ``numbers`` is empty where nothing was measured."""
        if numbers:
            speed = numbers["pictures_per_second"]
            verb = f", verb {100 * numbers['verb_top1']:.0f} %" if "verb_top1" in numbers else ""
            self._note = f"loss {numbers['loss']:.2f}{verb}, {speed:.0f} pictures/s"
        self._bar(step, self.steps, self._note)

    def validated(self, epoch: int, scores: dict[str, float]) -> None:
        """Dev was looked at."""
        names = {
            "seen.verb_top1": "seen",
            "rare.verb_top1": "rare",
            "unseen.verb_top5": "unseen top-5",
            "seen.value": "value",
            "seen.grnd_value": "grounded",
            "ausuc": "AUSUC",
            "map_full": "mAP",
            "map_seen": "mAP seen",
            "map_unseen": "mAP unseen",
        }
        known = [f"{label} {scores[name]:.1f}" for name, label in names.items() if name in scores]
        messages.print(f"after epoch {epoch}, dev: " + ", ".join(known), highlight=False)
