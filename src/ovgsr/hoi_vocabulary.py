"""The words of human-object interactions (HOI): HICO-DET's verbs, objects and listed interactions, and splits of them.

Everything goes by name. The two public copies of HICO-DET number the objects differently (alphabetically and as COCO
does), so an object's number means nothing outside its own file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from ovgsr.interactions import HUMAN, OBJECT
from ovgsr.vocabulary import Noun, Verb, Vocabulary, VocabularyError

Interaction = tuple[str, str]
"""A verb and an object by name: ``("ride", "bicycle")``."""

NO_INTERACTION = "no_interaction"

HICO_DET_SPLITS = ("rf_uc", "nf_uc", "uo", "uv", "uc0", "uc1", "uc2", "uc3", "uc4")
"""Rare-first and non-rare-first unseen combinations, unseen objects, unseen verbs, five random sets of combinations."""

_VERBS, _OBJECTS, _INTERACTIONS, _RARE = 117, 80, 600, 138
_UNSEEN = {"uo": 100, "uv": 84}
_COMBINATIONS = 120
_UNSEEN_OBJECTS, _UNSEEN_VERBS = 12, 20


@dataclass(frozen=True, slots=True)
class HoiSplit:
    """Which interactions training must not meet, and which of them are to be recognised on which pictures.

    As in ``VerbSplit``, designs are chosen on the dev pictures' own unseen interactions. HICO-DET's splits have none.
    """

    name: str
    unseen: frozenset[Interaction]
    dev_unseen: frozenset[Interaction] = frozenset()

    def __post_init__(self) -> None:
        if not self.held_out:
            raise VocabularyError(f"the split {self.name!r} names no unseen interaction")
        both = sorted(self.unseen & self.dev_unseen)
        if both:
            raise VocabularyError(f"{both[0]} is in both 'unseen' and 'dev_unseen' of the split {self.name!r}")

    @property
    def held_out(self) -> frozenset[Interaction]:
        """What training must not meet."""
        return self.unseen | self.dev_unseen

    def unseen_on(self, fold: str) -> frozenset[Interaction]:
        """The unseen interactions that are scored on the pictures of ``train`` (none), ``dev`` or ``test``."""
        return {"train": frozenset[Interaction](), "dev": self.dev_unseen, "test": self.unseen}[fold]

    def training(self, interactions: Iterable[Interaction]) -> tuple[Interaction, ...]:
        """Those of the listed interactions that training may meet, in their order."""
        return tuple(interaction for interaction in interactions if interaction not in self.held_out)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for ``json`` (format ``ovgsr-hoi-split-1``)."""
        record: dict[str, Any] = {"format": "ovgsr-hoi-split-1", "name": self.name}
        record["unseen"] = [list(interaction) for interaction in sorted(self.unseen)]
        record["dev_unseen"] = [list(interaction) for interaction in sorted(self.dev_unseen)]
        return record

    @classmethod
    def from_json(cls, record: Any) -> HoiSplit:
        """The inverse of :meth:`to_json`. Raises VocabularyError with the field at fault."""
        if not isinstance(record, Mapping) or record.get("format") != "ovgsr-hoi-split-1":
            raise VocabularyError("the field 'format' must be 'ovgsr-hoi-split-1'")
        parts: dict[str, frozenset[Interaction]] = {}
        for part in ("unseen", "dev_unseen"):
            pairs = record.get(part, [])
            if not isinstance(pairs, list):
                raise VocabularyError(f"the field {part!r} must be a list of [verb, object]")
            for pair in pairs:
                if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
                    raise VocabularyError(f"the field {part!r} must hold pairs [verb, object], not {pair!r}")
            parts[part] = frozenset((verb, thing) for verb, thing in pairs)
        return cls(str(record.get("name", "")), **parts)


def words_of(vocabulary: Vocabulary, interactions: Iterable[Interaction]) -> Vocabulary:
    """The vocabulary with only those verbs and objects that take part in one of the interactions."""
    wanted = set(interactions)
    verbs, objects = {verb for verb, _ in wanted}, {thing for _, thing in wanted}
    return replace(
        vocabulary,
        verbs=tuple(verb for verb in vocabulary.verbs if verb.name in verbs),
        nouns=tuple(noun for noun in vocabulary.nouns if noun.key in objects),
    )


def object_noun(name: str) -> Noun:
    """The noun of an object: ``baseball_bat`` is read "baseball bat"."""
    return Noun(name, (name.replace("_", " "),))


