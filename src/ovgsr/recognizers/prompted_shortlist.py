"""Which nouns of a long list are worth a full likelihood: those whose first token the model finds likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ovgsr.noun_phrases import noun_phrase, readable_word
from ovgsr.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovgsr.teacher.multimodal_llm import MultimodalLLM, VisualTokens


class FirstTokens:
    """The nouns of a vocabulary by the token that begins them, for one model.

    A noun with an article is begun by its first token after " a", any other by that after the sentence itself. Which
    token begins a word is read off the token strings: the longest that the word starts with, in any spelling of upper
    and lower case, with or without a space before it. For nearly all words this is the tokenizer's own first token;
    where it is not, the noun may be missed.
    """

    def __init__(self, teacher: MultimodalLLM, vocabulary: Vocabulary) -> None:
        self._teacher = teacher
        numbers: dict[str, int] = {}
        tokens = [numbers.setdefault(text.strip().lower(), len(numbers)) for text in teacher.vocabulary]
        self._token_word = torch.tensor(tokens)
        self._articles = [numbers[word] for word in ("a", "an") if word in numbers]
        begins, with_article = [], []
        for noun in vocabulary.nouns:
            phrase = noun_phrase(readable_word(noun.key, vocabulary))
            article, _, rest = phrase.partition(" ")
            with_article.append(article in ("a", "an"))
            begins.append(_longest_start((rest if article in ("a", "an") else phrase).lower(), numbers))
        self._begins = torch.tensor(begins)
        self._with_article = torch.tensor(with_article)

    @torch.no_grad()
    def likelihoods(self, visual: VisualTokens, question: str, start: str) -> Tensor:
        """Log-probability (N,) of each noun's first token after the picture's tokens, question and ``start``."""
        sentence = self._teacher.embed_text(start)
        soft = self._teacher.embed_text(f"{start} a")
        states = self._teacher.soft_token_states([visual], soft, question=question)[0]
        ends = states[[len(sentence) - 1, len(soft) - 1]]
        words = self._word_probabilities(self._teacher.vocabulary_logits(ends).float().cpu())
        article = words[0, self._articles].sum() if self._articles else words.new_ones(())
        bare, after_article = words[0, self._begins], article * words[1, self._begins]
        found = torch.where(self._with_article, after_article, bare)
        return torch.where(self._begins >= 0, found, 0.0).clamp(min=1e-30).log()

    def _word_probabilities(self, logits: Tensor) -> Tensor:
        """(2, V) logits to the probabilities (2, S) of distinct token strings."""
        probabilities = logits[:, : len(self._token_word)].softmax(dim=-1)
        words = probabilities.new_zeros(len(logits), int(self._token_word.max()) + 1)
        return words.index_add(1, self._token_word[: probabilities.shape[1]], probabilities)


def shortlisted(named: Sequence[int], likelihoods: Tensor | None, count: int, most: int) -> list[int]:
    """At most ``most`` of the positions 0 to ``count`` - 1, in order: 0, those named, then the likeliest.

    Position 0 is the empty answer; ``likelihoods`` (count - 1,) are of the others. Without them the first ones follow.
    """
    if count <= most:
        return list(range(count))
    likely = (
        range(1, count) if likelihoods is None else (likelihoods.argsort(descending=True, stable=True) + 1).tolist()
    )
    return sorted(list(dict.fromkeys([0, *named, *likely]))[:most])


def _longest_start(word: str, numbers: dict[str, int]) -> int:
    return next((numbers[word[:end]] for end in range(len(word), 0, -1) if word[:end] in numbers), -1)
