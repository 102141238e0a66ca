from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ovgsr.hoi_vocabulary import (
    HICO_DET_SPLITS,
    HoiSplit,
    coco91_ids,
    hico_det_interactions,
    hico_det_rare,
    hico_det_split,
    hico_det_vocabulary,
    words_of,
)
from ovgsr.inflections import gerund
from ovgsr.vocabulary import VocabularyError


def test_hico_dets_counts_and_a_few_known_entries() -> None:
    vocabulary, interactions = hico_det_vocabulary(), hico_det_interactions()
    assert (len(vocabulary.verbs), len(vocabulary.nouns), len(interactions)) == (117, 80, 600)
    assert len(hico_det_rare()) == 138
    assert list(vocabulary.verb_names) == sorted(vocabulary.verb_names)
    assert vocabulary.verb_index("no_interaction") == 57
    assert interactions[245] == ("sit_on", "bench")
    assert {interactions.index(pair) for pair in interactions if pair[1] == "person"} == set(range(160, 170))
    assert coco91_ids()["person"] == 1
    assert coco91_ids()["toothbrush"] == 90
    assert sorted(coco91_ids().values()) == list(coco91_ids().values())
    assert vocabulary.roles == ("human", "object")


def test_verbs_are_read_as_gerunds_and_objects_with_spaces() -> None:
    vocabulary = hico_det_vocabulary()
    assert vocabulary.verb("ride").text == "someone is riding."
    assert vocabulary.verb("brush_with").text == "someone is brushing with."
    assert vocabulary.verb("no_interaction").text == "someone is near."
    assert vocabulary.noun("baseball_bat").text == "baseball bat"
    assert not any("_" in verb.text for verb in vocabulary.verbs)
    assert not any("_" in noun.text for noun in vocabulary.nouns)


def test_the_gerunds_are_those_of_the_spelling_rules() -> None:
    written = {verb.name: verb.gerund for verb in hico_det_vocabulary().verbs}
    assert written.pop("no_interaction") == "near"
    assert written == {name: gerund(name) for name in written}


SIZES = {"rf_uc": 120, "nf_uc": 120, "uo": 100, "uv": 84} | {f"uc{n}": 120 for n in range(5)}


def test_the_splits_are_those_of_their_definitions() -> None:
    assert {name: len(hico_det_split(name).unseen) for name in HICO_DET_SPLITS} == SIZES
    interactions, rare = hico_det_interactions(), hico_det_rare()
    # "of the unseen, rare": 120, 0, 20, 18; then the five random sets
    counts = [len(hico_det_split(name).unseen & rare) for name in HICO_DET_SPLITS]
    assert counts == [120, 0, 20, 18, 25, 36, 28, 28, 37]
    for name in HICO_DET_SPLITS:
        split = hico_det_split(name)
        words = words_of(hico_det_vocabulary(), split.training(interactions))
        lost = {
            "rf_uc": (0, 0), "nf_uc": (0, 0), "uo": (5, 12), "uv": (20, 0),
            "uc0": (9, 0), "uc1": (10, 0), "uc2": (10, 0), "uc3": (9, 0), "uc4": (10, 0),
        }[name]  # fmt: skip
        assert (117 - len(words.verbs), 80 - len(words.nouns)) == lost, name
        assert split.held_out == split.unseen == split.unseen_on("test")
        assert split.unseen_on("train") == split.unseen_on("dev") == frozenset()
    # first and last ids of the lists that GEN-VLKT publishes
    ids = {name: sorted(interactions.index(pair) for pair in hico_det_split(name).unseen) for name in HICO_DET_SPLITS}
    assert (ids["rf_uc"][:3], ids["rf_uc"][-3:]) == ([8, 22, 27], [596, 597, 599])
    assert (ids["nf_uc"][:3], ids["nf_uc"][-3:]) == ([6, 7, 9], [583, 589, 594])
    assert (ids["uv"][:3], ids["uv"][-3:]) == ([4, 6, 12], [572, 591, 595])
    assert (ids["uo"][:3], ids["uo"][-3:]) == ([111, 112, 113], [597, 598, 599])
    assert {verb for verb, _ in hico_det_split("uc0").unseen} >= {"block", "text_on", "greet"}


def test_a_split_that_does_not_exist() -> None:
    with pytest.raises(VocabularyError, match="there is no split 'ua'"):
        hico_det_split("ua")


def test_a_split_of_ones_own_round_trips() -> None:
    split = HoiSplit("mine", frozenset({("ride", "horse")}), frozenset({("feed", "dog"), ("ride", "cow")}))
    assert HoiSplit.from_json(split.to_json()) == split
    assert split.unseen_on("dev") == split.dev_unseen
    listed = [("ride", "cow"), ("ride", "bicycle"), ("ride", "horse")]
    assert split.training(listed) == (("ride", "bicycle"),)


def test_a_split_may_keep_interactions_for_dev_alone() -> None:
    split = HoiSplit.from_json(FORMAT | {"dev_unseen": [["ride", "cow"]]})
    assert split.unseen_on("dev") == split.held_out == {("ride", "cow")}
    assert split.unseen_on("test") == frozenset()


FORMAT = {"format": "ovgsr-hoi-split-1", "name": "mine"}
FAULTS: list[tuple[Any, str]] = [
    ([], "the field 'format'"),
    ({"format": "ovgsr-split-1"}, "the field 'format'"),
    (FORMAT | {"unseen": "ride"}, "the field 'unseen' must be a list"),
    (FORMAT | {"unseen": [["ride"]]}, "the field 'unseen' must hold pairs"),
    (FORMAT | {"unseen": [["ride", 3]]}, "must hold pairs"),
    (FORMAT, "names no unseen interaction"),
    (FORMAT | {"unseen": [["ride", "cow"]], "dev_unseen": [["ride", "cow"]]}, "both 'unseen' and 'dev_unseen'"),
]


@pytest.mark.parametrize(("record", "message"), FAULTS)
def test_a_split_file_with_a_fault(record: Any, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        HoiSplit.from_json(record)


def test_each_object_has_a_no_interaction() -> None:
    verbs = Counter(verb for verb, _ in hico_det_interactions())
    assert verbs["no_interaction"] == 80
