"""What the student costs: a training step and a prediction, each beside a reference measured in the same run.

python benchmarks/bench_student.py [threads]

Training step: pictures a second in bfloat16 and float32, and the image tower alone, forward and backward. Prediction:
milliseconds a picture, one by one and in batches, with 5 verbs and with SWiG's 504 verbs and 9,926 nouns offered.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from ovgsr.config import LossSettings, ModelSettings
from ovgsr.losses.criterion import task_losses
from ovgsr.models.build import build_student
from ovgsr.models.situation_transformer import SituationTransformer
from ovgsr.tensors import Targets, TextEmbeddings

BATCH, ROLES, WIDTH = 64, 6, 384


def random_text(verbs: int, nouns: int) -> TextEmbeddings:
    """Unit vectors in place of embeddings: speed does not depend on what they say."""

    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, WIDTH), dim=-1)

    mask = torch.ones(verbs, ROLES, dtype=torch.bool)
    return TextEmbeddings(unit(verbs), unit(verbs, ROLES), mask, unit(nouns), "benchmark")


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median over repeats, after two to warm up."""
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return sorted(times[2:])[repeats // 2]


def training_steps(model: SituationTransformer) -> None:
    """Prints pictures a second of a whole step and of the tower alone."""
    text = random_text(44, 472)
    pixels = torch.randn(BATCH, 3, 96, 96)
    targets = Targets(
        verb_index=torch.randint(0, 44, (BATCH,)),
        role_mask=torch.ones(BATCH, ROLES, dtype=torch.bool),
        noun_index=torch.randint(0, 472, (BATCH, ROLES, 3)),
        boxes_cxcywh=torch.rand(BATCH, ROLES, 4),
        grounded=torch.ones(BATCH, ROLES, dtype=torch.bool),
    )
    model.train()
    for name, mixed in (("bfloat16", True), ("float32", False)):

        def step(mixed: bool = mixed) -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                encoded = model.encode(pixels)
                scores = model.predict_verb(encoded, text)
                roles = model.fill_roles(encoded, targets.verb_index, text)
                losses, _ = task_losses(scores.recognition, roles, targets, LossSettings(), torch.ones(44))
                loss = torch.stack(list(losses.values())).sum()
            loss.backward()  # type: ignore[no-untyped-call]

        def tower(mixed: bool = mixed) -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = model.tower(pixels).float().mean()
            loss.backward()

        whole, part = seconds(step, 7), seconds(tower, 7)
        print(
            f"training step, {name}: {BATCH / whole:6.0f} pictures/s; the image tower takes {100 * part / whole:.0f} %"
        )


@torch.inference_mode()
def predictions(model: SituationTransformer) -> None:
    """Prints milliseconds a picture, with the frames of five verbs filled."""
    model.eval()
    for verbs, nouns in ((5, 100), (504, 9927)):
        text = random_text(verbs, nouns)
        for batch in (1, 16):
            pixels = torch.randn(batch, 3, 96, 96)

            def predict(pixels: torch.Tensor = pixels, text: TextEmbeddings = text) -> None:
                encoded = model.encode(pixels)
                best = model.predict_verb(encoded, text).recognition.topk(5, dim=-1).indices
                for rank in range(5):
                    model.fill_roles(encoded, best[:, rank], text)

            took = 1000 * seconds(predict, 15) / batch
            print(f"prediction, {verbs} verbs and {nouns} nouns offered, batches of {batch}: {took:6.2f} ms a picture")


def main() -> None:
    """Runs both."""
    torch.manual_seed(0)
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    model = build_student(ModelSettings(), text_width=WIDTH, verb_classes=44, noun_classes=472)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {torch.get_num_threads()} threads")
    training_steps(model)
    predictions(model)


if __name__ == "__main__":
    main()
