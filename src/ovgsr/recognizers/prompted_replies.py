"""What a multimodal LLM answers about a frame, read as hostile input, and its words as nouns of a vocabulary."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovgsr.evaluation.words import plain
from ovgsr.noun_phrases import DETERMINERS, READABLE, plural_of, word_set
from ovgsr.situation import EMPTY_NOUN
from ovgsr.vocabulary import Vocabulary

LONGEST_REPLY = 20_000
LONGEST_NOUN = 80
_MOST_STARTS = 20
_NOUN_FIELDS = ("noun", "name", "label", "filler", "value", "object", "text")
_BOX_FIELDS = ("box", "bbox", "bbox_2d", "box_2d", "bounding_box")
_ROLE_FIELDS = ("role", "name")
_NOTHING = frozenset(
    {"", "-", "none", "null", "nil", "nothing", "no one", "nobody", "noone", "n/a", "na", "not applicable"}
    | {"unknown", "unclear", "empty", "not visible", "not shown", "not present", "invisible", "unspecified"}
)
_FRONT = re.compile(r"[,;(/]| (?:of|in|on|at|for|with|to|from|by|and|or|near|behind|under|over|wearing|holding) ")
_LONGEST_NAME = 5  # words; SWiG has hardly any longer
_FUNCTION_WORDS = DETERMINERS | word_set(
    "an and as at be by do for he i in is it no not of off on or out she to up us we"
)
"""Words that are also the symbols of chemical elements, units and such nouns: in a sentence they are not meant."""


@dataclass(frozen=True, slots=True)
class RoleReply:
    """What a reply says of one role: its words, ``""`` for nothing, None where none can be read; and any box, raw."""

    words: str | None
    box: object = None


def read_reply(text: str, roles: Sequence[str]) -> dict[str, RoleReply] | None:
    """The roles that a reply fills; None where it holds no JSON about any of them.

    The first ``LONGEST_REPLY`` characters are read, whatever stands around the JSON. Unknown roles are dropped, a role
    named twice keeps its last answer, and a reply that was cut off keeps the roles that were complete. Nothing is
    evaluated, and no text is longer than ``LONGEST_NOUN``.
    """
    text = text[:LONGEST_REPLY]
    starts = [match.start() for match in re.finditer(r"[{\[]", text)][:_MOST_STARTS]
    for start in starts:
        found = _known_roles(_json_at(text, start), roles)
        if found:
            return found
    return _complete_roles(text, roles) or None


def _json_at(text: str, start: int) -> object:
    """The JSON value that begins there, None where there is none. NaN and the infinities are no numbers."""
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):  # no JSON, an integer of thousands of digits, brackets without end
        return None
    return value


_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def _known_roles(value: object, roles: Sequence[str]) -> dict[str, RoleReply]:
    """Roles of ``{role: answer}``, of ``{"roles": {role: answer}}`` and of ``[{"role": ..., "noun": ...}]``."""
    for _ in range(2):
        if isinstance(value, list):
            entries = [entry for entry in value if isinstance(entry, Mapping)]
            named = [(next((str(e[k]) for k in _ROLE_FIELDS if k in e), ""), e) for e in entries]
        elif isinstance(value, Mapping):
            named = list(value.items())
        else:
            return {}
        known = {role.lower(): role for role in roles}
        asked = {known[name.strip().lower()]: answer for name, answer in named if name.strip().lower() in known}
        if asked:
            return {role: _role_reply(asked[role]) for role in roles if role in asked}
        inner = value.values() if isinstance(value, Mapping) else value
        value = next((entry for entry in inner if isinstance(entry, Mapping | list)), None)
    return {}


def _complete_roles(text: str, roles: Sequence[str]) -> dict[str, RoleReply]:
    """The roles whose answers stand whole in a reply that is no JSON as a whole."""
    found = {}
    for role in roles:
        match = re.search(rf'"{re.escape(role)}"\s{{0,9}}:\s{{0,9}}(?=["{{\[n])', text)
        if match is None:
            continue
        value = _json_at(text, match.end())
        if value is not None or text.startswith("null", match.end()):
            found[role] = _role_reply(value)
    return found


def _role_reply(answer: object) -> RoleReply:
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if answer is None:
        return RoleReply(EMPTY_NOUN)
    if isinstance(answer, Mapping):
        field = next((key for key in _NOUN_FIELDS if key in answer), None)
        box = next((answer[key] for key in _BOX_FIELDS if key in answer), None)
        words = None if field is None else _role_reply_words(answer[field])
        return RoleReply(words, None if words == EMPTY_NOUN else box)
    return RoleReply(_role_reply_words(answer))


def _role_reply_words(value: object) -> str | None:
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return EMPTY_NOUN
    return clean_words(value) if isinstance(value, str) else None


def clean_words(text: str) -> str:
    """A model's words as plain text: nothing invisible, no quotes around, bounded; ``""`` for "none" and its like."""
    text = unicodedata.normalize("NFKC", text[: 4 * LONGEST_NOUN])
    visible = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in text)
    visible = "".join(letter for letter in visible if unicodedata.category(letter)[0] != "C")
    words = " ".join(visible.split())[:LONGEST_NOUN].strip(" .,;:!?\"'`*")
    return EMPTY_NOUN if plain(words) in _NOTHING else words


class NounMatcher:
    """A vocabulary's nouns by the words that people use for them.

    A word means the first noun that has it as its gloss, else the first that has it at all (SWiG's commonest sense),
    in the singular or in the plural; proper names come after other nouns.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._keys: dict[str, str] = {}
        tables: list[dict[str, str]] = [{}, {}, {}, {}]
        for noun in sorted(vocabulary.nouns, key=lambda noun: noun.gloss[:1].isupper()):
            glosses = (noun.gloss, READABLE.get(noun.gloss, noun.gloss), noun.key)
            for table, words in ((0, glosses), (1, noun.words)):
                for word in words:
                    tables[table].setdefault(plain(word), noun.key)
                    tables[table + 2].setdefault(plain(plural_of(word.replace("_", " "))), noun.key)
        for table_of_keys in reversed(tables):
            self._keys.update(table_of_keys)

    def match(self, words: str) -> str | None:
        """The key of the noun that is meant; ``""`` for nothing, None where no noun fits.

        The whole phrase first, then what stands before its first preposition, then less and less of that from the
        left, down to the head: "a young man in a red shirt", "young man", "man".
        """
        text = clean_words(words)
        if text == EMPTY_NOUN:
            return EMPTY_NOUN
        key = self._keys.get(plain(text))
        if key is not None:
            return key
        front = _FRONT.split(f"{plain(text)} ", maxsplit=1)[0].split()
        tails = (" ".join(front[start:]) for start in range(len(front)))
        return next((self._keys[tail] for tail in tails if tail in self._keys), None)

    def mentioned(self, text: str) -> list[str]:
        """The keys of the nouns that free text mentions, in order, the longest name at each place, each once."""
        words = re.findall(r"[^\W_]+(?:['-][^\W_]+)*", text[:LONGEST_REPLY].lower())
        found: dict[str, None] = {}
        position = 0
        while position < len(words):
            shortest = 1 if words[position] in _FUNCTION_WORDS else 0
            for length in range(min(_LONGEST_NAME, len(words) - position), shortest, -1):
                key = self._keys.get(" ".join(words[position : position + length]))
                if key is not None:
                    found.setdefault(key)
                    position += length - 1
                    break
            position += 1
        return list(found)
