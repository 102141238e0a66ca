from __future__ import annotations

import json
from typing import Any

import pytest

from ovgsr.interactions import HUMAN, OBJECT, InteractionError, PairPrediction, ScoredPair
from ovgsr.situation import GroundedNoun, Situation

RIDE = ScoredPair((0.0, 0.5, 10.0, 20.0), (2.0, 10.0, 12.5, 30.0), "ride", "baseball_bat", 0.75)
LINE: dict[str, Any] = {
    "image": "HICO_test2015_00000001.jpg",
    "width": 640,
    "height": 480,
    "pairs": [
        {
            "human_box": [0.0, 0.5, 10.0, 20.0],
            "object_box": [2.0, 10.0, 12.5, 30.0],
            "verb": "ride",
            "object": "baseball_bat",
            "score": 0.75,
        }
    ],
    "notices": ["drawn pictures only"],
}


def test_a_prediction_survives_json() -> None:
    prediction = PairPrediction("HICO_test2015_00000001.jpg", (RIDE,), 640, 480, ("drawn pictures only",))
    record = json.loads(json.dumps(prediction.to_json()))
    assert record == LINE
    assert PairPrediction.from_json(record) == prediction
    bare = PairPrediction("a.jpg", ())
    assert bare.to_json() == {"image": "a.jpg", "pairs": []}, "a picture without pairs is still a line"
    assert PairPrediction.from_json(bare.to_json()) == bare


def test_a_pair_is_a_situation_with_two_roles() -> None:
    assert RIDE.to_situation() == Situation(
        "ride",
        {
            HUMAN: GroundedNoun("person", (0.0, 0.5, 10.0, 20.0)),
            OBJECT: GroundedNoun("baseball_bat", (2.0, 10.0, 12.5, 30.0)),
        },
        0.75,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("human_box", None),
        ("human_box", [1, 2, 3]),
        ("object_box", [1, 2, 3, "4"]),
        ("object_box", [1, 2, 3, float("nan")]),
        ("verb", ""),
        ("object", 4),
        ("score", True),
        ("score", 10**400),
        ("score", None),
    ],
)
def test_a_bad_field_of_a_pair_is_named(field: str, value: Any) -> None:
    record = {**LINE, "pairs": [LINE["pairs"][0], {**LINE["pairs"][0], field: value}]}
    with pytest.raises(InteractionError, match=rf"^pairs\[1\]: the field '{field}' must"):
        PairPrediction.from_json(record)


@pytest.mark.parametrize(
    ("field", "value"), [("image", ""), ("pairs", None), ("width", 0), ("height", 1.5), ("notices", [3])]
)
def test_a_bad_field_of_a_line_is_named(field: str, value: Any) -> None:
    with pytest.raises(InteractionError, match=f"the field '{field}' must"):
        PairPrediction.from_json({**LINE, field: value})
