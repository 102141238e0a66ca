"""Pictures that a refined split drops: annotators who disagree, boxes that cannot be right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun

DISAGREEING_ROLES = 0.5
"""A picture is dropped where a larger share of its roles has no answer that two annotators gave."""
OUTSIDE = 0.1
"""A box is broken where a larger share of its area lies outside the picture."""
REASONS = {
    "annotators_disagree": "in more than half of the roles no two annotators gave the same answer",
    "box_incomplete": "a box has -1 for some of its coordinates only",
    "box_empty": "a box is inverted or has no area",
    "box_outside": "more than a tenth of a box lies outside the picture",
}


def flaws(images: Iterable[AnnotatedImage]) -> dict[str, tuple[str, ...]]:
    """Reason (one of REASONS) -> the file names of pictures it holds for; a picture may stand under several."""
    found: dict[str, list[str]] = {reason: [] for reason in REASONS}
    for image in images:
        for reason in sorted(set(_flaws(image))):
            found[reason].append(image.file_name)
    return {reason: tuple(names) for reason, names in found.items()}


def _flaws(image: AnnotatedImage) -> Iterator[str]:
    answers = image.situation.nouns.values()
    if sum(map(_disagree, answers)) > DISAGREEING_ROLES * len(answers):
        yield "annotators_disagree"
    for answer in answers:
        if answer.box_xyxy is not None:
            yield from _box_flaw(answer.box_xyxy, image.width, image.height)


def _disagree(answer: GroundedNoun) -> bool:
    return len(answer.annotators) > 1 and len(answer.accepted) == len(answer.annotators)


def _box_flaw(box_xyxy: BoxXyxy, width: int, height: int) -> Iterator[str]:
    left, top, right, bottom = box_xyxy
    if -1 in box_xyxy:
        yield "box_incomplete"
    elif right <= left or bottom <= top:
        yield "box_empty"
    else:
        inside = max(0.0, min(right, width) - max(left, 0.0)) * max(0.0, min(bottom, height) - max(top, 0.0))
        if inside < (1 - OUTSIDE) * (right - left) * (bottom - top):
            yield "box_outside"
