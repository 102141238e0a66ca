"""A student that learns a frozen teacher's readings: what falls, what a kill changes, and what is left behind."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stage_data import stage_config, write_small

from ovgsr.config import Config, ConfigError
from ovgsr.data.swig import image_folder
from ovgsr.distillation.signal_info import SignalInfo
from ovgsr.distillation.signal_store import SignalError, SignalWriter
from ovgsr.distillation.view_store import ViewStore, write_views
from ovgsr.models.preprocess import load_image
from ovgsr.models.text_encoder import load_text_encoder
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.training.build import RECOGNITION_WEIGHT, build_parts, build_task
from ovgsr.training.calibration import DISTILLED_SCALES, RECOGNITION_WEIGHTS
from ovgsr.training.loop import train
from ovgsr.training.run_dir import RunDir
from ovgsr.training.training_data import TrainingData, read_training_data

ROLE_WIDTH = 6
STEPS = 23
"""Two epochs of twelve."""
Make = Callable[..., Config]


class Killed(Exception):
    """What the observer raises in the place of a power cut."""


class Killer:
    def __init__(self, step: int) -> None:
        self.step = step

    def started(self, step: int, steps: int) -> None:
        assert steps == STEPS

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        if step == self.step:
            raise Killed

    def validated(self, epoch: int, scores: dict[str, float]) -> None: ...


@pytest.fixture(scope="module")
def root(sketch_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distilled") / "data"
    write_small(sketch_root, folder)
    return folder


@pytest.fixture(scope="module")
def data(root: Path) -> TrainingData:
    return read_training_data(stage_config(root).data)


@pytest.fixture(scope="module")
def views(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    folder = tmp_path_factory.mktemp("views") / "views"
    return write_views(folder, data.train, image_folder(data.root), count=2, seed=0, open_image=load_image)


@pytest.fixture(scope="module")
def signals(data: TrainingData, views: ViewStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that knows every verb: its reading of a picture is the verb's name. One picture it has not read."""
    folder, encoder = tmp_path_factory.mktemp("signals") / "by-hand", load_text_encoder()
    read = data.train[1:]
    names = [image.file_name for image in read]
    info = SignalInfo(
        kind="fixed",
        teacher="by hand",
        text_fingerprint=encoder.fingerprint,
        width=encoder.width,
        role_width=ROLE_WIDTH,
        max_roles=data.vocabulary.max_roles,
        views_digest=views.digest,
    )
    writer = SignalWriter(folder, info, names, views.names)
    generator = torch.Generator().manual_seed(0)
    scenes = encoder.encode([image.situation.verb for image in read])
    roles = torch.randn(len(read), data.vocabulary.max_roles, ROLE_WIDTH, generator=generator)
    for row, image in enumerate(read):
        roles[row, len(image.situation.roles) :] = 0
    writer.add(names, scenes, roles)
    writer.add_views(views.names, encoder.encode(["giving", "swimming"]))
    writer.finish()
    return folder


@pytest.fixture(scope="module")
def make(root: Path, signals: Path, views: ViewStore) -> Make:
    """With a state on disk after every tenth step, and at the end of an epoch."""

    def config(**sections: dict[str, Any]) -> Config:
        plain: dict[str, dict[str, Any]] = {
            "model": {"distilled_readout": True, "dropout": 0.1},
            "distill": {"signals": str(signals), "view_store": str(views.folder), "views": 0.5, "instance": 0.5},
            "optim": {"learning_rate": 1e-2, "ema": 0.9},
            "train": {"batch_size": 4, "checkpoint_every": 10},
        }
        for name, fields in sections.items():
            plain[name] = plain.get(name, {}) | fields
        return stage_config(root, **plain)

    return config


