"""Against a real server on loopback that misbehaves: nothing lost, nothing twice, limits kept, errors in sentences."""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ovgsr.teacher.llm import threads as llm_threads
from ovgsr.teacher.llm.backend import LanguageModel, LlmError, LlmFailure, LlmReply, LlmRequest
from ovgsr.teacher.llm.openai_model import OpenAiModel
from teacher import chat_server
from teacher.chat_client import SCHEMA, FakeClock, always, hello, model, one, requests
from teacher.chat_server import PASSING, RATE_LIMITED, ChatServer, Fault, user_text

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OTHER_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_sent_and_what_comes_back() -> None:
    with ChatServer(hello) as server:
        backend: LanguageModel = model(server)
        assert (backend.name, backend.is_llm) == ("openai:tiny", True)
        asked = LlmRequest("dog.jpg", "be brief", "what?", SCHEMA, seed=5, max_tokens=77, temperature=0.25)
        assert list(backend.replies([asked])) == [LlmReply("dog.jpg", "hello what?", "tiny-chat")]
    assert server.paths == ["/v1/chat/completions"]
    assert server.bodies == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "what?"}],
            "max_tokens": 77,
            "seed": 5,
            "temperature": 0.25,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA},
            },
        }
    ]


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_nothing_is_lost_and_nothing_is_answered_twice(share: float) -> None:
    def faults(number: int) -> Fault | None:
        dice = random.Random(number)
        return dice.choice(PASSING) if dice.random() < share else None

    with ChatServer(hello, faults) as server:
        answers = list(model(server, concurrency=4, timeout=60.0).replies(requests(400)))
    assert sorted(answers, key=lambda answer: int(answer.key[1:])) == [
        LlmReply(f"p{number}", f"hello p{number}", "tiny-chat") for number in range(400)
    ]
    assert set(server.answered.values()) == {1}
    assert sum(server.seen.values()) - 400 == sum(faults(number) is not None for number in range(len(server.bodies)))


