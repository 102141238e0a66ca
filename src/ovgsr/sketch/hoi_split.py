"""Which combinations of verb and object are rare and unseen in the training pictures of SketchHOI."""

from __future__ import annotations

from functools import cache

from ovgsr.sketch.hoi_acts import Combination, combinations

UNSEEN_VERBS = ("groom", "lift", "smell")
"""Verbs that test pictures alone show."""
DEV_UNSEEN_VERBS = ("drag", "paint")
"""Verbs that dev pictures alone show."""

# fmt: off
UNSEEN_PAIRS: tuple[Combination, ...] = (
    ("ride", "elephant"), ("sit_on", "bench"), ("stand_on", "bed"), ("lie_on", "couch"), ("push", "motorcycle"),
    ("push", "couch"), ("walk", "sheep"), ("pet", "horse"), ("feed", "cow"), ("feed", "cat"), ("wash", "car"),
    ("wash", "elephant"), ("repair", "bicycle"), ("repair", "laptop"), ("hug", "cat"), ("kiss", "dog"),
    ("chase", "bird"), ("hold", "frisbee"), ("carry", "teddy_bear"), ("eat", "pizza"), ("eat", "orange"),
    ("cut", "cake"), ("drink_with", "cup"), ("kick", "bottle"), ("throw", "book"), ("catch", "apple"),
    ("watch", "elephant"), ("read", "cell_phone"),
)
DEV_UNSEEN_PAIRS: tuple[Combination, ...] = (
    ("ride", "cow"), ("stand_on", "bench"), ("push", "truck"), ("walk", "horse"), ("pet", "cat"), ("feed", "sheep"),
    ("wash", "dog"), ("repair", "tv"), ("hug", "teddy_bear"), ("kiss", "cat"), ("hold", "sports_ball"),
    ("carry", "book"), ("eat", "cake"), ("cut", "apple"), ("throw", "bottle"), ("watch", "cat"),
)
RARE: tuple[Combination, ...] = (
    ("ride", "boat"), ("stand_on", "suitcase"), ("lie_on", "bench"), ("push", "boat"), ("walk", "elephant"),
    ("walk", "cat"), ("pet", "elephant"), ("feed", "bird"), ("wash", "truck"), ("wash", "cat"), ("repair", "boat"),
    ("repair", "skateboard"), ("hug", "bird"), ("kiss", "sheep"), ("chase", "horse"), ("carry", "umbrella"),
    ("eat", "carrot"), ("cut", "sandwich"), ("drink_with", "wine_glass"), ("kick", "chair"), ("throw", "banana"),
    ("catch", "orange"), ("watch", "horse"), ("read", "laptop"),
)
# fmt: on
RARE_EVERY = 5
"""Of the first training pictures, every fifth shows one rare combination, until each has had its few."""
FEWEST, MOST = 3, 7
"""Training pictures of a rare combination, in a set large enough to hold them all."""
FOLDS = ("dev", "test", "train")


@cache
def unseen() -> tuple[Combination, ...]:
    """Combinations that test pictures alone show, in the order of their numbers."""
    return tuple(pair for pair in combinations() if pair in UNSEEN_PAIRS or pair[0] in UNSEEN_VERBS)


@cache
def dev_unseen() -> tuple[Combination, ...]:
    """Combinations that dev pictures alone show."""
    return tuple(pair for pair in combinations() if pair in DEV_UNSEEN_PAIRS or pair[0] in DEV_UNSEEN_VERBS)


@cache
def shown_in(fold: str) -> frozenset[Combination]:
    """Combinations that pictures of the fold may show; in training without the rare ones, which are rationed."""
    hidden = {"train": {*unseen(), *dev_unseen(), *RARE}, "dev": set(unseen()), "test": set(dev_unseen())}[fold]
    return frozenset(combinations()) - hidden


@cache
def _rations() -> tuple[Combination, ...]:
    spread = MOST - FEWEST + 1
    return tuple(pair for turn in range(MOST) for place, pair in enumerate(RARE) if turn < FEWEST + place % spread)


def ration(index: int) -> Combination | None:
    """The rare combination that training picture number `index` must show, if any."""
    turn, rest = divmod(index, RARE_EVERY)
    return _rations()[turn] if rest == 0 and turn < len(_rations()) else None
