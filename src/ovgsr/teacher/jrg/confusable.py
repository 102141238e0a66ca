"""What a picture could be mistaken for: confusable verbs, and wrong fillers of its roles. Training verbs only.

Confusable verbs are near in text-embedding space (the caller embeds) and have frames of the same shape. They are drawn
anew for each picture, so that a verb meets all its neighbours over its pictures.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from ovgsr.captions import PLACE_ROLE, ROLE_PREPOSITIONS, SUBJECT_ROLES
from ovgsr.errors import OvgsrError
from ovgsr.inflections import inflected_forms, mentions, words_for
from ovgsr.noun_phrases import word_set
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage
from ovgsr.vocabulary import Verb, Vocabulary

Similarity = Callable[[str, str], float]
"""How near two verbs' texts are, higher is nearer: the cosine of their embeddings."""

LEAST_OVERLAP = 0.4
POOL = 8
"""So many of a verb's neighbours take turns; more where more are asked for at a time."""

_SHARPNESS = 6.0
"""How much oftener near neighbours are drawn than farther ones: weights are exp(sharpness * similarity)."""

_LOOKED_AT = 60
"""So many fillers of the stock are looked at for one picture's role."""

_VAGUE = word_set(
    "object person people individual animal plant thing something someone instrumentality artifact entity device tool "
    "implement equipment container vehicle covering worker adult performer creature unit group part whole mammal "
    "representation"
)
"""Words that are too broad to be wrong."""

_ANYONE = word_set("man woman boy girl child male female person people someone somebody individual adult")
"""Words for a person by sex and age alone: a king may be a man and a man a king, so neither is wrong for the other."""


class ConfusableError(OvgsrError):
    """A verb for which no confusable verbs may be chosen."""


def matrix_similarity(names: Sequence[str], matrix: Sequence[Sequence[float]]) -> Similarity:
    """A similarity out of a matrix (verbs x verbs) whose rows and columns are in the order of ``names``."""
    if len(matrix) != len(names) or any(len(row) != len(names) for row in matrix):
        raise ConfusableError(f"the similarity matrix must have {len(names)} rows and columns, one a verb")
    position = {name: index for index, name in enumerate(names)}
    return lambda first, second: float(matrix[position[first]][position[second]])


def role_types(verb: Verb) -> Counter[str]:
    """How often each type of role is in a frame: subject, place, object, and the prepositions (with, from, to, on ...).

    The types are those by which a caption joins the role to its sentence.
    """
    return Counter(_role_type(role) for role in verb.roles)


def role_overlap(first: Verb, second: Verb) -> float:
    """How alike two frames are, 0..1: role types in common over role types in either, each as often as it occurs."""
    one, other = role_types(first), role_types(second)
    either = (one | other).total()
    return (one & other).total() / either if either else 0.0


def _role_type(role: str) -> str:
    if role in SUBJECT_ROLES:
        return "subject"
    return role if role == PLACE_ROLE else ROLE_PREPOSITIONS.get(role, "object")


