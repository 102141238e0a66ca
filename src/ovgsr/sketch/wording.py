"""English for captions of drawn scenes: places, other words for a thing, and sentences with slots."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from ovgsr.noun_phrases import noun_phrase, plural_of
from ovgsr.sketch.fillers import fillers, sketch_nouns

_PREPOSITIONS = {
    **dict.fromkeys(("beach", "river", "stadium", "market"), "at"),
    **dict.fromkeys(("street", "field"), "on"),
}
_SLOT = re.compile(r"(?:\b(the|its|two|three|several|her|his|their) )?\{(\w+)\}")
_RARE_WORD = 0.1
"""How often a thing is called by another word of its meaning: a caption corpus knows more than one name."""


def at_place(place: str) -> str:
    """The place as the end of a sentence: "in the park", "at the beach", "in the snow"."""
    return f"{_PREPOSITIONS.get(place, 'in')} the {place}"


def call(name: str, rng: random.Random) -> str:
    """What a filler is called this time: mostly its usual name, now and then another word for it."""
    filler = fillers().get(name)
    if filler is None or filler.category == "place" or rng.random() >= _RARE_WORD:
        return name
    words = list(sketch_nouns()[filler.synset].words)
    if filler.synonym in sketch_nouns():
        words.extend(sketch_nouns()[filler.synonym].words)
    return rng.choice(
        [word.lower() for word in words if not word.endswith("ing")] or [name]
    )  # "writing" is a verb here


def can_fill(sentence: str, names: Mapping[str, str]) -> bool:
    """Whether every slot of the sentence has a name."""
    return all(names.get(slot) for _, slot in _SLOT.findall(sentence))


def fill_slots(sentence: str, names: Mapping[str, str]) -> str:
    """Fills ``{role}`` slots: bare after a determiner, plural after a number word, with an article otherwise."""

    def put(match: re.Match[str]) -> str:
        determiner, words = match[1], names[match[2]]
        if words == "someone":
            return words
        if determiner in ("two", "three", "several"):
            return f"{determiner} {plural_of(words)}"
        return f"{determiner} {words}" if determiner else noun_phrase(words)

    return _SLOT.sub(put, sentence)
