"""One call, one report: counts and warnings, the results file, subsets, the calibrated columns."""

from __future__ import annotations

import json
import math

import pytest
import torch

from evaluation.builders import annotation, prediction, random_world
from ovgsr.evaluation.columns import EvaluationError, encode_annotations, encode_predictions, ranks_of_gold
from ovgsr.evaluation.evaluate import TABLE_HEADER, evaluate_columns, evaluate_file, evaluate_predictions
from ovgsr.evaluation.predictions import write_predictions
from ovgsr.verb_split import VerbSplit

SPLIT = VerbSplit("tiny", seen=("s0", "s1"), rare=("r0",), unseen=("u0", "u1"), dev_unseen=("d0",))
FIVE = ("s0", "s1", "r0", "u0", "u1")
RIGHT = {"agent": ("n1", None)}


def image(name, roles=("agent",)):
    return annotation(name, name.split("_")[0], {role: (["n1"] * 3, None) for role in roles})


def ranked_first(name, verb=None, frame=RIGHT):
    verb = verb or name.split("_")[0]
    order = [verb, *(v for v in FIVE if v != verb)]
    return prediction(name, order, {name.split("_")[0]: frame} if frame is not None else {})


ALL_RIGHT = [ranked_first(n) for n in ("s0_1.jpg", "u0_1.jpg")]
DATA = [image("s0_1.jpg"), image("u0_1.jpg")]

# predictions, kind of warning, how often, gt value over the two pictures
ODD = [
    pytest.param(ALL_RIGHT, None, 0, 100, id="nothing odd"),
    pytest.param(ALL_RIGHT[:1], "missing_image", 1, 50, id="a picture without prediction scores 0"),
    pytest.param([], "missing_image", 2, 0, id="no prediction at all"),
    pytest.param([ALL_RIGHT[0], ranked_first("u0_1.jpg", frame=None)], "missing_frame", 1, 50, id="no gold frame"),
    pytest.param([ALL_RIGHT[0], ranked_first("u0_1.jpg", frame={})], "missing_role", 1, 50, id="no gold role"),
    pytest.param(
        [ALL_RIGHT[0], ranked_first("u0_1.jpg", frame=RIGHT | {"tool": ("n1", None), "x": ("n1", None)})],
        *("unknown_role", 2, 100),
        id="roles the frame does not have",
    ),
    pytest.param([*ALL_RIGHT, ranked_first("u0_1.jpg", "s0", {})], "duplicate", 1, 100, id="the first counts"),
    pytest.param([*ALL_RIGHT, ranked_first("s0_99.jpg")], "not_in_data", 1, 100, id="a picture of elsewhere"),
    pytest.param(
        [ALL_RIGHT[0], prediction("u0_1.jpg", ["u0", "s0"], {"u0": RIGHT})], "short_ranking", 1, 100, id="two verbs"
    ),
    pytest.param(
        [ALL_RIGHT[0], prediction("u0_1.jpg", [*FIVE, "d0"], {"u0": RIGHT})],
        *("foreign_verb", 1, 100),
        id="a verb of the other fold",
    ),
]


@pytest.mark.parametrize(("predictions", "kind", "times", "value"), ODD)
def test_odd_predictions_are_counted(predictions, kind, times, value):
    report = evaluate_predictions(iter(predictions), DATA, SPLIT)
    assert report.counts == ({kind: times} if kind else {})
    assert len(report.warnings) == (1 if kind else 0)
    for scores in report.profiles.values():
        assert scores.all.images == 2
        assert scores.all.numbers.ground_truth_verb.value == value
    if kind:
        assert report.warnings[0].startswith(str(times))
        assert ".jpg" in report.warnings[0]


def test_pictures_of_another_folds_verbs_are_left_out_and_counted():
    report = evaluate_predictions([*ALL_RIGHT, ranked_first("d0_1.jpg")], [*DATA, image("d0_1.jpg")], SPLIT)
    assert report.counts == {"other_fold": 1}  # and its prediction is no stranger
    assert report.profiles["official"].all.images == 2
    on_dev = evaluate_predictions([ranked_first("d0_1.jpg")], [*DATA, image("d0_1.jpg")], SPLIT, "dev")
    assert on_dev.profiles["official"].groups["unseen"].images == 1
    assert on_dev.profiles["official"].groups["seen"].images == 1
    assert on_dev.counts["other_fold"] == 1


