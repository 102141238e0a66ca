"""Which verbs of SketchSWiG are seen, rare, unseen in training, and how many pictures each gets."""

from ovgsr.errors import OvgsrError

# fmt: off
SEEN: tuple[str, ...] = (
    "throwing", "kicking", "juggling", "carrying", "giving", "eating", "drinking", "singing", "pushing", "chasing",
    "riding", "fishing", "crawling", "chopping", "repairing", "washing", "vacuuming", "sweeping", "mowing", "brushing",
    "stirring", "pouring", "writing", "filming", "typing", "reading", "cooking", "stroking", "sleeping", "sitting",
    "bowing", "waving",
)
RARE: tuple[str, ...] = (
    "catching", "smelling", "pulling", "painting", "hugging", "jumping", "measuring", "raking", "performing",
    "skating", "kissing", "lighting",
)
UNSEEN: tuple[str, ...] = (
    "watering", "feeding", "lifting", "dropping", "photographing", "nailing", "drumming", "shoveling", "leading",
    "climbing", "rowing", "shearing",
)
DEV_UNSEEN: tuple[str, ...] = (
    "spraying", "dragging", "phoning", "mopping", "licking", "falling", "milking", "stacking",
)
# fmt: on
VERBS: tuple[str, ...] = SEEN + RARE + UNSEEN + DEV_UNSEEN

SPLIT_VERBS: dict[str, tuple[str, ...]] = {
    "train": SEEN + RARE,
    "dev": SEEN + RARE + DEV_UNSEEN,
    "test": SEEN + RARE + UNSEEN,
}


class SketchError(OvgsrError):
    """A SketchSWiG that cannot be drawn as asked; the message says why and what to do."""


def train_counts(pictures: int) -> dict[str, int]:
    """Training pictures of each verb: 8 to 10 for a rare one (fewer in tiny sets), the rest even over the seen.

    Raises:
        SketchError: fewer pictures than there are training verbs.
    """
    verbs = len(SEEN) + len(RARE)
    if pictures < verbs:
        raise SketchError(
            f"A SketchSWiG training set needs at least {verbs} pictures, one for each training verb; "
            f"{pictures} were asked for. Ask for more with --train."
        )
    cap = max(1, pictures // (2 * verbs))
    rare = {verb: min(8 + i % 3, cap) for i, verb in enumerate(RARE)}
    share, extra = divmod(pictures - sum(rare.values()), len(SEEN))
    seen = {verb: share + (1 if i < extra else 0) for i, verb in enumerate(SEEN)}
    return {**seen, **rare}
