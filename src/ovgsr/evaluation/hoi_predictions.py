"""Files of predicted interactions, as columns: JSON Lines of any system, and the ``.mat`` the official script takes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovgsr.evaluation.columns import Findings
from ovgsr.evaluation.hoi_columns import UNLISTED, Floats, GoldPairs, PairCollector, ScoredPairs
from ovgsr.evaluation.predictions import PredictionsError, read_records
from ovgsr.hoi_vocabulary import Interaction
from ovgsr.interactions import InteractionError, PairPrediction
from ovgsr.mat_files import read_mat

Progress = Callable[[int, int], None]

_BOXES = operator.itemgetter("human_box", "object_box")
_NAMES = operator.itemgetter("verb", "object")
_SCORE = operator.itemgetter("score")


def read_pairs(
    path: str | Path, gold: GoldPairs, objects: Sequence[str], findings: Findings, progress: Progress | None = None
) -> ScoredPairs:
    """The predictions of a file, or of a folder of ``detections_XX.mat``, numbered by ``objects`` (COCO's 80 in order).

    Raises PredictionsError, or MatFileError, with the file, the place in it and the remedy.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, gold, objects, findings, progress)
    if path.suffix == ".mat":
        return _read_mat({path: gold.interactions}, gold, findings, progress)
    return _read_json_lines(path, gold, findings, progress)


def _read_json_lines(path: Path, gold: GoldPairs, findings: Findings, progress: Progress | None) -> ScoredPairs:
    collector = PairCollector(gold, findings)
    for count, (number, record) in enumerate(read_records(path), start=1):
        image, columns = record.get("image"), _columns(record, collector.class_of)
        if not isinstance(image, str) or not image or columns is None:  # the careful way says what is wrong
            try:
                prediction = PairPrediction.from_json(record)
            except InteractionError as error:
                raise PredictionsError(f"{path}, line {number}: {error}") from None
            image, columns = prediction.file_name, _columns(prediction.to_json(), collector.class_of)
            assert columns is not None
        collector.add(image, *columns)
        if progress is not None:
            progress(count, len(gold.file_names))
    return collector.columns()


def _columns(record: dict[str, Any], class_of: dict[Interaction, int]) -> tuple[list[int], Floats, Floats] | None:
    """A line's classes (n,), boxes (n, 8) and scores (n,), checked as a whole; None where anything is unusual."""
    pairs = record.get("pairs")
    if not isinstance(pairs, list):
        return None
    try:
        names = list(map(_NAMES, pairs))
        classes = [class_of.get(interaction, UNLISTED) for interaction in names]
        box_lists, score_list = list(map(_BOXES, pairs)), list(map(_SCORE, pairs))
        boxes, scores = np.array(box_lists), np.array(score_list)
    except (KeyError, TypeError, ValueError):  # a field is missing, is no list, or is not four numbers
        return None
    if not pairs:
        return [], np.zeros((0, 8)), np.zeros(0)
    if UNLISTED in classes and not all(isinstance(word, str) and word for name in names for word in name):
        return None
    if boxes.shape != (len(pairs), 2, 4) or not {boxes.dtype.kind, scores.dtype.kind} <= {"f", "i"}:
        return None
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()) or scores.shape != (len(pairs),):
        return None
    if bool in {*map(type, chain(score_list, *chain.from_iterable(box_lists)))}:  # numpy takes true among numbers for 1
        return None
    return classes, boxes.reshape(-1, 8).astype(np.float64), scores.astype(np.float64)


def _read_folder(
    folder: Path, gold: GoldPairs, objects: Sequence[str], findings: Findings, progress: Progress | None
) -> ScoredPairs:
    """``detections.mat`` of all interactions, or one ``detections_XX.mat`` an object."""
    whole = folder / "detections.mat"
    if whole.is_file():
        return _read_mat({whole: gold.interactions}, gold, findings, progress)
    files = {}
    for number, name in enumerate(objects, start=1):
        interactions = tuple(interaction for interaction in gold.interactions if interaction[1] == name)
        if interactions:
            files[folder / f"detections_{number:02d}.mat"] = interactions
    missing = [path for path in files if not path.is_file()]
    if not files or missing:
        place = missing[0] if missing else folder / "detections_01.mat"
        raise PredictionsError(f"{place}: not there; the official script takes one file an object, or detections.mat")
    return _read_mat(files, gold, findings, progress)


def _read_mat(
    files: Mapping[Path, Sequence[Interaction]], gold: GoldPairs, findings: Findings, progress: Progress | None
) -> ScoredPairs:
    """The cells ``all_boxes`` of the official script: a row an interaction, a column a picture in the data set's order,
    each n x 9: human box, object box, score. Boxes are 0-based inclusive pixels there, so x2 and y2 grow by one."""
    images, classes, parts = [], [], []
    for done, (path, interactions) in enumerate(files.items(), start=1):
        cells = _cells(path, (len(interactions), len(gold.file_names)))
        for position, rows in enumerate(cells.ravel().tolist()):
            if not rows.size:
                continue
            row, image = divmod(position, len(gold.file_names))
            if rows.ndim != 2 or rows.shape[1] != 9 or rows.dtype.kind not in "fiu" or not np.isfinite(rows).all():
                place = f"{path}, 'all_boxes' {{{row + 1},{image + 1}}}"
                raise PredictionsError(f"{place}: must be empty or n x 9 finite numbers (two boxes, score)")
            images.append(image)
            classes.append(gold.class_of[interactions[row]])
            parts.append(rows)
        if progress is not None:
            progress(done, len(files))
    if not parts:
        raise PredictionsError(f"{next(iter(files))}: no detection in any file; check how they were written")
    counts = [len(rows) for rows in parts]
    together = np.concatenate(parts).astype(np.float64)
    boxes_xyxy = together[:, :8].reshape(-1, 2, 4) + np.array([0.0, 0.0, 1.0, 1.0])
    image_column, class_column = (np.repeat(np.array(ids, dtype=np.int64), counts) for ids in (images, classes))
    return ScoredPairs(image_column, class_column, boxes_xyxy, together[:, 8])


def _cells(path: Path, shape: tuple[int, int]) -> NDArray[np.object_]:
    cells = read_mat(path, ["all_boxes"]).get("all_boxes")
    if cells is None or cells.dtype != object or cells.shape != shape:
        what = "is missing" if cells is None else f"is {cells.dtype} of {' x '.join(map(str, cells.shape))}"
        wanted = f"a cell array of {shape[0]} interactions x {shape[1]} pictures"
        raise PredictionsError(f"{path}: the variable 'all_boxes' {what}; it must be {wanted}")
    return np.asarray(cells, dtype=object)
