from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ovgsr.config import Config
from ovgsr.training.run_dir import RunDir, RunError, environment, optimizer_from_tensors, optimizer_to_tensors
from ovgsr.vocabulary import Vocabulary

TENSORS = {"model.weight": torch.arange(6.0).reshape(2, 3), "random.cpu": torch.arange(5, dtype=torch.uint8)}


def test_a_new_folder_explains_itself(tmp_path: Path, tiny_vocabulary: Vocabulary) -> None:
    run = RunDir(tmp_path / "runs" / "one")
    run.open(Config(), tiny_vocabulary, resume=False)
    names = sorted(path.name for path in run.path.iterdir())
    assert names == ["README.txt", "config.json", "environment.json", "vocabulary.json"]
    assert Config.model_validate_json((run.path / "config.json").read_text()) == Config()
    assert Vocabulary.from_json(json.loads((run.path / "vocabulary.json").read_text())) == tiny_vocabulary
    facts = json.loads((run.path / "environment.json").read_text())
    assert facts["packages"]["torch"] == torch.__version__
    assert {"python", "command", "git_revision", "cores"} <= facts.keys()
    assert environment()["packages"].keys() == facts["packages"].keys()


def test_a_run_from_before_a_setting_came_goes_on_with_its_default(tmp_path: Path, tiny_vocabulary: Vocabulary) -> None:
    run = RunDir(tmp_path / "one")
    run.open(Config(), tiny_vocabulary, resume=False)
    kept = run.path / "config.json"
    older = json.loads(kept.read_text())
    del older["optim"]["ema"], older["evaluation"]
    kept.write_text(json.dumps(older))
    run.open(Config(), tiny_vocabulary, resume=True)
    with pytest.raises(RunError, match="other settings than this run's"):
        run.open(Config.model_validate({"optim": {"ema": 0.5}}), tiny_vocabulary, resume=True)


def test_an_older_run_of_pairs_means_what_it_did(tmp_path: Path, tiny_vocabulary: Vocabulary) -> None:
    """Readings shaped the features, all counted, views taught no boxes: not what these settings are by default."""
    new = {"view_boxes", "agreeing", "shape_features"}
    for name, distill in (("taught", {"signals": "s"}), ("alone", {})):
        config = Config.model_validate({"task": "interactions", "distill": distill})
        run = RunDir(tmp_path / name)
        run.open(config, tiny_vocabulary, resume=False)
        kept = run.path / "config.json"
        older = json.loads(kept.read_text())
        older["pairs"] = {key: value for key, value in older["pairs"].items() if key not in new}
        kept.write_text(json.dumps(older))
        if not distill:
            run.open(config, tiny_vocabulary, resume=True)
            continue
        with pytest.raises(RunError, match="other settings than this run's"):
            run.open(config, tiny_vocabulary, resume=True)
        settings = {"view_boxes": False, "agreeing": False, "shape_features": True}
        then = Config.model_validate({"task": "interactions", "distill": distill, "pairs": settings})
        (run.path / "environment.json").write_text("{}")
        run.open(then, tiny_vocabulary, resume=True)
        assert json.loads((run.path / "environment.json").read_text()).keys() == environment().keys(), "the last go's"
        older["pairs"].pop("repeats")
        kept.write_text(json.dumps(older))
        with pytest.raises(RunError, match="other settings than this run's"):
            run.open(then, tiny_vocabulary, resume=True)


def test_a_folder_in_use_is_never_overwritten(tmp_path: Path, tiny_vocabulary: Vocabulary) -> None:
    run = RunDir(tmp_path / "one")
    run.open(Config(), tiny_vocabulary, resume=False)
    with pytest.raises(RunError, match=r"one: holds a run already; give --resume"):
        run.open(Config(), tiny_vocabulary, resume=False)
    run.open(Config(), tiny_vocabulary, resume=True)
    with pytest.raises(RunError, match=r"config\.json: other settings than this run's; resume with the recipe"):
        run.open(Config(name="other"), tiny_vocabulary, resume=True)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(RunError, match="foreign: not empty and no run folder"):
            RunDir(foreign).open(Config(), tiny_vocabulary, resume=resume)
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


