"""A language model behind any server of the chat-completions API: vLLM, Ollama, llama.cpp's server, the clouds."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ovgsr.teacher.llm.backend import LlmError, LlmFailure, LlmReply, LlmRequest
from ovgsr.teacher.llm.dialect import Dialect, UnusableReply, error_code, error_message, read_completion
from ovgsr.teacher.llm.exchange import ChatEndpoint, HttpAnswer, NoAnswer
from ovgsr.teacher.llm.pacing import Clock, Pace, WallClock, backoff_seconds, retry_after_seconds
from ovgsr.teacher.llm.threads import answers_as_completed

_TRANSIENT = {408, 409, 425, 429}
_LONGEST_PAUSE = 600.0
_OUTAGE = 20
_LETTERS_PER_TOKEN = 4
_COMPLAINT = 4000


@dataclass(frozen=True, slots=True)
class _Again:
    """A failure that passes: ``pause`` is what the server asked to wait, in seconds."""

    reason: str
    pause: float | None = None
    unreachable: bool = False
    free: bool = False  # the request was put wrongly: asked anew at once, and it counts as no failure


class _Health:
    """Whether the server answered at all, and how many requests were given up in a row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reached, self.given_up = False, 0

    def answered(self) -> None:
        with self._lock:
            self.reached, self.given_up = True, 0

    def gave_up(self, reached: bool) -> int:
        with self._lock:
            self.reached |= reached
            self.given_up += 1
            return self.given_up


