"""The input pipeline against a plain PIL + torch one, in pictures a second on one core, in one run.

Run: python benchmarks/bench_input_pipeline.py [--pictures 200] [--size 224] [--rounds 3]

Both read the same JPEGs of 512 x 683 pixels, cut a window out of each, mirror it, change brightness, contrast and
saturation, resize it, normalise it, move six boxes along, and stack batches of 64. The plain one is what one writes
first: ``Image.open``, ``ImageEnhance``, ``resize``. Ours also reads every kind of picture, keeps boxes in sight,
encodes verb, nouns and groundedness, and carries a teacher's readings (a scene and six roles of 384 numbers); it
decodes no more pixels than the input needs. The best of some rounds counts, in CPU time.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.utils.data import default_collate

from ovgsr.data.augment import Augmentation, augment_shown, generator_for
from ovgsr.data.collate import collate
from ovgsr.data.dataset import SituationDataset
from ovgsr.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.tensors import TeacherSignals
from ovgsr.vocabulary import Noun, Verb, Vocabulary

ROLES = tuple(f"role{number}" for number in range(6))
WIDTH, HEIGHT, BATCH = 683, 512, 64
BOX = (100.0, 80.0, 400.0, 420.0)


def write_pictures(folder: Path, count: int) -> list[AnnotatedImage]:
    """JPEGs with as much detail as photos have (about 60 kB), and annotations of six boxes each."""
    nouns = {role: GroundedNoun("n1", BOX, annotators=("n1", "n1", "n1")) for role in ROLES}
    coarse = [Image.effect_noise((WIDTH // 6, HEIGHT // 6), 120).resize((WIDTH, HEIGHT)) for _ in range(3)]
    picture = Image.merge("RGB", coarse)
    images = []
    for number in range(count):
        picture.putpixel((0, 0), (number % 256, number // 256, 0))
        picture.save(folder / f"{number}.jpg", quality=90)
        images.append(AnnotatedImage(f"{number}.jpg", WIDTH, HEIGHT, (Situation("acting", nouns),)))
    return images


class Readings:
    """A teacher's readings in memory."""

    scene, roles = torch.randn(1, 384), torch.randn(1, 6, 384)

    def signals(self, index: int) -> TeacherSignals:
        """The same for every picture."""
        return TeacherSignals(self.scene, self.roles)

    def views(self, generator: np.random.Generator) -> list[Any]:
        """None."""
        return []


def plain(path: Path, size: int, draw: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture and its boxes as a first attempt would have them."""
    image = Image.open(path).convert("RGB")
    boxes = np.array([BOX] * len(ROLES))
    scale = draw.uniform(0.9, 1.0)
    width, height = round(WIDTH * scale), round(HEIGHT * scale)
    left, top = draw.randint(0, WIDTH - width), draw.randint(0, HEIGHT - height)
    image = image.crop((left, top, left + width, top + height))
    boxes = (boxes - [left, top, left, top]) / [width, height, width, height]
    if draw.random() < 0.5:
        image = ImageOps.mirror(image)
        boxes[:, [0, 2]] = 1 - boxes[:, [2, 0]]
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(draw.uniform(0.8, 1.2))
    image = image.resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    pixels = (pixels - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    return pixels, torch.from_numpy(boxes.clip(0, 1).astype(np.float32))


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("--pictures", 192), ("--size", 224), ("--rounds", 3)):
        parser.add_argument(option, type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_pictures(folder, arguments.pictures)
        vocabulary = Vocabulary((Verb("acting", ROLES),), (Noun("n1", ("man",)),))
        preprocess, augmentation = Preprocess(arguments.size), Augmentation(scale=(0.9, 1.1), translate=0.1)
        boxes_xyxy = torch.tensor([BOX] * 6) / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
        opened = partial(preprocess.open, zoom=augmentation.scale[0])
        decoded = opened(folder / "0.jpg")
        rest = range(arguments.pictures)
        indices = [list(rest[start : start + BATCH]) for start in rest[::BATCH]]

        def dataset(**options: Any) -> Callable[[], object]:
            settings: dict[str, Any] = {"open_image": opened, "augmentation": augmentation} | options
            made = SituationDataset(images, folder, preprocess=preprocess, vocabulary=vocabulary, **settings)
            return lambda: [collate([made[index] for index in batch]) for batch in indices]

        def plainly() -> object:
            draw = random.Random(0)
            paths = [folder / image.file_name for image in images]
            return [default_collate([plain(paths[i], arguments.size, draw) for i in batch]) for batch in indices]

        stages: dict[str, Callable[[], object]] = {
            "plain PIL + torch": plainly,
            "ours, with readings": dataset(teacher=Readings()),
            "ours, without readings": dataset(),
            "  of which: decoding": lambda: [opened(folder / image.file_name) for image in images],
            "  of which: augmentation": lambda: [
                augment_shown(decoded, boxes_xyxy, augmentation, generator_for(0, 0, index)) for index in rest
            ],
            "  of which: resizing and normalising": lambda: [preprocess(decoded) for _ in rest],
        }
        best = {label: min(seconds(work) for _ in range(arguments.rounds)) for label, work in stages.items()}
    for label, took in best.items():
        ratio = best["plain PIL + torch"] / took
        print(f"{label:40s} {arguments.pictures / took:8.0f} pictures/s a core   {ratio:6.2f} x plain")


if __name__ == "__main__":
    main()
