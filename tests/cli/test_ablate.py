"""``ovgsr ablate`` as a command: two processes at a time, a failing cell, bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from ovgsr.cli import ablation_bar
from ovgsr.cli.ablate import ablate
from ovgsr.cli.ablation_bar import AblationBar, CellFailedError, CellProcesses
from ovgsr.errors import OvgsrError
from ovgsr.training.ablation import Ablation, Cell
from ovgsr.training.ablation_plan import AblationPlan, Row

SMALL = (
    *("data.image_size=32", "data.cache_images=true", "model.width=16", "model.heads=2", "model.readout_layers=1"),
    *("model.decoder_layers=1", "train.max_steps=2", "train.batch_size=24", "train.precision=no", "train.log_every=1"),
)
PROGRAM = """
import sys
import typer
from ovgsr.cli.ablate import ablate
from ovgsr.errors import OvgsrError
app = typer.Typer(pretty_exceptions_enable=False)
app.command("ablate")(ablate)
app.callback()(lambda: None)
try:
    app()
except OvgsrError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
"""


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(ablate)
    return app


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    rows = [
        {"name": "plain", "title": "open", "says": "The ground."},
        {"name": "broken", "title": "broken", "says": "No.", "overrides": ["train.batch_size=5000"]},
    ]
    plan = {"title": "Tiny", "against": "plain", "seeds": [0], "rows": rows, "overrides": list(SMALL)}
    path.write_text(yaml.safe_dump(plan), encoding="utf-8")
    return path


def test_two_processes_at_a_time(
    command: typer.Typer, plan_file: Path, sketch_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    monkeypatch.setattr(ablation_bar, "PROGRAM", (str(program),))
    out = tmp_path / "out"
    asked = [str(plan_file), "--data", str(sketch_root), "--out", str(out), "--jobs", "2", "--device", "cpu"]
    result = CliRunner().invoke(command, asked)
    assert result.exit_code == 1, result.output
    lines = list(csv.DictReader((out / "ablation.csv").read_text().splitlines()))
    states = {(line["row"], line["seed"]): line["state"] for line in lines if line["state"]}
    assert states == {("plain", "0"): "finished", ("broken", "0"): "failed"}
    reason = (out / "broken" / "0" / "failure.txt").read_text()
    assert "train.batch_size 5000" in reason
    assert "log.txt" in reason
    assert (out / "broken" / "0" / "log.txt").read_text().strip()
    assert "ovgsr ablate" in (out / "ablation.md").read_text()
    assert json.loads((out / "plain" / "0" / "results.json").read_text())["seed"] == 0
    # Only the finished row is asked for now: nothing is left to do, and that is a success.
    again = CliRunner().invoke(command, [*asked, "--rows", "plain"])
    assert again.exit_code == 0, again.output
    assert "ablation.html" in again.output


NOTES_ITS_CALL = """
import pathlib, sys
with (pathlib.Path(__file__).parent / "calls.txt").open("a") as calls:
    calls.write(" ".join(sys.argv[sys.argv.index("--only-cell") + 1 :]) + "\\n")
sys.exit("broken/0 --only-signals" in " ".join(sys.argv))
"""


def test_the_teachers_stage_of_a_kind_is_started_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, calls = tmp_path / "program.py", tmp_path / "calls.txt"
    program.write_text(NOTES_ITS_CALL, encoding="utf-8")
    monkeypatch.setattr(ablation_bar, "PROGRAM", (str(program),))
    rows = (
        Row(name="plain", title="plain", says="No teacher."),
        Row(name="fixed", title="fixed", says="One kind.", signals="fixed"),
        Row(name="other", title="other", says="The same kind.", signals="fixed"),
        Row(name="broken", title="broken", says="Another, which fails at first.", signals="learned"),
    )
    ablation = Ablation(AblationPlan(rows=rows, seeds=(0, 1), against="plain"), tmp_path, tmp_path / "out")
    processes = CellProcesses(["plan"])
    for cell in ablation.cells():
        if cell.name == "broken/0":
            with pytest.raises(CellFailedError, match="ended with code 1"):
                processes.execute(cell, lambda stage, done, total: None)
        else:
            processes.execute(cell, lambda stage, done, total: None)
    first = ["plain/0", "fixed/0 --only-signals", "fixed/0", "other/0", "broken/0 --only-signals"]
    assert calls.read_text().splitlines() == [
        *first,
        *("plain/1", "fixed/1", "other/1"),
        *("broken/1 --only-signals", "broken/1"),
    ], "a stage that failed is not taken for one that is there"


BAD = [
    (["nowhere"], "nowhere: there is no such plan file; the package's plans are: demo, hico_det, sketch"),
    (["--rows", "mipt"], r"the plan has no row 'mipt'; did you mean 'mipd'\?"),
    (["--seeds", "0,x"], "--seeds must be whole numbers, such as 0,1,2, not '0,x'"),
    (["--override", "train.epoch=2"], r"unknown key 'train.epoch'; did you mean 'epochs'\?"),
    (["--override", "train.seed=2"], "the override 'train.seed=2' sets what each cell sets for itself"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[str(arguments) for arguments, _ in BAD])
def test_bad_input(command: typer.Typer, arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [*arguments, "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, OvgsrError)
    with pytest.raises(OvgsrError, match=message):
        raise result.exception
    assert not (tmp_path / "out").exists()


def test_the_time_left_is_that_of_the_cells_measured(tmp_path: Path) -> None:
    rows = tuple(Row(name=name, title=name, says=name) for name in ("a", "b", "c"))
    ablation = Ablation(AblationPlan(rows=rows, seeds=(0, 1), against="a"), tmp_path, tmp_path / "out")
    cells = ablation.cells()
    _finish(cells[0], 100.0)
    written: list[int] = []
    bar = AblationBar(cells, 2, lambda: written.append(1))
    assert bar.time_left() == 250.0  # five cells of 100 s, two at a time
    bar.finished(cells[1], 40.0)
    assert bar.time_left() == 140.0  # four of 70 s
    bar.failed(cells[2], "no")
    assert bar.time_left() == 140.0
    assert len(written) == 2, "the table is written after every cell"
    assert AblationBar(cells[1:], 1, lambda: None).time_left() is None


def _finish(cell: Cell, seconds: float) -> None:
    cell.folder.mkdir(parents=True)
    cell.results.write_text("{}")
    cell.timing.write_text(json.dumps({"seconds": seconds}))
