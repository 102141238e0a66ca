"""A frozen LLM's vocabulary in the text encoder's space: what its next-word distribution means as one vector.

The expected word embedding of p(word) needs no new projection, so nothing that the LLM knows of words outside training
can be forgotten (measured in world.md: a freely learned decoder fits the seen verbs and loses the others).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ovgsr.errors import OvgsrError
from ovgsr.models.text_encoder import TextEncoder

_NO_ACTIONS = {"something", "anything", "nothing", "everything", "during", "morning", "evening", "spring", "string"}


class PromptError(OvgsrError):
    """Prompts that cannot be built, tuned, kept or read as asked."""


class WordSpace(nn.Module):
    """The words of an LLM's vocabulary as centred text embeddings; nothing in it is learned."""

    embeddings: Tensor  # (V, D), zero where an entry is no word
    words: Tensor  # (V,) bool
    gerunds: Tensor  # (V,) bool

    def __init__(self, embeddings: Tensor, words: Tensor, gerunds: Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings, persistent=False)
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("gerunds", gerunds, persistent=False)

    @classmethod
    def of(cls, vocabulary: Sequence[str], encoder: TextEncoder) -> WordSpace:
        """The entries of ``vocabulary`` (index = token id) that are whole words, embedded by ``encoder``.

        Raises PromptError where the vocabulary holds no word.
        """
        words = torch.tensor(whole_words(vocabulary))
        if not bool(words.any()):
            raise PromptError("the teacher's vocabulary holds no whole word; its next-word distribution means nothing")
        places = words.nonzero()[:, 0]
        found = encoder.encode([vocabulary[index].strip() for index in places.tolist()])
        embeddings = torch.zeros(len(vocabulary), found.shape[1])
        # Single words share a large common part; without it they stand apart.
        embeddings[places] = found - found.mean(dim=0)
        gerunds = words & torch.tensor([is_gerund(text.strip()) for text in vocabulary])
        return cls(embeddings, words, gerunds)

    @property
    def width(self) -> int:
        """D, the text encoder's width."""
        return int(self.embeddings.shape[1])

    def naming_only(self, verbs: Sequence[str], vocabulary: Sequence[str]) -> WordSpace:
        """The same with only those verbs among the actions: a reader that cannot name any other."""
        known = {verb.lower() for verb in verbs}
        named = torch.tensor([text.strip().lower() in known for text in vocabulary]).to(self.gerunds.device)
        if not bool((self.gerunds & named).any()):
            raise PromptError("none of the training verbs is a single token of the teacher; this control cannot be run")
        return WordSpace(self.embeddings, self.words, self.gerunds & named)

    def expected(self, logits: Tensor, temperature: Tensor | float = 1.0, *, actions: bool = False) -> Tensor:
        """The expected word embedding (..., D) under softmax(logits / temperature), logits (..., V), in float32.

        ``actions`` keeps the gerunds alone in the race, where there are any: after "someone is" the LLM may go on with
        "to the left of", which says nothing of what is done.
        """
        scaled = logits.float() / temperature
        if actions:
            scaled = self.among_actions(scaled)
        return scaled.softmax(dim=-1) @ self.embeddings

    def among_actions(self, logits: Tensor) -> Tensor:
        """Logits (..., V) with everything but the gerunds out of the race, where there are any."""
        if not bool(self.gerunds.any()):
            return logits
        return logits.masked_fill(~self.gerunds.to(logits.device), torch.finfo(logits.dtype).min)


def whole_words(vocabulary: Sequence[str]) -> list[bool]:
    """Which entries are whole words: letters only, at least two, beginning with a space where the tokenizer keeps it.

    Tokenizers that drop the space when one token is decoded (SentencePiece) do not tell a word from a word's end; there
    every entry of letters counts.
    """
    spaced = any(text.startswith(" ") and text.strip().isalpha() for text in vocabulary)
    return [
        (text.startswith(" ") or not spaced) and text.strip().isalpha() and len(text.strip()) > 1 for text in vocabulary
    ]


def is_gerund(word: str) -> bool:
    """Whether a word looks like a verb's -ing form; a few nouns do as well, which costs little."""
    return len(word) > 5 and word.endswith("ing") and word.islower() and word not in _NO_ACTIONS
