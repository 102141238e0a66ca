"""What can fill a role, by name: the things of the catalogue and, from `parts.csv`, parts, substances and surfaces."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from ovgsr.sketch.things import UNSEEN_NOUNS, SketchNoun, nouns, things


@dataclass(frozen=True, slots=True)
class Filler:
    """A noun that fills a role: its synset, the synset of another likely answer and of a broader one (may be empty)."""

    name: str
    synset: str
    category: str
    synonym: str
    hypernym: str


@cache
def _part_rows() -> tuple[dict[str, str], ...]:
    text = resources.files(__package__).joinpath("parts.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@cache
def fillers() -> Mapping[str, Filler]:
    """Every possible filler by name."""
    found = {
        thing.name: Filler(thing.name, thing.synset, thing.category, thing.synonym, thing.hypernym)
        for thing in things().values()
    }
    for row in _part_rows():
        if row["name"]:
            found[row["name"]] = Filler(row["name"], row["synset"], row["category"], row["synonym"], row["hypernym"])
    return MappingProxyType(found)


@cache
def category_of(category: str) -> tuple[Filler, ...]:
    """All fillers of a category, in file order."""
    return tuple(filler for filler in fillers().values() if filler.category == category)


@cache
def sketch_nouns() -> Mapping[str, SketchNoun]:
    """Every synset that an annotation can hold."""
    found = dict(nouns())
    for row in _part_rows():
        if row["synset"] not in found:
            words = tuple(row["words"].split("|"))
            found[row["synset"]] = SketchNoun(row["synset"], words, row["hypernym"], row["definition"])
    return MappingProxyType(found)


@cache
def unseen_synsets() -> frozenset[str]:
    """Synsets of the nouns that no training picture is annotated with."""
    return frozenset(things()[name].synset for name in UNSEEN_NOUNS)
