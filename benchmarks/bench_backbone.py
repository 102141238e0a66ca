"""What each way for a backbone to learn costs: a training step of the whole student, and the finished student.

python benchmarks/bench_backbone.py [rounds]

ViT-S/16 of random weights at 224 pixels, 8 pictures a step, float32, one thread. CPU time, so that a busy machine does
not count; the modes take turns. "Kept" is what autograd keeps for the backward pass, parameters aside.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ovgsr.config import BackboneSettings, Config, ModelSettings
from ovgsr.models.build import build_student
from ovgsr.models.image_adapter import merged_weights, tune
from ovgsr.models.image_encoder import ImageTower, build_tower
from ovgsr.tensors import Batch, Targets, TextEmbeddings
from ovgsr.training.optim import build_optimizer
from ovgsr.training.tasks import SituationTask

BATCH, SIDE, ROLES, WIDTH, VERBS, NOUNS = 8, 224, 6, 384, 44, 472
MODES = ("full", "adapter", "frozen")


def main(rounds: int) -> None:
    """Prints one row a mode, then what an adapter costs before and after it is merged."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        save_vit(Path(folder))
        settings = ModelSettings(backbone=folder)
        steps = {mode: Step(settings, BackboneSettings(mode=mode)) for mode in MODES}
        towers = {name: build_tower(settings).eval() for name in ("plain", "adapter", "merged")}
    kept = {mode: step.kept() for mode, step in steps.items()}
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(rounds + 1):  # the first warms up
        for mode, step in steps.items():
            times[mode].append(cpu_seconds(step))
    print("| mode | trainable parameters, M | AdamW state, MB | kept, MB | CPU s a step | against full |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    medians = {mode: sorted(measured[1:])[rounds // 2] for mode, measured in times.items()}
    for mode in MODES:
        millions, seconds = steps[mode].trained / 1e6, medians[mode]
        row = f"{millions:.2f} | {8 * millions:.1f} | {kept[mode] / 1e6:.0f} | {seconds:.2f}"
        print(f"| {mode} | {row} | {seconds / medians['full']:.2f} |")
    tune(towers["adapter"], BackboneSettings(mode="adapter"))
    towers["merged"].load_state_dict(merged_weights(towers["adapter"]))
    forward: dict[str, list[float]] = {name: [] for name in towers}
    for _ in range(2 * rounds + 1):
        for name, tower in towers.items():
            forward[name].append(cpu_seconds(partial(look, tower)))
    plain = sorted(forward["plain"][1:])[rounds]
    for name in ("adapter", "merged"):
        print(
            f"the backbone alone, {name}: {sorted(forward[name][1:])[rounds] / plain:.2f} of the time without adapters"
        )


class Step:
    """One optimiser step of a student, called."""

    def __init__(self, settings: ModelSettings, backbone: BackboneSettings) -> None:
        model = build_student(settings, text_width=WIDTH, verb_classes=VERBS, noun_classes=NOUNS)
        tune(model.tower, backbone)
        defaults = Config()
        self.task = SituationTask(model, defaults.loss, defaults.distill).train()
        self.optimizer = build_optimizer(self.task, defaults.optim)
        self.trained = sum(p.numel() for p in self.task.parameters() if p.requires_grad)
        unit = nn.functional.normalize
        self.text = TextEmbeddings(
            unit(torch.randn(VERBS, WIDTH), dim=-1),
            unit(torch.randn(VERBS, ROLES, WIDTH), dim=-1),
            torch.ones(VERBS, ROLES, dtype=torch.bool),
            unit(torch.randn(NOUNS, WIDTH), dim=-1),
            "benchmark",
        )
        targets = Targets(
            verb_index=torch.randint(0, VERBS, (BATCH,)),
            role_mask=torch.ones(BATCH, ROLES, dtype=torch.bool),
            noun_index=torch.randint(0, NOUNS, (BATCH, ROLES, 3)),
            boxes_cxcywh=torch.rand(BATCH, ROLES, 4),
            grounded=torch.ones(BATCH, ROLES, dtype=torch.bool),
        )
        self.batch = Batch(torch.randn(BATCH, 3, SIDE, SIDE), torch.ones(BATCH, 2), torch.arange(BATCH), targets)

    def loss(self) -> Tensor:
        """The sum of the terms."""
        losses, _ = self.task(self.batch, self.text, torch.ones(VERBS))
        return torch.stack(list(losses.values())).sum()

    def __call__(self) -> None:
        """The whole step."""
        self.loss().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()

    def kept(self) -> int:
        """Bytes that autograd keeps between forward and backward."""
        own = {parameter.untyped_storage().data_ptr() for parameter in self.task.parameters()}
        storages: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self.loss()
        return sum(storages.values())


def save_vit(folder: Path) -> None:
    """ViT-S/16 of random weights."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536)
    ViTModel(config).save_pretrained(folder)


@torch.inference_mode()
def look(tower: ImageTower) -> None:
    """One picture."""
    tower(torch.zeros(1, 3, SIDE, SIDE))


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
