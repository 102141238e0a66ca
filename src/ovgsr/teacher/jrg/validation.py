"""What a picture's rationales may and must say: judged against its annotation, whoever wrote them.

A positive names the truth and nothing that contradicts it; a negative contradicts it in exactly one thing and says in
which; no text names a verb that training must not meet, is no plain English, or carries what does not belong into a
sentence. Every rule has a short code; the codes are counted in the report of a run.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ovgsr.inflections import mentions
from ovgsr.noun_phrases import word_set
from ovgsr.teacher.jrg.facts import (
    Facts,
    affirms,
    grammatical_numbers,
    has_phrase,
    places_differ,
    plain_words,
    without_phrase,
)
from ovgsr.teacher.jrg.rationales import Gaze, Glimpse, Negative

FEWEST_WORDS, MOST_WORDS = 3, 80
_ENGLISH_SHARE = 0.08
"""Least part of a text's words that are among the commonest of English; our own texts have 0.3 and more."""

_COMMONEST = word_set(
    "a an and are as at be but by can do does for from has have he her his if in into is it its no nor not of off on "
    "one or out over she so some than that the their them then there they this to two under up was what where which "
    "while who with would"
)
_PLAIN = re.compile(r"[A-Za-z0-9 .,;:!?'\"()/%&+’‘“”–—é-]*")
_NO_LETTERS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of what controls a terminal or a text instead of standing in it."""
_MARKUP = re.compile(
    r"https?:|www\.|<\||\|>|</?[a-z]|\[/?[a-z]+\]|```|###|[{}]|\b(?:system|assistant|user)\s*:|\bas an ai\b"
    r"|language model|\bi(?: am|'m) sorry\b|\bi can(?:no|')t\b",
    re.IGNORECASE,
)
_BODY = word_set(
    "arm back body chest chin ear eye face finger foot hair hand head knee leg lip lips mouth neck nose palm paw "
    "shoulder tail teeth thumb toe tongue tooth"
)
_CORNER = re.compile(
    r"\b(upper|top|lower|bottom|centre|center|middle)(?: |-)(left|right|centre|center|middle)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a text cannot be used: a short code to count, a sentence for a person and for the next attempt.

    The sentence never names a forbidden verb: it goes into a prompt.
    """

    code: str
    sentence: str


def judge(glimpse: Glimpse, gazes: Mapping[str, Gaze], facts: Facts) -> tuple[Reason, ...]:
    """Everything that is wrong with a picture's judgements; empty where they can be used."""
    return tuple(_Judge(glimpse, gazes, facts).reasons())


