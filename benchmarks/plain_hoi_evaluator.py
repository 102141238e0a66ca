"""The HICO-DET metric in plain Python, written from the protocol alone, to check and to time the real evaluator.

It shares no code with ``ovgsr.evaluation``: loops over classes, pictures, pairs and rows, and boxes as inclusive pixels
where a code base has them so. Slow and easy to read; a test compares both on random pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ovgsr.hoi_vocabulary import Interaction
from ovgsr.interactions import PairPrediction
from ovgsr.situation import AnnotatedImage

Box = tuple[float, float, float, float]
Pair = tuple[Interaction, Box, Box, float]

MATLAB_BINS = (0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NUMPY_BINS = tuple(0.1 * step for step in range(11))


def inclusive_iou(first: Box, second: Box, touching_is_zero: bool) -> float:
    """IoU of boxes whose corners are pixels that belong to them; GEN-VLKT calls boxes that share one line disjoint."""
    width = min(first[2], second[2]) - max(first[0], second[0]) + 1
    height = min(first[3], second[3]) - max(first[1], second[1]) + 1
    least = 1 if touching_is_zero else 0
    if width <= least or height <= least:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (first, second)]
    return width * height / (areas[0] + areas[1] - width * height)


def continuous_iou(first: Box, second: Box) -> float:
    """IoU of boxes whose corners are points."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (areas[0] + areas[1] - width * height)


def pixels(box: Box) -> Box:
    """Continuous corners as the pixels inside, 0-based."""
    return (box[0], box[1], box[2] - 1, box[3] - 1)


def overlap(predicted: Box, annotated: Box, mode: str) -> float:
    """IoU as the mode has it."""
    if mode == "upt":
        return continuous_iou(predicted, annotated)
    if mode == "official":
        return inclusive_iou(pixels(predicted), pixels(annotated), touching_is_zero=False)
    return inclusive_iou(predicted, pixels(annotated), touching_is_zero=True)


def gen_vlkt_choice(pairs: Sequence[Pair]) -> list[Pair]:
    """The top 100 of a picture looked up by value, then those that no better pair of their class nearly equals."""
    values = [pair[3] for pair in pairs]
    best = [pairs[values.index(value)] for value in sorted(values, reverse=True)[:100]]
    kept: list[Pair] = []
    for pair in best:
        for other in kept:
            if other[0] == pair[0]:
                human = inclusive_iou(other[1], pair[1], touching_is_zero=False)
                thing = inclusive_iou(other[2], pair[2], touching_is_zero=False)
                if human * thing**0.5 > 0.7:
                    break
        else:
            kept.append(pair)
    return kept


def average_precision(hits: Sequence[bool], rows: int, bins: Sequence[float]) -> float:
    """The mean over the bins of the best precision at that recall or more."""
    right, points = 0, []
    for rank, hit in enumerate(hits, start=1):
        right += hit
        points.append((right / rows, right / rank))
    return sum(max((p for r, p in points if r >= level), default=0.0) for level in bins) / len(bins)


def evaluate(
    predictions: Sequence[PairPrediction],
    annotated: Sequence[AnnotatedImage],
    interactions: Sequence[Interaction],
    mode: str,
) -> dict[str, dict[Interaction, float]]:
    """Setting -> interaction -> AP in 0..1, for interactions with an annotated row."""
    listed, by_name = set(interactions), {prediction.file_name: prediction for prediction in predictions}
    rows: dict[Interaction, dict[int, list[tuple[Box, Box]]]] = {i: defaultdict(list) for i in interactions}
    found: dict[Interaction, list[tuple[float, int, Box, Box]]] = {i: [] for i in interactions}
    objects: list[set[str]] = []
    for position, image in enumerate(annotated):
        objects.append(set())
        for situation in image.situations:
            human, thing = situation.nouns["human"], situation.nouns["object"]
            assert human.box_xyxy is not None
            assert thing.box_xyxy is not None
            rows[situation.verb, thing.noun][position].append((human.box_xyxy, thing.box_xyxy))
            objects[-1].add(thing.noun)
        prediction = by_name.get(image.file_name)
        if prediction is None or (mode == "upt" and not image.situations):
            continue
        pairs = [((p.verb, p.object), p.human_box_xyxy, p.object_box_xyxy, p.score) for p in prediction.pairs]
        pairs = [pair for pair in pairs if pair[0] in listed]
        for interaction, human_box, object_box, score in gen_vlkt_choice(pairs) if mode == "gen-vlkt" else pairs:
            found[interaction].append((score, position, human_box, object_box))
    result: dict[str, dict[Interaction, float]] = {"default": {}, "known_object": {}}
    for interaction in interactions:
        total = sum(map(len, rows[interaction].values()))
        if not total:
            continue
        marked = marks(found[interaction], rows[interaction], mode)
        bins = NUMPY_BINS if mode == "gen-vlkt" else MATLAB_BINS
        known = [hit for position, hit in marked if interaction[1] in objects[position]]
        result["default"][interaction] = average_precision([hit for _, hit in marked], total, bins)
        result["known_object"][interaction] = average_precision(known, total, bins)
    return result


def marks(
    found: list[tuple[float, int, Box, Box]], rows: dict[int, list[tuple[Box, Box]]], mode: str
) -> list[tuple[int, bool]]:
    """A class's pairs, best first: the picture, and whether the pair is right."""
    taken: set[tuple[int, int]] = set()
    marked = []
    for _, position, human_box, object_box in sorted(found, key=lambda pair: -pair[0]):
        best, choice = -1.0, -1
        for row, (human_row, object_row) in enumerate(rows.get(position, ())):
            least = min(overlap(human_box, human_row, mode), overlap(object_box, object_row, mode))
            if least > best:
                best, choice = least, row
        hit = (best > 0.5 if mode == "upt" else best >= 0.5) and (position, choice) not in taken
        if hit:
            taken.add((position, choice))
        marked.append((position, hit))
    return marked
