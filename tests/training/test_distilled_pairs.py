"""A pair student that learns from readings of pairs: end to end on a toy, resumed, exported, nothing unseen in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.toy_hoi import write_toy_hoi

from ovgsr.config import Config, ConfigError, validate_config
from ovgsr.data.hico_det import read_hico_det
from ovgsr.data.hoi_splits import read_hoi_split, training_fold
from ovgsr.distillation.pair_cuts import training_cuts, write_pair_cuts
from ovgsr.distillation.signal_info import SignalInfo
from ovgsr.distillation.signal_store import SignalWriter
from ovgsr.distillation.view_store import source_fingerprint, write_views
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.models.preprocess import load_image
from ovgsr.models.text_encoder import load_text_encoder
from ovgsr.training.loop import train
from ovgsr.training.pair_calibration import DISTILLED_WEIGHTS
from ovgsr.training.pair_parts import DISTILLED_WEIGHT, UNMET_WEIGHT, build_pair_parts, build_pair_task
from ovgsr.training.run_dir import RunDir

Make = Callable[..., Config]
STEPS = 16


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_toy_hoi(tmp_path_factory.mktemp("toy") / "data", train=24, dev=6, test=2)
    split = {"unseen": [["kick", "ball"]], "dev_unseen": [["hold", "ball"]]}
    (root / "hoi_split.json").write_text(json.dumps({"format": "ovgsr-hoi-split-1", "name": "toy", **split}))
    return root


@pytest.fixture(scope="module")
def stage(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stage 1 leaves: of every training pair its gerund's text, and of the views that of an unseen verb."""
    work, encoder = tmp_path_factory.mktemp("stage"), load_text_encoder("all-MiniLM-L6-v2")
    write_pair_cuts(root, work / "cuts")
    cuts = training_cuts(training_fold(read_hico_det(root, "train"), read_hoi_split(root)))
    images = [cut.image for cut in cuts]
    views = write_views(work / "views", images, work / "cuts" / "images_512", count=9, seed=1, open_image=load_image)
    info = SignalInfo(
        kind="fixed",
        teacher="t",
        text_fingerprint=encoder.fingerprint,
        width=encoder.width,
        views_digest=views.digest,
        details={"pictures": source_fingerprint(images)},
    )
    names = [cut.name for cut in cuts]
    writer = SignalWriter(work / "fixed", info, names, views.names)
    writer.add(names, encoder.encode([cut.verb for cut in cuts]))
    writer.add_views(views.names, encoder.encode(["kicking"] * len(views)))
    writer.finish()
    return work


@pytest.fixture(scope="module")
def make(root: Path, stage: Path) -> Make:
    def config(**sections: dict[str, Any]) -> Config:
        plain: dict[str, Any] = {
            "task": "interactions",
            "data": {"root": str(root), "image_size": 32},
            "model": {"width": 16, "heads": 2, "distilled_readout": True, "dropout": 0.1},
            "pairs": {"queries": 4},
            "distill": {"signals": str(stage / "fixed"), "view_store": str(stage / "views"), "views": 0.75},
            "optim": {"learning_rate": 1e-2, "ema": 0.9},
            "train": {"batch_size": 4, "threads": 1, "epochs": 9, "max_steps": STEPS, "checkpoint_every": 5,
                      "log_every": 1, "validate_every": 9, "precision": "no"},
        }  # fmt: skip
        return validate_config({**plain, **{n: plain[n] | fields for n, fields in sections.items()}}, "a test")

    return config


UNTAUGHT: dict[str, Any] = {"signals": None, "view_store": None, "views": 0}


