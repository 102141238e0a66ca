"""Interactions in an ablation: a tiny one for real, killed in the middle, and intervals against scipy's."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.toy_hoi import INTERACTIONS, write_toy_hoi

from ovgsr.config import load_config
from ovgsr.data.hico_det import read_hico_det
from ovgsr.data.hoi_splits import read_hoi_split, training_fold
from ovgsr.evaluation.predictions import read_records as read_lines
from ovgsr.interactions import PairPrediction, ScoredPair
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.training.ablation import Ablation, Cell, run_cells
from ovgsr.training.ablation_cell import run_cell
from ovgsr.training.ablation_interactions import (
    ClassRecords,
    InteractionScoring,
    read_classes,
    read_pair_fold,
)
from ovgsr.training.ablation_plan import AblationError, AblationPlan, Row, load_plan
from ovgsr.training.ablation_report import page, write_tables
from ovgsr.training.ablation_table import read_table
from ovgsr.training.pair_comparison import best_pair, compare_pair_pictures

BUDGET = (
    *("task=interactions", "data.image_size=48", "data.cache_images=true", "model.width=32", "model.heads=2"),
    *("model.encoder_layers=1", "model.decoder_layers=1", "pairs.queries=8", "pairs.kept=30", "train.max_steps=2"),
    *("train.batch_size=4", "train.precision=no", "train.log_every=1", "train.checkpoint_every=1", "train.threads=1"),
)
ROWS = (
    Row(name="no_teacher", title="no teacher", says="The ground."),
    Row(name="heavy", title="heavy verbs", says="More of the verbs' loss.", overrides=("loss.verb=9.0",)),
)
UNSEEN = ("kick", "ball")


class Watch:
    """Hears nothing, but may stop everything as a kill would."""

    def __init__(self, kill: tuple[str, str, int] | None = None) -> None:
        self.kill = kill
        self.reasons: list[str] = []

    def started(self, cell: Cell) -> None: ...

    def progress(self, cell: Cell, stage: str, done: int, total: int) -> None:
        if (cell.name, stage, done) == self.kill:
            raise KeyboardInterrupt

    def finished(self, cell: Cell, seconds: float) -> None: ...

    def failed(self, cell: Cell, reason: str) -> None:
        self.reasons.append(reason)


def carry_out(ablation: Ablation, watch: Watch) -> None:
    cells = ablation.cells()
    assert run_cells(cells, lambda cell, progress: run_cell(ablation, cell, progress), watch) == [], watch.reasons


def plan(*rows: Row, seeds: Sequence[int] = (0, 1)) -> AblationPlan:
    return AblationPlan(title="Tiny", rows=rows or ROWS, seeds=tuple(seeds), against="no_teacher", overrides=BUDGET)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_toy_hoi(tmp_path_factory.mktemp("toy") / "data", train=20, dev=2, test=24)
    split = {"format": "ovgsr-hoi-split-1", "name": "toy", "unseen": [list(UNSEEN)], "dev_unseen": [["hold", "crate"]]}
    (root / "hoi_split.json").write_text(json.dumps(split))
    return root


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    ablation = Ablation(plan(), data, tmp_path_factory.mktemp("ablation") / "out", device="cpu")
    carry_out(ablation, Watch())
    write_tables(ablation, ablation.cells(), command="ovgsr ablate")
    return ablation


def test_killed_and_resumed_is_the_same(finished: Ablation, data: Path, tmp_path: Path) -> None:
    ablation = Ablation(plan(seeds=(0,)), data, tmp_path / "out", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        carry_out(ablation, Watch(kill=("heavy/0", "training", 1)))
    write_tables(ablation, ablation.cells())
    assert "0, 1 to come" in (ablation.out / "ablation.md").read_text(), "a table exists early"
    carry_out(ablation, Watch())
    for name in ("results.json", "classes.json", "samples.jsonl", "run/student/model.safetensors"):
        ours, theirs = ((a.out / "heavy/0" / name).read_bytes() for a in (ablation, finished))
        assert ours == theirs, name


def test_the_classes_records_agree_with_the_evaluator(finished: Ablation) -> None:
    cell = finished.cell("heavy", 1)
    results, kept = json.loads(cell.results.read_text()), read_classes(cell.classes)
    assert results["seed"] == 1
    assert set(kept.interactions) <= set(INTERACTIONS)
    assert results["classes"]["full"] == len(kept.interactions)
    found = {name: kept.average_precision[kept.group(name)].mean() for name in ("full", "rare", "non_rare")}
    assert {f"map_{name}": value for name, value in found.items()} == pytest.approx(
        {name: results["default"][name] for name in ("map_full", "map_rare", "map_non_rare")}
    )
    chosen = {name: {kept.interactions[k] for k in np.flatnonzero(kept.group(name))} for name in ("seen", "unseen")}
    assert chosen == {"seen": set(kept.interactions) - {UNSEEN, ("hold", "crate")}, "unseen": {UNSEEN}}
    assert results["split"]["map_seen"] == pytest.approx(kept.average_precision[kept.seen].mean())
    assert results["split"]["map_unseen"] == pytest.approx(kept.average_precision[kept.unseen].mean())
    assert results["split"] == results["default"]["toy"]
    assert results["unmet"] == {"map_unmet": results["split"]["map_unseen"]}, "nothing else is kicked"
    assert kept.is_alike(read_classes(finished.cell("no_teacher", 0).classes))


def test_the_written_tables(finished: Ablation) -> None:
    lines = list(csv.DictReader((finished.out / "ablation.csv").read_text().splitlines()))
    own = next(line for line in lines if (line["row"], line["seed"]) == ("heavy", "1"))
    results = json.loads(finished.cell("heavy", 1).results.read_text())
    for column in ("map_full", "map_rare", "map_non_rare"):
        assert float(own[column]) == pytest.approx(results["default"][column], rel=1e-5)
    for column in ("map_seen", "map_unseen", "harmonic_mean"):
        assert float(own[column]) == pytest.approx(results["split"][column], rel=1e-5)
    seen = training_fold(read_hico_det(finished.data, "train"), read_hoi_split(finished.data)).images
    assert (own["pictures"], own["steps"]) == (str(len(seen)), "2")
    assert {line["seed"] for line in lines} == {"0", "1", "mean", "deviation"}
    text = (finished.out / "ablation.md").read_text()
    assert "| row | seeds | full | rare | non-rare | seen | unseen | unseen verbs | harmonic mean |" in text
    assert "official, Default" in text
    assert "## Minus no teacher" in text
    assert "verb top-1" not in text
    table = read_table(finished, finished.cells(), draws=50)
    difference = table.differences["no_teacher"]["heavy"]["map_full"]
    assert difference.bootstrap is not None
    gains = [table.rows[1].values["map_full"][s] - table.rows[0].values["map_full"][s] for s in (0, 1)]
    assert difference.mean == pytest.approx(sum(gains) / 2)
    assert page(table).title == "Tiny"
    samples = [PairPrediction.from_json(line) for _, line in read_lines(finished.cell("heavy", 0).samples)]
    assert len(samples) == 24
    assert all(0 < len(sample.pairs) <= 20 for sample in samples)


def test_what_is_unseen_on_a_fold(data: Path) -> None:
    fold = read_pair_fold(data, None, "dev")
    assert fold.unseen == {("hold", "crate")}
    assert fold.left_out == {UNSEEN}
    whole = dataclasses.replace(fold, split=None)
    assert (whole.unseen, whole.left_out) == (frozenset(), frozenset())


def records(precision: Sequence[float], unseen: int = 0, rare: int = 0) -> ClassRecords:
    """The last ``unseen`` classes are that, the first ``rare`` ones that; all others are seen."""
    count = len(precision)
    new = np.arange(count) >= count - unseen
    interactions = tuple((f"verb{k}", "thing") for k in range(count))
    return ClassRecords(interactions, np.array(precision, dtype=np.float64), np.arange(count) < rare, new, ~new)


def test_the_interval_of_one_seed_is_scipys() -> None:
    generator = np.random.default_rng(5)
    theirs = generator.uniform(0, 60, size=90)
    ours = theirs + generator.normal(4, 8, size=90)
    found = InteractionScoring().intervals({3: records(ours.tolist(), 25)}, {3: records(theirs.tolist(), 25)}, 4000)
    assert found.keys() == {"map_full", "map_seen", "map_unseen", "map_unmet", "harmonic_mean"}, "no class is rare"
    assert found["map_unmet"] == found["map_unseen"], "every class has a verb of its own"
    settings: dict[str, Any] = {"n_resamples": 4000, "method": "percentile", "rng": np.random.default_rng(6)}
    for name, chosen in (("full", slice(None)), ("seen", slice(0, 65)), ("unseen", slice(65, None))):
        expected = stats.bootstrap(((ours - theirs)[chosen],), np.mean, **settings).confidence_interval
        assert found[f"map_{name}"] == pytest.approx((expected.low, expected.high), abs=0.3), name

    def gain(seen: Any, unseen: Any, axis: int = -1) -> Any:
        means = [[of[chosen].mean(axis=axis) for chosen in (seen, unseen)] for of in (ours, theirs)]
        return stats.hmean(means[0], axis=0) - stats.hmean(means[1], axis=0)

    classes = (np.arange(65), np.arange(65, 90))  # seen and unseen drawn apart, each class with both rows
    expected = stats.bootstrap(classes, gain, vectorized=True, **settings).confidence_interval
    assert found["harmonic_mean"] == pytest.approx((expected.low, expected.high), abs=0.3)
    # Unpaired, 1.96 standard errors would be 1.96 * sqrt(2 * 300 / 90) = 5.1 points on either side.
    assert found["map_full"][1] - found["map_full"][0] < 2 * 2.2


def test_unseen_verbs_are_those_without_a_seen_class() -> None:
    ours = records([1, 2, 3, 4, 5], unseen=3)
    named = (("ride", "bus"), ("hold", "cup"), ("ride", "horse"), ("feed", "cow"), ("feed", "dog"))
    mixed = dataclasses.replace(ours, interactions=named)
    assert mixed.group("unmet").tolist() == [False, False, False, True, True]
    assert not records([1, 2]).group("unmet").any()


def test_the_interval_by_hand() -> None:
    # Two classes with gains 0 and 8: draws of two give 0, 4 or 8 with chances 1/4, 1/2, 1/4.
    found = InteractionScoring().intervals({0: records([5, 9])}, {0: records([5, 1])}, 400)
    assert found["map_full"] == (0.0, 8.0)
    # Two seeds with gains 0 and 6 in every class: seeds are drawn too.
    ours, theirs = {0: records([1, 1]), 1: records([7, 7])}, {0: records([1, 1]), 1: records([1, 1])}
    assert InteractionScoring().intervals(ours, theirs, 400)["map_full"] == (0.0, 6.0)
    # Nothing right anywhere is a harmonic mean of 0, not none.
    zero = InteractionScoring().intervals({0: records([0, 0], 1)}, {0: records([0, 0], 1)}, 20)
    assert zero["harmonic_mean"] == (0.0, 0.0)
    assert InteractionScoring().intervals({0: records([1])}, {1: records([1])}, 20) == {}, "no common seed"
    assert InteractionScoring().intervals({0: records([1, 2])}, {0: records([1, 2], 1)}, 20) == {}, "another split"


def test_a_damaged_file_is_named(finished: Ablation, tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    for text in ("{", '{"format": "ovgsr-cell-pictures-1"}', '{"format": "ovgsr-cell-classes-1", "interactions": []}'):
        path.write_text(text)
        with pytest.raises(AblationError, match=r"classes\.json: damaged .*delete the cell's folder"):
            read_classes(path)
    kept = json.loads(finished.cell("heavy", 0).classes.read_text())
    path.write_text(json.dumps(kept | {"rare": kept["rare"][1:]}))
    with pytest.raises(AblationError, match="the columns are of different lengths"):
        read_classes(path)


def test_one_table_holds_one_task(data: Path, tmp_path: Path) -> None:
    other = Row(name="other", title="other", says="Another.", overrides=("task=situations",))
    mixed = Ablation(plan(ROWS[0], other), data, tmp_path / "out")
    with pytest.raises(AblationError, match="the row 'other' is for situations, 'no_teacher' for interactions"):
        mixed.require_recipes(mixed.cells())
    asked = Row(name="asked", title="asked", says="The teacher.", teacher_only=True)
    prompted = Ablation(plan(ROWS[0], asked), data, tmp_path / "out")
    with pytest.raises(AblationError, match="the row 'asked': no teacher is prompted for interactions; remove it"):
        prompted.require_recipes(prompted.cells())


BOXES = ((10.0, 10.0, 20.0, 40.0), (20.0, 20.0, 40.0, 40.0))


def predicted(name: str, *pairs: tuple[str, float], shift: float = 0.0) -> PairPrediction:
    moved = [tuple(side + shift for side in box) for box in BOXES]
    return PairPrediction(name, tuple(ScoredPair(*moved, verb, "ball", score) for verb, score in pairs))  # type: ignore[arg-type]


def test_pictures_on_which_rows_differ(data: Path) -> None:
    fold = read_pair_fold(data, None, "test")
    names = [image.file_name for image in fold.read.images[:4]]

    def annotated(name: str, verb: str) -> AnnotatedImage:
        nouns = {"human": GroundedNoun("person", BOXES[0]), "object": GroundedNoun("ball", BOXES[1])}
        return AnnotatedImage(name, 48, 48, (Situation(verb, nouns),))

    images = [annotated(name, verb) for name, verb in zip(names, ("hold", "kick", "hold", "hold"), strict=True)]
    ours = [
        predicted(names[0], ("hold", 0.6), ("kick", 0.5)),
        predicted(names[1], ("no_interaction", 0.9), ("kick", 0.2)),  # passed over: the best act is right
        predicted(names[2], ("hold", 0.9), shift=15.0),  # the right words in the wrong place
        predicted(names[3], ("hold", 0.9)),
    ]
    theirs = [
        predicted(names[0], ("kick", 0.7), ("hold", 0.6)),
        PairPrediction(names[1], ()),
        predicted(names[2], ("hold", 0.1)),
        predicted(names[3], ("hold", 0.9)),  # both right
    ]
    folder = data / "images" / "test2015"
    first, second = compare_pair_pictures(
        folder, fold.read.vocabulary, images, ours, theirs, ("A", "B"), 6, unseen=fold.unseen
    )
    assert (first.title, second.title) == ("A is right, B is wrong", "B is right, A is wrong")
    assert [item.headline for item in first.items] == ["annotated kick ball (unseen)", "annotated hold ball"]
    assert "right in 2 of the 4 pictures looked at, 1 of them with an unseen one" in first.note
    assert len(second.items) == 1
    alone = compare_pair_pictures(folder, fold.read.vocabulary, images, ours, theirs, ("A", "B"), 1)
    assert [len(section.items) for section in alone] == [1, 1]
    assert best_pair(theirs[1]) is None
    assert math.isclose((best_pair(ours[1]) or theirs[0].pairs[0]).score, 0.2)


@pytest.mark.parametrize("name", ["sketch_hoi", "hico_det"])
def test_the_packages_plans(name: str, tmp_path: Path) -> None:
    packaged = load_plan(name)
    ablation = Ablation(packaged, tmp_path / "data", tmp_path / "out")
    assert ablation.task == "interactions"
    cells = ablation.cells()
    ablation.require_recipes(cells)  # every override is a setting that there is
    views = {row.name: ablation.config(ablation.cell(row.name, 1)).distill.views for row in packaged.rows}
    without = {"no_teacher": 0.0, "mipd_no_views": 0.0}
    assert (
        views
        == dict.fromkeys(("views_alone", "embedding_views", "fixed_views", "no_negatives", "mipd"), 0.75) | without
    )
    budgets = {ablation.config(cell).train.model_copy(update={"seed": 0}).model_dump_json() for cell in cells}
    assert len(budgets) == 1, "the same budget for every row"
    stage = load_config(None, ablation.common).model.text_encoder
    students = {ablation.config(cell).model.text_encoder for cell in cells}
    assert students == {stage}, "the teacher's readings are in the space of the students' words"
