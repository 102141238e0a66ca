"""Times the HICO-DET evaluator, stage by stage, against plain Python, on a synthetic test set of HICO-DET's size.

    python benchmarks/bench_hoi_evaluator.py [--images 9658] [--pairs 100] [--repeat 3]

Both sides score the same pairs under all three modes in both settings, in one run. Ratios are given for the metric
alone (columns, as they are read from a file) and from Python objects.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import plain_hoi_evaluator
from bench_evaluator import best_of
from ovgsr.evaluation.columns import Findings
from ovgsr.evaluation.hico_det import MODES, KnownObjects, score
from ovgsr.evaluation.hoi_columns import encode_gold, encode_pairs
from ovgsr.evaluation.hoi_predictions import read_pairs
from ovgsr.evaluation.predictions import write_predictions
from ovgsr.hoi_vocabulary import Interaction
from ovgsr.interactions import PairPrediction, ScoredPair
from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, Situation


def random_box(state: random.Random, grid: int) -> BoxXyxy:
    """A box inside a 640 x 480 picture with corners on a grid of that many pixels."""
    x1, y1 = state.randrange(0, 500, grid), state.randrange(0, 360, grid)
    sides = (state.randrange(grid, 140, grid), state.randrange(grid, 120, grid))
    return (float(x1), float(y1), float(x1 + sides[0]), float(y1 + sides[1]))


def nudged(box_xyxy: BoxXyxy, state: random.Random, grid: int) -> BoxXyxy:
    """About the same box, as a model would find it, on the grid."""
    x1, y1, x2, y2 = (corner + grid * state.choice((-1, 0, 0, 0, 0, 0, 1)) for corner in box_xyxy)
    return (x1, y1, max(x2, x1 + grid), max(y2, y1 + grid))


def synthetic(
    images: int, pairs: int, classes: int, seed: int, grid: int = 8, levels: int = 10**6
) -> tuple[list[AnnotatedImage], list[PairPrediction], list[Interaction]]:
    """Pictures of up to seven rows and their predictions: rows found about half the time, copies, and strays.

    ``levels`` is how many different scores there are: few make ties. Every ninth picture has no row.
    """
    state = random.Random(seed)
    scores = [level / levels for level in range(levels)]
    interactions = [(f"verb{i % 117:03d}", f"object{i // 8:02d}") for i in range(classes)]
    annotated, predictions = [], []
    for number in range(images):
        rows, scored = [], []
        for _ in range(0 if number % 9 == 0 else state.randint(1, 7)):
            verb, noun = state.choice(interactions)
            human, thing = random_box(state, grid), random_box(state, grid)
            rows.append(Situation(verb, {"human": GroundedNoun("person", human), "object": GroundedNoun(noun, thing)}))
            for _ in range(state.choice((0, 0, 1, 1, 2, 3))):
                boxes = nudged(human, state, grid), nudged(thing, state, grid)
                scored.append(ScoredPair(*boxes, verb, noun, max(state.choices(scores, k=4))))
        while len(scored) < pairs:
            boxes = random_box(state, grid), random_box(state, grid)
            own = rows and state.random() < 0.3  # detectors err on the interactions that are there, too
            offered = [(row.verb, row.nouns["object"].noun) for row in rows] if own else interactions
            scored.append(ScoredPair(*boxes, *state.choice(offered), min(state.choices(scores, k=4))))
        state.shuffle(scored)
        name = f"HICO_test2015_{number:08d}.jpg"
        annotated.append(AnnotatedImage(name, 640, 480, tuple(rows)))
        predictions.append(PairPrediction(name, tuple(scored[:pairs])))
    return annotated, predictions, interactions


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the comparison and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("--images", 9658), ("--pairs", 100), ("--classes", 600), ("--repeat", 3)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args(arguments)
    annotated, predictions, interactions = synthetic(options.images, options.pairs, options.classes, seed=0)
    gold_s, gold = best_of(options.repeat, lambda: encode_gold(annotated, interactions))
    known = KnownObjects.of_rows(annotated).flags(gold)
    encode_s, pairs = best_of(options.repeat, lambda: encode_pairs(predictions, gold, Findings()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        write_predictions(path, predictions)
        read_s, _ = best_of(1, lambda: read_pairs(path, gold, (), Findings()))
    print(f"{len(annotated)} pictures, {len(pairs)} pairs, {len(interactions)} classes, both settings")
    plain_total_s, difference = 0.0, 0.0
    total_s, _ = best_of(options.repeat, lambda: score(pairs, gold, known, list(MODES.values())))
    for name, mode in MODES.items():
        score_s, ours = best_of(options.repeat, lambda mode=mode: score(pairs, gold, known, [mode]))  # type: ignore[misc]
        plain_s, plain = best_of(
            1,
            lambda name=name: plain_hoi_evaluator.evaluate(predictions, annotated, interactions, name),  # type: ignore[misc]
        )
        for setting, values in plain.items():
            found = dict(zip(interactions, ours[name][setting].tolist(), strict=True))
            difference = max(difference, *(abs(found[i] - value) for i, value in values.items()))
        plain_total_s += plain_s
        print(
            f"{name:10s} plain Python {plain_s:8.2f} CPU s   columns {score_s:6.3f} CPU s   {plain_s / score_s:6.1f} x"
        )
    for stage, seconds in (
        ("score the columns, all modes", total_s),
        ("encode annotations (once a data set)", gold_s),
        ("encode predictions that are Python objects", encode_s),
        ("read and check the predictions file", read_s),
        ("objects to numbers, all modes", gold_s + encode_s + total_s),
    ):
        print(f"{stage:45s} {seconds:8.3f} CPU s   plain / this = {plain_total_s / seconds:7.1f}")
    print(f"largest difference between the two: {difference:.1e} of an AP in 0..1")


if __name__ == "__main__":
    main()