def test_a_request_that_always_fails_is_one_failure_and_hurts_no_other() -> None:
    with ChatServer(hello, refuses=lambda body: chat_server.BROKEN if user_text(body) == "p3" else None) as server:
        answers = {answer.key: answer for answer in model(server, attempts=3, concurrency=2).replies(requests(10))}
    assert len(answers) == 10
    assert answers.pop("p3") == LlmFailure("p3", "the server answered 500: out of order (tried 3 times)", True)
    assert all(isinstance(answer, LlmReply) for answer in answers.values())
    assert server.seen == Counter({f"p{number}": 3 if number == 3 else 1 for number in range(10)})


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (RATE_LIMITED, "the server answered 429: too many requests (tried 2 times)"),
        (chat_server.OVERLOADED, "the server answered 503: <html>busy</html> (tried 2 times)"),
        (chat_server.CUT, "the connection was cut (tried 2 times)"),
        (chat_server.HANG_UP, "the connection was cut (tried 2 times)"),
        (chat_server.NOT_JSON, "the reply is no JSON (tried 2 times)"),
        (Fault("body", body="[" * 100_000), "the reply is no JSON (tried 2 times)"),
        (Fault("body", body='{"choices": ' + "9" * 9000 + "}"), "the reply is no JSON (tried 2 times)"),
        (chat_server.NO_CHOICES, "the reply is no chat completion: it has no choices (tried 2 times)"),
        (chat_server.WRONG_SHAPE, "the reply is no chat completion: its content is no text (tried 2 times)"),
        (Fault("body", body='{"error": "full"}'), "the reply is no chat completion: full (tried 2 times)"),
        (Fault("body", body="[1]"), "the reply is no chat completion: it has no choices (tried 2 times)"),
        (Fault("slow", seconds=1.0), "no answer within 0.3 s (tried 2 times)"),
        (Fault("huge"), "the reply is longer than 4 MB (tried 2 times)"),
        (Fault("huge", status=503), "the reply is longer than 4 MB (tried 2 times)"),
        (Fault("packed"), "the reply is compressed, which was not asked for (tried 2 times)"),
        # Not tried again: the same seed would end the same way, or the request itself is at fault.
        (Fault("empty"), "the reply is empty"),
        (Fault("length"), "the reply was cut off at 1024 tokens"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_failures(fault: Fault, reason: str) -> None:
    with ChatServer(hello, always(fault)) as server:
        assert one(server, attempts=2, timeout=0.3) == LlmFailure("p0", reason, retryable=True)
    assert len(server.bodies) == (2 if "tried" in reason else 1)
    assert server.bytes_sent < 2 * 16 * 1024 * 1024  # of 64 MB each


def test_a_reply_that_drips_has_an_end() -> None:
    clock = FakeClock()
    clock.now = lambda: time.monotonic()  # type: ignore[method-assign]
    with ChatServer(hello, always(Fault("drip", seconds=0.02))) as server:
        began = time.monotonic()
        answer = one(server, attempts=1, timeout=0.3, clock=clock)
        assert answer == LlmFailure("p0", "the reply was not complete after 0.3 s (tried once)", True)
        assert time.monotonic() - began < 2.0  # of 5 s


@pytest.mark.parametrize(
    ("fault", "reason", "retryable"),
    [
        (Fault("status", 400, body='{"error": {"message": "too long"}}'), "refused the request (400): too long", False),
        (Fault("status", 413, body=""), "refused the request (413)", False),
        # An error page cannot draw on the terminal, and is short.
        (Fault("status", 400, body="\x1b[2Jred\n\n" + "x" * 999), f"(400): [2Jred {'x' * 290}...", False),
        (
            Fault("body", body='{"choices": [{"finish_reason": "content_filter", "message": {"content": "half"}}]}'),
            "content filter withheld the reply",
            False,
        ),
        (
            Fault("body", body='{"choices": [{"message": {"content": null, "refusal": "I will not"}}]}'),
            "the model refused: I will not",
            True,
        ),
    ],
)
def test_refusals_are_not_tried_again(fault: Fault, reason: str, retryable: bool) -> None:
    with ChatServer(hello, always(fault)) as server:
        answer = one(server)
    assert isinstance(answer, LlmFailure)
    assert answer.reason.endswith(reason)
    assert answer.retryable is retryable
    assert len(server.bodies) == 1


def test_half_a_surrogate_pair_becomes_text_that_a_file_can_hold() -> None:
    body = '{"model": "a\\u001bb", "choices": [{"finish_reason": "stop", "message": {"content": "x\\ud800y"}}]}'
    with ChatServer(hello, always(Fault("body", body=body))) as server:
        assert one(server) == LlmReply("p0", "x?y", "a b")


def test_half_a_surrogate_pair_in_a_prompt_does_not_end_the_run() -> None:
    with ChatServer(hello) as server:
        (answer,) = model(server).replies([LlmRequest("a\udcff.jpg", "x\ud800", "y\udcff", None)])
    assert answer == LlmReply("a\udcff.jpg", "hello y?", "tiny-chat")


@pytest.mark.parametrize("threads", [1, 3])
def test_concurrency_is_bounded_and_used(threads: int) -> None:
    with ChatServer(hello, always(Fault("slow", seconds=0.03))) as server:
        assert len(list(model(server, concurrency=threads).replies(requests(12)))) == 12
    assert server.most_at_once == threads


def test_requests_are_taken_as_answers_are_given() -> None:
    taken: list[str] = []

    def endless() -> Iterator[LlmRequest]:
        for number in itertools.count():
            taken.append(f"p{number}")
            yield LlmRequest(f"p{number}", "", f"p{number}", None)

    with ChatServer(hello) as server:
        answers = model(server, concurrency=2).replies(endless())
        for given in range(20):
            next(answers)
            assert len(taken) <= given + 4
        answers.close()  # type: ignore[attr-defined]
        time.sleep(0.05)
        asked = len(server.bodies)
        assert asked <= 24
        time.sleep(0.05)
        assert len(server.bodies) == asked  # nobody goes on asking


def test_answers_come_as_they_are_completed() -> None:
    others_are_here = threading.Event()

    def answer(body: dict[str, Any]) -> str:
        if user_text(body) == "p0":
            others_are_here.wait(10.0)
        return hello(body)

    keys: list[str] = []
    with ChatServer(answer) as server:
        for reply in model(server, concurrency=2, timeout=20.0).replies(requests(6)):
            keys.append(reply.key)
            if len(keys) == 5:
                others_are_here.set()
    assert keys == ["p1", "p2", "p3", "p4", "p5", "p0"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            Fault("status", 401, body=json.dumps({"error": {"message": f"Incorrect key {KEY[:9]}***"}})),
            "refuses the key in the environment variable OTHER_KEY (401) for 'tiny'",
        ),
        (
            Fault("status", 403, body=json.dumps({"error": {"message": f"not for {KEY}"}})),
            "does not let the key in OTHER_KEY use 'tiny'",
        ),
        (Fault("status", 404, body='{"error": {"message": "no tiny"}}'), "has no model 'tiny', or no chat completions"),
        (Fault("status", 302, headers={"Location": "http://127.0.0.1:1/"}, body=""), "redirects (302)"),
        (Fault("status", 402), "the account at"),
        (Fault("status", 429, body='{"error": {"code": "insufficient_quota", "message": "pay"}}'), "no credit left"),
    ],
    ids=["401", "403", "404", "302", "402", "quota"],
)
def test_a_server_that_is_of_no_use_ends_the_run(
    fault: Fault, told: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTHER_KEY", f" {KEY}\n")
    with ChatServer(hello, always(fault)) as server, pytest.raises(LlmError) as caught:
        list(model(server, api_key_variable="OTHER_KEY", concurrency=2).replies(requests(50)))
    assert told in str(caught.value)
    assert server.base_url in str(caught.value)
    assert len(server.bodies) <= 4  # nobody went on asking
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    said = str(caught.value) + "".join(capfd.readouterr())
    assert KEY not in said
    assert KEY[:9] not in said


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_a_key_says_where_to_put_it(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ChatServer(hello, always(Fault("status", status))) as server:
        with pytest.raises(LlmError, match=rf"wants a key \({status}\).*variable OPENAI_API_KEY"):
            one(server)
        backend = model(server)
        backend._endpoint.key_withheld = True  # as over plain http to another machine
        with pytest.raises(LlmError, match=rf"wants a key \({status}\).*kept back.*--key-variable"):
            list(backend.replies(requests()))


def test_answers_that_are_under_way_when_the_run_ends_are_still_given() -> None:
    def refuses(body: dict[str, Any]) -> Fault | None:
        return Fault("status", 404) if user_text(body) == "p1" else Fault("slow", seconds=0.2)

    given: list[LlmReply | LlmFailure] = []
    with ChatServer(hello, refuses=refuses) as server, pytest.raises(LlmError, match="404"):
        given.extend(model(server, concurrency=2).replies(requests(20)))
    assert [answer.key for answer in given] == ["p0"]


def test_a_redirect_takes_no_key_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ChatServer(hello) as other:
        fault = Fault("status", 307, headers={"Location": f"{other.base_url}/chat/completions"}, body="")
        with ChatServer(hello, always(fault)) as server, pytest.raises(LlmError, match="redirects are not followed"):
            one(server)
    assert other.bodies == []


def test_a_server_that_is_not_there() -> None:
    with ChatServer(hello) as server:
        address = server.base_url
    clock = FakeClock()
    with pytest.raises(LlmError, match=r"no language model's server answers at http://127.*refused.*start it, or"):
        list(OpenAiModel("tiny", address, attempts=3, clock=clock).replies(requests(100)))
    assert len(clock.waits) >= 2  # it may just be starting


def test_a_server_that_goes_away_ends_the_run_and_does_not_use_up_the_requests() -> None:
    with ChatServer(hello, lambda number: None if number < 5 else chat_server.OVERLOADED) as server:
        given: list[LlmReply | LlmFailure] = []
        with pytest.raises(LlmError, match=r"has answered none of the last 20 requests; the last time: .* 503"):
            given.extend(answer for answer in model(server, attempts=2, concurrency=1).replies(requests(500)))
    assert len(server.bodies) <= 5 + 2 * 22


def test_failures_with_answers_in_between_do_not_end_the_run() -> None:
    def refuses(body: dict[str, Any]) -> Fault | None:
        return chat_server.BROKEN if int(user_text(body)[1:]) % 2 else None

    with ChatServer(hello, refuses=refuses) as server:
        answers = list(model(server, attempts=1, concurrency=1).replies(requests(60)))
    assert sum(isinstance(answer, LlmFailure) for answer in answers) == 30


def test_an_error_of_ours_is_not_taken_for_the_network() -> None:
    asked: list[str] = []
    second_is_taken = threading.Event()

    def some() -> Iterator[LlmRequest]:
        for request in requests(5):
            if request.key == "p1":
                second_is_taken.set()
            yield request

    def broken(request: LlmRequest, stop: threading.Event) -> LlmReply:
        second_is_taken.wait(10.0)
        asked.append(request.key)
        raise TypeError(f"a mistake at {request.key}")

    with pytest.raises(TypeError, match="a mistake at p0"):
        list(llm_threads.answers_as_completed(broken, some(), 1))
    assert asked == ["p0"]  # the second was waiting for the thread, and was not begun


def test_an_error_of_whoever_makes_the_requests_ends_the_threads() -> None:
    def some() -> Iterator[LlmRequest]:
        yield from requests(3)
        raise RuntimeError("no more pictures")

    with ChatServer(hello) as server, pytest.raises(RuntimeError, match="no more pictures"):
        list(model(server, concurrency=1).replies(some()))
    deadline = time.monotonic() + 5.0
    while any(thread.name.startswith("llm-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_interrupt_does_not_wait_for_a_slow_server() -> None:
    program = (
        "import sys\n"
        "from ovgsr.teacher.llm.backend import LlmRequest\n"
        "from ovgsr.teacher.llm.openai_model import OpenAiModel\n"
        "list(OpenAiModel('tiny', sys.argv[1]).replies([LlmRequest('p', '', 'p', None)]))\n"
    )
    with ChatServer(hello, always(Fault("slow", seconds=30.0))) as server:
        command = [sys.executable, "-c", program, server.base_url]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 30.0
            while not server.bodies and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=10.0)[1]
    assert b"KeyboardInterrupt" in said
