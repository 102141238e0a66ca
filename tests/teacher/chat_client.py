"""What the tests of the chat client share: requests, a clock that nobody waits for, a model at a test server."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ovgsr.teacher.llm.backend import LlmFailure, LlmReply, LlmRequest
from ovgsr.teacher.llm.openai_model import OpenAiModel
from teacher.chat_server import ChatServer, Fault, user_text

SCHEMA = {"type": "object", "properties": {"glimpse": {"type": "string"}}}


class FakeClock:
    """Time passes only where somebody waits for it."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def date(self) -> float:
        return self.time + 1_700_000_000.0

    def wait(self, seconds: float, stop: threading.Event) -> None:
        self.waits.append(seconds)
        self.time += seconds


class NoJitter(random.Random):
    """The longest wait that full jitter may choose."""

    def uniform(self, a: float, b: float) -> float:
        return b


def requests(count: int = 1, **fields: Any) -> Iterator[LlmRequest]:
    for number in range(count):
        yield LlmRequest(f"p{number}", "say hello", f"p{number}", **{"schema": SCHEMA, "seed": number, **fields})


def hello(body: dict[str, Any]) -> str:
    return f"hello {user_text(body)}"


def model(server: ChatServer, **fields: Any) -> OpenAiModel:
    return OpenAiModel("tiny", server.base_url, **{"clock": FakeClock(), "timeout": 5.0, **fields})


def always(fault: Fault) -> Callable[[int], Fault | None]:
    return lambda _: fault


def first(*faults: Fault) -> Callable[[int], Fault | None]:
    return lambda number: faults[number] if number < len(faults) else None


def one(server: ChatServer, **fields: Any) -> LlmReply | LlmFailure:
    (answer,) = model(server, **fields).replies(requests())
    return answer
