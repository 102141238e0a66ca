"""Writes SketchHOI to a folder in the layout of HICO-DET, resumable: a killed run is finished by the next one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from ovgsr.files import write_bytes_atomically
from ovgsr.sketch.folder import UNFINISHED, as_json, draw_set, open_folder
from ovgsr.sketch.hoi_acts import combinations, objects, verbs
from ovgsr.sketch.hoi_picture import PICTURE_SIZE, FloatBox, HoiPicture, draw_hoi_picture
from ovgsr.sketch.hoi_split import FOLDS, dev_unseen, unseen
from ovgsr.sketch.split import SketchError
from ovgsr.sketch.write import jpeg_bytes

PLAN_FILE = "sketch_hoi.json"
SPLIT_FILE = "hoi_split.json"
CHUNK = 100
BOX_NOISE = 0.03
"""Standard deviation of an annotated edge, as a share of the box's side."""
LEAST_OVERLAP = 0.8
"""Intersection over union of every annotated box with the drawn one."""
FEW_PAIRS = 10
"""A combination is rare if training shows it, in fewer rows than this (HICO-DET, Chao et al. 2018, section 3)."""

README = """SketchHOI: a procedural data set for the detection of human-object interactions

Every picture in this folder was drawn by the ovgsr package (128 x 128 pixels, no photographs); the annotations follow
from the drawing instructions. The layout is that of HICO-DET: images/{train2015,dev2015,test2015}/ hold the pictures,
instances_*.json the rows (boxes 1-based inclusive, one row a human, object and interaction, each with boxes of its
own). hoi_split.json says which combinations of verb and object training pictures never show. sketch_hoi.json holds the
settings the set was made with; the same settings make the same files, byte for byte, with the same version of Pillow.

Names of verbs are HICO-DET's and names of objects COCO's. Everything else is under the Apache License 2.0.
"""

Rows = dict[str, list[object]]


@dataclass(frozen=True, slots=True)
class HoiPlan:
    """The settings that determine every file of the set."""

    seed: int
    train: int
    dev: int
    test: int
    format: str = "ovgsr-sketch-hoi-1"
    """Changes whenever a picture or a row would, so that no folder mixes drawings of two versions."""

    def chunks(self) -> list[HoiChunk]:
        """The pictures of each fold, a hundred at a time."""
        amounts = {"dev": self.dev, "test": self.test, "train": self.train}
        return [
            HoiChunk(self.seed, fold, first, min(CHUNK, amounts[fold] - first))
            for fold in FOLDS
            for first in range(0, amounts[fold], CHUNK)
        ]


@dataclass(frozen=True, slots=True)
class HoiChunk:
    """Pictures `first` (from 0) to `first + amount` of a fold."""

    seed: int
    fold: str
    first: int
    amount: int

    @property
    def name(self) -> str:
        """Name of the file that keeps the rows until the set is complete."""
        return f"{self.fold}_{self.first:08d}.json"


def file_name(fold: str, index: int) -> str:
    """Name of picture number `index` (from 0) of a fold: "SketchHOI_train2015_00000001.jpg" for the first."""
    return f"SketchHOI_{fold}2015_{index + 1:08d}.jpg"


@cache
def _numbers() -> dict[tuple[str, str], int]:
    return {combination: number for number, combination in enumerate(combinations())}


def annotate_hoi(picture: HoiPicture, rng: random.Random) -> Rows:
    """One entry of `annotation`: a row for each interaction, in the order of drawing, every box drawn anew."""
    rows: Rows = {"boxes_h": [], "boxes_o": [], "hoi": [], "object": [], "verb": []}
    for interaction in picture.interactions:
        rows["boxes_h"].append(jittered_box(picture.boxes_xyxy[interaction.human], rng))
        rows["boxes_o"].append(jittered_box(picture.boxes_xyxy[interaction.role], rng))
        rows["hoi"].append(_numbers()[interaction.combination])
        rows["object"].append(objects().index(interaction.object))
        rows["verb"].append(verbs().index(interaction.verb))
    return rows


