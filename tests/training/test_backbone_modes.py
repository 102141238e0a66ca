"""A pretrained backbone through the user's path: a folder, a mode, a run that is killed and resumed, a student."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ovgsr.config import Config
from ovgsr.models.text_encoder import load_text_encoder
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.training.loop import train

Make = Callable[..., Config]


class _Power:
    """Goes out after a step."""

    def __init__(self, last: int) -> None:
        self.last = last

    def started(self, step: int, steps: int) -> None: ...

    def stepped(self, step: int, numbers: dict[str, float]) -> None:
        if step == self.last:
            raise KeyboardInterrupt

    def validated(self, epoch: int, scores: dict[str, float]) -> None: ...


def _config(make: Make, folder: Path, mode: str, **train_settings: Any) -> Config:
    return make(
        data={"resize": "letterbox"},
        model={"backbone": str(folder)},
        backbone={"mode": mode, "lora_rank": 2},
        optim={"layer_decay": 0.7},
        train={"max_steps": 3, "checkpoint_every": 2, "validate_every": 9, **train_settings},
    )


def test_an_adapter_is_trained_resumed_and_deployed(
    tiny_config: Make,
    backbones: Callable[[str], Path],
    sketch_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = _config(tiny_config, backbones("clip"), "adapter")
    whole = train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", observer=_Power(3))
    state = load_file(tmp_path / "cut" / "resume" / "state.safetensors")
    adapters = {name for name in state if ".lora_" in name}
    assert {name.split(".")[0] for name in adapters} == {"model", "averaged"}
    assert any(name.endswith("q_proj.lora_B.default.weight") and bool(state[name].any()) for name in adapters)
    assert not any(name.startswith("averaged.") and ".base_layer." in name for name in state), "frozen: kept once"
    train(config, tmp_path / "cut", resume=True)
    students = [load_file(tmp_path / run / "student" / "model.safetensors") for run in ("whole", "cut")]
    assert all(torch.equal(tensor, students[1][name]) for name, tensor in students[0].items())
    monkeypatch.setitem(sys.modules, "peft", None)
    opened = SituationRecognizer.from_pretrained(tmp_path / "whole" / "student")
    assert opened.checkpoint.preprocess.resize == "letterbox"
    picture = sorted((sketch_root / "images_512").iterdir())[0]
    deployed = opened(picture, top_k=1)
    trained = SituationRecognizer(whole, load_text_encoder())(picture, top_k=1)
    for (verb, score), (other, same) in zip(deployed.ranking[:5], trained.ranking[:5], strict=True):
        assert verb == other
        assert score == pytest.approx(same, rel=1e-3)


@pytest.mark.parametrize("mode", ["frozen", "full"])
def test_frozen_and_full_backbones(
    mode: str, tiny_config: Make, backbones: Callable[[str], Path], tmp_path: Path
) -> None:
    config = _config(tiny_config, backbones("resnet"), mode, max_steps=2)
    tower = train(config, tmp_path / "run").model.tower
    pretrained = load_file(backbones("resnet") / "model.safetensors")
    same = {name: torch.equal(tensor, pretrained[name]) for name, tensor in tower.model.state_dict().items()}
    statistics = {name for name in same if "running_mean" in name}
    assert statistics
    assert all(same.values()) if mode == "frozen" else not any(same[name] for name in statistics)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[:2]]
    assert losses[1] != losses[0]
