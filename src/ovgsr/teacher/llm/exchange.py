"""One request over HTTP and what came back, from a server that is not trusted.

The ``openai`` package does the talking (addresses, headers, proxies). Here: no redirect is followed, no reply is read
beyond a few megabytes or unpacked, none may drip for ever, and the key goes to no stranger.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ovgsr.teacher.llm.backend import LlmError
from ovgsr.teacher.llm.pacing import Clock

OPENAI_ADDRESS = "https://api.openai.com/v1"
DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
LARGEST_REPLY = 4 * 1024 * 1024
_CONNECT_SECONDS = 10.0
_NO_KEY = "none"
_TRANSPORT_ERRORS = {"HTTPError", "StreamError", "OpenAIError", "OSError"}
_UNREACHABLE = {"ConnectError", "ConnectTimeout", "UnsupportedProtocol", "ProxyError"}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A status, headers with lower-case names, and the body as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """The exchange ended without a whole answer. ``unreachable``: there was not even a connection."""

    def __init__(self, reason: str, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.unreachable = reason, unreachable


class _Refused(Exception):
    """Carries an answer that is no success out of the client, which would read all of its body."""

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class ChatEndpoint:
    """The chat-completions address of a server; safe to use from many threads.

    ``base_url`` is, by default, the environment variable OPENAI_BASE_URL, else OpenAI's own. The key is read from
    ``key_variable``, by default OPENAI_API_KEY; a server other than OpenAI's may do without. A key for OpenAI must not
    cross a network in the clear: over plain http to another machine, only a variable that was named is used.
    ``timeout`` in seconds holds for the wait until a reply begins, and once more for the reply.

    Raises LlmError for an address or a key that cannot be used, and where the package ``openai`` is missing.
    """

    def __init__(self, base_url: str | None, key_variable: str | None, timeout: float, clock: Clock) -> None:
        address = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_ADDRESS
        parts = _checked(address)
        self.shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        self.key_variable = key_variable or DEFAULT_KEY_VARIABLE
        self._timeout, self._clock = timeout, clock
        secret = os.environ.get(self.key_variable, "").strip()
        self.key_withheld = bool(secret) and not key_variable and parts.scheme == "http" and not _is_loopback(parts)
        self._key = "" if self.key_withheld else secret
        if not self._key and (key_variable or parts.hostname == "api.openai.com"):
            raise LlmError(f"{self.shown} needs a key; put it into the environment variable {self.key_variable}")
        if not (self._key.isascii() and self._key.isprintable()):
            raise LlmError(f"the environment variable {self.key_variable} holds no key: keys are plain ASCII text")
        openai = _openai()
        self._client: Any = openai.OpenAI(
            base_url=address,
            api_key=self._key or _NO_KEY,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(
                follow_redirects=False,
                trust_env=not _is_loopback(parts),  # no proxy stands between a machine and itself
                timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
                event_hooks={"request": [], "response": [self._check]},
            ),
        )

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return bool(self._key)

    def post(self, parameters: Mapping[str, Any]) -> HttpAnswer:
        """Sends one chat-completions request. Raises NoAnswer where no whole answer comes back."""
        create = self._client.chat.completions.with_streaming_response.create
        try:
            with create(**parameters, extra_headers={"Accept-Encoding": "identity"}) as response:
                body = self._read(response.iter_bytes())
                return HttpAnswer(response.status_code, _plain(response.headers), body)
        except Exception as error:
            for cause in _causes(error):
                if isinstance(cause, _Refused):
                    return cause.answer
                if isinstance(cause, NoAnswer):
                    raise cause from None
            raise _as_no_answer(error, self._timeout) from error

    def without_key(self, text: str) -> str:
        """``text``, in which a server may have quoted the key, without it."""
        return text.replace(self._key, "[key]") if self._key else text

    def _check(self, response: Any) -> None:
        headers = _plain(response.headers)
        packed = headers.get("content-encoding", "identity").lower() not in ("", "identity")
        if response.status_code != 200:
            raise _Refused(
                HttpAnswer(response.status_code, headers, b"" if packed else self._read(response.iter_bytes()))
            )
        if packed:
            raise NoAnswer("the reply is compressed, which was not asked for")

    def _read(self, chunks: Iterable[bytes]) -> bytes:
        began, read = self._clock.now(), bytearray()
        for chunk in chunks:
            read += chunk
            if len(read) > LARGEST_REPLY:
                raise NoAnswer(f"the reply is longer than {LARGEST_REPLY // 1024 // 1024} MB")
            if self._clock.now() - began > self._timeout:
                raise NoAnswer(f"the reply was not complete after {self._timeout:g} s")
        return bytes(read)


def _checked(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise LlmError(
            f"the address {address!r} of the language model's server is not usable; give one such as "
            "http://localhost:8000/v1"
        )
    return parts


def _is_loopback(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _plain(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _as_no_answer(error: Exception, timeout: float) -> NoAnswer:
    """Transport errors by name: the client's HTTP library is its own affair and changes with its version."""
    families = [{base.__name__ for base in type(cause).__mro__} for cause in _causes(error)]
    names = set().union(*families)
    if not names & _TRANSPORT_ERRORS:
        raise error
    if names & _UNREACHABLE:
        told = " ".join(str(list(_causes(error))[-1]).split())[:200]
        return NoAnswer(f"no connection ({told})", unreachable=True)
    if any("Timeout" in name for name in names):
        return NoAnswer(f"no answer within {timeout:g} s")
    return NoAnswer("the connection was cut")


def _openai() -> Any:
    try:
        return importlib.import_module("openai")
    except ImportError as error:
        raise LlmError(
            f"the backend openai needs the Python package openai ({error}); pip install 'ovgsr[teacher]'"
        ) from None
