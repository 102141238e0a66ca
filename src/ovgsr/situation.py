"""The currency of the package: what a picture shows, as one value that every room takes and gives.

A :class:`Situation` is a verb and, for each semantic role of its frame, a noun and (perhaps) a box. Readers produce
it from annotation files, recognizers from pixels, evaluators compare it and drawings show it. Nothing here knows a
file format, a vocabulary or a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ovgsr.errors import OvgsrError

BoxXyxy = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the picture, continuous coordinates, origin top left."""

EMPTY_NOUN = ""
"""The answer "nothing fills this role": an ordinary answer, in annotations as in predictions."""


class SituationError(OvgsrError):
    """A situation that contradicts itself or its frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A verb and its ordered semantic roles."""

    verb: str
    roles: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.verb:
            raise SituationError("a frame needs a verb")
        if not self.roles:
            raise SituationError(f"the frame of {self.verb!r} has no role")
        if len(set(self.roles)) != len(self.roles):
            raise SituationError(f"the frame of {self.verb!r} names a role twice: {', '.join(self.roles)}")


@dataclass(frozen=True, slots=True)
class GroundedNoun:
    """What fills one role, and where.

    ``noun`` is the key of a noun in some vocabulary (for SWiG a WordNet synset id, else a plain word), ``""`` where
    nothing fills the role. ``box_xyxy`` is None where the role is not grounded. An annotation keeps the answers of
    all its annotators in ``annotators``; a prediction has scores instead (probabilities in 0..1).
    """

    noun: str
    box_xyxy: BoxXyxy | None = None
    score: float | None = None
    grounded_score: float | None = None
    annotators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        box = self.box_xyxy
        if box is not None and not (len(box) == 4 and all(math.isfinite(c) for c in box)):
            raise SituationError(f"a box is four finite numbers (left, top, right, bottom), not {box!r}")

    @property
    def accepted(self) -> frozenset[str]:
        """The nouns that count as right: every annotator's answer, or the noun itself."""
        return frozenset(self.annotators or (self.noun,))


@dataclass(frozen=True, slots=True)
class Situation:
    """A verb and its filled frame; ``nouns`` maps each role, in the frame's order, to what fills it."""

    verb: str
    nouns: Mapping[str, GroundedNoun]
    score: float | None = None
    frame_borrowed_from: str | None = None
    """The known verb whose frame stands in, where this verb came without one."""

    def __post_init__(self) -> None:
        if not self.verb:
            raise SituationError("a situation needs a verb")
        object.__setattr__(self, "nouns", MappingProxyType(dict(self.nouns)))

    def __reduce__(self) -> tuple[Any, ...]:  # a read-only view cannot be sent to another process; its content can
        return Situation, (self.verb, dict(self.nouns), self.score, self.frame_borrowed_from)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles in frame order."""
        return tuple(self.nouns)

    @property
    def frame(self) -> Frame:
        """The frame that this situation fills."""
        return Frame(self.verb, self.roles)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for ``json``; absent scores are left out, an absent box is null."""
        record: dict[str, Any] = {"verb": self.verb}
        if self.score is not None:
            record["score"] = self.score
        if self.frame_borrowed_from is not None:
            record["frame_borrowed_from"] = self.frame_borrowed_from
        record["roles"] = {role: grounded_noun_to_json(noun) for role, noun in self.nouns.items()}
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Situation:
        """The inverse of :meth:`to_json`.

        Raises SituationError where a field is missing or of the wrong kind.
        """
        if not isinstance(record, Mapping) or "verb" not in record or "roles" not in record:
            raise SituationError("a situation record needs the fields 'verb' and 'roles'")
        roles = record["roles"]
        if not isinstance(roles, Mapping):
            raise SituationError("the field 'roles' must map role names to answers")
        return cls(
            verb=str(record["verb"]),
            nouns={str(role): grounded_noun_from_json(answer, str(role)) for role, answer in roles.items()},
            score=_optional_number(record.get("score"), "score"),
            frame_borrowed_from=record.get("frame_borrowed_from"),
        )


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """One picture of a data set with what its annotators say about it.

    SWiG has one situation a picture, HICO-DET many. ``width`` and ``height`` are pixels of the annotated size, which
    the boxes refer to. ``file_name`` is relative to the data set's image folder and is the picture's identity.
    """

    file_name: str
    width: int
    height: int
    situations: tuple[Situation, ...]

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise SituationError(f"{self.file_name}: the size {self.width} x {self.height} is not a picture's")

    @property
    def situation(self) -> Situation:
        """The one situation of a SWiG picture. Raises SituationError where there are none or several."""
        if len(self.situations) != 1:
            raise SituationError(f"{self.file_name}: one situation expected, {len(self.situations)} found")
        return self.situations[0]