def test_few_verbs_are_no_oddity_where_no_more_compete():
    small = VerbSplit("small", seen=("s0",), unseen=("u0",))
    rankings = [prediction(n, ["s0", "u0"], {n[:2]: RIGHT}) for n in ("s0_1.jpg", "u0_1.jpg")]
    assert evaluate_predictions(rankings, DATA, small).warnings == ()


def test_generalised_results_by_hand():
    # seen: 2 of 4 first; unseen: 1 of 2 first. Harmonic mean of 50 and 50 is 50; rare: no picture.
    names = [f"s0_{i}.jpg" for i in range(4)]
    predictions = [ranked_first(n, "s0" if i < 2 else "u0") for i, n in enumerate(names)]
    predictions += [ranked_first("u0_1.jpg"), ranked_first("u1_1.jpg", "s1")]
    data = [image(p.file_name) for p in predictions]
    report = evaluate_predictions(predictions, data, SPLIT)
    scores = report.profiles["official"]
    assert [scores.groups[g].images for g in ("all", "seen", "rare", "unseen")] == [6, 4, 0, 2]
    assert scores.groups["seen"].numbers.verb_top1 == 50
    assert scores.groups["unseen"].numbers.verb_top1 == 50
    assert scores.harmonic_mean_verb_top1 == 50
    # u1's picture: among the unseen verbs the ranking s1, s0, r0, u0, u1 has u0 first
    assert report.open_vocabulary.unseen_among_unseen == 50
    assert report.open_vocabulary.ausuc is not None


def test_results_file():
    report = evaluate_predictions(ALL_RIGHT, DATA, SPLIT)
    record = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert record["profile"] == "official"
    assert {"profile", "all", "seen", "rare", "unseen", "harmonic_mean_verb_top1"} <= record.keys()
    block = record["all"]
    assert block["images"] == 2
    assert (block["verb_top1"], block["verb_top5"]) == (100, 100)
    for setting in ("top1", "top5", "ground_truth_verb"):
        assert block[setting] == {"value": 100, "value_all": 100, "grnd_value": 100, "grnd_value_all": 100}
    assert record["harmonic_mean_verb_top1"] == 100
    assert record["rare"]["images"] == 0
    assert record["rare"]["verb_top1"] is None
    assert record["unseen"]["macro"]["top1"]["value"] == record["unseen"]["per_image"]["top1"]["value"] == 100
    assert record["profiles"]["coformer"]["profile"] == "coformer"
    assert report.to_json("coformer")["profile"] == "coformer"
    assert "profiles" not in report.to_json("coformer")
    with pytest.raises(EvaluationError, match="official, coformer"):
        report.to_json("situformer")


def test_without_a_split_there_are_no_subsets():
    report = evaluate_predictions(ALL_RIGHT, DATA)
    assert set(report.profiles["official"].groups) == {"all"}
    assert report.open_vocabulary is None
    assert math.isnan(report.profiles["official"].harmonic_mean_verb_top1)
    assert report.to_json()["harmonic_mean_verb_top1"] is None


def test_table_rows_fit_their_header():
    report = evaluate_predictions(ALL_RIGHT, DATA, SPLIT, offset=0.5)
    rows = report.table_rows()
    assert all(len(row) == len(TABLE_HEADER) == 18 for row in rows)
    assert rows[0][:6] == ("official", "all", "macro", "2", "100.00", "100.00")
    # a profile: all, and three subsets in two averages; two profiles, each with and without the offset
    assert len(rows) == (1 + 3 * 2) * 2 * 2
    rare = next(row for row in rows if row[1] == "rare")
    assert rare[3:6] == ("0", "-", "-")


