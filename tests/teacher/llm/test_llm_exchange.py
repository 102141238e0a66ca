"""Addresses, keys, settings that cannot be, and a package that is missing."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ovgsr.teacher.llm import exchange as llm_exchange
from ovgsr.teacher.llm.backend import LlmError
from ovgsr.teacher.llm.openai_model import OpenAiModel
from teacher.chat_client import FakeClock

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OTHER_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_keys_and_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def key_sent_to(address: str | None, variable: str | None = None) -> str:
        return llm_exchange.ChatEndpoint(address, variable, 1.0, FakeClock())._key

    with pytest.raises(LlmError, match=r"https://api.openai.com/v1 needs a key.*variable OPENAI_API_KEY"):
        key_sent_to(None)
    with pytest.raises(LlmError, match="needs a key; put it into the environment variable OTHER_KEY"):
        key_sent_to("http://localhost:1/v1", "OTHER_KEY")
    assert key_sent_to("http://localhost:1/v1") == ""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert key_sent_to(None) == KEY
    assert key_sent_to("https://example.org/v1") == KEY
    assert key_sent_to("http://[::1]:8000/v1") == KEY
    # In the clear, over a network: only a key that is meant for it.
    assert key_sent_to("http://192.0.2.1:8000/v1") == ""
    monkeypatch.setenv("OTHER_KEY", "other")
    assert key_sent_to("http://192.0.2.1:8000/v1", "OTHER_KEY") == "other"
    monkeypatch.setenv("OTHER_KEY", "sch\u00fcssel")
    with pytest.raises(LlmError, match="OTHER_KEY holds no key") as caught:
        key_sent_to("https://example.org/v1", "OTHER_KEY")
    assert "ssel" not in str(caught.value)


def test_a_password_in_an_address_is_not_shown() -> None:
    endpoint = llm_exchange.ChatEndpoint("http://me:pass@localhost:1/v1?token=t", None, 1.0, FakeClock())
    assert endpoint.shown == "http://localhost:1/v1"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"base_url": "localhost:8000/v1"}, "the address 'localhost:8000/v1' .* is not usable"),
        ({"base_url": "ftp://localhost/v1"}, "is not usable; give one such as http://localhost:8000/v1"),
        ({"base_url": "http:///v1"}, "is not usable"),
        ({"base_url": "http://localhost:99999/"}, "is not usable"),
        ({"model": " "}, "name is empty"),
        ({"concurrency": 0}, "concurrency is 0; give a number above 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"attempts": -1}, "attempts is -1"),
        ({"requests_per_minute": 0.0}, "requests_per_minute is 0.0"),
        ({"tokens_per_minute": float("inf")}, "tokens_per_minute is inf"),
    ],
)
def test_settings_that_cannot_be(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(LlmError, match=told):
        OpenAiModel(**{"model": "tiny", "base_url": "http://localhost:1/v1", **fields})


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(LlmError, match=r"needs the Python package openai .*pip install 'ovgsr\[teacher\]'"):
        OpenAiModel("tiny", "http://localhost:1/v1")