@cache
def hico_det_vocabulary() -> Vocabulary:
    """HICO-DET's 117 verbs (base forms with their gerunds) and its 80 objects in COCO's order, person first."""
    verbs = tuple(Verb(row["verb"], (HUMAN, OBJECT), gerund=row["gerund"]) for row in _table("verbs.tsv"))
    vocabulary = Vocabulary(verbs, tuple(object_noun(name) for name in coco91_ids()), "HICO-DET")
    if (len(vocabulary.verbs), len(vocabulary.nouns)) != (_VERBS, _OBJECTS):
        raise _damaged(f"it has {len(vocabulary.verbs)} verbs and {len(vocabulary.nouns)} objects")
    return vocabulary


@cache
def coco91_ids() -> Mapping[str, int]:
    """Object -> its COCO category id, 1 to 90 with gaps; the order of the names is COCO's."""
    return {row["object"]: int(row["coco91_id"]) for row in _table("objects.tsv")}


@cache
def hico_det_interactions() -> tuple[Interaction, ...]:
    """The 600 interactions that HICO-DET lists, in its order: an interaction's position is its HOI id from 0."""
    interactions = tuple((row["verb"], row["object"]) for row in _table("interactions.tsv"))
    vocabulary = hico_det_vocabulary()
    things = {noun.key for noun in vocabulary.nouns}
    if len(set(interactions)) != _INTERACTIONS or len(interactions) != _INTERACTIONS:
        raise _damaged(f"it lists {len(set(interactions))} interactions")
    unknown = [(verb, thing) for verb, thing in interactions if verb not in vocabulary or thing not in things]
    if unknown or {thing for verb, thing in interactions if verb == NO_INTERACTION} != things:
        raise _damaged("a word of its interactions is unknown, or an object lacks its no_interaction")
    return interactions


@cache
def hico_det_rare() -> frozenset[Interaction]:
    """The 138 interactions with fewer than ten training pairs."""
    hico_det_interactions()  # checks the table
    rare = frozenset((row["verb"], row["object"]) for row in _table("interactions.tsv") if row["rare"] == "1")
    if len(rare) != _RARE:
        raise _damaged(f"it calls {len(rare)} interactions rare")
    return rare


@cache
def hico_det_split(name: str) -> HoiSplit:
    """A zero-shot split of HICO-DET by its name (``HICO_DET_SPLITS``), checked against its definition.

    rf_uc and nf_uc: 120 combinations, rare ones and non-rare ones, that leave every verb and object seen (Hou et al.,
    "Visual Compositional Learning", ECCV 2020). uo: all interactions of 12 objects. uv: all of 20 verbs (Liao et al.,
    "GEN-VLKT", CVPR 2022). uc0 to uc4: 120 random combinations each, which leave 9 or 10 verbs wholly unseen; the
    field reports the mean of the five. Raises VocabularyError for another name.
    """
    if name not in HICO_DET_SPLITS:
        raise VocabularyError(f"there is no split {name!r} of HICO-DET; there are {', '.join(HICO_DET_SPLITS)}")
    interactions, rare = hico_det_interactions(), hico_det_rare()
    unseen = frozenset(
        (row["verb"], row["object"]) for row in _table("interactions.tsv") if name in row["unseen_in"].split()
    )
    seen = frozenset(interactions) - unseen
    lost_verbs = {verb for verb, _ in interactions} - {verb for verb, _ in seen}
    lost_objects = {thing for _, thing in interactions} - {thing for _, thing in seen}
    sound = len(unseen) == _UNSEEN.get(name, _COMBINATIONS) and {
        "rf_uc": unseen <= rare and not lost_verbs and not lost_objects,
        "nf_uc": not unseen & rare and not lost_verbs and not lost_objects,
        "uo": len(lost_objects) == _UNSEEN_OBJECTS and all(thing in lost_objects for _, thing in unseen),
        "uv": len(lost_verbs) == _UNSEEN_VERBS and all(verb in lost_verbs for verb, _ in unseen),
    }.get(name, len(lost_verbs) in (9, 10) and not lost_objects)
    if not sound:
        raise _damaged(f"the split {name} has {len(unseen)} unseen interactions, or not those of its definition")
    return HoiSplit(name, unseen)


def _table(name: str) -> list[dict[str, str]]:
    text = (resources.files("ovgsr") / "assets" / "hico_det" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def _damaged(how: str) -> VocabularyError:
    return VocabularyError(f"the built-in HICO-DET vocabulary is damaged ({how}); install the package again")
