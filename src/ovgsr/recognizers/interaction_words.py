"""A user's own verbs and objects for human-object interactions: ``--verbs ride,"sit on" --nouns bicycle``."""

from __future__ import annotations

from dataclasses import replace

from ovgsr.hoi_vocabulary import hico_det_vocabulary, object_noun
from ovgsr.inflections import gerund
from ovgsr.interactions import HUMAN, OBJECT
from ovgsr.recognizers.vocabulary_words import parse_words
from ovgsr.vocabulary import Verb, Vocabulary


def user_interaction_words(known: Vocabulary, verbs: str | None, objects: str | None) -> Vocabulary:
    """The words that a user names; what is None stays as in ``known``.

    A verb is looked up there, then among HICO-DET's, by name or gerund ("riding" finds "ride"); any other one is
    taken as it stands. Raises VocabularyError as ``parse_words`` does.
    """
    by_name: dict[str, Verb] = {}
    for source in (known, hico_det_vocabulary()):
        for verb in source.verbs:
            by_name.setdefault(verb.name, verb)
            by_name.setdefault(_key(verb.gerund), verb)
    chosen, things = known.verbs, known.nouns
    if verbs is not None:
        names = [_key(word) for word in parse_words(verbs)]
        found = [by_name.get(name) or Verb(name, (HUMAN, OBJECT), gerund=gerund(name)) for name in names]
        chosen = tuple({verb.name: verb for verb in found}.values())
    if objects is not None:
        things = tuple(object_noun(_key(word)) for word in parse_words(objects, "noun"))
    return replace(known, verbs=chosen, nouns=things)


def _key(word: str) -> str:
    return word.lower().replace(" ", "_")
