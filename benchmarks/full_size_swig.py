"""A made-up SWiG of the original's size and format, so that everything but recognition can be tried without its files.

Run: python benchmarks/full_size_swig.py --out DIR [--size 1.0] [--predictions FILE]

Real: the 504 verbs with their frames, the 9,926 nouns in their order of frequency, the number of pictures (75,702, 50
a verb in dev and in test), three annotators who agree as SWiG's do, 62 % of all roles grounded. Made up: which noun
fills a role (the commonest of the nouns that fit it, drawn by rank), how the training pictures spread over the verbs,
the other 72,189 nouns that imsitu_space.json lists, and the pictures: small JPEGs with a rectangle at each box.
``--size`` makes a fraction of it; ``--predictions`` also writes answers for the whole test fold, right about every
other time.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ovgsr.data.prepare import SWIG_PICTURES
from ovgsr.data.swig import image_folder, read_annotations
from ovgsr.evaluation.predictions import write_predictions
from ovgsr.situation import AnnotatedImage, GroundedNoun, ImagePrediction, Situation
from ovgsr.vocabulary import Noun, Verb, role_descriptions, swig_nouns, swig_vocabulary

WORDNET_NOUNS = 82_115
"""Noun synsets of WordNet 3.0, all of which the original imsitu_space.json lists."""
PER_VERB = 50
SIDES = (64, 48)
GROUNDED = 278_336 / (126_102 * 1_788 / 504)
"""Boxes over role slots, if training frames are as long as the others."""
ALL_AGREE, ALL_DIFFER, ALL_EMPTY, SOME_EMPTY = 0.315, 0.238, 0.034, 0.199
FITTING = 60
"""Nouns that fit one verb's role."""


class Maker:
    """Draws records; the same seed gives the same data set."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.verbs = swig_vocabulary().verbs
        nouns = [noun.key for noun in swig_nouns().values()]
        weights = 1 / np.arange(1, len(nouns) + 1)
        chance = np.random.default_rng(seed)
        self.fitting = {
            (verb.name, role): [
                nouns[i] for i in chance.choice(len(nouns), FITTING, replace=False, p=weights / weights.sum())
            ]
            for verb in self.verbs
            for role in verb.roles
        }
        self.by_rank = [1 / rank for rank in range(1, FITTING + 1)]

    def record(self, verb: Verb) -> dict[str, Any]:
        """One picture's record."""
        width, height = SIDES if self.draw.random() < 0.7 else SIDES[::-1]
        answers = {role: self.answers(verb.name, role) for role in verb.roles}
        return {
            "verb": verb.name,
            "width": width,
            "height": height,
            "frames": [{role: answers[role][person] for role in verb.roles} for person in range(3)],
            "bb": {role: self.box(width, height) for role in verb.roles},
        }

    def answers(self, verb: str, role: str) -> list[str]:
        """Three annotators' answers, in agreement as often as SWiG's are."""
        if self.draw.random() < ALL_EMPTY:
            return ["", "", ""]
        agreement = self.draw.random()
        first, second, third = self.draw.choices(self.fitting[verb, role], self.by_rank, k=3)
        given = [first, first if agreement < 1 - ALL_DIFFER else second, first if agreement < ALL_AGREE else third]
        if agreement >= ALL_AGREE and self.draw.random() < (SOME_EMPTY - ALL_EMPTY) / (1 - ALL_AGREE):
            given[2] = ""
        self.draw.shuffle(given)
        return given

    def box(self, width: int, height: int) -> list[int]:
        """A box inside the picture, or none."""
        if self.draw.random() >= GROUNDED:
            return [-1, -1, -1, -1]
        left, top = self.draw.randrange(width - 8), self.draw.randrange(height - 8)
        return [left, top, self.draw.randint(left + 8, width), self.draw.randint(top + 8, height)]

    def fold(self, size: float, fold: str) -> dict[str, Any]:
        """A fold's records by file name; verbs take turns, as nothing sorts the original."""
        if fold == "train":
            popularity = [self.draw.lognormvariate(0, 0.35) for _ in self.verbs]
            total = round(SWIG_PICTURES["train"] * size)
            shown = [*self.verbs, *self.draw.choices(self.verbs, popularity, k=max(0, total - len(self.verbs)))]
        else:
            shown = list(self.verbs) * max(1, round(PER_VERB * size))
        self.draw.shuffle(shown)
        return {f"{verb.name.replace(' ', '_')}_{fold}{n}.jpg": self.record(verb) for n, verb in enumerate(shown)}