class OpenAiModel:
    """A language model of a server, asked from ``concurrency`` threads at a time.

    ``base_url`` and ``api_key_variable`` as in :class:`ovgsr.teacher.llm.exchange.ChatEndpoint`. ``timeout`` in
    seconds holds for one attempt. Statuses 429 and 5xx, timeouts, cut connections and bodies that are no reply are
    tried ``attempts`` times in all, with exponential waits, or as long as the server asks: up to ten minutes, for
    all threads. ``requests_per_minute`` and ``tokens_per_minute`` count every attempt.

    Raises LlmError where the address or a number is not usable, a key is needed and missing, or the package
    ``openai`` is not installed; nothing is sent before the first request.
    """

    is_llm = True

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        api_key_variable: str | None = None,
        concurrency: int = 8,
        timeout: float = 120.0,
        attempts: int = 8,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Clock | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        if not model.strip():
            raise LlmError("the language model's name is empty; name a model that the server offers")
        numbers = {"concurrency": concurrency, "timeout": timeout, "attempts": attempts}
        limits = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
        for name, value in {**numbers, **{key: limit for key, limit in limits.items() if limit is not None}}.items():
            if not 0 < value < float("inf"):
                raise LlmError(f"{name} is {value}; give a number above 0")
        self.name = f"openai:{model}"
        self._model, self._concurrency, self._attempts = model, concurrency, attempts
        self._clock: Clock = clock or WallClock()
        self._jitter = jitter or random.Random()
        self._endpoint = ChatEndpoint(base_url, api_key_variable, timeout, self._clock)
        self._pace = Pace(self._clock, requests_per_minute, tokens_per_minute)
        self._dialect = Dialect(model)

    @property
    def response_format(self) -> str:
        """The form in which the server was found to take a schema: ``json_schema``, ``json_object`` or ``text``."""
        return self._dialect.response_format

    def replies(self, requests: Iterable[LlmRequest]) -> Iterator[LlmReply | LlmFailure]:
        """Answers in the order in which they come, one for each request; at most 2 * ``concurrency`` are ahead.

        Raises LlmError where the server cannot be reached, refuses the key or has no such model, and where it has
        given no answer to 20 requests in a row.
        """
        health = _Health()

        def work(request: LlmRequest, stop: threading.Event) -> LlmReply | LlmFailure | None:
            return self._answer(request, stop, health)

        return answers_as_completed(work, requests, self._concurrency)

    def _answer(self, request: LlmRequest, stop: threading.Event, health: _Health) -> LlmReply | LlmFailure | None:
        failures = 0
        while True:
            outcome = self._ask(request, stop)
            if stop.is_set() and not isinstance(outcome, LlmReply | LlmFailure):
                return None
            if isinstance(outcome, LlmReply | LlmFailure):
                health.answered()
                return outcome
            if outcome is None or outcome.free:
                continue
            failures += 1
            too_long = outcome.pause is not None and outcome.pause > _LONGEST_PAUSE
            if failures == self._attempts or too_long:
                return self._give_up(request, outcome, failures, health)
            if outcome.pause is not None:
                self._pace.hold(outcome.pause)
            # On top of a pause as well: all threads waited for the same moment.
            self._clock.wait((outcome.pause or 0.0) + backoff_seconds(failures, self._jitter), stop)

    def _give_up(self, request: LlmRequest, last: _Again, failures: int, health: _Health) -> LlmFailure:
        in_a_row = health.gave_up(reached=not last.unreachable)
        if last.unreachable and not health.reached:
            raise LlmError(
                f"no language model's server answers at {self._endpoint.shown}: {last.reason}; start it, or correct "
                "the base URL"
            )
        if in_a_row >= _OUTAGE:
            raise LlmError(
                f"the server at {self._endpoint.shown} has answered none of the last {in_a_row} requests; the last "
                f"time: {last.reason}; go on when it is well again"
            )
        times = "once" if failures == 1 else f"{failures} times"
        return LlmFailure(request.key, f"{last.reason} (tried {times})", retryable=True)

    def _ask(self, request: LlmRequest, stop: threading.Event) -> LlmReply | LlmFailure | _Again | None:
        """One attempt; None where ``stop`` was set before it began."""
        spoken = self._dialect.speak(request)
        asked = request.system + request.user + json.dumps(spoken.parameters.get("response_format", ""))
        estimated = float(len(asked) // _LETTERS_PER_TOKEN + request.max_tokens)
        self._pace.wait(estimated, stop)
        if stop.is_set():
            return None
        try:
            answer = self._endpoint.post(spoken.parameters)
            if answer.status == 200:
                reply, used = read_completion(answer.body, request, self._model)
                self._pace.settle(estimated, estimated if used is None else used)
                return reply
        except (NoAnswer, UnusableReply) as error:
            told = self._endpoint.without_key(str(error))
            return _Again(told, unreachable=isinstance(error, NoAnswer) and error.unreachable)
        if answer.status in (400, 422) and self._dialect.learn(spoken, error_message(answer.body, _COMPLAINT)):
            return _Again("the request was put in a way that the server does not take", free=True)
        return self._judge(answer, self._endpoint.without_key(error_message(answer.body)), request)

    def _judge(self, answer: HttpAnswer, told: str, request: LlmRequest) -> LlmFailure | _Again:
        status, said = answer.status, f": {told}" if told else ""
        if status == 402 or (status == 429 and error_code(answer.body) == "insufficient_quota"):
            raise LlmError(f"the account at {self._endpoint.shown} has no credit left ({status}){said}")
        if status in _TRANSIENT or status >= 500 or status < 300:
            pause = retry_after_seconds(answer.headers, self._clock.date())
            asks = f", asks to wait {pause:.0f} s" if pause else ""
            return _Again(f"the server answered {status}{asks}{said}", pause)
        if status < 400 or status in (401, 403, 404, 405):
            raise LlmError(self._no_use(status, said))
        return LlmFailure(request.key, f"the server refused the request ({status}){said}", retryable=False)

    def _no_use(self, status: int, said: str) -> str:
        place, variable = self._endpoint.shown, self._endpoint.key_variable
        if status < 400:
            return f"{place} redirects ({status}), and redirects are not followed; give the address it leads to"
        if status in (401, 403) and self._endpoint.key_withheld:
            return (
                f"{place} wants a key ({status}). The one in {variable} was kept back, as plain http would show it to "
                "everyone on the way: use https, or put the server's own key into another variable and name that "
                "(--key-variable)"
            )
        if status in (401, 403) and not self._endpoint.has_key:
            return f"{place} wants a key ({status}){said}; put it into the environment variable {variable}"
        if status == 401:  # what the server says is left out: it may quote parts of the key
            return f"{place} refuses the key in the environment variable {variable} (401) for {self._model!r}"
        if status == 403:
            return (
                f"{place} does not let the key in {variable} use {self._model!r} (403){said}; use another key or model"
            )
        return (
            f"{place} has no model {self._model!r}, or no chat completions ({status}){said}; correct the model or the "
            "base URL, which mostly ends in /v1"
        )
