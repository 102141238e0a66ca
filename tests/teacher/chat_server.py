"""A chat-completions server on loopback that misbehaves where it is told to, for the tests of whatever asks one."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

MODEL = "tiny-chat"
HUGE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Fault:
    """One way to misbehave.

    ``slow``: answers after ``seconds``. ``status``: answers with ``status``, ``headers`` and ``body`` instead. ``cut``:
    half a body, then the connection ends. ``hang_up``: the connection ends without a word. ``drip``: a byte every
    ``seconds``. ``huge``: 64 MB, with 200 or a ``status`` other than 500. ``packed``: gzip that was not asked for.
    ``body``: status 200 with ``body`` as it is. ``length``: cut off at the token limit. ``empty``: no letters.
    """

    kind: Literal["slow", "status", "cut", "hang_up", "drip", "huge", "packed", "body", "length", "empty"]
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "out of order"}}'
    seconds: float = 0.0


RATE_LIMITED = Fault("status", 429, body='{"error": {"message": "too many requests"}}')
BROKEN = Fault("status", 500)
OVERLOADED = Fault("status", 503, body="<html>busy</html>")
CUT = Fault("cut")
HANG_UP = Fault("hang_up")
NOT_JSON = Fault("body", body='{"choices": [')
NO_CHOICES = Fault("body", body='{"choices": []}')
WRONG_SHAPE = Fault("body", body='{"choices": [{"message": {"content": 7}}]}')
PASSING = (RATE_LIMITED, BROKEN, OVERLOADED, CUT, HANG_UP, NOT_JSON, NO_CHOICES, WRONG_SHAPE)
"""Faults that are gone when the request is sent again."""


def user_text(body: dict[str, Any]) -> str:
    """What the user says in a request, the key that requests are counted by unless another is given."""
    return str(body["messages"][-1]["content"])


class ChatServer:
    """``with ChatServer(answer, faults) as server:`` listens at ``server.base_url``.

    ``answer`` makes the reply's text from a request's body; ``faults`` gives the fault of the n-th request, counted
    from 0 over all clients, and ``refuses`` that of a body. Counted: requests ``seen`` and ``answered`` well by
    ``key_of``, the ``most_at_once``; kept: all ``bodies`` and ``headers``, and ``bytes_sent`` by the huge fault.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], str],
        faults: Callable[[int], Fault | None] = lambda _: None,
        *,
        refuses: Callable[[dict[str, Any]], Fault | None] = lambda _: None,
        key_of: Callable[[dict[str, Any]], str] = user_text,
    ) -> None:
        self.answer, self.faults, self.refuses, self.key_of = answer, faults, refuses, key_of
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.most_at_once = self.at_once = self.bytes_sent = 0
        self.lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.chat = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    chat: ChatServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every reply, sent as headers and body, takes 40 ms
    server: _Http

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        chat = self.server.chat
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        with chat.lock:
            number = len(chat.bodies)
            chat.bodies.append(body)
            chat.headers.append({name.lower(): value for name, value in self.headers.items()})
            chat.paths.append(self.path)
            if "messages" in body:
                chat.seen[chat.key_of(body)] += 1
            chat.at_once += 1
            chat.most_at_once = max(chat.most_at_once, chat.at_once)
        try:
            fault = chat.refuses(body) or chat.faults(number)
            if fault and fault.kind == "slow":
                time.sleep(fault.seconds)
            text = "" if fault and fault.kind in ("empty", "status", "body", "hang_up") else chat.answer(body)
        finally:
            # Before the reply: with it in hand, the client's next request may be here at once.
            with chat.lock:
                chat.at_once -= 1
        with suppress(OSError):
            self._reply(body, text, fault)

    def _reply(self, body: dict[str, Any], text: str, fault: Fault | None) -> None:
        ended = "length" if fault and fault.kind == "length" else "stop"
        completion = json.dumps(_completion(text, ended)).encode()
        match fault.kind if fault else "slow":
            case "slow" | "length" | "empty":
                if ended == "stop" and text:
                    with self.server.chat.lock:
                        self.server.chat.answered[self.server.chat.key_of(body)] += 1
                self._send(200, {}, completion)
            case "status":
                assert fault
                self._send(fault.status, fault.headers, fault.body.encode())
            case "body":
                assert fault
                self._send(200, fault.headers, fault.body.encode())
            case "packed":
                self._send(200, {"Content-Encoding": "gzip"}, completion)
            case "cut":
                self._send(200, {"Content-Length": str(len(completion))}, completion[: len(completion) // 2])
                self.close_connection = True
            case "hang_up":
                self.close_connection = True
            case "drip":
                assert fault
                self._send(200, {"Content-Length": str(len(completion))}, b"")
                for letter in completion:
                    self.wfile.write(bytes([letter]))
                    time.sleep(fault.seconds)
            case "huge":
                assert fault
                self._send(200 if fault.status == 500 else fault.status, {"Content-Length": str(HUGE)}, b"")
                for _ in range(HUGE // 65536):
                    self.wfile.write(b"x" * 65536)
                    self.server.chat.bytes_sent += 65536

    def _send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _completion(text: str, finish_reason: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10},
    }
