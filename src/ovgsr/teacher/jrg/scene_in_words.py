"""An annotated picture in the pieces that sentences are made of: fillers, boxes, relations, definitions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ovgsr.captions import PLACE_ROLE, SUBJECT_ROLES, caption, progressive
from ovgsr.inflections import SOMETHING, mentions, nameable_words, sayable_word
from ovgsr.noun_phrases import ADVERBS_OF_PLACE, DEFINITE, NO_ARTICLE, is_mass, is_plural, noun_phrase
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.places_in_words import Relation, in_part, part_of_picture, relation, size_in_words
from ovgsr.vocabulary import Verb, Vocabulary

_DESCRIPTIONS = ("what ", "where ", "the one ", "those ", "the part ", "the thing ", "the other ")
_ROLE_TAILS = ("part", "item", "source", "container", "type", "person", "entity")
_IN_A_LIST = re.compile(r", (?:[\w']+ ){1,3}(?:and|or) |, (?:and|or) |, \w+(?: \w+)?, ")
"""What must not be cut off: "file[, clean and polish the nails]"."""

_BODY_PARTS = re.compile(r"(?:part|hugged|stage|ground|place)$")


def without_forbidden(text: str, forbidden: Iterable[str], limit: int = 10_000, nouns: Iterable[str] = ()) -> str:
    """A definition without the clauses that name one of the verbs; it is cut at a clause's end before ``limit``.

    The first clause decides: where it has to go, nothing is left.
    """
    verbs, words = tuple(forbidden), tuple(nouns)
    clauses = re.split(r"(?=, )|(?<=\w)(?= (?:so that|while|with|as if) )", text.strip().rstrip("."))
    kept = 0
    for clause in clauses:
        if mentions(clause, verbs, words) or sum(map(len, clauses[: kept + 1])) > limit:
            break
        kept += 1
    while kept and _IN_A_LIST.match("".join(clauses[kept:])):
        kept -= 1
    return "".join(clauses[:kept]).strip(" ,")


@dataclass(frozen=True)
class Scene:
    """One picture's annotation, in words that name none of the verbs in ``avoided``, let alone in ``forbidden``.

    ``vocabulary`` has the verbs' abstracts, ``plain_vocabulary`` is the same without them.
    """

    image: AnnotatedImage
    vocabulary: Vocabulary
    plain_vocabulary: Vocabulary
    forbidden: tuple[str, ...]
    avoided: tuple[str, ...]
    more_nouns: tuple[str, ...] = ()

    @property
    def verb(self) -> Verb:
        """The verb that happens."""
        return self.vocabulary.verb(self.image.situation.verb)

    @cached_property
    def nouns(self) -> frozenset[str]:
        """The noun phrases that may be named although they look like verbs."""
        return nameable_words(self.image.situation, self.vocabulary).union(self.more_nouns)

    @cached_property
    def words(self) -> Mapping[str, str]:
        """Filled role -> the word for what fills it: the majority's, or another one that avoids the verbs."""
        filled = {r: n for r, n in self.image.situation.nouns.items() if n.noun != EMPTY_NOUN}
        return {role: self._word(noun) for role, noun in filled.items()}

    def _word(self, noun: GroundedNoun) -> str:
        keys = [noun.noun, *(key for key in noun.annotators if key != EMPTY_NOUN)]
        word = sayable_word(keys, self.vocabulary, self.avoided, self.nouns)
        return word if word != SOMETHING else sayable_word(keys, self.vocabulary, self.forbidden, self.nouns)

    def names_avoided(self, text: str) -> bool:
        """Whether a text names one of the verbs that must not be named here."""
        return bool(mentions(text, self.avoided, self.nouns))

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """Sentences that name every filler, by the verb's abstract and by its roles alone."""
        nouns = {
            role: GroundedNoun(self.words.get(role, EMPTY_NOUN), noun.box_xyxy)
            for role, noun in self.image.situation.nouns.items()
        }
        situation = Situation(self.verb.name, nouns)
        sentences = [caption(situation, self.vocabulary), caption(situation, self.plain_vocabulary)]
        return tuple(dict.fromkeys(said for said in sentences if self._reads_well(said)))

    def _reads_well(self, sentence: str) -> bool:
        uncounted = [f"{many} {word}" for word in self.words.values() if is_mass(word) for many in ("several", "many")]
        return all(self._named(role, sentence) for role in self.words) and not any(w in sentence for w in uncounted)

    def _named(self, role: str, sentence: str) -> bool:
        word = self.words[role].lower()
        forms = {word, ADVERBS_OF_PLACE.get(word, word) if role == PLACE_ROLE else word}
        return any(re.search(rf"\b{re.escape(form)}(?:s|es)?\b", sentence.lower()) for form in forms)

    @cached_property
    def subject_role(self) -> str | None:
        """The filled role that does it, if there is one."""
        return next((role for role in SUBJECT_ROLES if role in self.words), None)

    @property
    def subject(self) -> str:
        """Who does it, with an article: the boy; "somebody" where nobody is annotated."""
        return self.the(self.subject_role) if self.subject_role else "somebody"

    @property
    def subject_is(self) -> str:
        """``is`` or ``are``, after the subject."""
        return self.is_or_are(self.subject_role) if self.subject_role else "is"

    def the(self, role: str) -> str:
        """A filler mentioned before: the boy, bread stays bread, Paris stays Paris."""
        word = self.words[role]
        phrase = noun_phrase(word)
        counted = phrase.startswith(("a ", "an ")) or is_plural(word) or word[:1].islower()
        return f"the {word}" if counted and not word.startswith("the ") and word not in NO_ARTICLE else phrase

    def a(self, role: str, size: bool = False) -> str:
        """A filler mentioned for the first time, with its size in the picture if that fits: a small ball."""
        word = self.words[role]
        extent = self.size(role) if size else ""
        if not extent or " " in extent or not (is_plural(word) or noun_phrase(word).startswith(("a ", "an "))):
            return noun_phrase(word)
        return noun_phrase(f"{extent} {word}")

    def is_or_are(self, role: str) -> str:
        """The verb after a filler."""
        word = self.words[role]
        return "are" if is_plural(word) and word not in DEFINITE else "is"

    def part(self, role: str) -> str:
        """The part of the picture that a role's box is in; ``""`` without a box."""
        box = self.image.situation.nouns[role].box_xyxy
        return "" if box is None else part_of_picture(box, self.image.width, self.image.height)

    def where(self, role: str) -> str:
        """``in the upper left of the picture``; ``""`` without a box."""
        part = self.part(role)
        return f"{in_part(part)} of the picture" if part else ""

    def size(self, role: str) -> str:
        """``small``, ``large`` ...; ``""`` without a box."""
        box = self.image.situation.nouns[role].box_xyxy
        return "" if box is None else size_in_words(box, self.image.width, self.image.height)

    def related(self, role: str) -> str:
        """How a filler lies to the one who does it, as a clause; ``""`` where that says nothing."""
        agent = self.subject_role
        if agent is None or role == agent or _BODY_PARTS.search(role) or self.words[role] == self.words[agent]:
            return ""
        nouns = self.image.situation.nouns
        box, other = nouns[role].box_xyxy, nouns[agent].box_xyxy
        if box is None or other is None:
            return ""
        lies = relation(box, other, self.image.width, self.image.height)
        return f"{self.the(role)} {self.is_or_are(role)} {_relation_phrase(lies, self.the(agent))}"

    @cached_property
    def relations(self) -> tuple[str, ...]:
        """All such clauses."""
        return tuple(clause for role in self.words if (clause := self.related(role)))

    def role_name(self, role: str) -> str:
        """A role's name as one would say it: the agent part, the hugged one."""
        if role.endswith("ed") and len(role) > 4:
            return f"{role} one"
        for tail in _ROLE_TAILS:
            front = role.removesuffix(tail)
            if front != role and len(front) > 2 and not self.names_avoided(f"{front} {tail}"):
                return f"{front} {tail}"
        return role

    def role_is(self, role: str) -> str:
        """The verb after a role's name: the agent is, the items are."""
        return "are" if role.endswith("s") and not role.endswith("ss") else "is"

    def meaning(self, role: str) -> str:
        """What a role means: "what flies", "the one who throws"; ``""`` where the words name an avoided verb."""
        text = self.verb.role_text(role).removeprefix(f"{role}: ")
        found = without_forbidden(text, self.avoided, nouns=self.nouns)
        return found if found.startswith(_DESCRIPTIONS) and ":" not in found else ""

    def evidence(self, verb: str, avoided: Iterable[str]) -> tuple[str, ...]:
        """What is visible of a verb, as bare infinitives without the avoided verbs: the whole, and its first clause."""
        definition = self.vocabulary.verb(verb).definition
        whole = without_forbidden(definition, avoided, 110, self.nouns).removeprefix("to ")
        if not definition.startswith("to ") or not whole:
            return ()
        first = whole.split(", ")[0]
        return (whole,) if first == whole or _IN_A_LIST.match(whole[len(first) :]) else (whole, first)


def without_abstracts(vocabulary: Vocabulary) -> Vocabulary:
    """The same words; captions are made of roles alone."""
    return replace(vocabulary, verbs=tuple(replace(verb, abstract="") for verb in vocabulary.verbs))


def verb_in_words(name: str) -> str:
    """A verb's name as it stands in a sentence: throwing, sitting on."""
    return progressive(name)


def _relation_phrase(lies: Relation, whom: str) -> str:
    distance, direction = lies
    if not direction:
        return f"in contact with {whom}" if distance == "touching" else f"close to {whom}"
    if distance == "touching":
        side = {"above": "higher up", "below": "lower down"}.get(direction, f"to the {direction}")
        return f"in contact with {whom}, {side}"
    if direction in ("above", "below"):
        return f"{'a little' if distance == 'close' else 'far'} {direction} {whom}"
    return f"close to {whom}, to the {direction}" if distance == "close" else f"far to the {direction} of {whom}"
