"""What a chat-completions server takes and says: request fields, reply bodies, error bodies.

Servers agree on the core and differ in the rest, so a field that one refuses is left out for the rest of the run.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovgsr.teacher.llm.backend import LlmFailure, LlmReply, LlmRequest, encodable

_SCHEMA, _OBJECT, _TEXT = range(3)
_LONGEST_MESSAGE = 300
_LONGEST_NAME = 200
_ABOUT_FORMAT = re.compile(
    r"response_?format|json_schema|json_object|guided[ _](?:json|decoding)|structured output", re.I
)
_NOT_TAKEN = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|extra (?:field|inp)",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """Parameters of one request, and the dialect they were written in."""

    parameters: dict[str, Any]
    dialect: tuple[int, bool, frozenset[str]]


class Dialect:
    """What one server was found to take; shared by threads.

    Replies are asked for by JSON schema, then as a JSON object, then as plain text, whatever is not refused first.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._format, self._newer_limit, self._without = _SCHEMA, False, frozenset[str]()

    @property
    def response_format(self) -> str:
        """The form that replies are asked for in now: ``json_schema``, ``json_object`` or ``text``."""
        return ("json_schema", "json_object", "text")[self._format]

    def speak(self, request: LlmRequest) -> Spoken:
        """The request in the dialect as known now."""
        with self._lock:
            format_, newer_limit, without = dialect = (self._format, self._newer_limit, self._without)
        messages = [{"role": "system", "content": encodable(request.system)}] if request.system else []
        messages.append({"role": "user", "content": encodable(request.user)})
        parameters: dict[str, Any] = {"model": self._model, "messages": messages}
        parameters["max_completion_tokens" if newer_limit else "max_tokens"] = request.max_tokens
        optional = {"seed": request.seed, "temperature": request.temperature}
        parameters |= {name: value for name, value in optional.items() if name not in without}
        if request.schema is not None and format_ == _SCHEMA:
            schema = {"name": "reply", "strict": True, "schema": dict(request.schema)}
            parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema is not None and format_ == _OBJECT:
            parameters["response_format"] = {"type": "json_object"}
        return Spoken(parameters, dialect)

    def learn(self, spoken: Spoken, complaint: str) -> bool:
        """Whether a refused request should be sent again, in a dialect that leaves out what ``complaint`` is about."""
        with self._lock:
            if spoken.dialect != (self._format, self._newer_limit, self._without):
                return True  # another thread learned it meanwhile
            if "response_format" in spoken.parameters and _ABOUT_FORMAT.search(complaint):
                self._format += 1
                return True
            if "max_tokens" in spoken.parameters and "max_completion_tokens" in complaint:
                self._newer_limit = True
                return True
            if _NOT_TAKEN.search(complaint):
                for name in ("seed", "temperature"):
                    if name in spoken.parameters and re.search(rf"\b{name}\b", complaint):
                        self._without |= {name}
                        return True
        return False


class UnusableReply(Exception):
    """A body that is no chat completion: worth another try, as it is the server that stumbled."""


def read_completion(body: bytes, request: LlmRequest, model: str) -> tuple[LlmReply | LlmFailure, int | None]:
    """The answer in a reply's body and the tokens it says it was charged. Raises UnusableReply where it is none.

    An empty or cut-off text is a failure: the same request with the same seed would end the same way.
    """
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        raise UnusableReply("the reply is no JSON") from None
    choices = record.get("choices") if isinstance(record, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        told = error_message(body) if isinstance(record, dict) and "error" in record else "it has no choices"
        raise UnusableReply(f"the reply is no chat completion: {told}")
    usage = record.get("usage")
    used = usage.get("total_tokens") if isinstance(usage, dict) else None
    charged = used if isinstance(used, int) and 0 <= used < 10_000_000 else None
    named = record.get("model")
    name = _printable(named, _LONGEST_NAME) if isinstance(named, str) and named.strip() else model
    return _answer(choice, message, request, name), charged


def _answer(
    choice: Mapping[str, Any], message: Mapping[str, Any], request: LlmRequest, name: str
) -> LlmReply | LlmFailure:
    content, refusal, ended = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    if ended == "length":
        reason = f"the reply was cut off at {request.max_tokens} tokens"
        return LlmFailure(request.key, reason, retryable=True)
    if ended == "content_filter":
        return LlmFailure(request.key, "the server's content filter withheld the reply", retryable=False)
    if isinstance(refusal, str) and refusal.strip():
        return LlmFailure(request.key, f"the model refused: {_printable(refusal, _LONGEST_MESSAGE)}", retryable=True)
    if content is not None and not isinstance(content, str):
        raise UnusableReply("the reply is no chat completion: its content is no text")
    if not content or not content.strip():
        return LlmFailure(request.key, "the reply is empty", retryable=True)
    return LlmReply(request.key, encodable(content), name)  # JSON may hold half a surrogate pair


def error_message(body: bytes, longest: int = _LONGEST_MESSAGE) -> str:
    """What an error's body says, in one printable line of bounded length; empty where it says nothing."""
    text = body[: 64 * 1024].decode("utf-8", "replace")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return _printable(text, longest)
    for _ in range(4):
        if not isinstance(record, dict):
            break
        record = next((record[name] for name in ("error", "message", "detail", "msg") if record.get(name)), text)
    return _printable(record if isinstance(record, str) else json.dumps(record), longest)


def error_code(body: bytes) -> str:
    """The machine-readable code of an error's body, empty where it has none."""
    try:
        error = json.loads(body[: 64 * 1024])["error"]
        return str(error.get("code") or error.get("type") or "")[:_LONGEST_NAME]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ""


def _printable(text: str, longest: int) -> str:
    """One line that cannot move a terminal's cursor."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * longest]).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."
