"""The words offered to one call: verbs with their frames, and nouns.

The vocabulary is an argument of a call, never a property of the weights. This module says which words there are and
how each is put into the sentence that a text encoder reads. It embeds nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from ovgsr.errors import OvgsrError
from ovgsr.interactions import HUMAN, OBJECT
from ovgsr.situation import EMPTY_NOUN, Frame

TEXT_TEMPLATES_VERSION = "1"
"""Changes whenever one of the sentences below does: embeddings and checkpoints remember it."""

SWIG_VERBS, SWIG_ROLES, SWIG_VERB_ROLE_PAIRS, SWIG_NOUNS = 504, 190, 1788, 9926


class VocabularyError(OvgsrError):
    """A vocabulary that cannot be used: a duplicate, an empty entry, an unknown word."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb with its frame and the texts that describe it.

    ``roles`` is empty where the frame is not known yet; a recognizer then borrows the nearest known verb's and sets
    ``borrowed_from``. ``abstract`` is a sentence with the role names in capitals, as in imSitu. ``gerund`` is for
    verbs whose name is no gerund already: HICO-DET's "ride" is "riding", its "no_interaction" is "near".
    """

    name: str
    roles: tuple[str, ...] = ()
    definition: str = ""
    abstract: str = ""
    role_definitions: Mapping[str, str] = field(default_factory=dict)
    borrowed_from: str | None = None
    gerund: str = ""

    @property
    def frame(self) -> Frame:
        """The verb's frame. Raises SituationError where it has none."""
        return Frame(self.name, self.roles)

    @property
    def text(self) -> str:
        """The sentence a text encoder reads for this verb: name, definition and frame (``method.md``: t_v)."""
        parts = [f"someone is {self.gerund or self.name}."]
        if self.definition:
            parts.append(self.definition.rstrip(".") + ".")
        if self.abstract:
            parts.append(self.abstract.lower())
        elif self.roles and self.roles != (HUMAN, OBJECT):  # every interaction's frame, which tells none apart
            parts.append(f"it involves {', '.join(self.roles)}.")
        return " ".join(parts)

    def role_text(self, role: str) -> str:
        """The phrase a text encoder reads for one of this verb's roles."""
        definition = self.role_definitions.get(role) or role_descriptions().get(role, "")
        return f"{role}: {definition}" if definition else f"the {role} of {self.name}"


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun under its key: a WordNet synset id for SWiG's, the word itself for a user's own.

    30 % of SWiG's synsets share their first gloss, so the text is gloss + nearest hypernym, and the definition where
    there is one.
    """

    key: str
    words: tuple[str, ...]
    hypernym: str = ""
    definition: str = ""

    @property
    def gloss(self) -> str:
        """The commonest word, as shown to a person."""
        return self.words[0] if self.words else self.key

    @property
    def text(self) -> str:
        """The phrase a text encoder reads for this noun."""
        if self.key == EMPTY_NOUN:
            return "nothing, the role is empty"
        text = self.gloss
        if self.hypernym and self.hypernym != self.gloss:
            text += f", a kind of {self.hypernym}"
        return f"{text}: {self.definition}" if self.definition else text


EMPTY = Noun(key=EMPTY_NOUN, words=("nothing",))


@dataclass(frozen=True)
class Vocabulary:
    """Verbs and nouns, each named once, in a fixed order.

    Raises VocabularyError on duplicates and on empty names. ``answers`` is what a role may be filled with: the empty
    answer first, then every noun; an answer's position in it is the noun index used in tensors.
    """

    verbs: tuple[Verb, ...]
    nouns: tuple[Noun, ...] = ()
    name: str = "custom"

    def __post_init__(self) -> None:
        _refuse_duplicates([verb.name for verb in self.verbs], "verb")
        _refuse_duplicates([noun.key for noun in self.nouns], "noun")
        object.__setattr__(self, "_verb_index", {verb.name: i for i, verb in enumerate(self.verbs)})
        object.__setattr__(self, "_answer_index", {noun.key: i for i, noun in enumerate(self.answers)})

    _verb_index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)
    _answer_index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def answers(self) -> tuple[Noun, ...]:
        """The empty answer, then the nouns."""
        return (EMPTY, *self.nouns)

    @property
    def verb_names(self) -> tuple[str, ...]:
        """The verbs' names in order."""
        return tuple(self._verb_index)

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role of every frame, sorted."""
        return tuple(sorted({role for verb in self.verbs for role in verb.roles}))

    @property
    def max_roles(self) -> int:
        """The longest frame's length."""
        return max((len(verb.roles) for verb in self.verbs), default=0)

    def verb_index(self, name: str) -> int:
        """A verb's position. Raises VocabularyError where it is not offered."""
        try:
            return self._verb_index[name]
        except KeyError:
            raise VocabularyError(f"the verb {name!r} is not in the vocabulary {self.name!r}") from None

    def verb(self, name: str) -> Verb:
        """The verb of that name. Raises VocabularyError where it is not offered."""
        return self.verbs[self.verb_index(name)]

    def answer_index(self, key: str) -> int | None:
        """The position of a noun (or of ``""``) in ``answers``; None where it is not offered."""
        return self._answer_index.get(key)

    def noun(self, key: str) -> Noun:
        """The noun of that key, the empty answer for ``""``. Raises VocabularyError where it is not offered."""
        index = self._answer_index.get(key)
        if index is None:
            raise VocabularyError(f"the noun {key!r} is not in the vocabulary {self.name!r}")
        return EMPTY if index == 0 else self.nouns[index - 1]

    def word(self, key: str) -> str:
        """The gloss of a noun's key, or the key itself where it is not offered (another system's answer)."""
        return self.noun(key).gloss if key in self._answer_index else key

    def __contains__(self, verb_name: object) -> bool:
        return verb_name in self._verb_index

    def with_verbs(self, names: Iterable[str]) -> Vocabulary:
        """The same nouns with these verbs only, in the order given; a verb not known here comes without a frame."""
        return replace(self, verbs=tuple(self.verb(n) if n in self else Verb(n) for n in names))

    def with_nouns(self, nouns: Iterable[Noun]) -> Vocabulary:
        """The same verbs with these nouns only."""
        return replace(self, nouns=tuple(nouns))

    def nouns_by_word(self, words: Iterable[str]) -> tuple[Noun, ...]:
        """Nouns for a user's words: a known key or gloss where there is one (first sense), else the plain word."""
        by_word: dict[str, Noun] = {}
        for noun in self.nouns:
            for word in noun.words:
                by_word.setdefault(word.lower(), noun)
        found = []
        for word in words:
            index = self._answer_index.get(word)
            found.append(self.nouns[index - 1] if index else by_word.get(word.lower(), Noun(word, (word,))))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for ``json`` (format ``ovgsr-vocabulary-1``)."""
        return {
            "format": "ovgsr-vocabulary-1",
            "name": self.name,
            "verbs": {
                verb.name: {
                    "roles": list(verb.roles),
                    "definition": verb.definition,
                    "abstract": verb.abstract,
                    "role_definitions": dict(verb.role_definitions),
                }
                | ({"gerund": verb.gerund} if verb.gerund else {})
                for verb in self.verbs
            },
            "nouns": {
                noun.key: {
                    "words": list(noun.words),
                    "hypernym": noun.hypernym,
                    "definition": noun.definition,
                }
                for noun in self.nouns
            },
        }

    @classmethod
    def from_json(cls, record: Any) -> Vocabulary:
        """The inverse of :meth:`to_json`. Raises VocabularyError with the field at fault."""
        if not isinstance(record, Mapping) or record.get("format") != "ovgsr-vocabulary-1":
            raise VocabularyError("the field 'format' must be 'ovgsr-vocabulary-1'")
        try:
            verbs = tuple(
                Verb(
                    name,
                    tuple(entry["roles"]),
                    entry.get("definition", ""),
                    entry.get("abstract", ""),
                    dict(entry.get("role_definitions", {})),
                    gerund=entry.get("gerund", ""),
                )
                for name, entry in record["verbs"].items()
            )
            nouns = tuple(
                Noun(key, tuple(entry["words"]), entry.get("hypernym", ""), entry.get("definition", ""))
                for key, entry in record["nouns"].items()
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise VocabularyError(f"a verb or noun entry lacks a field or has one of the wrong kind: {error}") from None
        return cls(verbs, nouns, str(record.get("name", "custom")))


def _refuse_duplicates(names: Sequence[str], kind: str) -> None:
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise VocabularyError(f"{kind} number {position} is empty; remove it")
        if name in seen:
            raise VocabularyError(f"the {kind} {name!r} is named twice; remove one")
        seen.add(name)


def _asset(name: str) -> str:
    return (resources.files("ovgsr") / "assets" / "swig_vocabulary" / name).read_text(encoding="utf-8")


@cache
def role_descriptions() -> Mapping[str, str]:
    """A short phrase for each of SWiG's 190 roles."""
    roles: dict[str, str] = json.loads(_asset("roles.json"))["roles"]
    return roles


