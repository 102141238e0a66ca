"""A data set as training sees it: words and pictures of unseen verbs are kept out here, before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ovgsr.config import DataSettings
from ovgsr.data.annotation_table import AnnotatedImages
from ovgsr.data.errors import DataError
from ovgsr.data.prepare import read_unreadable
from ovgsr.data.skipped import Skipped
from ovgsr.data.swig import (
    Fold,
    image_folder,
    read_annotations,
    read_split,
    read_vocabulary,
    require_known_verbs,
    resized_folder,
)
from ovgsr.situation import AnnotatedImage
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary


@dataclass(frozen=True)
class TrainingData:
    """A data set as training sees it: the words of unseen verbs are not even in ``vocabulary``."""

    root: Path
    split: VerbSplit
    whole: Vocabulary
    vocabulary: Vocabulary
    train: AnnotatedImages
    dev: Sequence[AnnotatedImage]
    pictures: Path
    """The folder that training and dev read them from: the data set's own, or resized copies."""
    faults: tuple[str, ...] = ()
    """What is wrong with the records and pictures left out, where ``data.on_error`` is skip."""
    skipped: Skipped | None = None
    """Where a run notes what it cannot read; none: that is an error."""

    def dev_groups(self, images: Sequence[AnnotatedImage]) -> dict[str, Tensor]:
        """Which of some dev pictures are of seen, rare and unseen verbs, (B,) bool each; no empty groups."""
        verbs = [image.situation.verb for image in images]
        masks = {name: torch.tensor([verb in of for verb in verbs]) for name, of in self.split.groups("dev").items()}
        return {name: mask for name, mask in masks.items() if bool(mask.any())}


def harmonic_mean(values: Sequence[float]) -> float:
    """What dev scores of several groups come to: 0 where there is none, or any is 0."""
    return 0.0 if min(values, default=0) <= 0 else len(values) / sum(1 / value for value in values)


def read_training_data(settings: DataSettings) -> TrainingData:
    """The folds, with every unseen verb's picture and word kept away from training.

    Raises DataError where the folder is no data set, the split names a verb it does not have, or training pictures of
    seen verbs are missing.
    """
    root = Path(settings.root)
    whole = read_vocabulary(root)
    split = read_split(root, settings.split)
    if split is None:  # an ordinary closed benchmark: every verb is seen
        split = VerbSplit("all verbs seen", seen=whole.verb_names)
    require_known_verbs(split, whole)
    faults: list[str] | None = [] if settings.on_error == "skip" else None
    unreadable = {} if faults is None else read_unreadable(root)

    def usable(fold: Fold) -> AnnotatedImages:
        images = AnnotatedImages.of(read_annotations(root, fold, faults))
        if faults is None or not unreadable:
            return images
        faults.extend(unreadable[name] for name in images.file_names if name in unreadable)
        return images.without(unreadable)

    train, dev = usable("train").of_split(split, "train"), usable("dev").of_split(split, "dev")
    if not train:
        raise DataError(f"{root}: no training picture of a seen or rare verb of the split {split.name!r}")
    used = train.nouns
    vocabulary = whole.with_verbs(split.training).with_nouns(n for n in whole.nouns if n.key in used)
    return TrainingData(root, split, whole, vocabulary, train, dev, _pictures(root, settings), tuple(faults or ()))


def _pictures(root: Path, settings: DataSettings) -> Path:
    if settings.resized is None:
        return image_folder(root)
    folder = resized_folder(root, settings.resized)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: there is no such folder; make the copies that data.resized names with "
            f"ovgsr data prepare swig --root {root} --resize {settings.resized}"
        )
    return folder
