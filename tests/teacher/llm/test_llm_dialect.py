"""Fields and forms that a server does not take, and what its errors say."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ovgsr.teacher.llm.backend import LlmFailure, LlmReply
from ovgsr.teacher.llm.dialect import error_message
from teacher.chat_client import always, hello, model, one, requests
from teacher.chat_server import ChatServer, Fault

FORMATS = ["json_schema", "json_object", None]


@pytest.mark.parametrize(
    ("takes", "complaint"),
    [
        # As OpenAI, DeepSeek, llama.cpp's server, and FastAPI say it.
        (
            {"json_object", None},
            {"error": {"message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported."}},
        ),
        ({None}, {"error": {"message": "This response_format type is unavailable now"}}),
        ({"json_object", None}, {"error": {"message": 'type must be one of "text" or "json_object"'}}),
        ({None}, {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs are not permitted"}]}),
    ],
)
def test_a_form_that_is_refused_is_not_asked_for_again(takes: set[str | None], complaint: dict[str, Any]) -> None:
    def refuses(body: dict[str, Any]) -> Fault | None:
        asked = body.get("response_format", {}).get("type")
        return None if asked in takes else Fault("status", 400, body=json.dumps(complaint))

    with ChatServer(hello, refuses=refuses) as server:
        backend = model(server, attempts=1, concurrency=1)
        assert all(isinstance(answer, LlmReply) for answer in backend.replies(requests(3)))
        assert all(isinstance(answer, LlmReply) for answer in backend.replies(requests(2)))  # remembered
    asked = [body.get("response_format", {}).get("type") for body in server.bodies]
    steps = FORMATS[: FORMATS.index("json_object" if "json_object" in takes else None) + 1]
    assert asked == [*steps, *[steps[-1]] * 4]
    assert backend.response_format == (steps[-1] or "text")


def test_threads_that_meet_the_same_refusal_take_one_step() -> None:
    def refuses(body: dict[str, Any]) -> Fault | None:
        time.sleep(0.02)
        schema = body.get("response_format", {}).get("type") == "json_schema"
        return Fault("status", 400, body='{"error": "json_schema is not supported"}') if schema else None

    with ChatServer(hello, refuses=refuses) as server:
        backend = model(server, attempts=1, concurrency=4)
        assert all(isinstance(answer, LlmReply) for answer in backend.replies(requests(8)))
    assert backend.response_format == "json_object"


@pytest.mark.parametrize(
    ("field", "complaint", "instead"),
    [
        ("seed", "Extra inputs are not permitted: seed", None),
        ("temperature", "Unsupported value: 'temperature' does not support 0.7 with this model.", None),
        ("max_tokens", "'max_tokens' is not supported. Use 'max_completion_tokens' instead.", "max_completion_tokens"),
    ],
)
def test_other_fields_that_are_refused_are_left_out(field: str, complaint: str, instead: str | None) -> None:
    fault = Fault("status", 400, body=json.dumps({"error": {"message": complaint}}))
    with ChatServer(hello, refuses=lambda body: fault if field in body else None) as server:
        answers = list(model(server, attempts=1, concurrency=1).replies(requests(2)))
    assert all(isinstance(answer, LlmReply) for answer in answers)
    assert [field in body for body in server.bodies] == [True, False, False]
    assert instead is None or server.bodies[-1][instead] == 1024
    assert "response_format" in server.bodies[-1]


def test_a_complaint_about_something_else_changes_nothing() -> None:
    message = "maximum context length is 4096 tokens, you asked for max_tokens 1024 with seed 3"
    with ChatServer(hello, always(Fault("status", 400, body=json.dumps({"error": {"message": message}})))) as server:
        assert one(server) == LlmFailure("p0", f"the server refused the request (400): {message}", retryable=False)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error": {"message": "a\\nb"}}', "a b"),
        (b'{"error": "plain"}', "plain"),
        (b'{"detail": [{"msg": "m"}]}', '[{"msg": "m"}]'),
        (b'{"object": "error", "message": "vllm"}', "vllm"),
        (b"\xff\xfe not text", "\ufffd\ufffd not text"),
        (b"", ""),
        (b'{"error": ' + b'{"error": ' * 50_000, '{"error": ' * 29 + '{"error...'),
    ],
)
def test_error_messages(body: bytes, told: str) -> None:
    assert error_message(body) == told