@pytest.fixture(scope="module")
def run(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "taught"
    train(make(), out)
    return out


@pytest.fixture(scope="module")
def untaught(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same student, the second readout included, without a teacher."""
    out = tmp_path_factory.mktemp("runs") / "untaught"
    train(make(distill={"signals": None, "view_store": None, "views": 0}, train={"max_steps": 1}), out)
    return out


def _log(run: Path) -> list[dict[str, Any]]:
    records = RunDir(run).read_log()
    for record in records:
        for clock in ("pictures_per_second", "seconds_per_step"):
            record.pop(clock, None)
    return records


def test_the_student_comes_nearer_to_the_readings(run: Path) -> None:
    steps = [record for record in _log(run) if "loss" in record]
    assert len(steps) == STEPS
    for name, share in {"scene": 0.995, "relation": 0.9}.items():
        first, last = (sum(record[name] for record in part) / 6 for part in (steps[:6], steps[-6:]))
        assert last < share * first, (name, first, last)
    weights = {"verb": 1, "noun": 1, "box_l1": 5, "box_giou": 2, "grounded": 1}
    weights |= {"scene": 3, "relation": 1, "instance": 0.5}  # type: ignore[dict-item]
    for record in steps:
        assert record["loss"] == pytest.approx(sum(w * record[name] for name, w in weights.items()), abs=1e-4)
        assert "tokens" not in record


@pytest.mark.parametrize("step", [2, 21])
def test_killed_and_resumed_it_ends_as_if_never_killed(make: Make, run: Path, tmp_path: Path, step: int) -> None:
    """Before the first state, and in the middle of the second epoch: the same losses and the same student."""
    out = tmp_path / "run"
    with pytest.raises(Killed):
        train(make(), out, observer=Killer(step))
    train(make(), out, resume=True)
    assert _log(out) == _log(run)
    for name in ("model.safetensors", "config.json", "vocabulary.json"):
        assert (out / "student" / name).read_bytes() == (run / "student" / name).read_bytes(), name


def test_what_is_exported_is_the_student_alone(run: Path, untaught: Path, make: Make) -> None:
    taught, plain = (load_file(folder / "student" / "model.safetensors") for folder in (run, untaught))
    shapes = [{name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} for tensors in (taught, plain)]
    assert shapes[0] == shapes[1]
    assert not [name for name in taught if "project" in name.split(".")[0] or "teacher" in name]
    assert (run / "student" / "model.safetensors").stat().st_size == (
        untaught / "student" / "model.safetensors"
    ).stat().st_size
    parts = build_parts(make())
    task = build_task(make(), parts)
    assert {name.split(".")[0] for name, _ in task.projections.named_parameters()} == {"roles"}
    assert len(taught) == len(parts.checkpoint.model.state_dict()), "the projections are not the model's"
    state = load_file(run / "resume" / "state.safetensors")
    assert any(name.startswith("projections.roles") for name in state), "but a run goes on with them"


def test_the_taught_readout_has_a_say_and_the_untaught_one_none(run: Path, untaught: Path) -> None:
    told, alone = (SituationRecognizer.from_pretrained(folder / "student", device="cpu") for folder in (run, untaught))
    assert told.checkpoint.calibration.recognition_weight in RECOGNITION_WEIGHTS
    assert told.model.distilled_scores is not None
    scale = told.model.distilled_scores.log_scale.exp().item()
    assert min(abs(scale - tried) for tried in DISTILLED_SCALES) < 1e-3
    assert alone.checkpoint.calibration.recognition_weight == 1


def test_prediction_needs_nothing_of_the_teacher(run: Path, root: Path) -> None:
    """In a process of its own: neither the teacher's modules nor what trains are even imported."""
    picture = next(path for path in sorted((root / "images_512").iterdir()) if path.is_symlink())
    program = f"""
import json, sys
from ovgsr import SituationRecognizer
best = SituationRecognizer.from_pretrained({str(run / "student")!r}, device="cpu")({str(picture)!r}).best
print(json.dumps([best.verb, sorted(sys.modules)]))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    verb, modules = json.loads(ended.stdout.splitlines()[-1])
    assert verb
    parts = ("ovgsr.distillation", "ovgsr.teacher", "ovgsr.training", "ovgsr.losses", "accelerate")
    assert [name for name in modules if name.startswith(parts)] == []


def test_prediction_is_as_fast_as_without_a_teacher(run: Path, untaught: Path) -> None:
    """The same network: only the fusion of two rows of numbers comes on top."""
    recognizers = [SituationRecognizer.from_pretrained(folder / "student", device="cpu") for folder in (run, untaught)]
    pixels, sizes = torch.randn(8, 3, 32, 32), torch.full((8, 2), 32.0)
    times: list[list[float]] = [[], []]
    for _ in range(15):
        for recognizer, taken in zip(recognizers, times, strict=True):
            started = time.process_time()  # the machine may be busy with something else
            recognizer.predict_pixels(pixels, sizes, None, [""] * 8, top_k=3)
            taken.append(time.process_time() - started)
    taught, plain = (statistics.median(taken[3:]) for taken in times)
    assert taught < 1.5 * plain, (taught, plain)


def test_pictures_without_a_reading_are_counted_and_learned_from_their_annotation(make: Make) -> None:
    parts = build_parts(make())
    assert parts.readings is not None
    assert parts.readings.missing == 1
    first = parts.dataset[0]
    assert first.teacher is not None
    assert first.teacher.scene is not None
    assert not first.teacher.scene.any()
    assert parts.checkpoint.calibration.recognition_weight == RECOGNITION_WEIGHT
    counts = [0 if views is None else len(views.pixels) for views in (parts.dataset[i].views for i in range(40))]
    assert 8 < sum(counts) < 32, "half a view a picture, on average"


REFUSED: list[tuple[dict[str, dict[str, Any]], type[Exception], str]] = [
    # what is asked for, and the sentence that comes of it
    ({"model": {"distilled_readout": False}}, ConfigError, "set model.distilled_readout=true"),
    ({"distill": {"view_store": None}}, ConfigError, r"distill\.views needs distill\.view_store"),
    ({"distill": {"tokens": 1.0}}, ConfigError, r"distill\.tokens and distill\.token_cache go together"),
    ({"distill": {"label_text": True}}, ConfigError, r"leave out distill\.signals"),
    ({"distill": {"signals": "nowhere"}}, SignalError, "signals.json: there is no such file"),
]


@pytest.mark.parametrize(("sections", "kind", "sentence"), REFUSED)
def test_settings_that_contradict_one_another(
    make: Make, sections: dict[str, dict[str, Any]], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        build_parts(make(**sections))


def test_the_control_without_a_teacher_trains_too(make: Make, tmp_path: Path) -> None:
    nobody = {"signals": None, "view_store": None, "views": 0, "label_text": True}
    train(make(distill=nobody, train={"max_steps": 2}), tmp_path / "run")
    steps = [record for record in _log(tmp_path / "run") if "loss" in record]
    assert all({"scene", "relation"} <= record.keys() and "instance" not in record for record in steps)
