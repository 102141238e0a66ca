"""How fast annotations are read and pictures become training examples.

Run: python benchmarks/bench_reader.py [--records 75000] [--pictures 400]

Writes made-up data in the SWiG format to a temporary folder and prints one line for each stage. Plain ``json.loads``
on the same file stands beside the reader: it is the floor for anything that reads JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ovgsr.data.augment import Augmentation, augment, generator_for
from ovgsr.data.check import check_swig
from ovgsr.data.collate import collate
from ovgsr.data.dataset import SituationDataset
from ovgsr.data.swig import image_folder, read_annotations, read_vocabulary
from ovgsr.data.targets import encode_all_targets
from ovgsr.models.preprocess import Preprocess, load_image

VERBS, NOUNS, SIDE = 504, 9926, 512


def timed(label: str, count: int, unit: str, work: Callable[[], Any]) -> Any:
    """Run once, print the rate, return the result."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    print(f"{label:<58}{seconds:8.2f} s {count / seconds:10.0f} {unit}/s")
    return result


def write_folder(root: Path, records: int, pictures: int, size: int) -> None:
    """A data set whose train fold has ``records`` records and whose dev fold has ``pictures`` that exist."""
    draw = random.Random(0)
    synsets = [f"n{number:08d}" for number in range(NOUNS)]
    # Roles a verb in SWiG's proportions: 1:3, 2:77, 3:163, 4:171, 5:82, 6:8.
    lengths = draw.choices([1, 2, 3, 4, 5, 6], [3, 77, 163, 171, 82, 8], k=VERBS)
    frames = {f"verb{number}": [f"role{r}" for r in range(length)] for number, length in enumerate(lengths)}
    space = {
        "nouns": {synset: {"gloss": [synset], "def": ""} for synset in synsets},
        "verbs": {verb: {"def": "", "abstract": "", "order": roles, "roles": {}} for verb, roles in frames.items()},
    }

    def record(verb: str) -> dict[str, Any]:
        boxes = {}
        for role in frames[verb]:
            left, top = draw.randrange(size // 2), draw.randrange(size // 2)
            grounded = draw.random() < 0.62
            boxes[role] = [left, top, left + size // 3, top + size // 3] if grounded else [-1, -1, -1, -1]
        answers = [{role: draw.choice(synsets) for role in frames[verb]} for _ in range(3)]
        return {"verb": verb, "width": size, "height": size, "frames": answers, "bb": boxes}

    names = list(frames)
    train = {f"train_{number}.jpg": record(names[number % VERBS]) for number in range(records)}
    dev = {f"dev_{number}.jpg": record(names[number % VERBS]) for number in range(pictures)}
    (root / "SWiG_jsons").mkdir(parents=True)
    image_folder(root).mkdir()
    for name, content in (("imsitu_space", space), ("train", train), ("dev", dev), ("test", {})):
        (root / "SWiG_jsons" / f"{name}.json").write_text(json.dumps(content))
    picture = Image.effect_noise((size // 8, size // 8), 90).resize((size, size)).convert("RGB")
    for number, name in enumerate(dev):
        picture.putpixel((0, 0), (number % 256, number // 256, 0))
        picture.save(image_folder(root) / name, quality=90)


def reader(root: Path, records: int) -> None:
    """Stages that touch annotations only."""
    path = root / "SWiG_jsons" / "train.json"
    timed("json.loads (the floor)", records, "records", lambda: json.loads(path.read_bytes()))
    images = timed("read_annotations", records, "records", lambda: read_annotations(root, "train"))
    vocabulary = timed("read_vocabulary", NOUNS, "nouns", lambda: read_vocabulary(root))
    timed("encode_all_targets", records, "records", lambda: encode_all_targets(images, vocabulary, 6))


def pictures(root: Path, count: int, size: int) -> None:
    """Stages that touch pictures, in one process and one thread."""
    images, vocabulary = read_annotations(root, "dev"), read_vocabulary(root)

    def dataset(**options: Any) -> SituationDataset:
        settings: dict[str, Any] = {"open_image": load_image, "augmentation": Augmentation()} | options
        preprocess = Preprocess(min(size, 224))
        return SituationDataset(images, image_folder(root), vocabulary=vocabulary, preprocess=preprocess, **settings)

    def run(data: SituationDataset) -> Any:
        return collate([data[index] for index in range(count)])

    note = f"{size} px: "
    timed(f"{note}dataset, no augmentation", count, "pictures", partial(run, dataset(augmentation=None)))
    timed(f"{note}dataset, augmented", count, "pictures", partial(run, dataset()))
    if size > 224:
        reduced = partial(load_image, min_side=112)  # decodes at half size: 256 pixels for an input of 224
        timed(f"{note}dataset, augmented, JPEG reduced", count, "pictures", partial(run, dataset(open_image=reduced)))
    cached = dataset(cache_images=10**9)
    run(cached)
    timed(f"{note}dataset, augmented, decoded pictures cached", count, "pictures", partial(run, cached))
    image = load_image(image_folder(root) / images[0].file_name)
    boxes_xyxy, settings = torch.tensor([[0.2, 0.2, 0.6, 0.8]]), Augmentation()

    def augment_all() -> None:
        for index in range(count):
            augment(image, boxes_xyxy, settings, generator_for(0, 0, index))

    timed(f"{note}augment alone", count, "pictures", augment_all)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=75_000)
    parser.add_argument("--pictures", type=int, default=400)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for size, records in ((SIDE, arguments.records), (96, 10)):
            root = Path(folder) / str(size)
            write_folder(root, records, arguments.pictures, size)
            if size == SIDE:
                reader(root, records)
            pictures(root, arguments.pictures, size)
        report = timed("check_swig, 96 px", arguments.pictures, "pictures", lambda: check_swig(root))
        print(f"problems found: {len(report.problems)} (the train fold's pictures do not exist)")


if __name__ == "__main__":
    main()