def space(verbs: Sequence[Verb]) -> dict[str, Any]:
    """imsitu_space.json, as long as the original's."""
    nouns: dict[str, Any] = {n.key: {"gloss": list(n.words), "def": n.definition} for n in swig_nouns().values()}
    for number in range(WORDNET_NOUNS - len(nouns)):
        made_up = Noun(f"n9{number:07d}", (f"thing {number}",))
        nouns[made_up.key] = {"gloss": list(made_up.words), "def": f"the made-up thing of number {number} in this list"}
    described = role_descriptions()
    return {
        "nouns": nouns,
        "verbs": {
            verb.name: {
                "framenet": "",
                "def": verb.definition,
                "abstract": verb.abstract,
                "order": list(verb.roles),
                "roles": {role: {"framenet": role, "def": described.get(role, "")} for role in verb.roles},
            }
            for verb in verbs
        },
    }


def picture(number: int, record: dict[str, Any]) -> bytes:
    """A small JPEG with a rectangle at each box; no two are the same."""
    image = Image.new("RGB", (record["width"], record["height"]), (number % 256, number // 256 % 256, 96))
    pen = ImageDraw.Draw(image)
    for place, (left, top, right, bottom) in enumerate(record["bb"].values()):
        if right > 0:
            pen.rectangle(
                (left, top, right - 1, bottom - 1), fill=(40 * place % 256, number * 7 % 256, number // 7 % 256)
            )
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80, comment=str(number).encode())
    return stream.getvalue()


def write(root: Path, size: float = 1.0, seed: int = 0) -> None:
    """Writes the data set. Raises FileExistsError where there is one."""
    maker = Maker(seed)
    (root / "SWiG_jsons").mkdir(parents=True)
    image_folder(root).mkdir()
    (root / "SWiG_jsons" / "imsitu_space.json").write_text(json.dumps(space(maker.verbs)))
    number = 0
    for fold in SWIG_PICTURES:
        records = maker.fold(size, fold)
        for name, record in records.items():
            (image_folder(root) / name).write_bytes(picture(number, record))
            number += 1
        (root / "SWiG_jsons" / f"{fold}.json").write_text(json.dumps(records))


def predictions(images: Sequence[AnnotatedImage], seed: int = 0) -> Iterator[ImagePrediction]:
    """Five verbs and the annotated verb's frame for each picture."""
    draw = random.Random(seed)
    verbs = swig_vocabulary().verb_names
    nouns = list(swig_nouns())
    for image in images:
        gold = image.situation
        ranked = draw.sample(verbs, 5)
        if gold.verb not in ranked and draw.random() < 0.5:
            ranked[draw.randrange(5)] = gold.verb
        filled = {
            role: GroundedNoun(
                draw.choice(noun.annotators) if draw.random() < 0.5 else draw.choice(nouns),
                noun.box_xyxy if draw.random() < 0.5 else None,
                round(draw.random(), 3),
            )
            for role, noun in gold.nouns.items()
        }
        scores = sorted((round(draw.random(), 4) for _ in ranked), reverse=True)
        yield ImagePrediction(
            image.file_name, tuple(zip(ranked, scores, strict=True)), {gold.verb: Situation(gold.verb, filled)}
        )


def main() -> None:
    """Writes what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--predictions", type=Path)
    arguments = parser.parse_args()
    write(arguments.out, arguments.size, arguments.seed)
    if arguments.predictions is not None:
        write_predictions(arguments.predictions, predictions(read_annotations(arguments.out, "test"), arguments.seed))


if __name__ == "__main__":
    main()
