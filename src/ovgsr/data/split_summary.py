"""What a split comes to on a data set: pictures of each group, what training does not get and why, what is shared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ovgsr.data.swig import FOLDS
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage
from ovgsr.verb_split import VerbSplit


@dataclass(frozen=True)
class SplitSummary:
    """Counts of pictures, and shares in 0..1."""

    pictures: Mapping[str, Mapping[str, int]]
    """Group (seen, rare, unseen, dev_unseen) -> fold -> its pictures there."""
    left_out: Mapping[str, int]
    """Why pictures of train.json are not trained on -> how many; a picture counts once, under the first reason."""
    dropped: Mapping[str, Mapping[str, int]]
    """Reason of ``VerbSplit.dropped`` -> fold -> pictures; one picture may have several reasons."""
    answers_met: float | None
    """Of the nouns answered for test pictures of unseen verbs, the share that training pictures have; None without."""


def summarise(split: VerbSplit, images: Mapping[str, Sequence[AnnotatedImage]]) -> SplitSummary:
    """The summary of a split over a data set's folds (fold -> all its records)."""
    kept = {fold: split.pictures(images[fold], fold) for fold in FOLDS}
    of_verb = {fold: Counter(image.situation.verb for image in kept[fold]) for fold in FOLDS}
    groups = {part: getattr(split, part) for part in ("seen", "rare", "unseen", "dev_unseen")}
    fold_of = {image.file_name: fold for fold in FOLDS for image in images[fold]}
    known = Counter(_answers(kept["train"]))
    asked = list(_answers(i for i in kept["test"] if i.situation.verb in set(split.unseen)))
    return SplitSummary(
        {part: {fold: sum(of_verb[fold][verb] for verb in verbs) for fold in FOLDS} for part, verbs in groups.items()},
        _left_out(split, images["train"]),
        {
            reason: {fold: sum(fold_of.get(name) == fold for name in names) for fold in FOLDS}
            for reason, names in split.dropped.items()
        },
        sum(noun in known for noun in asked) / len(asked) if asked else None,
    )


def _left_out(split: VerbSplit, train: Sequence[AnnotatedImage]) -> dict[str, int]:
    """The rules of :meth:`VerbSplit.pictures`, one more at a time."""
    steps = {
        "of unseen verbs": replace(split, dropped={}, unseen_nouns=(), rare_pictures=None),
        "dropped": replace(split, unseen_nouns=(), rare_pictures=None),
        "show unseen nouns": replace(split, rare_pictures=None),
        "beyond the few of rare verbs": split,
    }
    left, counts = len(train), {}
    for reason, rules in steps.items():
        kept = len(rules.pictures(train, "train"))
        counts[reason], left = left - kept, kept
    return counts


def _answers(images: Iterable[AnnotatedImage]) -> Iterable[str]:
    for image in images:
        for answer in image.situation.nouns.values():
            yield from (noun for noun in answer.annotators if noun != EMPTY_NOUN)
