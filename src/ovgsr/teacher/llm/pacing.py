"""When the next request may go out: rate limits, pauses that a server asks for, and growing waits after failures."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Protocol

_LONGEST_BACKOFF = 60.0
_TOKEN_BURST = 0.1


class Clock(Protocol):
    """Time, as a test may want to bend it."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""

    def date(self) -> float:
        """Seconds since 1970."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Returns after ``seconds``, or as soon as ``stop`` is set."""


class WallClock:
    """The clock on the wall."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    def date(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Returns after ``seconds``, or as soon as ``stop`` is set."""
        stop.wait(seconds)


class TokenBucket:
    """A bucket that holds ``capacity`` and fills by ``per_second``: over t seconds, at most capacity + t * per_second.

    What does not fit is promised: the level goes below zero, and the taker waits until it is zero again.
    """

    def __init__(self, per_second: float, capacity: float, clock: Clock) -> None:
        self._per_second, self._capacity, self._clock = per_second, capacity, clock
        self._level, self._filled_at = capacity, clock.now()
        self._lock = threading.Lock()

    def take(self, amount: float) -> float:
        """Takes ``amount`` and returns the seconds to wait before it may be used."""
        with self._lock:
            self._fill()
            self._level -= amount
            return max(0.0, -self._level / self._per_second)

    def put_back(self, amount: float) -> None:
        """Returns what was not used; a negative amount is charged afterwards."""
        with self._lock:
            self._fill()
            self._level = min(self._capacity, self._level + amount)

    def _fill(self) -> None:
        now = self._clock.now()
        self._level = min(self._capacity, self._level + (now - self._filled_at) * self._per_second)
        self._filled_at = now


class Pace:
    """The limits that all requests to one server share. None means no limit.

    In no minute do more than ``requests_per_minute`` requests start, or requests of more than ``tokens_per_minute``
    tokens as estimated when they start.
    """

    def __init__(self, clock: Clock, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._clock = clock
        # One at a time, evenly: a bucket for a whole minute would let twice the limit through in the first minute.
        self._requests = TokenBucket(requests_per_minute / 60, 1.0, clock) if requests_per_minute else None
        self._tokens: TokenBucket | None = None
        if tokens_per_minute:
            burst = tokens_per_minute * _TOKEN_BURST
            self._tokens = TokenBucket((tokens_per_minute - burst) / 60, burst, clock)
        self._closed_until = clock.now()
        self._lock = threading.Lock()

    def wait(self, tokens: float, stop: threading.Event) -> None:
        """Returns when a request of so many tokens may start, or as soon as ``stop`` is set."""
        seconds = self._requests.take(1.0) if self._requests else 0.0
        if self._tokens:
            seconds = max(seconds, self._tokens.take(tokens))
        while not stop.is_set():
            seconds = max(seconds, self._closed_until - self._clock.now())
            if seconds <= 0:
                return
            self._clock.wait(seconds, stop)
            seconds = 0.0

    def hold(self, seconds: float) -> None:
        """No request starts for so many seconds."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock.now() + seconds)

    def settle(self, estimated: float, used: float) -> None:
        """Puts right what was taken for a request, now that the server has said how many tokens it was."""
        if self._tokens:
            self._tokens.put_back(estimated - used)


def backoff_seconds(failures: int, jitter: random.Random) -> float:
    """The wait after so many failures in a row: exponential with full jitter, 0 to 1, 2, 4, ... at most 60 s.

    Full jitter as in Brooker 2015, "Exponential Backoff And Jitter": clients that failed together do not come back
    together.
    """
    return jitter.uniform(0.0, min(_LONGEST_BACKOFF, 2.0 ** min(failures - 1, 30)))


def retry_after_seconds(headers: Mapping[str, str], date: float) -> float | None:
    """The seconds a server asks to wait (RFC 9110, 10.2.3: a number or a date), None where it does not say.

    ``headers`` have lower-case names; ``date`` is now, in seconds since 1970, for servers that send no date themselves.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if seconds >= 0:  # also refuses NaN
            return seconds
    until = _seconds_of(headers.get("retry-after"))
    # By the server's own clock where it sends one: this machine's may be wrong.
    now = _seconds_of(headers.get("date"))
    return None if until is None else max(0.0, until - (date if now is None else now))


def _seconds_of(http_date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(http_date or "").timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
