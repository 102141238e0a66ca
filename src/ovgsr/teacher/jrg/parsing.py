"""A language model's reply as judgements, or the reasons why it is none. The reply is hostile until proved otherwise.

Here: the size, the JSON object inside the chatter, and its strict shape. What the texts say is judged in
``validation``, by the same rules for every backend.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ovgsr.teacher.jrg.facts import Facts
from ovgsr.teacher.jrg.rationales import Contradiction, Gaze, Glimpse, Negative
from ovgsr.teacher.jrg.validation import Reason, judge, quoted

LONGEST_REPLY = 65_536
"""Characters; a whole answer with six roles and three negatives each stays below a tenth of this."""

_MOST_STARTS = 64
"""Braces at which an object is looked for: enough for any chatter, and no invitation to quadratic work."""
_LONGEST_FIELD = 2_000


@dataclass(frozen=True, slots=True)
class Judgements:
    """What was written about one picture: the parts of a ``PictureRationales`` that an author decides."""

    glimpse: Glimpse
    gazes: Mapping[str, Gaze]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a reply cannot be used; at least one reason."""

    reasons: tuple[Reason, ...]


class _ShapeError(Exception):
    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = Reason(code, sentence)


def read_reply(text: str, facts: Facts) -> Judgements | Rejected:
    """The judgements of a reply where it has the right shape and says nothing that ``facts`` forbid."""
    try:
        judgements = _judgements(_find_object(text), facts)
    except _ShapeError as error:
        return Rejected((error.reason,))
    return judged(judgements, facts)


def judged(judgements: Judgements, facts: Facts) -> Judgements | Rejected:
    """Judgements that need no parsing, through the same rules."""
    reasons = judge(judgements.glimpse, judgements.gazes, facts)
    return Rejected(reasons) if reasons else judgements


def _find_object(text: str) -> Mapping[str, Any]:
    """The last JSON object with a glimpse in it: a model that thinks aloud ends with its answer."""
    if len(text) > LONGEST_REPLY:
        raise _ShapeError("too_long", f"the reply has {len(text)} characters, more than {LONGEST_REPLY}")
    found: Mapping[str, Any] | None = None
    fault = _ShapeError("no_json", "the reply holds no JSON object with the fields 'glimpse' and 'gazes'")
    for candidate in _objects(text):
        if isinstance(candidate, _ShapeError):
            fault = candidate
        elif "glimpse" in candidate:
            found = candidate
    if found is None:
        raise fault
    return found


def _objects(text: str) -> Iterator[Mapping[str, Any] | _ShapeError]:
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    position = text.find("{")
    for _ in range(_MOST_STARTS):
        if position < 0:
            return
        end = position + 1
        try:
            value, end = decoder.raw_decode(text, position)
        except _ShapeError as error:
            yield error
        except RecursionError:
            yield _ShapeError("too_deep", "the reply's JSON is nested too deeply")
            return
        except ValueError:
            pass  # a brace in the chatter, or an object that breaks off
        else:
            yield value
        position = text.find("{", end)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _ShapeError("duplicate_field", f"the field {quoted(twice)} stands twice in one object")
    return found


def _no_constant(constant: str) -> Any:
    raise _ShapeError("wrong_type", f"{constant} is no JSON value")


def _judgements(record: Mapping[str, Any], facts: Facts) -> Judgements:
    _require_fields(record, ("glimpse", "gazes"), "the reply")
    glimpse = _object(record["glimpse"], ("positive", "negatives"), "glimpse")
    gazes = record["gazes"]
    if not isinstance(gazes, dict):
        raise _ShapeError("wrong_type", "'gazes' must be an object with one field a role")
    unknown = [role for role in gazes if role not in facts.fillers]
    if unknown:
        known = ", ".join(facts.fillers)
        raise _ShapeError("unknown_role", f"'gazes' has {quoted(unknown[0])}; the filled roles are: {known}")
    missing = [role for role in facts.fillers if role not in gazes]
    if missing:
        raise _ShapeError("missing_role", f"'gazes' lacks the role {quoted(missing[0])}")
    return Judgements(
        Glimpse(
            _text(glimpse["positive"], "glimpse.positive"),
            tuple(
                Negative("verb", _text(one["verb"], f"{where}.verb"), _text(one["text"], f"{where}.text"))
                for where, one in _negatives(glimpse, ("verb", "text"), "glimpse", facts.k)
            ),
        ),
        {role: _gaze(gazes[role], f"gazes.{role}", facts.k) for role in facts.fillers},
    )


def _gaze(value: Any, where: str, k: int) -> Gaze:
    record = _object(value, ("positive", "negatives"), where)
    negatives = []
    for place, one in _negatives(record, ("kind", "wrong", "text"), where, k):
        kind = one["kind"]
        if kind not in get_args(Contradiction) or kind == "verb":
            raise _ShapeError("unknown_kind", f"{place}.kind must be filler, role or place, not {quoted(kind)}")
        negatives.append(Negative(kind, _text(one["wrong"], f"{place}.wrong"), _text(one["text"], f"{place}.text")))
    return Gaze(_text(record["positive"], f"{where}.positive"), tuple(negatives))


def _negatives(
    record: Mapping[str, Any], fields: tuple[str, ...], where: str, k: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    negatives = record["negatives"]
    if not isinstance(negatives, list):
        raise _ShapeError("wrong_type", f"{where}.negatives must be a list")
    if len(negatives) > k:
        raise _ShapeError("too_many_negatives", f"{where}.negatives has {len(negatives)} entries; {k} were asked for")
    for number, entry in enumerate(negatives):
        place = f"{where}.negatives[{number}]"
        yield place, _object(entry, fields, place)


def _object(value: Any, fields: tuple[str, ...], where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _ShapeError("wrong_type", f"{where} must be an object with the fields {', '.join(fields)}")
    _require_fields(value, fields, where)
    return value


def _require_fields(record: Mapping[str, Any], fields: tuple[str, ...], where: str) -> None:
    for field in fields:
        if field not in record:
            raise _ShapeError("missing_field", f"{where} lacks the field '{field}'")
    for field in record:
        if field not in fields:
            raise _ShapeError("unknown_field", f"{where} has the unknown field {quoted(field)}")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _ShapeError("wrong_type", f"{where} must be a text")
    if len(value) > _LONGEST_FIELD:
        raise _ShapeError("too_long", f"{where} has {len(value)} characters, more than {_LONGEST_FIELD}")
    return value.strip(" \t\r\n")  # no more than that: every other character is judged
