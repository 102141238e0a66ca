"""A bounded number of threads that answer requests, and their answers in the order in which they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue

from ovgsr.teacher.llm.backend import LlmFailure, LlmReply, LlmRequest

Work = Callable[[LlmRequest, threading.Event], LlmReply | LlmFailure | None]
"""Answers one request; returns None only where the event was set meanwhile."""


def answers_as_completed(work: Work, requests: Iterable[LlmRequest], threads: int) -> Iterator[LlmReply | LlmFailure]:
    """Runs ``work`` on every request in at most ``threads`` threads; at most twice as many requests are under way.

    Where ``work`` raises, no new request is begun, answers that still come are given out, and the error is raised.
    The threads do not keep the program from ending: an interrupt does not wait for a slow server.
    """
    todo: SimpleQueue[LlmRequest | None] = SimpleQueue()
    done: SimpleQueue[LlmReply | LlmFailure | Exception | None] = SimpleQueue()
    stop = threading.Event()

    def serve() -> None:
        while (request := todo.get()) is not None:
            try:
                done.put(None if stop.is_set() else work(request, stop))
            except Exception as error:
                stop.set()
                done.put(error)

    crew: list[threading.Thread] = []
    source = iter(requests)
    error: Exception | None = None
    under_way, exhausted = 0, False
    try:
        while True:
            while under_way < 2 * threads and not exhausted and not stop.is_set():
                if (request := next(source, None)) is None:
                    exhausted = True
                    break
                todo.put(request)
                under_way += 1
                if len(crew) < threads:
                    crew.append(threading.Thread(target=serve, name=f"llm-{len(crew)}", daemon=True))
                    crew[-1].start()
            if not under_way:
                break
            answer = done.get()
            under_way -= 1
            if isinstance(answer, Exception):
                error = error or answer
            elif answer is not None:
                yield answer
        if error is not None:
            raise error
    finally:
        stop.set()
        for _ in crew:
            todo.put(None)
