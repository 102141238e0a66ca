"""A data set as training sees it: words and pictures of unseen verbs are kept out here, before anything is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovgsr.config import DataSettings
from ovgsr.data.errors import DataError
from ovgsr.data.swig import (
    read_annotations,
    read_split,
    read_vocabulary,
    require_known_verbs,
    with_verbs,
)
from ovgsr.situation import AnnotatedImage
from ovgsr.vocabulary import VerbSplit, Vocabulary


@dataclass(frozen=True)
class TrainingData:
    """A data set as training sees it: the words of unseen verbs are not even in ``vocabulary``."""

    root: Path
    split: VerbSplit
    whole: Vocabulary
    vocabulary: Vocabulary
    train: tuple[AnnotatedImage, ...]
    dev: tuple[AnnotatedImage, ...]


def read_training_data(settings: DataSettings) -> TrainingData:
    """The folds, with every unseen verb's picture and word kept away from training.

    Raises DataError where the folder is no data set, the split names a verb it does not have, or training pictures of
    seen verbs are missing.
    """
    root = Path(settings.root)
    whole = read_vocabulary(root)
    split = read_split(root, Path(settings.split) if settings.split else None)
    if split is None:  # an ordinary closed benchmark: every verb is seen
        split = VerbSplit("all verbs seen", seen=whole.verb_names)
    require_known_verbs(split, whole)
    train = with_verbs(read_annotations(root, "train"), split.training)
    if not train:
        raise DataError(f"{root}: no training picture of a seen or rare verb of the split {split.name!r}")
    used = {key for image in train for noun in image.situation.nouns.values() for key in noun.annotators}
    vocabulary = whole.with_verbs(split.training).with_nouns(n for n in whole.nouns if n.key in used)
    dev = with_verbs(read_annotations(root, "dev"), split.candidates("dev"))
    return TrainingData(root, split, whole, vocabulary, train, dev)
