"""Two systems beside each other: gains by hand, and the pictures on which one is right and the other wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ovgsr.data.swig import read_annotations, read_split, read_vocabulary
from ovgsr.evaluation.evaluate import EvaluationReport, evaluate_predictions
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.training.comparison import compare_pictures, gain, side_by_side
from ovgsr.verb_split import VerbSplit


def predicted(image: AnnotatedImage, verb: str, verbs: tuple[str, ...]) -> ImagePrediction:
    """``verb`` first, the rest behind it; the annotated answers in whatever frame."""
    order = [verb, *(other for other in verbs if other != verb)]
    ranking = tuple((name, 0.5 / 2**place) for place, name in enumerate(order))
    situation = replace(image.situation, verb=verb)
    return ImagePrediction(image.file_name, ranking, {verb: situation, image.situation.verb: image.situation})


@pytest.fixture(scope="module")
def fold(sketch_root: Path) -> tuple[VerbSplit, tuple[AnnotatedImage, ...]]:
    split = read_split(sketch_root)
    assert split is not None
    competing = split.candidates("test")
    return split, tuple(i for i in read_annotations(sketch_root, "test") if i.situation.verb in competing)


def test_the_gain_by_subset(fold: tuple[VerbSplit, tuple[AnnotatedImage, ...]]) -> None:
    split, images = fold
    verbs = split.candidates("test")

    def scored(right: set[str], offset: float | None = None) -> EvaluationReport:
        other = {verb: verbs[(place + 1) % len(verbs)] for place, verb in enumerate(verbs)}
        answers = [
            predicted(image, gold if gold in right else other[gold], verbs)
            for image in images
            for gold in [image.situation.verb]
        ]
        return evaluate_predictions(answers, images, split, offset=offset)

    ours, theirs = scored({*split.seen, *split.unseen}), scored({*split.seen})
    table = side_by_side(ours, theirs, ("with teacher", "without"))
    rows = {(row[0], row[2]): row[3:] for row in table.rows}
    assert rows["seen", "verb top-1"] == (100.0, 100.0, "+0.0")
    assert rows["unseen", "verb top-1"] == (100.0, 0.0, "+100.0")
    assert rows["rare", "verb top-1"] == (0.0, 0.0, "+0.0")
    assert rows["unseen", "value (gold verb)"][2] == "+0.0", "both fill the annotated frame as annotated"
    assert rows["seen and unseen", "harmonic mean of seen and unseen verb top-1"] == (100.0, 0.0, "+100.0")
    assert rows["seen and unseen", "AUSUC"][0] == pytest.approx(ours.open_vocabulary.ausuc)  # type: ignore[union-attr]
    assert table.columns == ("pictures of", "images", "measure", "with teacher", "without", "gain")
    # With a constant large enough every seen picture is lost: the calibrated numbers are the ones that are shown.
    shifted = side_by_side(scored({*split.seen}, offset=500.0), theirs, ("a", "b"))
    assert {(row[0], row[2]): row[5] for row in shifted.rows}["seen", "verb top-1"] == "-100.0"


@pytest.mark.parametrize(("a", "b", "text"), [(1.26, 0.0, "+1.3"), (0.0, 2.0, "-2.0"), (float("nan"), 1.0, "–")])
def test_gain(a: float, b: float, text: str) -> None:
    assert gain(a, b) == text


def test_pictures_where_one_is_right(sketch_root: Path, fold: tuple[VerbSplit, tuple[AnnotatedImage, ...]]) -> None:
    split, images = fold
    verbs = split.candidates("test")
    groups = {verb: group for group, members in split.groups("test").items() for verb in members}
    vocabulary = read_vocabulary(sketch_root).with_verbs(verbs)
    wrong = verbs[0]
    chosen = [image for image in images if image.situation.verb != wrong]
    first_half = {image.file_name for image in chosen[::2]}
    # Ours is right on every other picture, theirs on the ones between; the last picture theirs has not seen.
    ours = [predicted(i, i.situation.verb if i.file_name in first_half else wrong, verbs) for i in chosen]
    theirs = [predicted(i, wrong if i.file_name in first_half else i.situation.verb, verbs) for i in chosen[:-1]]
    sections = compare_pictures(sketch_root, vocabulary, split, images, ours, theirs, ("A", "B"), 5)
    assert [section.title for section in sections] == ["A is right, B is wrong", "B is right, A is wrong"]
    won = sum(image.file_name in first_half for image in chosen[:-1])
    assert sections[0].note.startswith(f"A alone is right on {won} of the {len(chosen) - 1} pictures looked at: ")
    for section in sections:
        assert len(section.items) == 5
        annotated = [item.headline.split()[1] for item in section.items]
        assert len(set(annotated)) == 5, "spread over verbs"
        assert [groups[verb] for verb in annotated[:3]] == ["unseen", "rare", "seen"], "subsets take turns"
        for item in section.items:
            assert item.image.width >= 2 * 360
            assert [line.split(":")[0] for line in item.lines] == ["A", "B"]
    assert sections[0].items[0].lines[1].startswith(f"B: {wrong} 50 %")
    assert compare_pictures(sketch_root, vocabulary, split, images, ours, ours, ("A", "B"), 5) == []


def test_a_prediction_without_its_best_frame_is_left_out(
    sketch_root: Path, fold: tuple[VerbSplit, tuple[AnnotatedImage, ...]]
) -> None:
    split, images = fold
    verbs = split.candidates("test")
    image = next(image for image in images if image.situation.verb != verbs[0])
    right, wrong = predicted(image, image.situation.verb, verbs), predicted(image, verbs[0], verbs)
    bare = replace(wrong, situations={})
    vocabulary = read_vocabulary(sketch_root)
    assert compare_pictures(sketch_root, vocabulary, split, images, [right], [bare], ("A", "B")) == []
    assert len(compare_pictures(sketch_root, vocabulary, split, images, [right], [wrong], ("A", "B"))) == 1
