"""Times the evaluator, stage by stage, against plain Python, on a synthetic test set of SWiG's size.

    python benchmarks/bench_evaluator.py [--images 25200] [--verbs 504] [--ranked 5] [--repeat 3]

Both sides score the same records under all three profiles, with seen / rare / unseen subsets, in one run. Ratios are
given for the metric alone (columns already encoded, as a model hands them over) and from already-read records.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

import plain_evaluator
from ovgsr.evaluation.columns import encode_annotations, encode_predictions
from ovgsr.evaluation.evaluate import evaluate_file, evaluate_predictions
from ovgsr.evaluation.predictions import read_predictions, write_predictions
from ovgsr.evaluation.scores import SituationScores, scores_from_sums
from ovgsr.evaluation.swig import PROFILES, sum_scores
from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, ImagePrediction, Situation
from ovgsr.verb_split import VerbSplit

Result = TypeVar("Result")


def random_box(random_state: random.Random) -> BoxXyxy:
    """A box inside a 640 x 480 picture, whole pixels."""
    x1, y1 = random_state.randrange(0, 500), random_state.randrange(0, 360)
    return (
        float(x1),
        float(y1),
        float(x1 + random_state.randrange(20, 140)),
        float(y1 + random_state.randrange(20, 120)),
    )


def nudged(box_xyxy: BoxXyxy, random_state: random.Random) -> BoxXyxy:
    """About the same box, as a model would find it."""
    x1, y1, x2, y2 = (c + random_state.uniform(-25, 25) for c in box_xyxy)
    return (x1, y1, x2, y2)


def synthetic(images: int, verbs: int, ranked: int, seed: int) -> tuple[list[AnnotatedImage], list[ImagePrediction]]:
    """Annotations and predictions with SWiG's proportions: 1 to 6 roles, three annotators, 62 % of roles grounded."""
    state = random.Random(seed)
    names = [f"verb{i:03d}" for i in range(verbs)]
    nouns = ["", *(f"n{i:08d}" for i in range(9926))]
    frames = {n: [f"role{r}" for r in range(state.choices(range(1, 7), (3, 77, 163, 171, 82, 8))[0])] for n in names}
    annotated, predictions = [], []
    for number in range(images):
        verb = names[number % verbs]
        gold, filled = {}, {}
        for role in frames[verb]:
            three = tuple(state.choice(nouns[:400]) for _ in range(3))
            box_xyxy = random_box(state) if state.random() < 0.62 else None
            gold[role] = GroundedNoun(three[0], box_xyxy, annotators=three)
            answer = state.choice(three) if state.random() < 0.6 else state.choice(nouns)
            found = nudged(box_xyxy, state) if box_xyxy else None if state.random() < 0.8 else random_box(state)
            filled[role] = GroundedNoun(answer, found, state.random())
        order = state.sample(names, ranked)
        if state.random() < 0.6:
            order = [verb, *(name for name in order if name != verb)][:ranked]
        scores = sorted((state.random() for _ in order), reverse=True)
        name = f"{verb}_{number}.jpg"
        annotated.append(AnnotatedImage(name, 640, 480, (Situation(verb, gold),)))
        ranking = tuple(zip(order, scores, strict=True))
        predictions.append(ImagePrediction(name, ranking, {verb: Situation(verb, filled)}))
    return annotated, predictions


def best_of(repeat: int, action: Callable[[], Result]) -> tuple[float, Result]:
    """The shortest of some runs in CPU seconds (other work on the machine does not count), and the last result."""
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        result = action()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def largest_difference(
    ours: dict[str, SituationScores], plain: dict[str, dict[str, dict[str, plain_evaluator.Numbers]]]
) -> float:
    """Over all profiles, groups, averages and numbers, in points."""
    largest = 0.0
    for profile, groups in plain.items():
        for group, averages in groups.items():
            result = ours[profile].groups[group]
            sets = (("profile", result.numbers), ("macro", result.macro), ("per_image", result.per_image))
            for average, numbers in sets:
                record = numbers.to_json()
                for name, value in averages[average].items():
                    setting, _, metric = name.partition(".")
                    found = record[setting][metric] if metric else record[setting]
                    largest = max(largest, abs(found - value))
    return largest


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the comparison and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("--images", 25200), ("--verbs", 504), ("--ranked", 5), ("--repeat", 3)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    annotated, predictions = synthetic(options.images, options.verbs, options.ranked, seed=0)
    names = sorted({image.situation.verb for image in annotated})
    cut = (len(names) * 6 // 10, len(names) * 8 // 10)
    split = VerbSplit("synthetic", tuple(names[: cut[0]]), tuple(names[cut[0] : cut[1]]), tuple(names[cut[1] :]))
    groups = split.groups("test")

    def score() -> dict[str, SituationScores]:
        return {
            p.name: scores_from_sums(sum_scores(gold, columns, p), gold.verbs, groups, p.name, p.average)
            for p in PROFILES.values()
        }

    def plain() -> dict[str, dict[str, dict[str, plain_evaluator.Numbers]]]:
        return {name: plain_evaluator.evaluate(predictions, annotated, name, groups) for name in PROFILES}

    encode_gold_s, gold = best_of(options.repeat, lambda: encode_annotations(annotated))
    encode_s, columns = best_of(options.repeat, lambda: encode_predictions(predictions, gold))
    score_s, ours = best_of(options.repeat, score)
    plain_s, reference = best_of(options.repeat, plain)
    records_s, _ = best_of(
        options.repeat, lambda: evaluate_predictions(predictions, annotated, split, "test", list(PROFILES))
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        write_s, _ = best_of(1, lambda: write_predictions(path, predictions))
        read_s, _ = best_of(options.repeat, lambda: sum(1 for _ in read_predictions(path)))
        file_s, _ = best_of(options.repeat, lambda: evaluate_file(path, annotated, split, "test", list(PROFILES)))
    difference = largest_difference(ours, reference)
    print(
        f"{len(annotated)} pictures, {len(names)} verbs, {options.ranked} verbs ranked, 3 profiles, 4 groups, 1 thread"
    )
    for stage, seconds in (
        ("plain Python, from records", plain_s),
        ("ours: encode annotations (once a data set)", encode_gold_s),
        ("ours: encode predictions", encode_s),
        ("ours: score the columns", score_s),
        ("ours: evaluate_predictions, from records", records_s),
        ("write the predictions file", write_s),
        ("read the predictions file", read_s),
        ("ours: evaluate_file, all in all", file_s),
    ):
        print(f"{stage:45s} {seconds:8.3f} CPU s   plain / this = {plain_s / seconds:7.1f}")
    print(f"largest difference between the two: {difference:.1e} points")


if __name__ == "__main__":
    main()
