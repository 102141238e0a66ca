"""Boxes that some detector found, on disk: what the two-stage way takes in place of the pair student's own.

JSON Lines. The first line says where the boxes come from, each other line is a picture::

    {"format": "ovgsr-boxes-1", "detector": "DETR-R50", "trained_on": "HICO-DET train2015, all 80 objects"}
    {"image": "a.jpg", "boxes": [[x1, y1, x2, y2], ...], "labels": ["person", "bicycle"], "scores": [0.9, 0.7]}

Boxes are 0-based continuous corners in pixels of the picture, labels the names of objects with underscores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovgsr.data.errors import DataError
from ovgsr.situation import BoxXyxy

BOXES_FORMAT = "ovgsr-boxes-1"


@dataclass(frozen=True, slots=True)
class DetectedBox:
    """One box of a detector with its label and score (0..1)."""

    box_xyxy: BoxXyxy
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found, by picture."""

    detector: str
    trained_on: str
    images: Mapping[str, tuple[DetectedBox, ...]]

    @property
    def notice(self) -> str:
        """The sentence that belongs to every result."""
        return f"boxes and objects are those of the detector {self.detector}, trained on {self.trained_on}"

    def of(self, image: str) -> tuple[DetectedBox, ...]:
        """The boxes of a picture, by its name or path. Raises DataError where the file does not mention it."""
        found = self.images.get(image, self.images.get(Path(image).name))
        if found is None:
            raise DataError(f"{image}: the detector's file has no line for this picture; run the detector on it")
        return found


def read_detections(path: Path) -> Detections:
    """Reads a file of boxes. Raises DataError with the line, the field and the remedy."""
    try:
        lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); check the path") from None
    records = [_record(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    head = records[0] if records else {}
    names = [head.get("detector"), head.get("trained_on")]
    if head.get("format") != BOXES_FORMAT or not all(isinstance(name, str) and name for name in names):
        raise DataError(
            f"{path}, line 1: must hold 'format' ({BOXES_FORMAT!r}), 'detector' and 'trained_on', so that results can "
            "say whose boxes they are"
        )
    images: dict[str, tuple[DetectedBox, ...]] = {}
    for number, record in enumerate(records[1:], start=2):
        image, boxes = _picture(record, f"{path}, line {number}")
        if image in images:
            raise DataError(f"{path}, line {number}: the field 'image' names {image!r} a second time; remove one")
        images[image] = boxes
    return Detections(str(names[0]), str(names[1]), images)


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg}); correct the line") from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: must be a JSON object, not {type(record).__name__}")
    return record


def _picture(record: dict[str, Any], where: str) -> tuple[str, tuple[DetectedBox, ...]]:
    image, boxes, labels, scores = (record.get(field) for field in ("image", "boxes", "labels", "scores"))
    if not isinstance(image, str) or not image:
        raise DataError(f"{where}: the field 'image' must be the picture's file name")
    if not all(isinstance(field, list) for field in (boxes, labels, scores)):
        raise DataError(f"{where}: the fields 'boxes', 'labels' and 'scores' must be lists")
    if not len(boxes) == len(labels) == len(scores):  # type: ignore[arg-type]
        raise DataError(f"{where}: 'boxes', 'labels' and 'scores' must be equally long")
    found = []
    for box, label, score in zip(boxes, labels, scores, strict=True):  # type: ignore[arg-type]
        numbers: list[Any] = [*box, score] if isinstance(box, list) and len(box) == 4 else [None]
        if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
            raise DataError(f"{where}: a box must be four finite numbers and its score one, not {box!r} and {score!r}")
        if not isinstance(label, str) or not label:
            raise DataError(f"{where}: a label must be the name of an object, not {label!r}")
        found.append(DetectedBox(tuple(map(float, box)), label.replace(" ", "_"), float(score)))  # type: ignore[arg-type]
    return image, tuple(found)
