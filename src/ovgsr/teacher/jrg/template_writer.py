"""The writer that needs no language model: rationales out of the annotation alone. It is no LLM and says so.

It knows what the annotators noted, the verbs' definitions and where the boxes are, and nothing of the pixels: its
"visible evidence" is what a definition says that one sees. Every sentence comes in several wordings; the picture's seed
chooses, and a wording that names an unseen verb, or a confusable one in a positive, gives way to the next. The last
wording of each kind is made of words that are a form of none of SWiG's verbs.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from ovgsr.inflections import mentions
from ovgsr.noun_phrases import noun_phrase
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.facts import grammatical_numbers, has_phrase
from ovgsr.teacher.jrg.parsing import Judgements
from ovgsr.teacher.jrg.places_in_words import in_part, wrong_parts
from ovgsr.teacher.jrg.rationales import Gaze, Glimpse, Negative, RationaleError
from ovgsr.teacher.jrg.scene_in_words import Scene, verb_in_words, without_abstracts
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

TEMPLATE = "jrg-1"
WORDINGS_VERSION = "1"
"""Changes whenever a sentence below does: a store written with other wordings is not continued."""

FEWEST_WORDS, MOST_WORDS = 3, 60


class TemplateWriter:
    """Writes the rationales of training pictures, the same bytes for the same arguments.

    ``vocabulary`` has the data set's verbs and nouns; no text names a verb of the split's ``unseen`` or ``dev_unseen``.
    """

    name = f"template:{TEMPLATE}"
    is_llm = False

    def __init__(self, vocabulary: Vocabulary, split: VerbSplit) -> None:
        self._vocabulary = vocabulary
        self._plain = without_abstracts(vocabulary)
        self._training = frozenset(split.training)
        self._forbidden = (*split.unseen, *split.dev_unseen)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 that stands for a prompt's."""
        return hashlib.sha256(f"{self.name}/{WORDINGS_VERSION}".encode()).hexdigest()

    def write(
        self,
        image: AnnotatedImage,
        *,
        confusable: Sequence[str],
        wrong_fillers: Mapping[str, Sequence[str]],
        k: int,
        seed: int,
    ) -> Judgements:
        """A glimpse with at most ``k`` of the ``confusable`` verbs judged wrong, and a gaze at each filled role.

        ``wrong_fillers`` maps roles to words for what could fill them, and does not. Raises RationaleError where a verb
        is no training verb or no role is filled.
        """
        for verb in (image.situation.verb, *confusable):
            if verb not in self._training:
                raise RationaleError(
                    f"{image.file_name}: {verb!r} is no training verb, so nothing may be written about it; "
                    "give pictures and confusable verbs of seen and rare verbs only"
                )
        more = tuple(word for words in wrong_fillers.values() for word in words)
        avoided = (*self._forbidden, *confusable)
        scene = Scene(image, self._vocabulary, self._plain, self._forbidden, avoided, more)
        if not scene.words:
            raise RationaleError(f"{image.file_name}: the annotators left every role empty; leave the picture out")
        rng = random.Random(f"{self.name}/{WORDINGS_VERSION}/{seed}/{image.file_name}")
        return _Page(scene, rng, wrong_fillers).judgements(confusable, k)


