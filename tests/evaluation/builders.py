"""Short ways to write annotations and predictions down in tests."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, ImagePrediction, Situation

Answer = tuple[str, BoxXyxy | None]
Gold = tuple[Sequence[str], BoxXyxy | None]


def annotation(name: str, verb: str, roles: Mapping[str, Gold], size: tuple[int, int] = (640, 480)) -> AnnotatedImage:
    """``roles``: role -> (the annotators' nouns, box)."""
    nouns = {role: GroundedNoun(three[0], box, annotators=tuple(three)) for role, (three, box) in roles.items()}
    return AnnotatedImage(name, *size, (Situation(verb, nouns),))


def prediction(
    name: str, ranked: Sequence[str] | Mapping[str, float], frames: Mapping[str, Mapping[str, Answer]]
) -> ImagePrediction:
    """``ranked``: verbs best first (scores 1/2, 1/4 ...) or verb -> score; ``frames``: verb -> role -> (noun, box)."""
    scores = ranked if isinstance(ranked, Mapping) else {verb: 0.5 ** (i + 1) for i, verb in enumerate(ranked)}
    ranking = tuple(sorted(scores.items(), key=lambda entry: -entry[1]))
    situations = {
        verb: Situation(verb, {role: GroundedNoun(noun, box) for role, (noun, box) in roles.items()})
        for verb, roles in frames.items()
    }
    return ImagePrediction(name, ranking, situations)


def load_benchmark(name: str) -> ModuleType:
    """A script of ``benchmarks/``, which is no package; scripts there import one another by name."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def random_world(images: int, seed: int) -> tuple[list[AnnotatedImage], list[ImagePrediction], list[str]]:
    """Unbalanced verbs, 1 to 6 roles, every oddity the rules differ in; some predictions or parts of them missing.

    Returns annotations, predictions and the noun vocabulary that "oov" refers to.
    """
    state = random.Random(seed)
    verbs = [f"v{i}" for i in range(12)]
    frames = {verb: [f"r{j}" for j in range(state.randint(1, 6))] for verb in verbs}
    nouns = ["", *(f"n{i}" for i in range(8))]

    def box() -> BoxXyxy:
        x, y = state.choice((-1, 0, 5, 40)), state.choice((-1, 0, 3, 30))
        return (x, y, x + state.choice((20, 40, 50, 70)), y + state.choice((10, 20, 25, 60)))

    annotated, predicted = [], []
    for number in range(images):
        verb = verbs[min(int(state.expovariate(0.3)), len(verbs) - 1)]
        gold: dict[str, Gold] = {}
        answers: dict[str, Answer] = {}
        for role in frames[verb]:
            three = [state.choice(nouns) for _ in range(3)]
            truth = box() if state.random() < 0.7 else None
            gold[role] = (three, truth)
            guess = state.choice((*three, *three, *three, "oov", "Pad", "never seen"))
            nudge = state.choice((0, 0, 5, 10, 20))
            near = None if truth is None else (truth[0] + nudge, truth[1], truth[2] + nudge, truth[3])
            if state.random() < 0.97:
                answers[role] = (guess, near if state.random() < 0.8 else state.choice((None, box())))
        if state.random() < 0.1:
            answers["stranger"] = ("n1", None)
        name = f"{verb}_{number}.jpg"
        annotated.append(annotation(name, verb, gold, size=(60, 50)))
        if state.random() < 0.96:
            order = [verb, *(v for v in state.sample(verbs, 7) if v != verb)]
            order = order if state.random() < 0.5 else state.sample(order, len(order))
            predicted.append(prediction(name, order, {verb: answers} if state.random() < 0.96 else {}))
    return annotated, predicted, nouns[:6]
