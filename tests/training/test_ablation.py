"""A tiny ablation for real: two rows, two seeds, killed in the middle, a failing cell, signals from a fake teacher."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tests.teacher.conftest import tiny_llava_folder as tiny_llava_folder

from ovgsr.config import ConfigError
from ovgsr.data.swig import read_split
from ovgsr.evaluation.predictions import read_predictions
from ovgsr.training import ablation_cell
from ovgsr.training.ablation import Ablation, Cell, Progress, run_cells
from ovgsr.training.ablation_cell import StageWatcher, run_cell
from ovgsr.training.ablation_plan import AblationError, AblationPlan, Row
from ovgsr.training.ablation_report import markdown, note, page, write_tables
from ovgsr.training.ablation_situations import read_fold, read_records
from ovgsr.training.ablation_statistics import weighted_ausuc
from ovgsr.training.ablation_table import read_table

BUDGET = (
    *("data.image_size=32", "data.cache_images=true", "model.width=16", "model.heads=2", "model.readout_layers=1"),
    *("model.decoder_layers=1", "train.max_steps=3", "train.batch_size=24", "train.precision=no", "train.log_every=1"),
    *("train.threads=1", "train.checkpoint_every=1"),
)
ROWS = (
    Row(name="plain", title="open", says="The ground."),
    Row(name="closed", title="closed | shut", says="No text.", overrides=("model.head=closed",)),
)
DETERMINISTIC = ("results.json", "pictures.json", "samples.jsonl", "cell.json", "run/student/model.safetensors")


def plan(*rows: Row, seeds: Sequence[int] = (0, 1), **more: Any) -> AblationPlan:
    return AblationPlan(title="Tiny", rows=rows or ROWS, seeds=tuple(seeds), against="plain", overrides=BUDGET, **more)


class Watch:
    """Notes what it hears, and may stop everything as a kill would."""

    def __init__(self, kill: tuple[str, str, int] | None = None) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.kill = kill

    def started(self, cell: Cell) -> None:
        self.heard.append(("started", cell.name))

    def progress(self, cell: Cell, stage: str, done: int, total: int) -> None:
        if (cell.name, stage, done) == self.kill:
            raise KeyboardInterrupt

    def finished(self, cell: Cell, seconds: float) -> None:
        assert seconds > 0
        self.heard.append(("finished", cell.name))

    def failed(self, cell: Cell, reason: str) -> None:
        self.heard.append(("failed", cell.name, reason))


def carry_out(ablation: Ablation, watch: Watch) -> list[Cell]:
    return run_cells(ablation.cells(), lambda cell, progress: run_cell(ablation, cell, progress), watch)


@pytest.fixture(scope="module")
def finished(sketch_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    """All four cells in one sitting."""
    ablation = Ablation(plan(), sketch_root, tmp_path_factory.mktemp("ablation") / "out")
    watch = Watch()
    assert carry_out(ablation, watch) == []
    assert [cell for kind, cell in watch.heard if kind == "finished"] == ["plain/0", "closed/0", "plain/1", "closed/1"]
    write_tables(ablation, ablation.cells(), command="ovgsr ablate")
    return ablation


def test_killed_and_resumed_is_the_same(finished: Ablation, sketch_root: Path, tmp_path: Path) -> None:
    ablation = Ablation(plan(), sketch_root, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        carry_out(ablation, Watch(kill=("closed/0", "training", 2)))
    stopped = ablation.cell("closed", 0)
    assert stopped.run.path.exists()
    assert not stopped.finished
    write_tables(ablation, ablation.cells())
    assert "1, 1 to come" in (ablation.out / "ablation.md").read_text(), "a table exists early"
    again = Watch()
    assert carry_out(ablation, again) == []
    assert ("started", "plain/0") not in again.heard, "a finished cell is not run again"
    for cell in ablation.cells():
        for name in DETERMINISTIC:
            ours, theirs = ((a.out / cell.name / name).read_bytes() for a in (ablation, finished))
            assert ours == theirs, f"{cell.name}/{name}"
    write_tables(ablation, ablation.cells())
    tables = [list(csv.DictReader((a.out / "ablation.csv").read_text().splitlines())) for a in (ablation, finished)]
    for ours_row, theirs_row in zip(*tables, strict=True):
        assert ours_row | {"step_ms": ""} == theirs_row | {"step_ms": ""}


def test_a_table_of_several_machines_says_so(finished: Ablation, tmp_path: Path) -> None:
    copied = Ablation(finished.plan, finished.data, Path(shutil.copytree(finished.out, tmp_path / "out")))
    assert "machine" not in note(read_table(copied, copied.cells(), draws=1))
    path = copied.cell("closed", 1).run.path / "environment.json"
    told = json.loads(path.read_text()) | {"cores": 999, "accelerator": "cuda", "accelerator_name": "NVIDIA H100"}
    path.write_text(json.dumps(told))
    said = note(read_table(copied, copied.cells(), draws=1))
    assert "Not all on one machine, so costs do not compare (" in said
    assert f"999 cores, NVIDIA H100, PyTorch {torch.__version__}: closed/1)" in said
    assert "PyTorch" in said.partition(": plain/0, closed/0, plain/1;")[0]
    path.unlink()
    assert "machine" not in note(read_table(copied, copied.cells(), draws=1)), "one is known"


def test_the_table_says_what_the_results_files_do(finished: Ablation) -> None:
    cell = finished.cell("plain", 1)
    results = json.loads(cell.results.read_text())
    assert {"seen", "rare", "unseen", "open_vocabulary", "profiles", "harmonic_mean_verb_top1"} <= results.keys()
    lines = list(csv.DictReader((finished.out / "ablation.csv").read_text().splitlines()))
    own = next(line for line in lines if (line["row"], line["seed"]) == ("plain", "1"))
    assert float(own["top1_seen"]) == pytest.approx(results["seen"]["verb_top1"], rel=1e-5)
    shifted = results.get("with_offset", results)
    assert float(own["top1_unseen_calibrated"]) == pytest.approx(shifted["unseen"]["verb_top1"], rel=1e-5)
    assert float(own["ausuc"]) == pytest.approx(results["open_vocabulary"]["ausuc"], rel=1e-5)
    assert (own["pictures"], own["steps"]) == ("120", "3")
    assert float(own["step_ms"]) > 0
    centre = next(line for line in lines if (line["row"], line["seed"]) == ("plain", "mean"))
    both = [float(line["value_seen"]) for line in lines if line["row"] == "plain" and line["seed"] in {"0", "1"}]
    assert float(centre["value_seen"]) == pytest.approx(sum(both) / 2, rel=1e-4)


def test_the_pictures_records_agree_with_the_evaluator(finished: Ablation) -> None:
    for name in ("plain", "closed"):
        cell = finished.cell(name, 0)
        results, kept = json.loads(cell.results.read_text()), read_records(cell.pictures)
        groups = np.array(kept.groups)
        shifted = results.get("with_offset", results)
        for group in ("seen", "rare", "unseen"):
            members = groups == group
            assert members.sum() == results[group]["images"]
            assert 100 * (kept.rank[members] == 0).mean() == pytest.approx(results[group]["verb_top1"])
            assert 100 * (kept.rank[members] < 5).mean() == pytest.approx(results[group]["verb_top5"])
            assert 100 * (kept.calibrated_rank[members] == 0).mean() == pytest.approx(shifted[group]["verb_top1"])
            own = results[group]["per_image"]["ground_truth_verb"]
            assert 100 * kept.value[members].mean() == pytest.approx(own["value"], abs=1e-3)
            assert 100 * kept.grounded_value[members].mean() == pytest.approx(own["grnd_value"], abs=1e-3)
        margins = [kept.margin[groups == group] for group in ("seen", "unseen")]
        once = [np.ones((1, len(margin)), dtype=np.uint8) for margin in margins]
        area = weighted_ausuc(margins[0], margins[1], once[0], once[1])
        assert 100 * area == pytest.approx([results["open_vocabulary"]["ausuc"]], abs=1e-3)


def test_the_written_tables(finished: Ablation) -> None:
    text = (finished.out / "ablation.md").read_text()
    assert "| open | 2 |" in text
    assert "| closed \\| shut | 2 |" in text
    assert "## Minus open" in text
    assert "Three seeds make the first wide" in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("| row |")]
    assert len(tables) == 4 + 3, "four parts, three of them compared with one row"
    for lines in tables:
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1, lines
    html = (finished.out / "ablation.html").read_text()
    assert "How each row was made" in html
    assert "model.head=closed" in html
    samples = list(read_predictions(finished.cell("plain", 0).samples))
    assert samples
    assert all(len(sample.ranking) == 5 and set(sample.situations) == {sample.ranking[0][0]} for sample in samples)
    assert page(read_table(finished, finished.cells(), draws=5)).title == "Tiny"


def test_a_table_of_one_seed_has_no_spread(finished: Ablation, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("plain/0", "closed/0"):
        shutil.copytree(finished.out / name, out / name)
    ablation = Ablation(plan(seeds=(0,)), finished.data, out)
    table = read_table(ablation, ablation.cells(), draws=20)
    text = markdown(table)
    assert "±\N{NO-BREAK SPACE}-" in text
    assert "One seed: no spread" in text
    difference = table.differences["plain"]["closed"]["top1_seen"]
    assert difference.t_interval is None
    assert difference.bootstrap is not None


def test_a_failing_cell_is_told_and_the_others_go_on(sketch_root: Path, tmp_path: Path) -> None:
    broken = Row(name="broken", title="broken", says="Never.", overrides=("train.batch_size=5000",))
    ablation = Ablation(plan(broken, ROWS[0], seeds=(0,)), sketch_root, tmp_path / "out", ("train.max_steps=1",))
    watch = Watch()
    assert [cell.name for cell in carry_out(ablation, watch)] == ["broken/0"]
    assert ("finished", "plain/0") in watch.heard
    reason = next(heard for heard in watch.heard if heard[0] == "failed")[2]
    assert "train.batch_size 5000 is more than an epoch's 120 pictures" in reason
    write_tables(ablation, ablation.cells())
    text = (ablation.out / "ablation.md").read_text()
    assert "| broken (failed) | 0, 1 failed | - |" in text
    assert f"**broken/0**: {reason}" in text
    # Mended (as a person would, after a bug fix), it goes on and the mark is gone.
    shutil.rmtree(ablation.out / "broken")
    mended = Ablation(plan(ROWS[0], seeds=(0,)), sketch_root, ablation.out, ("train.max_steps=1",))
    assert carry_out(mended, Watch()) == []
    assert not (mended.cell("plain", 0).failure).exists()


def test_a_cell_made_with_other_settings_is_refused(finished: Ablation) -> None:
    other = Ablation(finished.plan, finished.data, finished.out, ("loss.verb=2.5",))
    cell = finished.cell("plain", 0)
    older = json.loads(cell.asked.read_text())
    del older["config"]["pairs"]["repeats"], older["config"]["evaluation"]
    asked = cell.asked.read_text()
    cell.asked.write_text(json.dumps(older))
    finished.require_recipes([cell])  # of a version without these settings, which have their defaults
    cell.asked.write_text(asked)
    with pytest.raises(AblationError, match=r"plain/0 was made with loss\.verb=1\.0, not 2\.5; ask for the same"):
        other.require_recipes(other.cells())
    with pytest.raises(AblationError, match=r"loss\.verb=1\.0, not 2\.5"):
        other.open(other.cell("plain", 0))
    finished.require_recipes(finished.cells())


def test_a_damaged_cell_is_named(finished: Ablation, tmp_path: Path) -> None:
    shutil.copytree(finished.out / "plain", tmp_path / "out" / "plain")
    ablation = Ablation(plan(), finished.data, tmp_path / "out")
    pictures = ablation.cell("plain", 0).pictures
    pictures.write_text('{"format": "ovgsr-cell-pictures-1", "names": ["a"]}')
    with pytest.raises(AblationError, match=r"pictures\.json: damaged .*delete the cell's folder"):
        read_table(ablation, ablation.cells())
    ablation.cell("plain", 0).results.write_text("{")
    with pytest.raises(AblationError, match=r"results\.json: not readable"):
        read_table(ablation, ablation.cells())


def test_the_teachers_stage_is_asked_for_its_kind(sketch_root: Path, tmp_path: Path) -> None:
    row = Row(name="b", title="b", says="b", signals="fixed", overrides=("model.distilled_readout=true",))
    ablation = Ablation(plan(ROWS[0], row, seeds=(4, 5)), sketch_root, tmp_path / "out", ("optim.ema=0",), "a/teacher")
    asked: list[dict[str, Any]] = []

    def prepare(kind: str, *, observer: StageWatcher | None = None, **given: Any) -> Path:
        asked.append(given | {"kind": kind})
        assert observer is not None
        observer.stage("reading")
        observer.progress(3, 7)
        return tmp_path / "made"

    heard: list[tuple[str, int, int]] = []
    cell = ablation.cell("b", 5)

    def hear(stage: str, done: int, total: int) -> None:
        heard.append((stage, done, total))

    assert ablation_cell.prepared(ablation, cell, hear, prepare) == tmp_path / "made"
    assert heard == [("reading", 3, 7)]
    assert asked == [
        {
            "kind": "fixed",
            "data": sketch_root.resolve(),
            "work": (tmp_path / "out" / "signals").resolve(),
            "teacher": "a/teacher",
            "seed": 4,  # one teacher for all seeds
            "overrides": (*BUDGET, "optim.ema=0"),
            "device": None,
        }
    ]
    assert ablation_cell.prepared(ablation, ablation.cell("plain", 4), hear, prepare) is None
    # Another teacher is another cell; a row without one does not care.
    ablation.open(cell)
    ablation.open(ablation.cell("plain", 4))
    other = Ablation(ablation.plan, sketch_root, tmp_path / "out", ("optim.ema=0",), "another")
    other.open(other.cell("plain", 4))
    with pytest.raises(AblationError, match=r'b/5 was made with teacher="a/teacher", not "another"'):
        other.open(other.cell("b", 5))


def test_the_teacher_itself_is_a_row(sketch_root: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    teacher: Path = request.getfixturevalue("tiny_llava_folder")
    own = read_split(sketch_root)
    assert own is not None
    split = {"format": "ovgsr-split-1", "name": "two", "seen": own.seen[:1], "unseen": own.unseen[:1]}
    (tmp_path / "split.json").write_text(json.dumps(split), encoding="utf-8")
    row = Row(name="plain", title="teacher", says="Asked.", teacher_only=True, teacher_roles="likelihood")
    changes = (f"data.split={tmp_path / 'split.json'}",)
    ablation = Ablation(plan(row), sketch_root, tmp_path / "out", changes, str(teacher), "cpu")
    assert carry_out(ablation, Watch()) == []
    assert [cell.name for cell in ablation.cells()] == ["plain/0"]
    cell = ablation.cell("plain", 0)
    results = json.loads(cell.results.read_text())
    assert results["all"]["images"] == len(read_records(cell.pictures)) == 2
    assert "zero-shot by prompting" in results["notices"][0]
    text = markdown(read_table(ablation, ablation.cells(), draws=5))
    assert "| teacher | 1 |" in text


def test_data_without_a_split_is_refused(sketch_root: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(sketch_root / "SWiG_jsons", data / "SWiG_jsons")
    (data / "SWiG_jsons" / "open_vocabulary_split.json").unlink()
    with pytest.raises(
        AblationError, match=r"has no split into seen, rare and unseen verbs; give one with data\.split"
    ):
        read_fold(data, None, "test")


def test_the_plan_file_survives_a_round_trip(tmp_path: Path) -> None:
    from ovgsr.training.ablation_plan import load_plan

    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan().model_dump(mode="json")), encoding="utf-8")
    assert load_plan(path) == plan()


def test_jobs_share_the_cells(tmp_path: Path) -> None:
    ablation = Ablation(plan(), tmp_path, tmp_path / "out")
    done: list[str] = []

    def execute(cell: Cell, progress: Progress) -> None:
        progress("training", 1, 2)
        if cell.name == "closed/0":
            raise ConfigError("no   such\nthing")
        done.append(cell.name)

    watch = Watch()
    assert [cell.name for cell in run_cells(ablation.cells(), execute, watch, jobs=2)] == ["closed/0"]
    assert sorted(done) == ["closed/1", "plain/0", "plain/1"]
    assert ("failed", "closed/0", "no such thing") in watch.heard
    assert ablation.cell("closed", 0).failure.read_text() == "no such thing\n"


def test_an_interrupt_ends_what_runs(tmp_path: Path) -> None:
    ablation = Ablation(plan(), tmp_path, tmp_path / "out")
    stopped: list[bool] = []

    def execute(cell: Cell, progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells(ablation.cells(), execute, Watch(), jobs=2, stop=lambda: stopped.append(True))
    assert stopped == [True]
