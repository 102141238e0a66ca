from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ovgsr.situation import AnnotatedImage, Frame, GroundedNoun, ImagePrediction, Situation, SituationError

AGENT = GroundedNoun("n1", (1.0, 2.0, 3.5, 4.0), score=0.75, grounded_score=0.5)
EMPTY = GroundedNoun("", annotators=("", "n2", ""))
CUTTING = Situation("cutting", {"agent": AGENT, "tool": EMPTY}, score=0.5, frame_borrowed_from="slicing")


def test_a_situation_can_be_copied_and_so_sent_to_another_process() -> None:
    copied = copy.deepcopy(CUTTING)
    assert copied == CUTTING
    assert copied.nouns is not CUTTING.nouns


def test_a_situation_survives_json() -> None:
    record = json.loads(json.dumps(CUTTING.to_json()))
    assert record == {
        "verb": "cutting",
        "score": 0.5,
        "frame_borrowed_from": "slicing",
        "roles": {
            "agent": {"noun": "n1", "score": 0.75, "box": [1.0, 2.0, 3.5, 4.0], "grounded_score": 0.5},
            "tool": {"noun": "", "box": None, "annotators": ["", "n2", ""]},
        },
    }
    again = Situation.from_json(record)
    assert again == CUTTING
    assert again.roles == ("agent", "tool"), "in frame order"
    bare = Situation("barking", {})
    assert bare.to_json() == {"verb": "barking", "roles": {}}
    assert Situation.from_json(bare.to_json()) == bare


def test_zero_is_a_legal_coordinate_and_not_the_absence_of_a_box() -> None:
    at_the_corner = GroundedNoun("n1", (0.0, 0.0, 0.0, 0.0), score=0.0)
    again = Situation.from_json(Situation("cutting", {"agent": at_the_corner}).to_json()).nouns["agent"]
    assert again.box_xyxy == (0.0, 0.0, 0.0, 0.0)
    assert again.score == 0.0


def test_accepted_nouns_are_every_annotators() -> None:
    assert EMPTY.accepted == {"", "n2"}
    assert AGENT.accepted == {"n1"}
    assert GroundedNoun("").accepted == {""}


RECORDS: list[tuple[Any, str]] = [
    (None, "needs the fields 'verb' and 'roles'"),
    ({"verb": "cutting"}, "needs the fields 'verb' and 'roles'"),
    ({"verb": "", "roles": {}}, "needs a verb"),
    ({"verb": "cutting", "roles": []}, "'roles' must map"),
    ({"verb": "cutting", "roles": {"agent": "n1"}}, "role 'agent': the answer must be an object"),
    ({"verb": "cutting", "roles": {"agent": {"noun": 3}}}, "role 'agent': .*text field 'noun'"),
    (
        {"verb": "cutting", "roles": {"agent": {"noun": "n1", "box": [1, 2, 3]}}},
        "role 'agent': 'box' must be null or four",
    ),
    (
        {"verb": "cutting", "roles": {"agent": {"noun": "n1", "box": "abcd"}}},
        "role 'agent': 'box' must be null or four",
    ),
    (
        {"verb": "cutting", "roles": {"agent": {"noun": "n1", "box": [1, 2, 3, "x"]}}},
        "role 'agent': 'box' must be null",
    ),
    ({"verb": "cutting", "roles": {"agent": {"noun": "n1", "box": [0, 0, 1, float("nan")]}}}, "four finite numbers"),
    ({"verb": "cutting", "roles": {"agent": {"noun": "n1", "score": "high"}}}, r"'agent\.score' must be a number"),
    ({"verb": "cutting", "roles": {}, "score": True}, "'score' must be a number, not True"),
]


@pytest.mark.parametrize(("record", "message"), RECORDS)
def test_a_bad_record_names_its_field(record: Any, message: str) -> None:
    with pytest.raises(SituationError, match=message):
        Situation.from_json(record)


def test_a_situation_cannot_be_changed_from_outside() -> None:
    nouns = {"agent": AGENT}
    situation = Situation("cutting", nouns)
    nouns["tool"] = EMPTY
    assert situation.roles == ("agent",)
    with pytest.raises(TypeError):
        situation.nouns["agent"] = EMPTY  # type: ignore[index]


FRAMES = [
    ("", ("agent",), "needs a verb"),
    ("cutting", (), "'cutting' has no role"),
    ("cutting", ("agent", "agent"), "'cutting' names a role twice: agent, agent"),
]


@pytest.mark.parametrize(("verb", "roles", "message"), FRAMES)
def test_a_frame_that_is_none_is_refused(verb: str, roles: tuple[str, ...], message: str) -> None:
    with pytest.raises(SituationError, match=message):
        Frame(verb, roles)


def test_the_frame_of_a_situation() -> None:
    assert CUTTING.frame == Frame("cutting", ("agent", "tool"))


def test_one_situation_is_expected_where_one_is_asked_for() -> None:
    assert AnnotatedImage("a.jpg", 4, 3, (CUTTING,)).situation is CUTTING
    with pytest.raises(SituationError, match=r"a\.jpg: one situation expected, 0 found"):
        _ = AnnotatedImage("a.jpg", 4, 3, ()).situation
    with pytest.raises(SituationError, match=r"a\.jpg: one situation expected, 2 found"):
        _ = AnnotatedImage("a.jpg", 4, 3, (CUTTING, CUTTING)).situation
    with pytest.raises(SituationError, match=r"a\.jpg: the size 0 x 3"):
        AnnotatedImage("a.jpg", 0, 3, (CUTTING,))


def test_a_prediction_as_a_line_of_a_predictions_file() -> None:
    prediction = ImagePrediction(
        "a.jpg", (("cutting", 0.5), ("barking", 0.25)), {"cutting": CUTTING}, 40, 30, ("drawn pictures only",)
    )
    assert prediction.best is CUTTING
    assert prediction.to_json() == {
        "image": "a.jpg",
        "width": 40,
        "height": 30,
        "verbs": [{"verb": "cutting", "score": 0.5}, {"verb": "barking", "score": 0.25}],
        "frames": {"cutting": CUTTING.to_json()["roles"]},
        "frames_borrowed_from": {"cutting": "slicing"},
        "notices": ["drawn pictures only"],
    }
    assert set(ImagePrediction("a.jpg", (), {}).to_json()) == {"image", "verbs", "frames"}