def test_a_state_comes_back_to_the_bit(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.load_state() is None
    run.save_state(TENSORS, {"step": 3})
    run.save_state({**TENSORS, "model.weight": TENSORS["model.weight"] + 1}, {"step": 4})
    loaded = run.load_state()
    assert loaded is not None
    assert loaded[1] == {"step": 4}
    assert torch.equal(loaded[0]["model.weight"], TENSORS["model.weight"] + 1)
    assert torch.equal(loaded[0]["random.cpu"], TENSORS["random.cpu"])
    assert [path.name for path in tmp_path.iterdir()] == ["resume"]


def test_a_kill_while_saving_leaves_a_whole_state(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.save_state(TENSORS, {"step": 3})
    # Killed while the new state was being written ...
    (tmp_path / ".resume.part").mkdir()
    (tmp_path / ".resume.part" / "state.safetensors").write_bytes(b"half")
    assert run.load_state() is not None
    # ... and between the two renames.
    (tmp_path / "resume").rename(tmp_path / ".resume.old")
    loaded = run.load_state()
    assert loaded is not None
    assert loaded[1] == {"step": 3}
    run.save_state(TENSORS, {"step": 4})
    assert [path.name for path in tmp_path.iterdir()] == ["resume"]


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_state_is_named(tmp_path: Path, name: str) -> None:
    run = RunDir(tmp_path)
    run.save_state(TENSORS, {"step": 3})
    path = tmp_path / "resume" / name
    path.write_bytes(path.read_bytes()[:5])
    with pytest.raises(RunError, match=r"resume: the state to resume from is damaged .*; delete the folder to start"):
        run.load_state()
    path.unlink()
    with pytest.raises(RunError, match="is damaged"):
        run.load_state()


def test_the_log_is_cut_to_where_a_run_goes_on(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.cut_log(3, 0)  # no log yet
    # The dev scores of an epoch carry the number of the next one.
    kept = [{"step": 2, "epoch": 0, "loss": 1.0}, {"step": 4, "epoch": 0, "loss": 1.0}]
    dev, later = {"step": 4, "epoch": 1, "seen.verb_top1": 5.0}, {"step": 5, "epoch": 1, "loss": 1.0}
    for record in [*kept, dev, later]:
        run.log(record)
    with run.metrics.open("a") as file:
        file.write('{"step": 6, "lo')  # killed in the middle of a line
    run.cut_log(4, 1)  # the state after the epoch's end
    assert run.read_log() == [*kept, dev]
    run.cut_log(4, 0)  # the state of its last step: dev will be looked at again
    assert run.read_log() == kept
    run.cut_log(0, 0)
    assert run.read_log() == []


def test_the_optimisers_moments_come_back() -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    for _ in range(3):
        layer(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    tensors = {name: tensor.clone() for name, tensor in optimizer_to_tensors(optimizer).items()}
    assert tensors["optimizer.0.step"].item() == 3
    restored = torch.optim.AdamW(layer.parameters(), lr=0.1)
    optimizer_from_tensors(restored, tensors)
    for before, after in zip(optimizer.state.values(), restored.state.values(), strict=True):
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert torch.equal(value, after[key])


def test_the_readme_lists_what_a_finished_run_holds(trained_run: Path) -> None:
    listed = {line.split()[0].rstrip("/") for line in (trained_run / "README.txt").read_text().splitlines()[2:]}
    assert {path.name for path in trained_run.iterdir()} == listed | {"README.txt"}


def test_config_of_a_finished_run_reads_back(trained_run: Path, tiny_config: Callable[..., Config]) -> None:
    kept = Config.model_validate_json((trained_run / "config.json").read_text())
    assert kept == tiny_config(train={"max_steps": 3})
