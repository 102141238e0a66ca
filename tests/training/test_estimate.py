from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovgsr.config import Config, ConfigError, load_config
from ovgsr.data.swig import read_annotations
from ovgsr.training.estimate import Estimate, estimate
from ovgsr.vocabulary import swig_vocabulary

Make = Callable[..., Config]
ABSENT = {"signals": "no/readings", "view_store": "no/views", "views": 0.5}


@pytest.fixture(scope="module")
def config(tiny_config: Make) -> Config:
    return tiny_config(
        model={"distilled_readout": True, "encoder_layers": 3},
        distill=ABSENT,
        train={"batch_size": 12, "accumulate": 2, "validate_every": 2},
    )


@pytest.fixture(scope="module")
def found(config: Config) -> Estimate:
    return estimate(config)


def test_steps_and_pictures_are_those_of_the_run(found: Estimate, sketch_root: Path) -> None:
    assert found.steps == 14, "as in tests/journeys: two epochs of seven steps of two batches of twelve"
    verbs = [image.situation.verb for image in read_annotations(sketch_root, "train")]
    most = max(verbs.count(verb) for verb in verbs)
    epoch = sum(min(4, most / verbs.count(verb)) for verb in verbs)
    assert found.shown == pytest.approx(2 * epoch, abs=2 * 12)
    dev = [image for image in read_annotations(sketch_root, "dev") if image.situation.verb]
    assert found.looked_at % 2 == 0, "after the second epoch, and for the constants"
    assert 0 < found.looked_at <= 2 * len(dev)


def test_parameters_and_arithmetic_by_hand(found: Estimate, config: Config) -> None:
    views = config.distill.model_copy(update={"views": 0.0})
    without_views = estimate(config.model_copy(update={"distill": views}))
    parts = {part.name: part for part in found.parts}
    assert parts["grounded"].trainable == 16 + 1
    assert parts["merge"].trainable == 2 * 16 * 16 + 16
    assert parts["projections"].trainable == 2 * 16 + 16 * 384 + 384
    assert parts["distilled_scores"].frozen == 1, "the scale is dev's to choose"
    # Two operations a weight and role; a frame has at most six roles. On the way back there are twice as many, but for
    # the first layer, which passes nothing on.
    roles = parts["grounded"].flops / (2 * 16)
    assert roles == int(roles)
    assert 2 <= roles <= 6
    assert parts["merge"].flops == 2 * (2 * 16 * 16) * roles
    forward = sum(part.flops for part in found.parts)
    assert 2.5 * forward < found.flops < 3.2 * forward
    # Half a view comes with a picture, and goes through the tower and the distilled readout.
    plain = {part.name: part for part in without_views.parts}
    assert parts["tower"].flops == 1.5 * plain["tower"].flops
    assert parts["merge"].flops == plain["merge"].flops
    everything = sum(part.trainable + part.frozen for part in found.parts)
    trainable = sum(part.trainable for part in found.parts)
    assert found.fixed_bytes == 4 * (3 * everything + 3 * trainable)
    assert found.state_bytes == 4 * (2 * everything + 2 * trainable)


def test_readings_that_are_not_there_yet(found: Estimate, config: Config, sketch_root: Path) -> None:
    pictures = 120  # one for each training picture: scene and roles, and the scenes of the views
    roles = max(len(image.situation.roles) for image in read_annotations(sketch_root, "train"))
    assert found.signal_bytes == 2 * 384 * (pictures * (1 + roles) + config.views.count)
    assert found.missing == ("no/readings is not there: random readings of the usual shape",)


def test_memory_grows_with_the_batch_and_shrinks_by_recomputing(found: Estimate, config: Config) -> None:
    def changed(**sections: dict[str, Any]) -> Estimate:
        update = {name: getattr(config, name).model_copy(update=fields) for name, fields in sections.items()}
        return estimate(config.model_copy(update=update))

    assert changed(scale={"recompute": True}).activation_bytes < 0.9 * found.activation_bytes
    twice = changed(train={"batch_size": 24}).activation_bytes
    assert 1.5 * found.activation_bytes < twice <= 2 * found.activation_bytes


def test_hours_are_pictures_times_costs(found: Estimate) -> None:
    pictures = found.shown + found.looked_at / 3
    assert found.hours_here == pytest.approx(pictures * found.timing.compute / 3600)
    assert found.hours_at(1e9) == pytest.approx(pictures * found.flops / 1e9 / 3600)
    assert found.timing.compute > 0
    assert found.timing.reading > 0


def test_interactions_are_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match="knows the task situations only, not interactions"):
        estimate(config.model_copy(update={"task": "interactions"}))


def test_swigs_number_and_words_stand_in_for_swig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["model.backbone=sketch", "data.image_size=32", "model.width=16", "model.heads=2", "train.precision=no"]
    config = load_config("swig_closed", [*small, "data.split=null"])
    found = estimate(config)
    parts = {part.name: part for part in found.parts}
    assert parts["verb_scores"].trainable == 504 * 384 + 2 * 16 + 16 * 384 + 384 + 1
    assert found.shown / 10 == pytest.approx(75_702, rel=0.01)
    assert found.looked_at == 6 * 25_200
    assert len(swig_vocabulary().verbs) == 504
    assert found.missing[0].startswith("data/swig is not there")
    assert not list(tmp_path.iterdir()), "nothing is written"
