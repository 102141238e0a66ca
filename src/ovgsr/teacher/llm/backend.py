"""What the teacher asks of a language model that writes rationales: requests in, replies out as they come.

The backends are ``openai_llm`` (any server of the chat-completions API) and ``local_llm`` (a Hugging Face model).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ovgsr.errors import OvgsrError


class LlmError(OvgsrError):
    """A language model that cannot be used at all: no server, no key, an unknown model."""


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One question. ``key`` names the picture and comes back with the answer; keys of one run are distinct.

    ``schema`` is a JSON schema for the reply: a request for that shape, not a promise, so replies must be checked.
    ``seed`` and ``key`` together decide what is sampled, where the backend can be seeded. ``max_tokens`` is the most
    that the reply may be long; ``temperature`` 0 means greedy.
    """

    key: str
    system: str
    user: str
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    seed: int = 0
    max_tokens: int = 1024
    temperature: float = 0.7


def encodable(text: str) -> str:
    """``text`` with a question mark for each half of a surrogate pair, which neither JSON nor a tokenizer can take."""
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class LlmReply:
    """An answer that ended by itself: never empty, never cut off. ``model`` is the name that the server gave."""

    key: str
    text: str
    model: str


@dataclass(frozen=True, slots=True)
class LlmFailure:
    """No answer, after the backend's own retries. ``retryable``: asking again, later or with another seed, may help."""

    key: str
    reason: str
    retryable: bool


class LanguageModel(Protocol):
    """A language model, or what stands in for one and says so in ``is_llm``."""

    @property
    def name(self) -> str:
        """Backend and model, such as ``openai:Qwen2.5-7B-Instruct``; stores of another name are refused."""

    @property
    def is_llm(self) -> bool:
        """Whether a language model writes the text; False for fixed templates."""

    def replies(self, requests: Iterable[LlmRequest]) -> Iterator[LlmReply | LlmFailure]:
        """Answers in the order in which they come, one for each request.

        ``requests`` is consumed lazily, a bounded number ahead of the answers; closing the iterator gives up what is
        still under way. Raises LlmError where no request can succeed.
        """
