"""What a run leaves out and goes on: unreadable pictures and faulty records, each once, in a file beside the run."""

from __future__ import annotations

import json
from pathlib import Path


class Skipped:
    """A JSON Lines file that every process of a run adds to; picklable, for worker processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._noted: set[str] = set()

    def note(self, *sentences: str) -> None:
        """Adds what was left out and why; once a process, however often it is met."""
        fresh = [sentence for sentence in sentences if sentence not in self._noted]
        if fresh:
            self._noted.update(fresh)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(sentence) + "\n" for sentence in fresh))

    def read(self) -> list[str]:
        """All that was left out, by any process and before any resumption, in the order it was met."""
        if not self.path.is_file():
            return []
        found: dict[str, None] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found[json.loads(line)] = None
            except json.JSONDecodeError:  # the last line of a killed run may be half a line
                continue
        return list(found)