class _Page:
    """One picture's texts, no two the same."""

    def __init__(
        self,
        scene: Scene,
        rng: random.Random,
        wrong_fillers: Mapping[str, Sequence[str]],
    ) -> None:
        self.scene = scene
        self.wrong_fillers = wrong_fillers
        self.rng = rng
        self.verb = verb_in_words(scene.verb.name)
        self.written: set[str] = set()

    def judgements(self, confusable: Sequence[str], k: int) -> Judgements:
        glimpse = self._write(self._positive_glimpses(), self.scene.avoided)
        gazes = {role: self._write(self._positive_gazes(role), self.scene.avoided) for role in self.scene.words}
        said = " . ".join((glimpse, *gazes.values()))
        negatives = []
        for verb in confusable[:k]:
            others = (*self.scene.forbidden, *(other for other in confusable if other != verb))
            negatives.append(Negative("verb", verb, self._write(self._negative_glimpses(verb, others), others)))
        return Judgements(
            Glimpse(glimpse, tuple(negatives)),
            {role: Gaze(positive, tuple(self._negative_gazes(role, said, k))) for role, positive in gazes.items()},
        )

    def _write(self, wordings: tuple[list[str], list[str]], avoided: tuple[str, ...]) -> str:
        """The first of the wordings, in an order of chance, that may be said; ``wordings`` are rich and plain ones."""
        rich, plain = wordings
        self.rng.shuffle(rich)
        for text in (*rich, *plain):
            sentence = _sentence(text)
            fits = FEWEST_WORDS <= len(sentence.split()) <= MOST_WORDS and sentence.lower() not in self.written
            if fits and not mentions(sentence, avoided, self.scene.nouns):
                break
        self.written.add(sentence.lower())
        return sentence

    def _positive_glimpses(self) -> tuple[list[str], list[str]]:
        scene, verb, rich = self.scene, self.verb, []
        who, seen = scene.subject, f"{scene.subject_is} seen to"
        plain = [f"{said}; this is {verb}" for said in scene.captions] or [
            f"this is {verb}, with {_list(self._things())}"
        ]
        for said in scene.captions:
            for what in scene.evidence(scene.verb.name, scene.avoided):
                rich += [
                    f"{said}: {who} {seen} {what}, so this is {verb}",
                    f"this is {verb}: {said}, and {who} {seen} {what}",
                    f"{said}. It is {verb}, for {who} {seen} {what}",
                    f"{said}, and what one can see is {verb}: {who} {seen} {what}",
                ]
                rich += [f"{said}; {lies}, and {who} {seen} {what}, so it is {verb}" for lies in scene.relations[:2]]
            if any(not mentions(text, scene.avoided, scene.nouns) for text in rich):
                break  # the abstract's sentence will do; the one of the roles alone reads less well
        return rich, plain

    def _things(self, but: str = "") -> list[str]:
        return list(dict.fromkeys(self.scene.a(role) for role in self.scene.words if role != but))

    def _negative_glimpses(self, verb: str, avoided: tuple[str, ...]) -> tuple[list[str], list[str]]:
        scene, wrong = self.scene, verb_in_words(verb)
        who, seen, things = scene.subject, f"{scene.subject_is} seen to", _list(self._things())
        own = scene.evidence(scene.verb.name, avoided)
        rich: list[str] = []
        for would in scene.evidence(verb, avoided):
            rich += [
                f"with {things} this could be taken for {wrong}, but {who} {scene.subject_is} not seen to {would}, "
                f"so it is not {wrong}",
                f"if this were {wrong}, {who} would have to {would}; nothing of that is to be seen with {things}, "
                f"so it is not {wrong}",
            ]
            for what in own:
                rich += [
                    f"it could be taken for {wrong}, but {who} {seen} {what} and not to {would}, so it is not {wrong}",
                    f"for {wrong} {who} would have to {would}, but {seen} {what}, so it is {self.verb} and not {wrong}",
                    f"this is not {wrong}: {who} would have to {would}, and instead {who} {seen} {what}",
                ]
            rich += [
                f"one could think of {wrong}, but then {who} would have to {would}; {lies}, so it is not {wrong}"
                for lies in scene.relations[:1]
            ]
        plain = [
            f"with {things} it could be taken for {wrong}, but {who} {seen} {w}, so it is not {wrong}" for w in own
        ]
        plain += [f"with {things} it could be taken for {wrong}, but it is {self.verb}, so it is not {wrong}"]
        return self._one_thing_wrong((rich, plain))

    def _one_thing_wrong(
        self, wordings: tuple[list[str], list[str]], wrong_role: str = ""
    ) -> tuple[list[str], list[str]]:
        """Without those that name what was suggested as wrong for another role, and not what fills that one."""

        def changes_another(text: str) -> bool:
            return any(
                not _has(text, self.scene.words[role]) and any(_has(text, word) for word in words)
                for role, words in self.wrong_fillers.items()
                if role in self.scene.words and role != wrong_role
            )

        rich, plain = wordings
        return [text for text in rich if not changes_another(text)], plain

    def _positive_gazes(self, role: str) -> tuple[list[str], list[str]]:
        scene, verb = self.scene, self.verb
        the, is_, name = scene.the(role), scene.is_or_are(role), scene.role_name(role)
        the_role_is = f"the {name} of {verb} {scene.role_is(role)}"
        where, size, means, lies = scene.where(role), scene.size(role), scene.meaning(role), scene.related(role)
        plain = [f"{the} {is_} the {name} of {verb}", f"{the_role_is} {scene.a(role)}"]
        rich: list[str] = []
        if role == scene.subject_role:
            acts = [f"{is_} seen to {what}" for what in scene.evidence(scene.verb.name, scene.avoided)]
            rich += [f"{the}, the {name} of {verb}, {act}" for act in acts]
            rich += [f"{where} {is_} {scene.a(role, size=True)}; {the}, the {name}, {act}" for act in acts if where]
        if means:
            rich += [f"{the} {is_} {means}, the {name} of {verb}", f"{means} is {scene.a(role)}, the {name} of {verb}"]
        if where:
            rich += [
                f"{where} {is_} {scene.a(role, size=True)}, the {name} of {verb}",
                f"{the_role_is} {scene.a(role)}, {size} and {where}",
            ]
            rich += [f"{the} {is_} {means}, the {name} of {verb}, {size} and {where}"] if means else []
        if lies:
            rich += [
                f"{the_role_is} {scene.a(role, size=True)} {where}; {lies}",
                f"{lies}; {the} {is_} {means or f'the {name}'} in this {verb}",
            ]
        return rich, plain

    def _negative_gazes(self, role: str, said: str, k: int) -> Iterator[Negative]:
        """At most ``k``, of as many kinds as there are, in an order of chance."""
        scene = self.scene
        roles = [other for other in scene.image.situation.roles if other != role]
        self.rng.shuffle(roles)
        roles.sort(key=lambda other: other not in scene.words)  # one that something else fills is the better swap
        elsewhere = {word for suggested, words in self.wrong_fillers.items() if suggested != role for word in words}
        usable = [
            word
            for word in self.wrong_fillers.get(role, ())
            if word not in elsewhere and not _has(said, word) and not mentions(word, scene.avoided, scene.nouns)
        ]
        parts = [*wrong_parts(scene.part(role))] if scene.part(role) else []
        self.rng.shuffle(parts)
        by_kind: list[list[Callable[[], Negative]]] = [
            [_later(self._wrong_filler, role, word) for word in usable],
            [_later(self._wrong_role, role, other) for other in roles],
            [_later(self._wrong_part, role, part) for part in parts],
        ]
        self.rng.shuffle(by_kind)
        makers = [maker for turn in zip_longest(*by_kind) for maker in turn if maker is not None]
        for maker in makers[:k]:
            yield maker()

    def _wrong_filler(self, role: str, word: str) -> Negative:
        scene, wrong, verb = self.scene, noun_phrase(word), self.verb
        name, true, where = scene.role_name(role), scene.a(role), scene.where(role)
        spot = f" {where}" if where else ""
        rich = [
            f"the {name} of {verb} would be {wrong}, but what is to be seen{spot} is {true}, so that is wrong",
            f"one could take the {name} of {verb} for {wrong}, but it is {true}{spot}, so that is wrong",
            f"it would be {verb} with {wrong} as the {name}, but {true} is there instead, so that is wrong",
        ]
        if means := scene.meaning(role):
            rich += [f"{wrong} would be {means} in this {verb}, but {scene.the(role)} {scene.is_or_are(role)}"]
        plain = [f"the {name} would be {wrong}, but it is {true}, so that is wrong"]
        return Negative("filler", word, self._write(self._one_thing_wrong((rich, plain), role), scene.avoided))

    def _wrong_role(self, role: str, other: str) -> Negative:
        scene, verb, the, is_ = self.scene, self.verb, self.scene.the(role), self.scene.is_or_are(role)
        name, wrong = scene.role_name(role), scene.role_name(other)
        rich = [f"{the} would be the {wrong} of {verb}, but {is_} the {name}, so that is wrong"]
        if other in scene.words and scene.words[other] != scene.words[role]:
            rich += [
                f"{the} would be the {wrong} of {verb}, but {scene.the(other)} {scene.is_or_are(other)} that, and "
                f"{the} {is_} the {name}, so the two are swapped"
            ]
        if (means := scene.meaning(role)) and (instead := scene.meaning(other)):
            rich += [f"{the} would be {instead}, the {wrong} of {verb}, but {is_} {means}, so that is wrong"]
        plain = [f"{the} would be the {wrong}, but {is_} the {name}, so that is wrong"]
        return Negative("role", other, self._write(self._one_thing_wrong((rich, plain)), scene.avoided))

    def _wrong_part(self, role: str, part: str) -> Negative:
        scene = self.scene
        the, is_, name = scene.the(role), scene.is_or_are(role), scene.role_name(role)
        wrong, true = f"{in_part(part)} of the picture", in_part(scene.part(role))
        the_role_is = f"the {name} of {self.verb} {scene.role_is(role)}"
        rich = [
            f"{the}, the {name} of {self.verb}, would be {wrong}, but {is_} {true}, so that is wrong",
            f"{wrong} one would see {scene.a(role)}, the {name} of {self.verb}, but {the} {is_} {true}",
            f"one could look for {the} {wrong}, but {the_role_is} {true}, so that is wrong",
        ]
        plain = [f"{the} would be {wrong}, but {is_} {true}, so that is wrong"]
        return Negative("place", part, self._write(self._one_thing_wrong((rich, plain)), scene.avoided))


def _has(text: str, word: str) -> bool:
    return any(has_phrase(text, form) for form in grammatical_numbers(word))


def _later(make: Callable[[str, str], Negative], role: str, wrong: str) -> Callable[[], Negative]:
    return lambda: make(role, wrong)


def _list(things: Iterable[str]) -> str:
    """a boy, a ball and a park"""
    *front, last = things
    return f"{', '.join(front)} and {last}" if front else last


def _sentence(text: str) -> str:
    """With a capital letter and a full stop, and without doubled spaces."""
    plain = " ".join(text.split()).replace(" ;", ";").replace(" ,", ",").rstrip(" .")
    return f"{plain[:1].upper()}{plain[1:]}."
