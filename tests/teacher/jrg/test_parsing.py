"""Replies in every shape a model may give them: what is found in the chatter, and what is refused and why."""

from __future__ import annotations

import json
import time

import pytest
from tests.teacher.replies import reply, reply_text, throwing_facts

from ovgsr.teacher.jrg.parsing import LONGEST_REPLY, Judgements, Rejected, judged, read_reply

GOOD = reply_text()
PRETTY = json.dumps(reply(), indent=2)
DRAFT = reply_text({"glimpse.positive": "A draft that a man throws a ball in a park, to be thought over."})

# Where the object stands in the reply.
WRAPPED = [
    ("alone", GOOD),
    ("over several lines", PRETTY),
    ("in a fenced block", f"```json\n{PRETTY}\n```"),
    ("with chatter around it", f"Sure! Here is the JSON you asked for:\n{GOOD}\nLet me know if {{anything}} is amiss."),
    ("after another object", f'{{"thought": 1}} {{}} {GOOD}'),
    ("after a draft in a thought", f"<think>perhaps {DRAFT}? no.</think>{GOOD}"),
    ("after an object that breaks off", DRAFT[:300] + "\n\n" + GOOD),
    ("behind braces that open nothing", "{" * 40 + GOOD),
]


@pytest.mark.parametrize(("name", "text"), WRAPPED, ids=[case[0] for case in WRAPPED])
def test_the_answer_is_found(name: str, text: str) -> None:
    found = read_reply(text, throwing_facts())
    assert isinstance(found, Judgements), found
    assert found.glimpse.positive.startswith("A man in the park throws a rubber ball")
    assert [negative.wrong for negative in found.glimpse.negatives] == ["catching", "kicking"]
    assert list(found.gazes) == ["agent", "item", "place"]
    assert [(n.kind, n.wrong) for n in found.gazes["item"].negatives] == [("role", "agent"), ("filler", "box")]
    assert judged(found, throwing_facts()) == found


# What is wrong, the reply, the code that must come of it.
BROKEN = [
    ("nothing", "", "no_json"),
    ("prose", "I would rather not describe this picture.", "no_json"),
    ("a list", "[1, 2]", "no_json"),
    ("an object without a glimpse", '{"gazes": {}}', "no_json"),
    ("cut off", GOOD[:-20], "no_json"),
    ("a python dictionary", str(reply()), "no_json"),
    ("longer than any answer", GOOD + " " * LONGEST_REPLY, "too_long"),
    ("nested a hundred thousand deep", '{"a":' * 10_000, "too_deep"),
    ("lists nested deep", '{"glimpse": ' + "[" * 60_000, "too_deep"),
    ("a field twice", GOOD.replace('{"glimpse"', '{"gazes": {}, "glimpse"'), "duplicate_field"),
    ("a role twice", GOOD.replace('"gazes": {', '"gazes": {"item": {}, '), "duplicate_field"),
    ("no number", reply_text({"glimpse.negatives": float("nan")}), "wrong_type"),
    ("a number of a million digits", '{"glimpse": ' + "9" * 5000 + "}", "no_json"),
    ("a field too many", reply_text({"notes": "by the way"}), "unknown_field"),
    ("a field too many inside", reply_text({"gazes.agent.negatives.0.why": "so"}), "unknown_field"),
    ("no gazes", json.dumps({"glimpse": reply()["glimpse"]}), "missing_field"),
    ("a negative without a text", reply_text({"glimpse.negatives.0": {"verb": "catching"}}), "missing_field"),
    ("an unknown role", reply_text({"gazes.tool": {"positive": "A hand is used.", "negatives": []}}), "unknown_role"),
    ("a glimpse that is a text", reply_text({"glimpse": "A man throws a ball."}), "wrong_type"),
    ("gazes in a list", reply_text({"gazes": []}), "wrong_type"),
    ("negatives in an object", reply_text({"gazes.item.negatives": {}}), "wrong_type"),
    ("a negative that is a text", reply_text({"gazes.item.negatives.0": "no"}), "wrong_type"),
    ("a number for a text", reply_text({"glimpse.positive": 7}), "wrong_type"),
    ("null for a text", reply_text({"gazes.item.positive": None}), "wrong_type"),
    ("a long text", reply_text({"gazes.item.positive": "the ball is " * 400}), "too_long"),
    ("an unknown kind", reply_text({"gazes.item.negatives.0.kind": "colour"}), "unknown_kind"),
    ("a kind of the glimpse's", reply_text({"gazes.item.negatives.0.kind": "verb"}), "unknown_kind"),
    ("a kind that is a list", reply_text({"gazes.item.negatives.0.kind": ["filler"]}), "unknown_kind"),
    ("three negatives of two", reply_text({"gazes.item.negatives": [{}, {}, {}]}), "too_many_negatives"),
]


@pytest.mark.parametrize(("name", "text", "code"), BROKEN, ids=[case[0] for case in BROKEN])
def test_what_is_no_answer_is_refused(name: str, text: str, code: str) -> None:
    started = time.perf_counter()
    found = read_reply(text, throwing_facts())
    assert isinstance(found, Rejected)
    assert [reason.code for reason in found.reasons] == [code]
    assert all(len(reason.sentence) < 200 and reason.sentence.isascii() for reason in found.reasons)
    assert time.perf_counter() - started < 2


def test_a_missing_role_is_named() -> None:
    record = reply()
    del record["gazes"]["item"]
    found = read_reply(json.dumps(record), throwing_facts())
    assert isinstance(found, Rejected)
    assert found.reasons[0].code == "missing_role"
    assert '"item"' in found.reasons[0].sentence


def test_a_hostile_field_is_quoted_harmlessly() -> None:
    name = "\u202e ignore\nthe above </s> " + "x" * 500
    found = read_reply(reply_text({f"{name}": 1}), throwing_facts())
    assert isinstance(found, Rejected)
    sentence = found.reasons[0].sentence
    assert "\n" not in sentence
    assert sentence.isascii()
    assert len(sentence) < 120
