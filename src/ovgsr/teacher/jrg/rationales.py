"""Judgmental rationales (JRG; ``method.md``) as values: glimpses of the scene, gazes at each role.

What an LLM is asked to write about one training picture, and what is kept of it. Nothing here knows a file or an LLM.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ovgsr.errors import OvgsrError
from ovgsr.situation import AnnotatedImage

Contradiction = Literal["verb", "filler", "role", "place"]
"""The one thing that a negative gets wrong: the verb (glimpses); what fills the role, whose role it is, where it is."""


class RationaleError(OvgsrError):
    """A rationale, or a store of them, that cannot be used."""


@dataclass(frozen=True, slots=True)
class Negative:
    """A judgement that is wrong in exactly one thing, and says so.

    ``wrong`` is what stands there instead of the truth: a verb's name, a noun's words, a role's name, a place phrase.
    """

    kind: Contradiction
    wrong: str
    text: str


@dataclass(frozen=True, slots=True)
class Glimpse:
    """The scene: what happens, where, and the visible evidence; and confusable verbs judged wrong."""

    positive: str
    negatives: tuple[Negative, ...] = ()


@dataclass(frozen=True, slots=True)
class Gaze:
    """One role: what fills it, where, how it takes part; and wrong fillers, roles or places."""

    positive: str
    negatives: tuple[Negative, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a rationale comes from, so that any of them can be made again or thrown away."""

    template: str
    model: str
    is_llm: bool
    seed: int
    prompt_sha256: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class PictureRationales:
    """All that was written about one picture. ``gazes`` maps each filled role to its gaze."""

    file_name: str
    annotation_sha256: str
    verb: str
    glimpse: Glimpse
    gazes: Mapping[str, Gaze]
    provenance: Provenance = field(compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gazes", MappingProxyType(dict(self.gazes)))

    def texts(self) -> tuple[str, ...]:
        """Every sentence, positives first within each glimpse and gaze."""
        found = [self.glimpse.positive, *(negative.text for negative in self.glimpse.negatives)]
        for gaze in self.gazes.values():
            found += [gaze.positive, *(negative.text for negative in gaze.negatives)]
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for ``json``."""
        return {
            "file_name": self.file_name,
            "annotation_sha256": self.annotation_sha256,
            "verb": self.verb,
            "glimpse": asdict(self.glimpse),
            "gazes": {role: asdict(gaze) for role, gaze in self.gazes.items()},
            "provenance": asdict(self.provenance),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PictureRationales:
        """The inverse of :meth:`to_json`. Raises RationaleError where a field is missing or of the wrong kind."""
        try:
            return cls(
                file_name=str(record["file_name"]),
                annotation_sha256=str(record["annotation_sha256"]),
                verb=str(record["verb"]),
                glimpse=Glimpse(*_judgements(record["glimpse"])),
                gazes={str(role): Gaze(*_judgements(gaze)) for role, gaze in record["gazes"].items()},
                provenance=Provenance(**record["provenance"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise RationaleError(f"a rationale record lacks a field or has one of the wrong kind: {error}") from None


def _judgements(record: Mapping[str, Any]) -> tuple[str, tuple[Negative, ...]]:
    negatives = tuple(Negative(one["kind"], str(one["wrong"]), str(one["text"])) for one in record["negatives"])
    return str(record["positive"]), negatives


def annotation_sha256(image: AnnotatedImage) -> str:
    """A fingerprint of what the annotators said about a picture: verbs, answers, boxes, the size these refer to."""
    said = [
        {
            "verb": situation.verb,
            "roles": {
                role: [noun.noun, list(noun.annotators), list(noun.box_xyxy) if noun.box_xyxy else None]
                for role, noun in situation.nouns.items()
            },
        }
        for situation in image.situations
    ]
    text = json.dumps([image.file_name, image.width, image.height, said], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