def jittered_box(box_xyxy: FloatBox, rng: random.Random) -> list[int]:
    """A person's box about a drawn one: whole pixels, 1-based inclusive, inside the picture.

    Args:
        box_xyxy: continuous corners of the drawn box.
        rng: source of the noise.
    """
    x1, y1, x2, y2 = box_xyxy
    noise_x, noise_y = BOX_NOISE * (x2 - x1), BOX_NOISE * (y2 - y1)
    while True:
        left, top, right, bottom = (
            min(max(round(edge + rng.gauss(0, noise)), 0), PICTURE_SIZE)
            for edge, noise in ((x1, noise_x), (y1, noise_y), (x2, noise_x), (y2, noise_y))
        )
        shared = max(0.0, min(x2, right) - max(x1, left)) * max(0.0, min(y2, bottom) - max(y1, top))
        either = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared
        if shared >= LEAST_OVERLAP * either:
            return [left + 1, top + 1, right, bottom]
        noise_x, noise_y = noise_x * 0.7, noise_y * 0.7


def _write_chunk(out: Path, chunk: HoiChunk) -> Iterator[int]:
    """Draw a chunk, yielding after each picture; its rows are stored last, which marks it as done."""
    rows = []
    for index in range(chunk.first, chunk.first + chunk.amount):
        picture = draw_hoi_picture(chunk.seed, chunk.fold, index)
        path = out / "images" / f"{chunk.fold}2015" / file_name(chunk.fold, index)
        write_bytes_atomically(path, jpeg_bytes(picture.image))
        rows.append(annotate_hoi(picture, random.Random(f"rows/{chunk.seed}/{chunk.fold}/{index}")))
        yield index
    write_bytes_atomically(out / UNFINISHED / chunk.name, as_json(rows))


def _instances(fold: str) -> str:
    return f"instances_{fold}2015.json"


def _tables(plan: HoiPlan, drawn: Mapping[str, list[Rows]]) -> dict[str, bytes]:
    """HICO-DET's files, from the rows of the chunks."""
    folds: dict[str, list[Rows]] = {fold: [] for fold in FOLDS}
    for chunk in plan.chunks():
        folds[chunk.fold] += drawn[chunk.name]
    counts = Counter(number for rows in folds["train"] for number in rows["hoi"])
    tables = {
        "objects": list(objects()),
        "verbs": list(verbs()),
        "correspondence": [
            [number, objects().index(name), verbs().index(verb)] for (verb, name), number in _numbers().items()
        ],
        "rare": [number for number in _numbers().values() if 0 < counts[number] < FEW_PAIRS],
        "non_rare": [number for number in _numbers().values() if counts[number] >= FEW_PAIRS],
    }
    split = {
        "format": "ovgsr-hoi-split-1",
        "name": "SketchHOI",
        "unseen": [list(pair) for pair in unseen()],
        "dev_unseen": [list(pair) for pair in dev_unseen()],
    }
    contents = {"README.txt": README.encode("utf-8"), SPLIT_FILE: as_json(split, indent=1)}
    for fold, rows in folds.items():
        instances = {
            "filenames": [file_name(fold, index) for index in range(len(rows))],
            "annotation": rows,
            "size": [[PICTURE_SIZE, PICTURE_SIZE]] * len(rows),
            "empty": [index for index, row in enumerate(rows) if not row["hoi"]],
        }
        contents[_instances(fold)] = as_json({**instances, **tables})
    return contents


def write_sketch_hoi(
    out: Path,
    *,
    seed: int,
    train: int = 3000,
    dev: int = 300,
    test: int = 1000,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> None:
    """Write a whole SketchHOI to `out`; a set that a killed run left unfinished is completed.

    Args:
        out: a new or empty folder, or one that holds this very set, finished or not.
        seed: decides every picture.
        train: training pictures; they show seen combinations, and each rare one a few times.
        dev: dev pictures: seen, rare and dev-unseen combinations.
        test: test pictures: seen, rare and unseen combinations.
        progress: called with (pictures done, pictures in all).
        workers: processes that draw.

    Raises:
        SketchError: the folder holds something else, or a count is negative.
    """
    if min(train, dev, test) < 0 or workers < 1:
        raise SketchError("The numbers of pictures must not be negative and workers must be at least 1.")
    plan = HoiPlan(seed, train, dev, test)
    open_folder(out, PLAN_FILE, asdict(plan), "SketchHOI")
    draw_set(
        out,
        plan.chunks(),
        _write_chunk,
        partial(_tables, plan),
        files=("README.txt", SPLIT_FILE, *map(_instances, FOLDS)),
        folders=[f"images/{fold}2015" for fold in FOLDS],
        progress=progress,
        workers=workers,
    )
