"""Which verbs of SketchSWiG are seen, rare, unseen in training, and how many pictures each gets."""

from __future__ import annotations

SEEN: tuple[str, ...] = tuple(
    ["throwing", "kicking", "juggling", "carrying", "giving", "eating", "drinking", "singing", "pushing", "chasing", "riding", "fishing", "crawling", "chopping", "repairing", "washing", "vacuuming", "sweeping", "mowing", "brushing", "stirring", "pouring", "writing", "filming", "typing", "reading", "cooking", "stroking", "sleeping", "sitting", "bowing", "waving"]
)
RARE: tuple[str, ...] = tuple(
    ["catching", "smelling", "pulling", "painting", "hugging", "jumping", "measuring", "raking", "performing", "skating", "kissing", "lighting"]
)
UNSEEN: tuple[str, ...] = tuple(
    ["watering", "feeding", "lifting", "dropping", "photographing", "nailing", "drumming", "shoveling", "leading", "climbing", "rowing", "shearing"]
)
DEV_UNSEEN: tuple[str, ...] = tuple(["spraying", "dragging", "phoning", "mopping", "licking", "falling", "milking", "stacking"])
VERBS: tuple[str, ...] = SEEN + RARE + UNSEEN + DEV_UNSEEN

SPLIT_VERBS: dict[str, tuple[str, ...]] = {
    "train": SEEN + RARE,
    "dev": SEEN + RARE + DEV_UNSEEN,
    "test": SEEN + RARE + UNSEEN,
}


def train_counts(pictures: int) -> dict[str, int]:
    """Training pictures of each verb: 8 to 10 for a rare one (fewer in tiny sets), the rest even over the seen.

    Raises:
        ValueError: fewer pictures than there are training verbs.
    """
    if pictures < len(SEEN) + len(RARE):
        raise ValueError(
            f"A SketchSWiG training set needs at least {len(SEEN) + len(RARE)} pictures, one for each training verb; "
            f"{pictures} were asked for. Ask for more with --train."
        )
    cap = max(1, pictures // (2 * (len(SEEN) + len(RARE))))
    counts = {verb: min(8 + i % 3, cap) for i, verb in enumerate(RARE)}
    left = pictures - sum(counts.values())
    share, extra = divmod(left, len(SEEN))
    seen = {verb: share + (1 if i < extra else 0) for i, verb in enumerate(SEEN)}
    return {**seen, **counts}
