"""Zero-shot splits of interactions: finding one, and what is left of a data set for training on it.

What training gets on a split holds no unseen interaction in any form: no row of one, no pair that also does something
unseen (or, by the other policy, only that pair's seen rows), no name of a verb or object that is left without a seen
interaction, and hence no text of one, since texts are made from the vocabulary alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ovgsr.data.errors import DataError
from ovgsr.data.hico_det import HicoDetFold, data_root, read_json
from ovgsr.data.hoi_pairs import SAME_PAIR_IOU, merge_rows, min_iou, object_of
from ovgsr.hoi_vocabulary import HICO_DET_SPLITS, HoiSplit, Interaction, hico_det_split, words_of
from ovgsr.situation import AnnotatedImage
from ovgsr.vocabulary import VocabularyError

Drop = Literal["pairs", "rows"]
"""What goes where a pair does something unseen: the whole pair, as in GEN-VLKT, or its unseen rows, as in CMMP."""


def split_path(source: Path) -> Path:
    """Where a data set's own split is, for its folder or a file in it."""
    return data_root(source) / "hoi_split.json"


def read_hoi_split(source: Path, split: str | Path | None = None) -> HoiSplit | None:
    """The split that is asked for: one of HICO-DET's by its name, else a file, by default the data set's own.

    None where none is asked for and the data set has none. Raises DataError with the field at fault.
    """
    if split is not None and str(split) in HICO_DET_SPLITS:
        return hico_det_split(str(split))
    path = split_path(source) if split is None else Path(split)
    if split is None and not path.is_file():
        return None
    if not path.is_file():
        raise DataError(f"{path}: there is no such split file; HICO-DET's own splits are {', '.join(HICO_DET_SPLITS)}")
    try:
        return HoiSplit.from_json(read_json(path))
    except VocabularyError as error:
        raise DataError(f"{path}: {error}") from None


def require_known_interactions(split: HoiSplit, interactions: Iterable[Interaction]) -> None:
    """Raises DataError where the split names an interaction that the data set does not list."""
    unknown = sorted(split.held_out - set(interactions))
    if unknown:
        raise DataError(
            f"the split {split.name!r} names {unknown[0]} (and {len(unknown) - 1} more), which the data set does not "
            "list; correct the names in the split file, or take a split of this data set"
        )


def training_fold(fold: HicoDetFold, split: HoiSplit | None, drop: Drop = "pairs") -> HicoDetFold:
    """What training may meet: the pictures with a row left, and the words of the interactions that stay.

    Pictures without a row are left out, with a split or without: what they show is not annotated. A picture that
    stays may still show something unseen beside its other pairs; no annotation points to it.
    Raises DataError where the split is another data set's.
    """
    if split is None:
        return replace(fold, images=tuple(image for image in fold.images if image.situations))
    require_known_interactions(split, fold.interactions)
    kept = [_without_held_out(image, split.held_out, drop) for image in fold.images]
    interactions = split.training(fold.interactions)
    return HicoDetFold(
        tuple(image for image in kept if image.situations),
        words_of(fold.vocabulary, interactions),
        interactions,
        fold.rare & set(interactions),
        fold.broken,
    )


def _without_held_out(image: AnnotatedImage, held_out: frozenset[Interaction], drop: Drop) -> AnnotatedImage:
    situations = image.situations
    unseen = {row for row, situation in enumerate(situations) if (situation.verb, object_of(situation)) in held_out}
    dropped = set(unseen)
    if drop == "pairs" and unseen:
        # Rows merge one by one, so a row may overlap an unseen one and yet belong to another pair: it goes as well.
        dropped |= {row for pair in merge_rows(image) if unseen & set(pair.rows) for row in pair.rows}
        dropped |= {
            row
            for row, situation in enumerate(situations)
            for other in unseen
            if object_of(situation) == object_of(situations[other])
            and min_iou(situation, situations[other]) >= SAME_PAIR_IOU
        }
    return replace(image, situations=tuple(s for row, s in enumerate(situations) if row not in dropped))