@pytest.fixture(scope="module")
def run(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "taught"
    train(make(), out)
    return out


@pytest.fixture(scope="module")
def untaught(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same student, the second readout included, without a teacher."""
    out = tmp_path_factory.mktemp("runs") / "untaught"
    train(make(distill=UNTAUGHT, train={"max_steps": 1}), out)
    return out


def _log(run: Path) -> list[dict[str, Any]]:
    clocks = ("pictures_per_second", "seconds_per_step")
    return [{k: v for k, v in record.items() if k not in clocks} for record in RunDir(run).read_log()]


def test_the_student_comes_nearer_to_the_readings(run: Path) -> None:
    steps = [record for record in _log(run) if "loss" in record]
    assert len(steps) == STEPS
    first, last = (sum(record["scene"] for record in part) for part in (steps[:4], steps[-4:]))
    assert last < 0.95 * first
    weights = {"verb": 1, "object": 1, "box_l1": 5, "box_giou": 2, "auxiliary": 1, "scene": 3, "relation": 1}
    for record in steps:
        assert record["loss"] == pytest.approx(sum(w * record[name] for name, w in weights.items()), rel=1e-4)


class Killed(Exception):
    """What the observer raises in the place of a power cut."""


class Killer:
    def started(self, step: int, steps: int) -> None: ...

    def validated(self, epoch: int, scores: dict[str, float]) -> None: ...

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        if step == 8:
            raise Killed


def test_killed_and_resumed_it_ends_as_if_never_killed(make: Make, run: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(make(), tmp_path / "run", observer=Killer())
    train(make(), tmp_path / "run", resume=True)
    assert _log(tmp_path / "run") == _log(run)
    for name in ("model.safetensors", "config.json", "vocabulary.json"):
        assert (tmp_path / "run" / "student" / name).read_bytes() == (run / "student" / name).read_bytes(), name


def test_what_is_exported_is_the_student_alone(run: Path, untaught: Path, make: Make, tmp_path: Path) -> None:
    taught, plain = (load_file(folder / "student" / "model.safetensors") for folder in (run, untaught))
    assert {name: value.shape for name, value in taught.items()} == {n: value.shape for n, value in plain.items()}
    train(make(model={"distilled_readout": False}, distill=UNTAUGHT, train={"max_steps": 1}), tmp_path / "run")
    without = load_file(tmp_path / "run" / "student" / "model.safetensors")
    assert {name.split(".")[0] for name in taught.keys() - without.keys()} == {"distilled", "distilled_scores"}
    assert without.keys() < taught.keys()


def test_the_taught_readout_has_a_say_and_the_untaught_one_none(run: Path, untaught: Path, make: Make) -> None:
    told, alone = (PairCheckpoint.from_pretrained(folder / "student") for folder in (run, untaught))
    assert told.distilled_weight in DISTILLED_WEIGHTS
    assert alone.distilled_weight == 0
    parts = build_pair_parts(make(distill=UNTAUGHT))
    task = build_pair_task(make(distill=UNTAUGHT), parts)
    learning = {name for name, value in task.model.named_parameters() if value.requires_grad}
    assert not [name for name in learning if "distilled" in name], "what no loss reaches does not learn"
    fresh = build_pair_parts(make()).checkpoint
    assert (fresh.distilled_weight, fresh.unmet_weight) == (DISTILLED_WEIGHT, UNMET_WEIGHT), "until dev has spoken"


@pytest.mark.parametrize(
    ("changes", "taught_by_views"),
    [
        ({}, {"object", "box_l1", "box_giou", "auxiliary"}),
        ({"pairs": {"shape_features": True, "view_boxes": False}}, {"scene", "relation"}),
        ({"pairs": {"view_boxes": False}}, set()),
        ({"distill": {"scene": 0, "relation": 0}}, {"object", "box_l1", "box_giou", "auxiliary"}),
    ],
)
def test_every_trainable_weight_has_a_gradient_and_views_teach_no_verb(
    make: Make, changes: dict[str, dict[str, Any]], taught_by_views: set[str]
) -> None:
    config = make(**changes)
    parts = build_pair_parts(config)
    task = build_pair_task(config, parts)
    text, judged = parts.beside_batch(torch.device("cpu"))
    batch = next(batch for batch in parts.loader if batch.views is not None)
    losses, _ = task(batch, text, judged)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert not [name for name, value in task.named_parameters() if value.requires_grad and value.grad is None]
    views = batch.views
    assert views is not None
    assert views.pairs is not None
    assert len(views.pixels) == len(views.scene) == len(views.pairs.mask)
    assert not views.pairs.verbs.any()
    pixels, pictures = views.pixels.requires_grad_(), batch.pixels.requires_grad_()
    task.eval()  # batch statistics would join the views to the pictures
    losses, _ = task(batch, text, judged)
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, [pixels], retain_graph=True, allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) == (name in taught_by_views), name
        (shaped,) = torch.autograd.grad(loss, [pictures], retain_graph=True, allow_unused=True)
        shapes = config.pairs.shape_features or name not in ("scene", "relation")
        assert (shaped is not None and bool(shaped.any())) == shapes, name
    assert taught_by_views <= losses.keys()


def test_nothing_unseen_is_among_what_is_learned(make: Make) -> None:
    """Readings are of training pairs alone; views are read from pixels and may show anything."""
    parts = build_pair_parts(make())
    assert parts.readings is not None
    names = {name for of_image in parts.readings._names for name in of_image if name is not None}
    kept = training_cuts(training_fold(parts.data.train, None))
    assert names == {cut.name for cut in kept}
    assert not {(cut.pair.object, verb) for cut in kept for verb in cut.pair.verbs} & {
        ("ball", "kick"),
        ("ball", "hold"),
    }
    assert parts.text.told_verbs.shape[0] == len(parts.checkpoint.vocabulary.verbs) == 3
    assert parts.checkpoint.model.distilled_scores is not None
    torch.testing.assert_close(parts.checkpoint.model.distilled_scores.centre, parts.text.told_verbs.mean(dim=0))


REFUSED: list[tuple[dict[str, dict[str, Any]], str]] = [
    ({"model": {"distilled_readout": False}}, "set model.distilled_readout=true"),
    ({"distill": {"view_store": None}}, r"distill\.views needs distill\.view_store"),
    ({"distill": {"signals": None, "view_store": None, "views": 0, "label_text": True}}, "label texts"),
]


@pytest.mark.parametrize(("sections", "sentence"), REFUSED)
def test_settings_that_contradict_one_another(make: Make, sections: dict[str, dict[str, Any]], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_pair_parts(make(**sections))
