"""A tiny data set in the HICO-DET format, made anew for each test that asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

OBJECTS = ["apple", "bicycle", "person"]
VERBS = ["eat", "hold", "no_interaction", "ride"]
CORRESPONDENCE = [[0, 0, 0], [1, 0, 1], [2, 1, 1], [3, 1, 2], [4, 1, 3], [5, 2, 1]]
"""eat apple, hold apple, hold bicycle, no_interaction bicycle, ride bicycle, hold person."""

Row = tuple[list[float], list[float], int]


def entry(*rows: Row) -> dict[str, list[Any]]:
    """A picture's entry from rows (human box, object box, hoi)."""
    return {
        "boxes_h": [human for human, _, _ in rows],
        "boxes_o": [other for _, other, _ in rows],
        "hoi": [hoi for _, _, hoi in rows],
        "object": [CORRESPONDENCE[hoi][1] for _, _, hoi in rows],
        "verb": [CORRESPONDENCE[hoi][2] for _, _, hoi in rows],
    }


HUMAN, BICYCLE, APPLE = [1, 1, 20, 30], [11, 21, 40, 40], [30, 1, 35, 6]


def record(fold: str = "test", **changes: Any) -> dict[str, Any]:
    """An instances file of three pictures, the second without a row."""
    return {
        "filenames": [f"HICO_{fold}2015_0000000{n}.jpg" for n in (1, 2, 5)],
        "size": [[40, 50], [40, 50], [50, 40]],
        "annotation": [
            entry((HUMAN, BICYCLE, 4), (HUMAN, BICYCLE, 2)),
            entry(),
            entry((HUMAN, APPLE, 0)),
        ],
        "empty": [1],
        "objects": OBJECTS,
        "verbs": VERBS,
        "correspondence": CORRESPONDENCE,
        "rare": [1],
        "non_rare": [0, 2, 3, 4, 5],
    } | changes


def write(root: Path, pictures: bool = True, **folds: dict[str, Any]) -> Path:
    """Writes ``fold=record`` files, by default train and test, with their pictures."""
    for fold, content in (folds or {"train": record("train"), "test": record()}).items():
        root.mkdir(parents=True, exist_ok=True)
        (root / f"instances_{fold}2015.json").write_text(json.dumps(content))
        folder = root / "images" / f"{fold}2015"
        folder.mkdir(parents=True, exist_ok=True)
        for number, (name, size) in enumerate(zip(content["filenames"], content["size"], strict=True)):
            if pictures:  # of different colours, since the same bytes in two folds are a fault
                Image.new("RGB", tuple(size), (40 * number, len(fold), ord(fold[1]))).save(folder / name)
    return root
