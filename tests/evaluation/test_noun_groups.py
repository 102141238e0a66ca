"""Seen, rare and unseen nouns: by hand, and against a plain loop over random pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from evaluation.builders import annotation, prediction, random_world
from ovgsr.evaluation.columns import encode_annotations, encode_predictions
from ovgsr.evaluation.evaluate import evaluate_predictions
from ovgsr.evaluation.noun_groups import NounScores, noun_uses, score_nouns
from ovgsr.evaluation.swig import profile_named, score_images

BOX, ELSEWHERE = (10.0, 10.0, 50.0, 50.0), (300.0, 300.0, 400.0, 400.0)
USES = {"man": 500, "dog": 11, "lynx": 10, "newt": 1, "": 900}


def scored(*roles: tuple[tuple[str, ...], tuple[str, Any]]) -> Mapping[str, NounScores]:
    """One picture; a role is (annotators' nouns, (answer, its box)), and all are grounded in BOX."""
    gold = annotation("p", "v", {f"r{n}": (nouns, BOX) for n, (nouns, _) in enumerate(roles)})
    answers = {f"r{n}": answer for n, (_, answer) in enumerate(roles)}
    report = evaluate_predictions([prediction("p", ["w"], {"v": answers})], [gold], profiles=["official"], uses=USES)
    return report.nouns["official"]


def test_groups_by_hand() -> None:
    found = scored(
        (("man", "man", "lynx"), ("lynx", BOX)),  # seen: the best known of its nouns is
        (("dog", "dog", "dog"), ("dog", ELSEWHERE)),
        (("lynx", "newt", "axolotl"), ("axolotl", BOX)),  # rare
        (("newt", "newt", "newt"), ("man", BOX)),
        (("axolotl", "olm", "olm"), ("olm", BOX)),  # unseen
        (("olm", "olm", "olm"), ("newt", BOX)),
        (("olm", "", "olm"), ("", BOX)),  # somebody left it empty: in no group
        (("", "", ""), ("", BOX)),
    )
    assert list(found) == ["seen", "rare", "unseen"]
    assert found["seen"] == NounScores(2, 100.0, 50.0)
    assert found["rare"] == NounScores(2, 50.0, 50.0)
    assert found["unseen"] == NounScores(2, 50.0, 50.0)


def test_a_group_without_roles_is_null_in_the_file() -> None:
    found = scored((("man", "man", "man"), ("man", BOX)))
    assert math.isnan(found["rare"].value)
    assert found["rare"].to_json() == {"roles": 0, "value": None, "grnd_value": None}
    assert found["seen"].to_json() == {"roles": 1, "value": 100.0, "grnd_value": 100.0}


def test_an_answer_that_is_missing_is_wrong() -> None:
    gold = [annotation(name, "v", {"r": (("olm", "olm", "olm"), None)}) for name in "ab"]
    report = evaluate_predictions([prediction("a", ["v"], {"v": {"r": ("olm", None)}})], gold, uses={})
    assert report.nouns["coformer"]["unseen"] == NounScores(2, 50.0, 50.0)
    record = report.to_json()
    assert record["nouns"]["unseen"] == {"roles": 2, "value": 50.0, "grnd_value": 50.0}
    assert record["profiles"]["coformer"]["nouns"]["seen"]["roles"] == 0
    assert "nouns" not in evaluate_predictions([], gold).to_json()


def test_uses_count_roles_not_annotators() -> None:
    images = [annotation("a", "v", {"r": (("x", "x", "y"), None), "s": (("x", "", "z"), None)})]
    assert noun_uses(images) == {"x": 2, "y": 1, "z": 1, "": 1}


@pytest.mark.parametrize("profile", ["official", "coformer", "situformer"])
def test_against_a_plain_loop(profile: str) -> None:
    annotated, predictions, _ = random_world(120, seed=4)
    uses = {f"n{number}": number * 4 for number in range(8)}  # n0 unseen, n1 and n2 rare, the others seen
    expected = {group: Counter[str]() for group in ("seen", "rare", "unseen")}
    rule = profile_named(profile)
    gold = encode_annotations(annotated)
    predicted = encode_predictions(predictions, gold)
    right = score_images(gold, predicted, rule)
    for row, image in enumerate(annotated):
        for slot, answer in enumerate(image.situation.nouns.values()):
            given = set(answer.annotators or (answer.noun,))
            if "" in given:
                continue
            most = max(uses.get(noun, 0) for noun in given)
            group = "unseen" if most == 0 else "rare" if most <= 10 else "seen"
            expected[group]["roles"] += 1
            expected[group]["hits"] += bool(right.hits[row, slot])
            expected[group]["grounded"] += bool(right.grounded_hits[row, slot])
    found = score_nouns(gold, predicted, uses, rule)
    assert all(expected[group]["roles"] for group in expected)
    for group, scores in found.items():
        roles = expected[group]["roles"]
        assert scores.roles == roles
        assert scores.value == pytest.approx(100 * expected[group]["hits"] / roles)
        assert scores.grnd_value == pytest.approx(100 * expected[group]["grounded"] / roles)
