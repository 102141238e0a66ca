"""What is true of a training picture in words: what fills each role, where it is, and what may not be said of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from ovgsr.captions import PLACE_ROLE
from ovgsr.noun_phrases import ADVERBS_OF_PLACE, head_word, is_mass, plural_of, readable_word
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage, GroundedNoun
from ovgsr.vocabulary import Vocabulary

_HEIGHTS = {"upper": "upper", "top": "upper", "lower": "lower", "bottom": "lower"}
_SIDES = {"left": "left", "right": "right"}
_MIDDLE = frozenset({"centre", "center", "middle"})
_SINGULARS = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
    "knives": "knife",
    "leaves": "leaf",
}


@dataclass(frozen=True, slots=True)
class Filler:
    """The words for what fills a role, lower case: ``exact`` ones of any annotator, singular and plural; their
    ``heads`` (juice for orange juice); and ``broader`` ones, which are vague but not wrong."""

    exact: frozenset[str]
    heads: frozenset[str] = frozenset()
    broader: frozenset[str] = frozenset()

    def named_in(self, text: str) -> bool:
        """Whether a text names it."""
        return any(has_phrase(text, phrase) for phrase in self.exact | self.heads)

    def includes(self, word: str) -> bool:
        """Whether a word would be no wrong answer: one of its own words, a kind of it, or something broader."""
        plain, head = plain_words(word), plain_words(head_word(word))
        return plain in self.exact | self.heads | self.broader or head in self.exact


@dataclass(frozen=True)
class Facts:
    """What is true of a picture, what was offered as wrong, and what must not be said.

    ``fillers`` maps each filled role to the words for what fills it, ``places`` each grounded one to where it is;
    ``offered`` are the confusable verbs, ``wrong_fillers`` the wrong answers that were suggested for a role,
    ``forbidden`` the verbs that no text may name, ``k`` the negatives asked for of each kind.
    """

    file_name: str
    verb: str
    roles: tuple[str, ...]
    fillers: Mapping[str, Filler]
    places: Mapping[str, str]
    offered: tuple[str, ...] = ()
    wrong_fillers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()
    k: int = 2

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """Phrases that are nouns wherever they stand: fillers, true or suggested as wrong, and the roles' names."""
        true = {phrase for filler in self.fillers.values() for phrase in filler.exact | filler.heads}
        return tuple(sorted(true.union(self.roles, *self.wrong_fillers.values())))

    def can_be_wrong(self, role: str) -> bool:
        """Whether there is any kind of negative for a role: a wrong filler, another role, or another place."""
        return bool(self.wrong_fillers.get(role)) or len(self.roles) > 1 or role in self.places


def filler_of(noun: GroundedNoun, vocabulary: Vocabulary, *, is_place: bool = False) -> Filler:
    """Every annotator's words for what fills a role; a place's also as they stand in a sentence (``indoors``)."""
    exact: set[str] = set()
    broader: set[str] = set()
    for key in noun.accepted - {EMPTY_NOUN}:
        words = {readable_word(key, vocabulary)}
        if vocabulary.answer_index(key) is not None:
            entry = vocabulary.noun(key)
            words |= {word.replace("_", " ") for word in entry.words}
            broader |= grammatical_numbers(entry.hypernym)
        if is_place:
            words |= {_without_preposition(ADVERBS_OF_PLACE[w.lower()]) for w in words if w.lower() in ADVERBS_OF_PLACE}
        exact |= {number for word in words for number in grammatical_numbers(word)}
    heads = {number for phrase in exact for number in grammatical_numbers(head_word(phrase))}
    return Filler(frozenset(exact), frozenset(heads) - exact, frozenset(broader) - exact)


def facts_of(
    image: AnnotatedImage,
    vocabulary: Vocabulary,
    *,
    places: Mapping[str, str],
    offered: Iterable[str] = (),
    wrong_fillers: Mapping[str, tuple[str, ...]] | None = None,
    forbidden: Iterable[str] = (),
    k: int = 2,
) -> Facts:
    """The facts of an annotated picture. A role is filled where the annotators' majority says so."""
    situation = image.situation
    filled = {role: noun for role, noun in situation.nouns.items() if noun.noun != EMPTY_NOUN}
    fillers = {role: filler_of(noun, vocabulary, is_place=role == PLACE_ROLE) for role, noun in filled.items()}
    return Facts(
        image.file_name,
        situation.verb,
        situation.roles,
        fillers,
        places,
        tuple(offered),
        wrong_fillers or {},
        tuple(forbidden),
        k,
    )


def has_phrase(text: str, phrase: str) -> bool:
    """Whether a text has these words, whole and in a row, whatever the case and the punctuation."""
    words = plain_words(phrase)
    return bool(words) and f" {words} " in f" {plain_words(text)} "


def without_phrase(text: str, phrase: str) -> str:
    """The plain words of a text without these words in a row, in singular or plural."""
    left = f" {plain_words(text)} "
    for number in sorted(grammatical_numbers(phrase), key=len, reverse=True):
        left = left.replace(f" {number} ", " | ")
    return left


def affirms(text: str, phrase: str) -> bool:
    """Like :func:`has_phrase`, for once at least without a "no", "not", "without" or "than" shortly before."""
    words = plain_words(phrase)
    if not has_phrase(text, phrase):
        return False
    negated = rf"\b(?:no|not|without|than|never|nor)(?: \w+)? {re.escape(words)}\b"
    return has_phrase(re.sub(negated, " ", plain_words(text)), words)


@lru_cache(maxsize=8192)  # each text is compared with some hundred phrases, and a role's phrases with each picture's
def plain_words(text: str) -> str:
    """The words of a text in lower case with one space between them, punctuation dropped."""
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def places_differ(wrong: str, true: str) -> bool:
    """Whether two descriptions of a place contradict each other: another height, or another side.

    Where one of them says neither, they differ unless one has all words of the other in a row.
    """
    first, second = _height_and_side(wrong), _height_and_side(true)
    if first == ("", "") or second == ("", ""):
        return not has_phrase(wrong, true) and not has_phrase(true, wrong)
    return any(one and other and one != other for one, other in zip(first, second, strict=True))


def _height_and_side(place: str) -> tuple[str, str]:
    """upper, lower or middle, and left, right or middle; empty where the phrase does not say.

    "middle left" is a height and a side, "the middle" alone is both.
    """
    words = plain_words(place).split()
    heights, sides = ({table[word] for word in words if word in table} for table in (_HEIGHTS, _SIDES))
    middle = "middle" if _MIDDLE & set(words) else ""
    height = heights.pop() if len(heights) == 1 else "" if heights else middle
    side = sides.pop() if len(sides) == 1 else "" if sides else middle
    return height, side


@lru_cache(maxsize=8192)
def grammatical_numbers(phrase: str) -> frozenset[str]:
    """A phrase in singular and plural, as plain words."""
    plain = plain_words(phrase)
    if not plain:
        return frozenset()
    found = {plain}
    if not is_mass(plain):
        found.add(plain_words(plural_of(plain)))
    front, _, last = plain.rpartition(" ")
    if last in _SINGULARS:
        found.add(f"{front} {_SINGULARS[last]}".strip())
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")) and len(last) > 3:
        singulars = {last[:-1], re.sub(r"ies$", "y", last)} | ({last[:-2]} if last.endswith("es") else set())
        found |= {f"{front} {singular}".strip() for singular in singulars}
    return frozenset(found)


def _without_preposition(phrase: str) -> str:
    return re.sub(r"^(?:in|on|at) (?:a|an|the)? ?", "", phrase)
