"""Human-object interactions as predicted: scored pairs of a picture, and their line in a predictions file.

The annotated side needs no type of its own: an interaction is a ``Situation`` with the roles HUMAN and OBJECT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovgsr.errors import OvgsrError
from ovgsr.situation import BoxXyxy, GroundedNoun, Situation

HUMAN, OBJECT = "human", "object"
"""The two roles of every interaction, in frame order."""

PERSON = "person"
"""The noun that fills the role HUMAN."""


class InteractionError(OvgsrError):
    """An interaction that cannot be read: the field at fault and the remedy."""


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """One predicted interaction: who does what to which object, and how sure the system is.

    Boxes are 0-based continuous corners in pixels of the annotated size, as everywhere; ``object`` is the object's
    name with underscores ("baseball_bat"). ``score`` is any finite number, higher is surer. A pair of boxes with
    several verbs is several of these.
    """

    human_box_xyxy: BoxXyxy
    object_box_xyxy: BoxXyxy
    verb: str
    object: str
    score: float

    def to_json(self) -> dict[str, Any]:
        """One entry of the field ``pairs``."""
        return {
            "human_box": list(self.human_box_xyxy),
            "object_box": list(self.object_box_xyxy),
            "verb": self.verb,
            "object": self.object,
            "score": self.score,
        }

    @classmethod
    def from_json(cls, record: Any) -> ScoredPair:
        """The inverse of :meth:`to_json`. Raises InteractionError with the field at fault."""
        if not isinstance(record, Mapping):
            raise InteractionError(f"a pair must be an object, not {record!r}")
        return cls(
            _box(record.get("human_box"), "human_box"),
            _box(record.get("object_box"), "object_box"),
            _name(record.get("verb"), "verb"),
            _name(record.get("object"), "object"),
            _number(record.get("score"), "score"),
        )

    def to_situation(self) -> Situation:
        """The pair as a situation with the roles HUMAN and OBJECT, e.g. to draw it."""
        nouns = {
            HUMAN: GroundedNoun(PERSON, self.human_box_xyxy),
            OBJECT: GroundedNoun(self.object, self.object_box_xyxy),
        }
        return Situation(self.verb, nouns, self.score)


@dataclass(frozen=True, slots=True)
class PairPrediction:
    """What a recognizer says about the pairs of one picture: none, or as many as it likes, best first by custom."""

    file_name: str
    pairs: tuple[ScoredPair, ...]
    width: int | None = None
    height: int | None = None
    notices: tuple[str, ...] = ()
    """Sentences that belong to the result, e.g. that the model knows drawn pictures only."""

    def to_json(self) -> dict[str, Any]:
        """One line of a predictions file (``docs/evaluation.md``): image, pairs, and any notices."""
        record: dict[str, Any] = {"image": self.file_name}
        if self.width is not None and self.height is not None:
            record |= {"width": self.width, "height": self.height}
        record["pairs"] = [pair.to_json() for pair in self.pairs]
        if self.notices:
            record["notices"] = list(self.notices)
        return record

    @classmethod
    def from_json(cls, record: Any) -> PairPrediction:
        """The inverse of :meth:`to_json`; unknown fields are ignored. Raises InteractionError naming the field."""
        if not isinstance(record, Mapping) or not isinstance(record.get("image"), str) or not record["image"]:
            raise InteractionError("the field 'image' must be the picture's file name")
        entries, notices = record.get("pairs"), record.get("notices", [])
        if not isinstance(entries, list):
            raise InteractionError("the field 'pairs' must be a list, an empty one where nothing was found")
        if not isinstance(notices, list) or not all(isinstance(notice, str) for notice in notices):
            raise InteractionError("the field 'notices' must be a list of sentences; leave it out")
        pairs = []
        for position, entry in enumerate(entries):
            try:
                pairs.append(ScoredPair.from_json(entry))
            except InteractionError as error:
                raise InteractionError(f"pairs[{position}]: {error}") from None
        return cls(record["image"], tuple(pairs), _size(record, "width"), _size(record, "height"), tuple(notices))


def _box(value: Any, name: str) -> BoxXyxy:
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise InteractionError(f"the field {name!r} must be four finite pixels [x1, y1, x2, y2], not {value!r}")
    x1, y1, x2, y2 = (_number(number, name) for number in value)
    return (x1, y1, x2, y2)


def _name(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise InteractionError(f"the field {name!r} must be a name as text, not {value!r}")
    return value


def _number(value: Any, name: str) -> float:
    if type(value) in (int, float):
        try:
            if math.isfinite(value):
                return float(value)
        except OverflowError:  # a whole number too large for a float
            pass
    raise InteractionError(f"the field {name!r} must hold finite numbers, not {value!r}")


def _size(record: Mapping[str, Any], name: str) -> int | None:
    value = record.get(name)
    if value is not None and (type(value) is not int or value <= 0):
        raise InteractionError(f"the field {name!r} must be whole pixels, not {value!r}; leave it out")
    return value