def test_an_offset_moves_the_verb_and_its_gates_only():
    # u0 has half of s0's probability: the constant log 3 brings it to the front, on both pictures
    scores = {"s0": 0.4, "u0": 0.2, "s1": 0.15, "r0": 0.15, "u1": 0.1}
    predictions = [prediction(n, scores, {n[:2]: RIGHT}) for n in ("s0_1.jpg", "u0_1.jpg")]
    report = evaluate_predictions(predictions, DATA, SPLIT, offset=math.log(3))
    before, after = report.profiles["official"], report.with_offset["official"]
    assert [before.groups[g].numbers.verb_top1 for g in ("seen", "unseen")] == [100, 0]
    assert [after.groups[g].numbers.verb_top1 for g in ("seen", "unseen")] == [0, 100]
    assert after.groups["seen"].numbers.top1.value == 0
    assert after.all.numbers.ground_truth_verb.value == 100
    block = report.to_json()["with_offset"]
    assert block["offset"] == pytest.approx(math.log(3))
    assert block["unseen"]["verb_top1"] == 100


def test_an_offset_on_cut_rankings_is_warned_of():
    cut = [prediction(n, ["s0", "s1", "r0"], {n[:2]: RIGHT}) for n in ("s0_1.jpg", "u0_1.jpg")]
    assert evaluate_predictions(cut, DATA, SPLIT, offset=1.0).counts["partial_ranking"] == 2


def test_a_file_scores_like_its_predictions(tmp_path):
    annotated, predictions, nouns = random_world(120, 3)
    path = tmp_path / "p.jsonl"
    write_predictions(path, predictions)
    by_file = evaluate_file(path, annotated, nouns=nouns, profiles=("official", "coformer", "situformer"))
    by_objects = evaluate_predictions(
        predictions, annotated, nouns=nouns, profiles=("official", "coformer", "situformer")
    )
    assert by_file.to_json() == by_objects.to_json()


def test_a_models_own_columns_score_without_objects():
    annotated, predictions, nouns = random_world(60, 4)
    gold = encode_annotations(annotated, nouns=nouns)
    report = evaluate_predictions(predictions, annotated, nouns=nouns)
    direct = evaluate_columns(gold, encode_predictions(predictions, gold), {})
    assert direct["coformer"].to_json() == report.profiles["coformer"].to_json()
    # a vocabulary in a model's order of answers, the empty one first, keeps its indices
    assert [gold.noun_ids[noun] for noun in nouns] == list(range(len(nouns)))


# scores of three verbs, the annotated one's position, its rank
RANKS = [
    ([0.1, 0.7, 0.2], 1, 0),
    ([0.1, 0.7, 0.2], 0, 2),
    ([0.5, 0.5, 0.2], 0, 0),  # a tie goes to the verb that stands first
    ([0.5, 0.5, 0.2], 1, 1),
    ([0.5, math.nan, 0.2], 1, 5),  # no number is never ranked
]


@pytest.mark.parametrize(("scores", "position", "rank"), RANKS)
def test_ranks_of_gold(scores, position, rank):
    assert ranks_of_gold(torch.tensor([scores]), torch.tensor([position])).tolist() == [rank]


def test_ranks_beyond_five_are_five():
    assert ranks_of_gold(torch.arange(9.0)[None], torch.tensor([0])).tolist() == [5]


BAD_CALLS = [
    pytest.param({"annotated": []}, "no annotated picture", id="no data"),
    pytest.param({"fold": "tset"}, "choose train, dev or test", id="unknown fold"),
    pytest.param({"profiles": ()}, "no profile", id="no profile"),
    pytest.param({"profiles": ("offical",)}, "choose from official", id="unknown profile"),
    pytest.param({"split": None, "offset": 1.0}, "needs a split", id="offset without split"),
    pytest.param({"split": VerbSplit("other", ("x",))}, "no annotated picture has a verb", id="another data's split"),
    pytest.param({"annotated": [*DATA, DATA[0]]}, r"s0_1\.jpg is annotated twice", id="annotated twice"),
    pytest.param({"annotated": [image("s0_1.jpg", roles=())]}, "0 roles", id="no role"),
    pytest.param({"annotated": [image("s0_1.jpg", [f"r{i}" for i in range(23)])]}, "23 roles", id="too many roles"),
]


@pytest.mark.parametrize(("change", "complaint"), BAD_CALLS)
def test_calls_that_cannot_be_scored(change, complaint):
    with pytest.raises(EvaluationError, match=complaint):
        evaluate_predictions(**({"predictions": ALL_RIGHT, "annotated": DATA, "split": SPLIT} | change))