class ConfusableVerbs:
    """Chooses confusable verbs among the training verbs; asks for each similarity once.

    Raises ConfusableError where a training verb is not in the vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary, training_verbs: Iterable[str], similarity: Similarity) -> None:
        self.training = tuple(dict.fromkeys(training_verbs))
        unknown = [verb for verb in self.training if verb not in vocabulary]
        if unknown:
            raise ConfusableError(f"the training verb {unknown[0]!r} is not in the vocabulary {vocabulary.name!r}")
        self._verbs = {name: vocabulary.verb(name) for name in self.training}
        self._similarity = similarity
        self._neighbours: dict[str, tuple[tuple[str, float], ...]] = {}

    def neighbours(self, verb: str) -> tuple[tuple[str, float], ...]:
        """The other training verbs with their similarity: those with a like frame first, then by similarity.

        Verbs that share a form with it (lying and laying) are left out: no text could name one and not the other.
        Raises ConfusableError for a verb that training does not meet.
        """
        if verb not in self._verbs:
            raise ConfusableError(
                f"{verb!r} is no training verb, so nothing may be written about it; give seen and rare verbs only"
            )
        if verb not in self._neighbours:
            own = inflected_forms(verb)
            others = [o for o in self.training if o != verb and not own & inflected_forms(o)]
            near = {other: self._similarity(verb, other) for other in others}
            alike = {o for o in others if role_overlap(self._verbs[verb], self._verbs[o]) >= LEAST_OVERLAP}
            ranked = sorted(near.items(), key=lambda item: (item[0] not in alike, -item[1], item[0]))
            self._neighbours[verb] = tuple(ranked)
        return self._neighbours[verb]

    def choose(self, verb: str, k: int, *, seed: int, picture: str, nouns: Iterable[str] = ()) -> tuple[str, ...]:
        """At most ``k`` confusable verbs for one picture, decided by ``seed`` and the picture's name alone.

        ``nouns`` are the words of the picture's annotation: a verb that they name (``fishing rod``) is left out, for no
        text could be true without naming it.
        """
        words = tuple(nouns)
        named = mentions(" . ".join(words), self.training, words)
        pool = [near for near in self.neighbours(verb) if near[0] not in named][: max(POOL, 2 * k)]
        rng = random.Random(f"confusable/{seed}/{picture}/{verb}")
        chosen: list[str] = []
        while pool and len(chosen) < k:
            nearest = max(similarity for _, similarity in pool)
            weights = [math.exp(_SHARPNESS * (similarity - nearest)) for _, similarity in pool]
            chosen.append(pool.pop(rng.choices(range(len(pool)), weights)[0])[0])
        return tuple(chosen)


def fillers_by_role(images: Iterable[AnnotatedImage]) -> dict[str, tuple[str, ...]]:
    """Role name -> the noun keys that fill it in these pictures, commonest first: the stock of wrong fillers."""
    counts: dict[str, Counter[str]] = {}
    for image in images:
        for role, noun in image.situation.nouns.items():
            if noun.noun != EMPTY_NOUN:
                counts.setdefault(role, Counter())[noun.noun] += 1
    return {
        role: tuple(key for key, _ in sorted(count.items(), key=lambda item: (-item[1], item[0])))
        for role, count in counts.items()
    }


class WrongFillers:
    """Chooses things that fill a role in other pictures (``fillers_by_role``), and nothing in this one.

    None shares a word with what any annotator named in any role, or is a kind of it, or its kind, as far as the nouns'
    hypernyms lead; none is as broad as "person", or names this verb or one of ``forbidden``.
    """

    def __init__(
        self, vocabulary: Vocabulary, fillers: Mapping[str, Sequence[str]], forbidden: Iterable[str] = ()
    ) -> None:
        self._vocabulary = vocabulary
        self._fillers = fillers
        self._forbidden = tuple(forbidden)
        self._by_gloss = {noun.gloss: noun for noun in reversed(vocabulary.nouns)}
        self._names: dict[str, frozenset[str]] = {}
        self._above: dict[str, frozenset[str]] = {}

    def choose(
        self, image: AnnotatedImage, k: int, *, seed: int, avoided: Iterable[str] = ()
    ) -> dict[str, tuple[str, ...]]:
        """For each filled role at most ``k`` words, all different, that name no verb of ``avoided`` either.

        ``seed`` and the picture's name decide.
        """
        situation = image.situation
        answers = {key for noun in situation.nouns.values() for key in noun.accepted | {noun.noun}} - {EMPTY_NOUN}
        names = set().union(*map(self._names_of, answers))
        above = set().union(*map(self._above_of, answers))
        verbs = (situation.verb, *self._forbidden, *avoided)
        found: dict[str, tuple[str, ...]] = {}
        for role, noun in situation.nouns.items():
            stock = self._fillers.get(role, ()) if noun.noun != EMPTY_NOUN else ()
            rng = random.Random(f"fillers/{seed}/{image.file_name}/{role}")
            said = [self._names_of(key) for key in noun.accepted | {noun.noun} if key != EMPTY_NOUN]
            anyone = all(words & _ANYONE for words in said)
            nobody = all(words & _VAGUE & _ANYONE for words in said)  # "a person": whoever is offered may be that
            chosen: list[str] = []
            for key in rng.sample(stock, min(_LOOKED_AT, len(stock))):
                if len(chosen) == k:
                    break
                own = self._names_of(key)
                if own & (names | above | _VAGUE) or self._above_of(key) & (names - _VAGUE):
                    continue
                if anyone != bool(own & _ANYONE) or nobody:
                    continue
                word = words_for(key, self._vocabulary)[0]
                if not mentions(word, verbs):
                    chosen.append(word)
                    names |= own
            if chosen:
                found[role] = tuple(chosen)
        return found

    def _names_of(self, key: str) -> frozenset[str]:
        """A noun's words and their heads, to be compared with another noun's."""
        if key not in self._names:
            self._names[key] = frozenset(_single(word) for word in words_for(key, self._vocabulary))
        return self._names[key]

    def _above_of(self, key: str) -> frozenset[str]:
        """The words of a noun's hypernyms."""
        if key not in self._above:
            known = self._vocabulary.answer_index(key) is not None
            hypernym = self._vocabulary.noun(key).hypernym if known else ""
            found: list[str] = []
            while hypernym and hypernym not in found:
                found.append(hypernym)
                broader = self._by_gloss.get(hypernym)
                if broader is None:
                    break
                found += [word for word in broader.words if word not in found]  # beverage is drink as well
                hypernym = broader.hypernym
            self._above[key] = frozenset(map(_single, found))
        return self._above[key]


def _single(word: str) -> str:
    """For comparing: lower case, without a plural's ending."""
    lower = word.lower()
    return lower[:-1] if lower.endswith("s") and not lower.endswith("ss") else lower
