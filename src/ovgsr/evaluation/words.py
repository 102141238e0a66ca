"""Scoring systems that answer in words: words become noun keys by a fixed, documented rule.

Exact: the word (lower case, "_" read as a space, a leading article dropped) is a noun's gloss, else any of its words;
the first such noun of the vocabulary, SWiG's commonest sense, is taken. Nearest: where nothing is exact, the gloss
whose text embedding is nearest, if its cosine reaches a threshold. Both columns belong in a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ovgsr.situation import EMPTY_NOUN, ImagePrediction, Situation
from ovgsr.vocabulary import Vocabulary

Embed = Callable[[Sequence[str]], Tensor]
ARTICLES = ("a ", "an ", "the ", "some ")
DEFAULT_THRESHOLD = 0.75
RESERVED = frozenset({EMPTY_NOUN, "oov", "Pad"})


@dataclass(frozen=True)
class WordColumns:
    """The same predictions under both rules; an unmatched word stays as it is, which is never right."""

    exact: list[ImagePrediction]
    nearest: list[ImagePrediction] | None
    """Exact, then nearest by text; None without an ``embed``."""
    unmatched_exact: int
    """Distinct words that match nothing exactly."""
    unmatched_nearest: int | None


def plain(word: str) -> str:
    """A word as it is compared: lower case, spaces for underscores, no leading article."""
    text = " ".join(word.replace("_", " ").lower().split())
    for article in ARTICLES:
        if text.startswith(article):
            return text[len(article) :]
    return text


def exact_keys(words: Iterable[str], vocabulary: Vocabulary) -> dict[str, str]:
    """Word -> noun key, for those that match; a noun key stands for itself."""
    by_gloss: dict[str, str] = {}
    by_any_word: dict[str, str] = {}
    for noun in vocabulary.nouns:
        by_gloss.setdefault(plain(noun.gloss), noun.key)
        for word in noun.words:
            by_any_word.setdefault(plain(word), noun.key)
    found = {}
    for word in words:
        if word in RESERVED or vocabulary.answer_index(word) is not None:
            found[word] = word
            continue
        key = by_gloss.get(plain(word)) or by_any_word.get(plain(word))
        if key is not None:
            found[word] = key
    return found


def nearest_keys(
    words: Sequence[str], vocabulary: Vocabulary, embed: Embed, threshold: float = DEFAULT_THRESHOLD
) -> dict[str, str]:
    """Word -> key of the noun with the nearest gloss, for those at or over the threshold (a cosine)."""
    key_of: dict[str, str] = {}
    for noun in vocabulary.nouns:
        key_of.setdefault(plain(noun.gloss), noun.key)
    if not words or not key_of:
        return {}
    glosses = list(key_of)
    texts = [plain(word) for word in words]
    cosines = normalize(embed(texts).float(), dim=-1) @ normalize(embed(glosses).float(), dim=-1).T
    best, position = cosines.max(dim=1)
    chosen = zip(words, best.tolist(), position.tolist(), strict=True)
    return {word: key_of[glosses[place]] for word, cosine, place in chosen if cosine >= threshold}


@torch.no_grad()
def words_to_nouns(
    predictions: Iterable[ImagePrediction],
    vocabulary: Vocabulary,
    embed: Embed | None = None,
    threshold: float = DEFAULT_THRESHOLD,
) -> WordColumns:
    """Predictions whose nouns are words, with noun keys instead, under both rules.

    ``embed`` turns texts into vectors (n, D), e.g. a text encoder's ``encode``.
    """
    given = list(predictions)
    words = list(dict.fromkeys(a.noun for p in given for s in p.situations.values() for a in s.nouns.values()))
    exact = exact_keys(words, vocabulary)
    rest = [word for word in words if word not in exact]
    if embed is None:
        return WordColumns([_renamed(p, exact) for p in given], None, len(rest), None)
    near = nearest_keys(rest, vocabulary, embed, threshold)
    both = {**near, **exact}
    return WordColumns(
        [_renamed(p, exact) for p in given], [_renamed(p, both) for p in given], len(rest), len(rest) - len(near)
    )


def _renamed(prediction: ImagePrediction, keys: Mapping[str, str]) -> ImagePrediction:
    situations = {verb: _renamed_situation(situation, keys) for verb, situation in prediction.situations.items()}
    return replace(prediction, situations=situations)


def _renamed_situation(situation: Situation, keys: Mapping[str, str]) -> Situation:
    nouns = {role: replace(a, noun=keys.get(a.noun, a.noun)) for role, a in situation.nouns.items()}
    return replace(situation, nouns=nouns)
