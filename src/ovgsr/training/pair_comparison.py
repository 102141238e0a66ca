"""Pictures on which one system's best interaction is right and another's is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ovgsr.data.hoi_pairs import SAME_PAIR_IOU, min_iou, object_of
from ovgsr.hoi_vocabulary import NO_INTERACTION, Interaction
from ovgsr.interactions import PairPrediction, ScoredPair
from ovgsr.models.preprocess import load_image
from ovgsr.pair_drawing import draw_pairs, found_pairs
from ovgsr.report import PictureItem, PictureSection
from ovgsr.situation import AnnotatedImage
from ovgsr.training.comparison import DRAWING_WIDTH, beside
from ovgsr.vocabulary import Vocabulary

_DRAWN = 3


def compare_pair_pictures(
    image_folder: Path,
    vocabulary: Vocabulary,
    annotated: Sequence[AnnotatedImage],
    predictions_a: Iterable[PairPrediction],
    predictions_b: Iterable[PairPrediction],
    titles: tuple[str, str],
    count: int = 6,
    *,
    unseen: Collection[Interaction] = (),
) -> list[PictureSection]:
    """Where the first system's best pair is right and the second's wrong, and the other way round, ``count`` each.

    A pair is right where the picture has a row of its interaction that both boxes overlap by a half ("no interaction"
    is passed over). Pictures of unseen interactions come first; a section without a picture is left out. Raises
    ImageError for a picture that cannot be read.
    """
    known = {image.file_name: image for image in annotated}
    ours, theirs = ({p.file_name: p for p in predictions} for predictions in (predictions_a, predictions_b))
    common = [name for name in ours if name in theirs and name in known]
    sections = []
    for first, second, winner, loser in ((ours, theirs, *titles), (theirs, ours, *titles[::-1])):
        won = [name for name in common if _right(first[name], known[name]) and not _right(second[name], known[name])]
        new = [name for name in won if _named(best_pair(first[name])) in unseen]
        chosen = [*new, *(name for name in won if name not in new)][:count]
        items = [
            _item(image_folder, vocabulary, known[name], (ours[name], theirs[name]), titles, unseen) for name in chosen
        ]
        if items:
            note = (
                f"The best interaction of {winner} alone is right in {len(won)} of the {len(common)} pictures looked "
                f"at, {len(new)} of them with an unseen one. Left: {titles[0]}; right: {titles[1]}."
            )
            sections.append(PictureSection(f"{winner} is right, {loser} is wrong", items, note=note))
    return sections


def best_pair(prediction: PairPrediction) -> ScoredPair | None:
    """The interaction with the highest score that is one."""
    return next(iter(_best_first(prediction)), None)


def _best_first(prediction: PairPrediction) -> list[ScoredPair]:
    return sorted((pair for pair in prediction.pairs if pair.verb != NO_INTERACTION), key=lambda pair: -pair.score)


def _named(pair: ScoredPair | None) -> Interaction | None:
    return None if pair is None else (pair.verb, pair.object)


def _right(prediction: PairPrediction, image: AnnotatedImage) -> bool:
    best = best_pair(prediction)
    return best is not None and any(
        (row.verb, object_of(row)) == (best.verb, best.object) and min_iou(best.to_situation(), row) >= SAME_PAIR_IOU
        for row in image.situations
    )


def _item(
    image_folder: Path,
    vocabulary: Vocabulary,
    image: AnnotatedImage,
    predictions: tuple[PairPrediction, PairPrediction],
    titles: tuple[str, str],
    unseen: Collection[Interaction],
) -> PictureItem:
    picture = load_image(image_folder / image.file_name)
    drawings = []
    for title, prediction in zip(titles, predictions, strict=True):
        shown = found_pairs(_best_first(prediction)[:_DRAWN], least=0)
        drawings.append(draw_pairs(picture, shown, vocabulary, notice=title, min_width=DRAWING_WIDTH))
    rows = dict.fromkeys((row.verb, object_of(row)) for row in image.situations)
    lines = [f"{verb} {thing}{' (unseen)' if (verb, thing) in unseen else ''}" for verb, thing in rows]
    return PictureItem(beside(drawings), "annotated " + ", ".join(lines).replace("_", " "))
