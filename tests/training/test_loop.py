from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ovgsr.config import Config, load_config
from ovgsr.data.swig import read_split
from ovgsr.models.checkpoint import StudentCheckpoint
from ovgsr.models.text_encoder import load_text_encoder
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.training.calibration import choose, dev_scores
from ovgsr.training.loop import Trainer, train
from ovgsr.training.run_dir import RunDir, RunError
from ovgsr.training.training_data import read_training_data

Make = Callable[..., Config]


def test_a_finished_run_holds_what_it_promises(trained_run: Path) -> None:
    files = {str(path.relative_to(trained_run)) for path in trained_run.rglob("*") if path.is_file()}
    plain = {name for name in files if not name.startswith("tensorboard/")}
    assert plain == {
        "README.txt",
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "vocabulary.json",
        "resume/state.json",
        "resume/state.safetensors",
        "student/README.md",
        "student/config.json",
        "student/model.safetensors",
        "student/vocabulary.json",
    }
    assert files - plain, "curves for TensorBoard"


def test_max_steps_ends_a_run_and_its_schedule(trained_run: Path) -> None:
    log = RunDir(trained_run).read_log()
    training = [record for record in log if "loss" in record]
    assert [record["step"] for record in training] == [1, 2, 3]
    dev = log[-1]
    assert dev["step"] == 3
    assert {"seen.verb_top1", "rare.value", "unseen.grnd_value", "harmonic_mean_verb_top1", "ausuc"} <= dev.keys()
    for record in training:
        assert all(math.isfinite(value) for value in record.values())
        weights = {"verb": 1, "noun": 1, "box_l1": 5, "box_giou": 2, "grounded": 1}
        total = sum(weight * record[name] for name, weight in weights.items())
        assert record["loss"] == pytest.approx(total, abs=1e-4)
    # the warm-up is the first step alone; then the cosine from 1 down, half of its way to 0.01 at the last step
    rates = [1, 1, 0.505]
    assert [record["learning_rate"] for record in training] == pytest.approx([1.5e-3 * rate for rate in rates])


def test_the_student_left_behind_has_the_averaged_weights(tiny_config: Make, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(train={"max_steps": 2}, optim={"ema": 0.9}), RunDir(tmp_path / "run"))
    assert trainer.averaged is not None
    own: dict[str, torch.Tensor] = {}
    save = trainer._save_state
    trainer._save_state = lambda: (
        own.update({k: v.clone() for k, v in trainer._student().state_dict().items()}),
        save(),
    )[1]  # type: ignore[method-assign]
    trainer.fit()
    left = StudentCheckpoint.from_pretrained(tmp_path / "run" / "student").model.state_dict()
    averaged = trainer.averaged.tensors
    assert all(torch.equal(left[name], averaged[name]) for name in left)
    assert not torch.equal(left["merge.weight"], own["merge.weight"]), "the loop itself goes on with its own"


def test_two_epochs_of_the_smoke_recipe_learn(sketch_root: Path, tmp_path: Path) -> None:
    changes = [f"data.root={sketch_root}", "data.image_size=32", "train.precision=no", "train.log_every=1"]
    config = load_config("smoke", changes)
    train(config, tmp_path / "run")
    losses = [record["loss"] for record in RunDir(tmp_path / "run").read_log() if "loss" in record]
    assert len(losses) > 12
    assert sum(losses[-4:]) < 0.97 * sum(losses[:4]), [round(loss, 2) for loss in losses]
    # The constant for unseen verbs was chosen for the very weights that were left behind.
    left = SituationRecognizer.from_pretrained(tmp_path / "run" / "student")
    dev = dev_scores(left, read_training_data(config.data), config)
    assert left.checkpoint.calibration == choose(dev, taught=False)[0]


def test_the_closed_baseline_trains_and_puts_unseen_verbs_last(
    tiny_config: Make, sketch_root: Path, tmp_path: Path
) -> None:
    config = tiny_config(model={"head": "closed"}, train={"max_steps": 3})
    checkpoint = train(config, tmp_path / "run")
    losses = [record["loss"] for record in RunDir(tmp_path / "run").read_log() if "loss" in record]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert checkpoint.calibration.unseen_offset == 0
    recognizer = SituationRecognizer(checkpoint, load_text_encoder())
    split = read_split(sketch_root)
    assert split is not None
    offered = recognizer.vocabulary.with_verbs([*split.unseen, *split.training])
    picture = sorted((sketch_root / "images_512").iterdir())[0]
    prediction = recognizer(picture, offered)
    last = {verb for verb, _ in prediction.ranking[-len(split.unseen) :]}
    assert last == set(split.unseen)
    assert all(score == 0 for verb, score in prediction.ranking if verb in last)


def test_a_frozen_backbone_stays_as_it_was(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config(backbone={"mode": "frozen"}, train={"max_steps": 2}, optim={"ema": 0})
    trainer = Trainer(config, RunDir(tmp_path / "run"))
    before = {name: tensor.clone() for name, tensor in trainer._student().state_dict().items()}
    after = trainer.fit().model.state_dict()
    for name, tensor in before.items():  # its batch statistics included
        constant = name.startswith("tower.") or name.endswith(".centre")
        assert torch.equal(tensor, after[name]) == constant, name


def test_a_batch_larger_than_an_epoch_is_refused(tiny_config: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.batch_size 500 is more than an epoch's 120 pictures"):
        Trainer(tiny_config(train={"batch_size": 500}), RunDir(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_ends_the_run(tiny_config: Make, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(train={"max_steps": 2}), RunDir(tmp_path / "run"))
    with torch.no_grad():
        trainer._student().merge.weight.fill_(float("nan"))
    with pytest.raises(RunError, match=r"the loss of step 1 is nan.* lower optim\.learning_rate"):
        trainer.fit()
    assert not (tmp_path / "run" / "student").exists()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_two_processes_train_one_student(tiny_config: Make, tmp_path: Path) -> None:
    """With bfloat16, which the other tests leave out because accelerate allows one precision a process."""
    config = tiny_config(
        data={"cache_images": False},
        train={"batch_size": 20, "precision": "bf16", "checkpoint_every": 3, "max_steps": 6},
    )
    recipe, out = tmp_path / "recipe.json", tmp_path / "run"
    recipe.write_text(json.dumps(config.model_dump(mode="json")), encoding="utf-8")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from ovgsr.config import Config\n"
        "from ovgsr.training.loop import train\n"
        "train(Config.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))\n",
        encoding="utf-8",
    )
    port = str(_free_port())
    workers = [
        subprocess.Popen(
            [sys.executable, str(program), str(recipe), str(out)],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "ACCELERATE_USE_CPU": "true",
            },
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = [worker.communicate(timeout=240)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)[-3000:]
    log = RunDir(out).read_log()
    steps = [record["step"] for record in log if "loss" in record]
    assert steps == [1, 2, 3, 4, 5, 6], "one process writes"
    assert all(math.isfinite(record["loss"]) for record in log if "loss" in record)
    assert len([record for record in log if "seen.verb_top1" in record]) == 1
    assert StudentCheckpoint.from_pretrained(out / "student").provenance.recipe == "tiny"