@cache
def swig_nouns() -> Mapping[str, Noun]:
    """SWiG's 9,926 nouns by synset id, in its index order, with words and nearest hypernym (facts of WordNet 3.0)."""
    rows, ancestors = _table("nouns.tsv"), _table("ancestors.tsv")
    words = {row["synset"]: tuple(row["words"].split("|")) for row in (*ancestors, *rows)}
    return {
        row["synset"]: Noun(row["synset"], words[row["synset"]], words.get(row["hypernym"], ("",))[0]) for row in rows
    }


def _table(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(_asset(name).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def swig_vocabulary() -> Vocabulary:
    """The built-in vocabulary: SWiG's 504 verbs with frames and definitions, and its 9,926 nouns.

    The order of a frame's roles is unverified against ``imsitu_space.json``; a data set's own file decides where
    there is one.
    """
    record = json.loads(_asset("verbs.json"))["verbs"]
    verbs = tuple(Verb(n, tuple(e["roles"]), e["definition"], e["abstract"]) for n, e in record.items())
    vocabulary = Vocabulary(verbs, tuple(swig_nouns().values()), "SWiG")
    counts = (len(verbs), len(vocabulary.roles), sum(len(v.roles) for v in verbs), len(vocabulary.nouns))
    if counts != (SWIG_VERBS, SWIG_ROLES, SWIG_VERB_ROLE_PAIRS, SWIG_NOUNS):
        raise VocabularyError(f"the built-in SWiG vocabulary is damaged: verbs, roles, pairs, nouns = {counts}")
    return vocabulary
