"""A finished run as one page: what it scores, how it learned, and pictures where it is right and where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from ovgsr.data.swig import image_path
from ovgsr.drawing import draw_situation
from ovgsr.evaluation.evaluate import EvaluationReport
from ovgsr.evaluation.scores import FourteenNumbers
from ovgsr.models.preprocess import load_image
from ovgsr.report import Cell, CurveSection, PictureItem, PictureSection, Point, Report, TableSection
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.training.run_dir import RunDir
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

_COLUMNS = (
    "pictures of",
    "images",
    "verb top-1",
    "verb top-5",
    "value (top-1)",
    "grounded (top-1)",
    "value (gold verb)",
    "value-all (gold verb)",
    "grounded (gold verb)",
)


def run_report(
    run: RunDir,
    root: Path,
    vocabulary: Vocabulary,
    split: VerbSplit,
    results: EvaluationReport,
    predictions: Sequence[ImagePrediction],
    annotated: Sequence[AnnotatedImage],
    *,
    command: str,
    pictures: int = 24,
) -> Report:
    """The page of a run; ``predictions`` need the best verb's frame, ``pictures`` are shown, right and wrong mixed."""
    config = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    log = run.read_log()
    profile = next(iter(results.profiles))
    scores = results.profiles[profile]
    sections = [
        TableSection(
            title=f"Results on {results.fold} ({profile} profile, percent)",
            columns=_COLUMNS,
            rows=[_row(group, result.images, result.numbers) for group, result in scores.groups.items()],
            note="All verbs compete. Value: the noun is one an annotator gave; grounded: its box is right as well.",
        )
    ]
    if profile in results.with_offset:
        sections.append(_offset_table(results, profile))
    return Report(
        title=f"ovgsr: {config['name']} on {split.name or root.name}",
        paragraphs=_paragraphs(results, predictions),
        facts=_facts(results, profile, log),
        sections=[*sections, *_curves(log), *_galleries(root, vocabulary, split, predictions, annotated, pictures)],
        command=command,
        config=json.dumps(config, indent=2),
    )


def _row(group: str, images: int, numbers: FourteenNumbers) -> tuple[Cell, ...]:
    gold = numbers.ground_truth_verb
    return (
        *(group, images, numbers.verb_top1, numbers.verb_top5, numbers.top1.value, numbers.top1.grnd_value),
        *(gold.value, gold.value_all, gold.grnd_value),
    )


def _offset_table(results: EvaluationReport, profile: str) -> TableSection:
    groups = results.with_offset[profile].groups
    return TableSection(
        title=f"With the constant for unseen verbs, +{results.offset:.2f}",
        columns=_COLUMNS,
        rows=[_row(group, result.images, result.numbers) for group, result in groups.items()],
        note="The constant is the largest that costs at most a few points on dev pictures of seen verbs.",
    )


def _paragraphs(results: EvaluationReport, predictions: Sequence[ImagePrediction]) -> list[str]:
    notices = sorted({notice for prediction in predictions for notice in prediction.notices})
    return [
        "A student was trained on annotated pictures of seen and rare verbs; unseen verbs were kept from it in every "
        "form. At test time it chooses among all of them by their words.",
        *notices,
        *results.warnings,
    ]


def _facts(results: EvaluationReport, profile: str, log: Sequence[dict[str, Any]]) -> list[tuple[str, Cell]]:
    groups = results.profiles[profile].groups
    facts: list[tuple[str, Cell]] = [
        (f"{name} verb top-1", groups[name].numbers.verb_top1) for name in ("seen", "rare", "unseen") if name in groups
    ]
    if profile in results.with_offset and "unseen" in groups:
        facts.append(("unseen, with the constant", results.with_offset[profile].groups["unseen"].numbers.verb_top1))
    if results.open_vocabulary is not None:
        facts.append(("AUSUC", results.open_vocabulary.ausuc))
    steps = [record["step"] for record in log]
    return [*facts, ("training steps", max(steps, default=0))]


def _curves(log: Sequence[dict[str, Any]]) -> list[CurveSection]:
    def series(name: str) -> list[Point]:
        return [(record["step"], record[name]) for record in log if name in record]

    losses = {name: series(name) for name in ("verb", "noun", "box_l1", "box_giou", "grounded")}
    dev = {
        "seen verb top-1": series("seen.verb_top1"),
        "rare verb top-1": series("rare.verb_top1"),
        "unseen verb top-5": series("unseen.verb_top5"),
        "value, gold verb": series("all.value"),
        "grounded, gold verb": series("all.grnd_value"),
    }
    return [
        CurveSection("Losses", "step", losses, "loss"),
        CurveSection("Dev scores", "step", {name: points for name, points in dev.items() if points}, "percent"),
    ]


def _galleries(
    root: Path,
    vocabulary: Vocabulary,
    split: VerbSplit,
    predictions: Sequence[ImagePrediction],
    annotated: Sequence[AnnotatedImage],
    pictures: int,
) -> list[PictureSection]:
    """A gallery a group of verbs; right and wrong predictions take turns, pictures spread over the verbs."""
    known = {image.file_name: image for image in annotated}
    sections = []
    for group, verbs in split.groups("test").items():
        of_group = [p for p in predictions if known[p.file_name].situation.verb in verbs]
        chosen = _mixed(of_group, known, pictures // 3)
        items = [_item(root, vocabulary, prediction, known[prediction.file_name]) for prediction in chosen]
        if items:
            sections.append(PictureSection(f"Pictures of {group} verbs", items))
    return sections


def _mixed(
    predictions: Sequence[ImagePrediction], known: dict[str, AnnotatedImage], count: int
) -> list[ImagePrediction]:
    turns: dict[tuple[bool, str], list[ImagePrediction]] = {}
    for prediction in predictions:
        gold = known[prediction.file_name].situation.verb
        turns.setdefault((prediction.ranking[0][0] == gold, gold), []).append(prediction)
    right = chain.from_iterable(zip_longest(*(v for (is_right, _), v in turns.items() if is_right)))
    wrong = chain.from_iterable(zip_longest(*(v for (is_right, _), v in turns.items() if not is_right)))
    pairs = zip_longest((p for p in right if p is not None), (p for p in wrong if p is not None))
    return [p for p in chain.from_iterable(pairs) if p is not None][:count]


def _item(root: Path, vocabulary: Vocabulary, prediction: ImagePrediction, annotated: AnnotatedImage) -> PictureItem:
    gold = annotated.situation
    first = prediction.ranking[0][0]
    ranks = [verb for verb, _ in prediction.ranking]
    lines = [
        "ranked: " + ", ".join(f"{verb} {100 * score:.0f} %" for verb, score in prediction.ranking[:3]),
        f"annotated: {gold.verb} (rank {ranks.index(gold.verb) + 1 if gold.verb in ranks else 'none'})",
    ]
    image = load_image(image_path(root, annotated.file_name))
    drawn = draw_situation(image, prediction.best, vocabulary, min_width=480)
    return PictureItem(drawn, f"{first}, annotated {gold.verb}", lines, right=first == gold.verb)