@dataclass(frozen=True, slots=True)
class ImagePrediction:
    """What a recognizer says about one picture.

    ``ranking`` lists verbs with their scores, best first. ``situations`` maps a verb to its filled frame; it holds
    the best verbs' frames and, for evaluation, the annotated verb's.
    """

    file_name: str
    ranking: tuple[tuple[str, float], ...]
    situations: Mapping[str, Situation]
    width: int | None = None
    height: int | None = None
    notices: tuple[str, ...] = field(default=())
    """Sentences that belong to the result, e.g. that the model knows drawn pictures only."""

    @property
    def best(self) -> Situation:
        """The filled frame of the verb ranked first."""
        return self.situations[self.ranking[0][0]]

    def to_json(self) -> dict[str, Any]:
        """One line of a predictions file (``docs/evaluation.md``): image, verbs, frames, and any notices."""
        record: dict[str, Any] = {"image": self.file_name}
        if self.width is not None and self.height is not None:
            record |= {"width": self.width, "height": self.height}
        record["verbs"] = [{"verb": verb, "score": score} for verb, score in self.ranking]
        record["frames"] = {verb: situation.to_json()["roles"] for verb, situation in self.situations.items()}
        borrowed = {v: s.frame_borrowed_from for v, s in self.situations.items() if s.frame_borrowed_from}
        if borrowed:
            record["frames_borrowed_from"] = borrowed
        if self.notices:
            record["notices"] = list(self.notices)
        return record


def grounded_noun_to_json(noun: GroundedNoun) -> dict[str, Any]:
    """One role's answer as a plain dictionary."""
    record: dict[str, Any] = {"noun": noun.noun}
    if noun.score is not None:
        record["score"] = noun.score
    record["box"] = None if noun.box_xyxy is None else list(noun.box_xyxy)
    if noun.grounded_score is not None:
        record["grounded_score"] = noun.grounded_score
    if noun.annotators:
        record["annotators"] = list(noun.annotators)
    return record


def grounded_noun_from_json(record: Any, role: str) -> GroundedNoun:
    """The inverse of :func:`grounded_noun_to_json`; ``role`` names the place in error messages."""
    if not isinstance(record, Mapping) or not isinstance(record.get("noun"), str):
        raise SituationError(f"role {role!r}: the answer must be an object with the text field 'noun'")
    box = record.get("box")
    if box is not None:
        if not isinstance(box, list | tuple) or len(box) != 4:
            raise SituationError(f"role {role!r}: 'box' must be null or four numbers, not {box!r}")
        try:
            box = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        except (TypeError, ValueError):
            raise SituationError(f"role {role!r}: 'box' must be null or four numbers, not {box!r}") from None
    return GroundedNoun(
        noun=record["noun"],
        box_xyxy=box,
        score=_optional_number(record.get("score"), f"{role}.score"),
        grounded_score=_optional_number(record.get("grounded_score"), f"{role}.grounded_score"),
        annotators=tuple(record.get("annotators", ())),
    )


def _optional_number(value: Any, field_name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SituationError(f"the field {field_name!r} must be a number, not {value!r}")
    return float(value)
