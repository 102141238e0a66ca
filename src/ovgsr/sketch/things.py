"""The catalogue of SketchSWiG: everything that can be drawn, with its WordNet synset.

`things.csv` holds one row for each drawable thing, person (head) and place; `nouns.csv` holds the words of
every synset the catalogue mentions. Synset ids, words and hypernym links are facts of WordNet 3.0; the
definitions are the project's own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

SYNSET_FORM = re.compile(r"n\d{8}")
UNSEEN_NOUNS: frozenset[str] = frozenset({"harp", "typewriter", "goat", "tulip", "cheese", "bus", "sled", "corn"})
"""Names of things that never fill a role in a training picture; they may stand around as clutter."""


@dataclass(frozen=True)
class Thing:
    """One row of `things.csv`.

    Attributes:
        name: the English word used everywhere, e.g. "watering can".
        synset: WordNet 3.0 id, e.g. "n04560292".
        category: e.g. "tool"; "person" and "place" are categories too.
        size: longest side in units of a standing person's height, exaggerated so that it reads at 96 pixels.
            For a person it is the standing height; for a place it is 1.
        synonym: synset of another answer an annotator would give; may be empty.
        hypernym: synset of a broader answer; not always on the WordNet chain (a street is "outdoors").
    """

    name: str
    synset: str
    category: str
    size: float
    synonym: str
    hypernym: str


@dataclass(frozen=True)
class SketchNoun:
    """One row of `nouns.csv`: a synset, its words (the usual one first), its nearest hypernym in the file
    (empty if none) and a short definition."""

    synset: str
    words: tuple[str, ...]
    hypernym: str
    definition: str


def _rows(file_name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    text = resources.files(__package__).joinpath(file_name).read_text(encoding="utf-8")
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != columns:
        raise ValueError(f"{file_name}: the first line must be '{','.join(columns)}'.")
    return list(reader)


@cache
def things() -> Mapping[str, Thing]:
    """Every drawable thing, person and place by name, in the order of `things.csv`."""
    catalogue: dict[str, Thing] = {}
    for row in _rows("things.csv", ("name", "synset", "category", "size", "synonym", "hypernym")):
        thing = Thing(row["name"], row["synset"], row["category"], float(row["size"]), row["synonym"], row["hypernym"])
        if thing.name in catalogue:
            raise ValueError(f"things.csv: '{thing.name}' has two rows; remove one.")
        if SYNSET_FORM.fullmatch(thing.synset) is None:
            raise ValueError(f"things.csv: the synset of '{thing.name}' must look like n01234567.")
        catalogue[thing.name] = thing
    return MappingProxyType(catalogue)


@cache
def named(*categories: str) -> tuple[str, ...]:
    """Names of all things of these categories, in the order of the file.

    Raises:
        KeyError: for a category that no thing has.
    """
    known = {thing.category for thing in things().values()}
    for category in categories:
        if category not in known:
            raise KeyError(f"things.csv has no category '{category}'; it has {', '.join(sorted(known))}.")
    return tuple(thing.name for thing in things().values() if thing.category in categories)


@cache
def nouns() -> Mapping[str, SketchNoun]:
    """Every synset that `things.csv` mentions (things, synonyms, hypernyms), by id."""
    return MappingProxyType(
        {
            row["synset"]: SketchNoun(row["synset"], tuple(row["words"].split("|")), row["hypernym"], row["definition"])
            for row in _rows("nouns.csv", ("synset", "words", "hypernym", "definition"))
        }
    )