class _Judge:
    def __init__(self, glimpse: Glimpse, gazes: Mapping[str, Gaze], facts: Facts) -> None:
        self.glimpse = glimpse
        self.gazes = gazes
        self.facts = facts

    def reasons(self) -> Iterator[Reason]:
        # Broken texts may mislead the later rules, and what a text with a forbidden verb says must not be quoted.
        for rules in (self._broken_texts, self._forbidden_verbs):
            found = [*rules()]
            yield from found
            if found:
                return
        yield from self._repeated()
        yield from self._positive_glimpse()
        yield from self._negative_glimpses()
        for role, gaze in self.gazes.items():
            yield from self._gaze(role, gaze)

    def _texts(self) -> Iterator[tuple[str, str]]:
        """Every sentence with where it stands."""
        judgements: list[tuple[str, Glimpse | Gaze]] = [("glimpse", self.glimpse)]
        judgements += [(f"gazes.{role}", gaze) for role, gaze in self.gazes.items()]
        for where, judgement in judgements:
            yield f"{where}.positive", judgement.positive
            for number, negative in enumerate(judgement.negatives):
                yield f"{where}.negatives[{number}].text", negative.text

    def _wrongs(self) -> Iterator[tuple[str, str]]:
        for role, gaze in self.gazes.items():
            for number, negative in enumerate(gaze.negatives):
                yield f"gazes.{role}.negatives[{number}].wrong", negative.wrong

    def _broken_texts(self) -> Iterator[Reason]:
        for where, text in self._texts():
            words = len(text.split())
            if not FEWEST_WORDS <= words <= MOST_WORDS:
                yield Reason("length", f"{where} has {words} words; write {FEWEST_WORDS} to {MOST_WORDS}")
            yield from _broken(where, text)
            if words > 5 and _english_share(text) < _ENGLISH_SHARE:
                yield Reason("language", f"{where} is no plain English sentence")
        for where, wrong in self._wrongs():
            if not 1 <= len(wrong.split()) <= 8 or not re.search(r"[A-Za-z]", wrong):
                yield Reason("length", f"{where} must be one to eight words")
            yield from _broken(where, wrong)

    def _forbidden_verbs(self) -> Iterator[Reason]:
        every = [*self._texts(), *self._wrongs()]
        if not self._names(" . ".join(text for _, text in every), self.facts.forbidden):
            return
        for where, text in every:
            if self._names(text, self.facts.forbidden):
                word = next((n for n, w in enumerate(text.split(), 1) if self._names(w, self.facts.forbidden)), None)
                which = f"word {word} of {where} is" if word else f"{where} has"
                yield Reason("unseen_verb", f"{which} a form of a verb that may not be named; use other words")

    def _repeated(self) -> Iterator[Reason]:
        first: dict[str, str] = {}
        for where, text in self._texts():
            earlier = first.setdefault(plain_words(text), where)
            if earlier != where:
                yield Reason("repeated", f"{where} repeats {earlier}")

    def _positive_glimpse(self) -> Iterator[Reason]:
        text, facts = self.glimpse.positive, self.facts
        if not self._names(text, (facts.verb,)):
            yield Reason("verb_not_named", f"glimpse.positive does not name the verb '{facts.verb}'")
        for role, filler in facts.fillers.items():
            if not filler.named_in(text):
                yield Reason("filler_not_named", f"glimpse.positive does not name what fills the role '{role}'")
        yield from self._contradictions("glimpse.positive", text)

    def _negative_glimpses(self) -> Iterator[Reason]:
        facts, done = self.facts, set()
        if facts.offered and facts.k and not self.glimpse.negatives:
            yield Reason("too_few_negatives", "glimpse.negatives is empty; judge each of the confusable verbs")
        for number, negative in enumerate(self.glimpse.negatives):
            where = f"glimpse.negatives[{number}]"
            if negative.wrong not in facts.offered:
                yield Reason("verb_not_offered", f"{where}.verb must be one of: {', '.join(facts.offered)}")
                continue
            if negative.wrong in done:
                yield Reason("verb_twice", f"{where} is about '{negative.wrong}' again")
            done.add(negative.wrong)
            if not self._names(negative.text, (negative.wrong,)):
                yield Reason("wrong_not_named", f"{where}.text does not name the verb '{negative.wrong}'")
            for role in self._changed_fillers(negative.text):
                yield Reason("more_than_one_wrong", f"{where} also changes what fills the role '{role}'")

    def _gaze(self, role: str, gaze: Gaze) -> Iterator[Reason]:
        where = f"gazes.{role}"
        if not self.facts.fillers[role].named_in(gaze.positive):
            yield Reason("filler_not_named", f"{where}.positive does not name what fills the role")
        yield from self._contradictions(f"{where}.positive", gaze.positive)
        if self.facts.k and not gaze.negatives and self.facts.can_be_wrong(role):
            yield Reason("too_few_negatives", f"{where}.negatives is empty")
        for number, negative in enumerate(gaze.negatives):
            yield from self._negative_gaze(role, negative, f"{where}.negatives[{number}]")

    def _negative_gaze(self, role: str, negative: Negative, where: str) -> Iterator[Reason]:
        facts, filler, wrong = self.facts, self.facts.fillers[role], quoted(negative.wrong)
        if not _says_wrong(negative):
            yield Reason("wrong_not_named", f"{where}.text does not name what it gets wrong, {wrong}")
        if negative.kind == "filler" and filler.includes(negative.wrong):
            yield Reason("not_wrong", f"{where}: {wrong} is no wrong answer for the role '{role}'")
        if negative.kind == "role" and (negative.wrong not in facts.roles or negative.wrong == role):
            others = ", ".join(other for other in facts.roles if other != role)
            yield Reason("not_wrong", f"{where}.wrong must be another role of the frame: {others}")
        if negative.kind == "place" and role not in facts.places:
            yield Reason("place_unknown", f"{where}: where the role '{role}' is was not annotated; use another kind")
        elif negative.kind == "place" and not places_differ(negative.wrong, facts.places[role]):
            yield Reason("not_wrong", f"{where}: {wrong} is no wrong place for the role '{role}'")
        if negative.kind != "filler" and not filler.named_in(negative.text):
            yield Reason("filler_not_named", f"{where}.text does not name what fills the role; one thing only is wrong")
        if self._names(negative.text, facts.offered):
            yield Reason("more_than_one_wrong", f"{where} also names another verb")
        for other in self._changed_fillers(negative.text, negative.wrong):
            if other != role or negative.kind != "filler":
                yield Reason("more_than_one_wrong", f"{where} also changes what fills the role '{other}'")
        if negative.kind != "place" and self._strange_place(negative.text):
            yield Reason("more_than_one_wrong", f"{where} also changes the place")

    def _contradictions(self, where: str, text: str) -> Iterator[Reason]:
        """What a positive must not say: an offered verb, its own author's wrong answer, another place."""
        for verb in sorted(self._names(text, self.facts.offered)):
            yield Reason("contradiction", f"{where} names '{verb}', which is not what happens")
        wrongs = {n.wrong for gaze in self.gazes.values() for n in gaze.negatives if n.kind == "filler"}
        for word in sorted(wrongs):
            if word not in _COMMONEST and not self._is_true(word) and affirms(text, word):
                yield Reason("contradiction", f"{where} names {quoted(word)}, which is judged wrong elsewhere")
        if self._strange_place(text):
            yield Reason("contradiction", f"{where} names a place that is not where the annotation has it")

    def _changed_fillers(self, text: str, allowed: str = "") -> Iterator[str]:
        """The roles of which a text names a suggested wrong answer, but not the true one.

        Body parts are left out: they are the evidence of nearly every judgement. So are words within ``allowed``, and
        what is spelt like an offered verb ("writing") or an everyday word ("can").
        """
        rest = without_phrase(text, allowed)
        for role, words in self._suspects.items():
            if any(affirms(rest, word) for word in words) and not self.facts.fillers[role].named_in(text):
                yield role

    @cached_property
    def _suspects(self) -> dict[str, list[str]]:
        innocent = _BODY | _COMMONEST | {*self.facts.offered, *self.facts.roles}
        return {
            role: [word for word in words if word not in innocent and not self._is_true(word)]
            for role, words in self.facts.wrong_fillers.items()
            if role in self.facts.fillers
        }

    def _is_true(self, word: str) -> bool:
        """Whether a word belongs to something that is there: "gas" to a gas pump."""
        fillers = self.facts.fillers.values()
        return any(f.includes(word) or any(has_phrase(phrase, word) for phrase in f.exact) for f in fillers)

    def _strange_place(self, text: str) -> bool:
        """Whether a text names a part of the picture (upper left) in which nothing was annotated."""
        places = self.facts.places.values()
        return bool(places) and any(
            all(places_differ(found[0], place) for place in places) for found in _CORNER.finditer(text)
        )

    def _names(self, text: str, verbs: Iterable[str]) -> set[str]:
        return set(mentions(text, verbs, self.facts.nouns))


def quoted(value: object) -> str:
    """A value out of a reply, made harmless for a message or a prompt: short, one line, ASCII, in quotes."""
    return json.dumps(str(value)[:40])


def _says_wrong(negative: Negative) -> bool:
    if negative.kind == "role":  # "the agent part" for agentpart
        return plain_words(negative.wrong).replace(" ", "") in plain_words(negative.text).replace(" ", "")
    return any(has_phrase(negative.text, number) for number in grammatical_numbers(negative.wrong) | {negative.wrong})


def _broken(where: str, text: str) -> Iterator[Reason]:
    if not _PLAIN.fullmatch(text):
        if any(unicodedata.category(character) in _NO_LETTERS for character in text):
            yield Reason("control_characters", f"{where} has control characters; write one line of plain text")
        else:
            yield Reason("language", f"{where} has characters that plain English does not need")
    if _MARKUP.search(text):
        yield Reason("markup", f"{where} has markup, an address or talk about the task; write the sentence only")


def _english_share(text: str) -> float:
    words = plain_words(text).split()
    return sum(word in _COMMONEST for word in words) / max(1, len(words))
