"""Limits, pauses and growing waits, by a clock that moves only where somebody waits."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

from ovgsr.teacher.llm.backend import LlmFailure, LlmReply
from ovgsr.teacher.llm.pacing import Pace, TokenBucket, backoff_seconds, retry_after_seconds
from teacher import chat_server
from teacher.chat_client import FakeClock, NoJitter, always, first, hello, model, one, requests
from teacher.chat_server import RATE_LIMITED, ChatServer, Fault


def test_waits_grow_until_the_attempts_are_used_up() -> None:
    clock = FakeClock()
    with ChatServer(hello, always(chat_server.BROKEN)) as server:
        one(server, attempts=9, clock=clock, jitter=NoJitter())
    assert clock.waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_is_full() -> None:
    dice = random.Random(0)
    waits = [backoff_seconds(3, dice) for _ in range(2000)]
    assert 0 <= min(waits) < 0.05
    assert 3.95 < max(waits) <= 4
    assert sum(waits) / 2000 == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        # A date, by this machine's clock (1700000000 is Tue, 14 Nov 2023 22:13:20) ...
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        # ... by the server's own, one hour behind ...
        ({"retry-after": "Tue, 14 Nov 2023 21:13:25 GMT", "date": "Tue, 14 Nov 2023 21:13:20 GMT"}, 5.0),
        # ... and in the past.
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, 1_700_000_000.0) == seconds


def test_what_the_server_asks_to_wait_is_waited() -> None:
    clock = FakeClock()
    limited = Fault("status", 429, headers={"Retry-After": "40"})
    with ChatServer(lambda body: f"{clock.time:.0f}", first(limited)) as server:
        (answer,) = model(server, clock=clock, jitter=NoJitter()).replies(requests())
    assert isinstance(answer, LlmReply)
    assert answer.text == "1041"  # the 40 s, and a second's jitter


def test_a_wait_for_one_is_a_wait_for_all() -> None:
    clock, stop = FakeClock(), threading.Event()
    pace = Pace(clock, None, None)
    pace.hold(30.0)
    pace.hold(5.0)  # a shorter one takes nothing back
    pace.wait(1.0, stop)
    assert clock.time == 1030.0


class GateClock(FakeClock):
    """Whoever waits, waits until the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        self.waits.append(seconds)
        self.gate.wait(10.0)

    def reached(self, waiting: int) -> bool:
        deadline = time.monotonic() + 10.0
        while len(self.waits) < waiting and time.monotonic() < deadline:
            time.sleep(0.005)
        return len(self.waits) == waiting


def test_a_pause_that_one_request_is_asked_for_holds_the_others() -> None:
    clock, seen = GateClock(), []

    def answer(body: dict[str, Any]) -> str:
        clock.reached(1)  # the second request is answered when the first has been told to wait
        return hello(body)

    def watch() -> None:
        seen.extend([clock.reached(2), len(server.bodies), sorted(clock.waits)])
        clock.time += 100.0
        clock.gate.set()

    refuse_first = first(Fault("status", 429, headers={"Retry-After": "40"}))
    with ChatServer(answer, refuse_first) as server:
        watcher = threading.Thread(target=watch)
        watcher.start()
        backend = model(server, clock=clock, jitter=NoJitter(), concurrency=2)
        assert len(list(backend.replies(requests(6)))) == 6
        watcher.join()
    # The refused one waits 40 s and a second's jitter. The other thread holds back its second request, or its first.
    assert seen[0] and seen[1] <= 2
    assert seen[2] == [40.0, 41.0]


def test_a_server_that_asks_for_hours_is_not_waited_for() -> None:
    clock = FakeClock()
    with ChatServer(hello, always(Fault("status", 503, headers={"Retry-After": "7200"}, body=""))) as server:
        answer = one(server, clock=clock)
    assert answer == LlmFailure("p0", "the server answered 503, asks to wait 7200 s (tried once)", True)
    assert clock.waits == []


def test_no_minute_has_more_requests_than_allowed() -> None:
    clock, times = FakeClock(), []

    def faults(number: int) -> Fault | None:
        times.append(clock.time)
        return RATE_LIMITED if number % 7 == 0 else None

    with ChatServer(hello, faults) as server:
        limited = model(server, clock=clock, concurrency=1, requests_per_minute=30, jitter=random.Random(0))
        assert len(list(limited.replies(requests(100)))) == 100
    assert len(times) == 117  # with those that were limited: 0, 7, ... 112
    for began in times:
        assert sum(began <= other < began + 59.999 for other in times) <= 30
    assert times[-1] - times[0] < 117 * 2 + 17  # and not much slower than allowed: at most a second's wait for each 429


def test_a_bucket_keeps_its_rate_whoever_takes() -> None:
    clock = FakeClock()
    bucket = TokenBucket(per_second=2.0, capacity=3.0, clock=clock)
    assert [bucket.take(1.0) for _ in range(6)] == [0, 0, 0, 0.5, 1.0, 1.5]
    clock.time += 1.5
    assert bucket.take(2.0) == 1.0
    clock.time += 100.0
    assert [bucket.take(4.0), bucket.take(1.0)] == [0.5, 1.0]  # it never holds more than 3
    bucket.put_back(2.0)
    assert bucket.take(1.0) == 0.5


def test_no_minute_has_more_tokens_than_allowed() -> None:
    clock, stop, began = FakeClock(), threading.Event(), []
    pace = Pace(clock, None, tokens_per_minute=6000)
    for _ in range(40):
        pace.wait(500.0, stop)
        began.append(clock.time)
    for start in began:
        assert sum(500 for other in began if start <= other < start + 59.999) <= 6000
    # 600 at once, then 90 a second: the 40th of 500 may start after (40 * 500 - 600) / 90 s.
    assert began[-1] - 1000.0 == pytest.approx(19400 / 90)


def test_tokens_that_were_not_used_are_given_back() -> None:
    # Estimated: 1000 for the reply and some for the prompt; the server says 10 were used.
    clock = FakeClock()
    with ChatServer(hello) as server:
        limited = model(server, clock=clock, concurrency=1, tokens_per_minute=12_000)
        list(limited.replies(requests(50, max_tokens=1000)))
    assert clock.time - 1000.0 < 3.0  # 50 * 10 at 180 a second; by estimate it would be 50 * 1000 / 180 = 278 s
