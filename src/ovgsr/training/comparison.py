"""Two systems beside each other: their numbers with the gain, and pictures where one is right and the other wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from PIL import Image

from ovgsr.data.swig import image_path
from ovgsr.drawing import draw_situation
from ovgsr.evaluation.evaluate import EvaluationReport
from ovgsr.evaluation.scores import FourteenNumbers, SituationScores
from ovgsr.models.preprocess import load_image
from ovgsr.report import Cell, PictureItem, PictureSection, TableSection
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

DRAWING_WIDTH = 360
_GAP = 16
_MEASURES = (
    "verb top-1",
    "verb top-5",
    "value (top-1)",
    "grounded (top-1)",
    "value (gold verb)",
    "grounded (gold verb)",
)


def side_by_side(
    results_a: EvaluationReport, results_b: EvaluationReport, titles: tuple[str, str], *, fold_title: str = ""
) -> TableSection:
    """Both systems' numbers and the gain of the first over the second, for each subset of verbs, percent.

    Under the first profile, and with each system's constants for unseen and rare verbs where it has them.
    """
    profile = next(iter(results_a.profiles))
    ours, theirs = (_calibrated(results, profile) for results in (results_a, results_b))
    rows: list[tuple[Cell, ...]] = []
    for group, result in ours.groups.items():
        if group not in theirs.groups:
            continue
        pairs = zip(_measured(result.numbers), _measured(theirs.groups[group].numbers), strict=True)
        for measure, (a, b) in zip(_MEASURES, pairs, strict=True):
            rows.append((group, result.images, measure, a, b, gain(a, b)))
    rows.append(_whole("harmonic mean of seen and unseen verb top-1", *_harmonic(ours, theirs)))
    opened = (results_a.open_vocabulary, results_b.open_vocabulary)
    if opened[0] is not None and opened[1] is not None:
        rows.append(_whole("AUSUC", opened[0].ausuc, opened[1].ausuc))
    return TableSection(
        title=f"{titles[0]} beside {titles[1]}, {fold_title or results_a.fold} ({profile} profile, percent)",
        columns=("pictures of", "images", "measure", *titles, "gain"),
        rows=rows,
        note="Gain is the first minus the second, in points. Both with their constants for unseen and rare verbs, "
        "chosen on dev.",
    )


def _calibrated(results: EvaluationReport, profile: str) -> SituationScores:
    return results.with_offset.get(profile, results.profiles[profile])


def _measured(numbers: FourteenNumbers) -> tuple[float, ...]:
    gold = numbers.ground_truth_verb
    gated = (numbers.top1.value, numbers.top1.grnd_value)
    return (numbers.verb_top1, numbers.verb_top5, *gated, gold.value, gold.grnd_value)


def _harmonic(ours: SituationScores, theirs: SituationScores) -> tuple[float, float]:
    return ours.harmonic_mean_verb_top1, theirs.harmonic_mean_verb_top1


def _whole(measure: str, a: float | None, b: float | None) -> tuple[Cell, ...]:
    return ("seen and unseen", None, measure, a, b, None if a is None or b is None else gain(a, b))


def gain(a: float, b: float) -> str:
    """``a - b`` with its sign; a dash where either is no number."""
    difference = a - b
    return "–" if difference != difference else f"{difference:+.1f}"


def compare_pictures(
    root: Path,
    vocabulary: Vocabulary,
    split: VerbSplit,
    annotated: Sequence[AnnotatedImage],
    predictions_a: Iterable[ImagePrediction],
    predictions_b: Iterable[ImagePrediction],
    titles: tuple[str, str],
    count: int = 6,
    *,
    fold: str = "test",
) -> list[PictureSection]:
    """Where the first system's verb is right and the second's wrong, and the other way round, at most ``count`` each.

    Unseen, rare and seen verbs take turns, and so do the verbs of each; a picture counts where both systems predicted
    it and hold their best verb's frame. A section without a picture is left out. Raises ImageError for a picture that
    cannot be read.
    """
    known = {image.file_name: image for image in annotated}
    ours, theirs = ({p.file_name: p for p in predictions} for predictions in (predictions_a, predictions_b))
    group_of = {verb: group for group, verbs in split.groups(fold).items() for verb in verbs}
    common = [name for name in ours if name in theirs and name in known]
    sections = []
    for first_wins in (True, False):
        won = [name for name in common if _won(known[name], ours[name], theirs[name], first_wins)]
        winner, loser = titles if first_wins else titles[::-1]
        chosen = _spread([known[name] for name in won], group_of)[:count]
        items = [
            _item(root, vocabulary, image, (ours[image.file_name], theirs[image.file_name]), titles, group_of)
            for image in chosen
        ]
        if items:
            sections.append(
                PictureSection(
                    f"{winner} is right, {loser} is wrong",
                    items,
                    note=_tally(winner, won, len(common), known, group_of) + f" Left: {titles[0]}; right: {titles[1]}.",
                )
            )
    return sections


def _won(image: AnnotatedImage, a: ImagePrediction, b: ImagePrediction, first_wins: bool) -> bool:
    gold = image.situation.verb
    right = [p.ranking[0][0] == gold for p in (a, b)]
    drawable = all(p.ranking[0][0] in p.situations for p in (a, b))
    return drawable and right == ([True, False] if first_wins else [False, True])


def _spread(images: Sequence[AnnotatedImage], group_of: Mapping[str, str]) -> list[AnnotatedImage]:
    """The same pictures; unseen, rare and seen verbs take turns, within each the verbs do."""
    turns: dict[str, dict[str, list[AnnotatedImage]]] = {"unseen": {}, "rare": {}, "seen": {}}
    for image in images:
        verb = image.situation.verb
        turns.setdefault(group_of.get(verb, "seen"), {}).setdefault(verb, []).append(image)
    queues = [chain.from_iterable(zip_longest(*verbs.values())) for verbs in turns.values()]
    filled = [[image for image in queue if image is not None] for queue in queues]
    return [image for image in chain.from_iterable(zip_longest(*filled)) if image is not None]


def _tally(
    winner: str, won: Sequence[str], total: int, known: Mapping[str, AnnotatedImage], group_of: Mapping[str, str]
) -> str:
    counts = {"seen": 0, "rare": 0, "unseen": 0}
    for name in won:
        group = group_of.get(known[name].situation.verb, "seen")
        counts[group] = counts.get(group, 0) + 1
    parts = ", ".join(f"{number} of {group} verbs" for group, number in counts.items())
    return f"{winner} alone is right on {len(won)} of the {total} pictures looked at: {parts}."


def _item(
    root: Path,
    vocabulary: Vocabulary,
    image: AnnotatedImage,
    predictions: tuple[ImagePrediction, ImagePrediction],
    titles: tuple[str, str],
    group_of: Mapping[str, str],
) -> PictureItem:
    gold = image.situation.verb
    picture = load_image(image_path(root, image.file_name))
    drawings = [
        draw_situation(picture, prediction.best, vocabulary, notice=title, min_width=DRAWING_WIDTH)
        for title, prediction in zip(titles, predictions, strict=True)
    ]
    lines = [
        f"{title}: " + ", ".join(f"{verb} {100 * score:.0f} %" for verb, score in prediction.ranking[:3])
        for title, prediction in zip(titles, predictions, strict=True)
    ]
    return PictureItem(beside(drawings), f"annotated {gold} ({group_of.get(gold, 'no subset')})", lines)


def beside(drawings: Sequence[Image.Image]) -> Image.Image:
    """The drawings in a row, on white."""
    width = sum(drawing.width for drawing in drawings) + _GAP * (len(drawings) - 1)
    whole = Image.new("RGB", (width, max(drawing.height for drawing in drawings)), "white")
    left = 0
    for drawing in drawings:
        whole.paste(drawing, (left, 0))
        left += drawing.width + _GAP
    return whole
