"""The SWiG metrics in plain Python, written from the definitions alone, to check and to time the real evaluator.

It shares no code with ``ovgsr.evaluation``: loops over pictures, roles and annotators, one box pair at a time, floats
throughout. Slow and easy to read; a test compares both on random pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, ImagePrediction

SETTINGS = ("top1", "top5", "ground_truth_verb")
Numbers = dict[str, float]


@dataclass
class ImageResult:
    """What one picture contributes before any verb gate."""

    verb: str
    roles: int
    hits: int
    grounded_hits: int
    in_top1: bool
    in_top5: bool

    def gate(self, setting: str) -> bool:
        """Whether the setting counts this picture's answers."""
        return {"top1": self.in_top1, "top5": self.in_top5, "ground_truth_verb": True}[setting]


def overlap(first: BoxXyxy, second: BoxXyxy, extra: float) -> float:
    """Intersection over union; ``extra`` is 1 where boxes hold both border pixels, else 0."""
    width = min(first[2], second[2]) - max(first[0], second[0]) + extra
    height = min(first[3], second[3]) - max(first[1], second[1]) + extra
    inside = max(width, 0.0) * max(height, 0.0)
    areas = [max(b[2] - b[0] + extra, 0.0) * max(b[3] - b[1] + extra, 0.0) for b in (first, second)]
    union = areas[0] + areas[1] - inside
    return inside / union if union > 0 else 0.0


def noun_right(answer: GroundedNoun, gold: GroundedNoun, profile: str, vocabulary: Collection[str] | None) -> bool:
    """Whether some annotator gave this noun."""
    accepted = gold.annotators or (gold.noun,)
    if answer.noun == "Pad":
        return False
    if answer.noun == "oov":
        if profile == "official" or vocabulary is None:
            return False
        return any(noun != "" and noun not in vocabulary for noun in accepted)
    return answer.noun in accepted


def box_right(answer: GroundedNoun, gold: GroundedNoun, image: AnnotatedImage, profile: str) -> bool:
    """Whether the boxes, or their absence, match."""
    predicted, truth = answer.box_xyxy, gold.box_xyxy
    if profile == "situformer" and (truth is None or -1 in truth):
        return True
    if predicted is None or truth is None:
        return predicted is None and truth is None
    if profile == "coformer":
        x1, y1, x2, y2 = (max(c, 0.0) for c in predicted)
        w, h = float(image.width), float(image.height)
        return overlap((min(x1, w), min(y1, h), min(x2, w), min(y2, h)), truth, 0.0) >= 0.5
    return overlap(predicted, truth, 1.0) > 0.5


def score_image(
    image: AnnotatedImage, prediction: ImagePrediction | None, profile: str, vocabulary: Collection[str] | None
) -> ImageResult:
    """One picture; a missing prediction, frame or role is wrong."""
    gold = image.situations[0]
    ranked = [] if prediction is None else [verb for verb, _ in prediction.ranking]
    frame = None if prediction is None else prediction.situations.get(gold.verb)
    hits = grounded_hits = 0
    for role, truth in gold.nouns.items():
        answer = None if frame is None else frame.nouns.get(role)
        if answer is not None and noun_right(answer, truth, profile, vocabulary):
            hits += 1
            grounded_hits += box_right(answer, truth, image, profile)
    in_top1, in_top5 = gold.verb in ranked[:1], gold.verb in ranked[:5]
    return ImageResult(gold.verb, len(gold.nouns), hits, grounded_hits, in_top1, in_top5)


def mean(numbers: Iterable[float]) -> float:
    """The mean in percent."""
    collected = list(numbers)
    return 100 * sum(collected) / len(collected)


def of_images(results: Sequence[ImageResult], setting: str, attribute: str, average: str) -> tuple[float, float]:
    """(value, value-all) of some pictures: hits over roles micro or a picture, and pictures without a miss."""
    counts = [getattr(result, attribute) if result.gate(setting) else 0 for result in results]
    every = mean(count == result.roles for count, result in zip(counts, results, strict=True))
    if average == "per_image":
        return mean(count / result.roles for count, result in zip(counts, results, strict=True)), every
    return 100 * sum(counts) / sum(result.roles for result in results), every


def numbers_of(results: Sequence[ImageResult], average: str) -> dict[str, float]:
    """The fourteen numbers of some pictures under an average: ``macro`` (over verbs), ``per_image``, ``micro``."""
    by_verb: dict[str, list[ImageResult]] = defaultdict(list)
    for result in results:
        by_verb[result.verb].append(result)
    parts = list(by_verb.values()) if average == "macro" else [list(results)]
    found = {
        "verb_top1": mean(mean(r.in_top1 for r in part) / 100 for part in parts),
        "verb_top5": mean(mean(r.in_top5 for r in part) / 100 for part in parts),
    }
    for setting in SETTINGS:
        for prefix, attribute in (("", "hits"), ("grnd_", "grounded_hits")):
            pairs = [of_images(part, setting, attribute, average) for part in parts]
            found[f"{setting}.{prefix}value"] = sum(pair[0] for pair in pairs) / len(pairs)
            found[f"{setting}.{prefix}value_all"] = sum(pair[1] for pair in pairs) / len(pairs)
    return found


def evaluate(
    predictions: Iterable[ImagePrediction],
    annotated: Sequence[AnnotatedImage],
    profile: str,
    groups: Mapping[str, Collection[str]] | None = None,
    vocabulary: Collection[str] | None = None,
) -> dict[str, dict[str, Numbers]]:
    """Group -> average ("profile", "macro", "per_image") -> the fourteen numbers in percent; empty groups left out."""
    by_name: dict[str, ImagePrediction] = {}
    for prediction in predictions:
        by_name.setdefault(prediction.file_name, prediction)
    results = [score_image(image, by_name.get(image.file_name), profile, vocabulary) for image in annotated]
    own = {"official": "macro", "coformer": "per_image", "situformer": "micro"}[profile]
    members: dict[str, Collection[str] | None] = {"all": None, **(groups or {})}
    report = {}
    for group, verbs in members.items():
        chosen = [result for result in results if verbs is None or result.verb in verbs]
        if not chosen:
            continue
        averages = {average: numbers_of(chosen, average) for average in {own, "macro", "per_image"}}
        verb_numbers = {name: averages["per_image"][name] for name in ("verb_top1", "verb_top5")}
        report[group] = {**averages, "profile": {**averages[own], **verb_numbers}}
    return report
