"""Writes SketchSWiG to a folder in the layout of SWiG, resumable: a killed run is finished by the next one."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ovgsr.files import write_bytes_atomically
from ovgsr.sketch.annotate import Record, annotate
from ovgsr.sketch.definitions import definitions
from ovgsr.sketch.fillers import sketch_nouns, unseen_synsets
from ovgsr.sketch.folder import UNFINISHED, as_json, draw_set, open_folder
from ovgsr.sketch.render import RenderedScene, render
from ovgsr.sketch.sampling import sample_scene
from ovgsr.sketch.scene import Scene
from ovgsr.sketch.split import DEV_UNSEEN, RARE, SEEN, SPLIT_VERBS, UNSEEN, SketchError, train_counts
from ovgsr.sketch.things import UNSEEN_NOUNS

IMAGES = "images_512"
TABLES = "SWiG_jsons"
PLAN_FILE = "sketch_swig.json"
SPLITS = ("dev", "test", "train")
FILES = ("README.txt", *(f"{TABLES}/{name}.json" for name in ("imsitu_space", "open_vocabulary_split", *SPLITS)))

README = """SketchSWiG: a procedural data set for grounded situation recognition

Every picture in this folder was drawn by the ovgsr package (96 x 96 pixels, no photographs); the annotations follow
from the drawing instructions and imitate the disagreement of human annotators. The layout is that of SWiG:
images_512/ holds the pictures, SWiG_jsons/ the records and the space of verbs and nouns. The file
SWiG_jsons/open_vocabulary_split.json says which verbs are seen, rare and unseen in training and which nouns fill
no role in a training picture. sketch_swig.json holds the settings the set was made with; the same settings make
the same files, byte for byte, with the same version of Pillow. Another version of Pillow gives the same records, but
may draw a few pixels a shade lighter or darker.

Noun ids, words and hypernym links are facts from WordNet 3.0 (Princeton University). Verb and role names are those
of imSitu / SWiG. Everything else, pictures and texts, is under the Apache License 2.0.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings that determine every file of the set."""

    seed: int
    train: int
    dev_per_verb: int
    test_per_verb: int
    format: str = "ovgsr-sketch-swig-1"
    """Changes whenever a picture or a record would, so that no folder mixes drawings of two versions."""

    def chunks(self) -> list[Chunk]:
        """The pictures of each split and verb, numbered through over the splits: dev, then test, then train."""
        counts = train_counts(self.train)
        chunks = []
        for split in SPLITS:
            for verb in SPLIT_VERBS[split]:
                amount = {"dev": self.dev_per_verb, "test": self.test_per_verb, "train": counts.get(verb, 0)}[split]
                first = {"dev": 1, "test": 1 + self.dev_per_verb, "train": 1 + self.dev_per_verb + self.test_per_verb}[
                    split
                ]
                chunks.append(Chunk(self.seed, split, verb, amount, first))
        return chunks


@dataclass(frozen=True, slots=True)
class Chunk:
    """All pictures of one verb in one split; `first` is the number in the first file name."""

    seed: int
    split: str
    verb: str
    amount: int
    first: int

    @property
    def name(self) -> str:
        """Name of the file that keeps the records until the set is complete."""
        return f"{self.split}_{self.verb}.json"


def jpeg_bytes(image: Image.Image) -> bytes:
    """The picture as JPEG, quality 95, no chroma subsampling."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def draw_picture(seed: int, split: str, verb: str, index: int) -> tuple[Scene, RenderedScene, Record]:
    """Scene, picture and record number `index` (from 0) of a verb in a split; only the arguments decide them."""
    rng = random.Random(f"{seed}/{split}/{verb}/{index}")
    training = split == "train"
    scene = sample_scene(verb, rng, held_out=UNSEEN_NOUNS if training else frozenset())
    rendered = render(scene, rng)
    return scene, rendered, annotate(scene, rendered, rng, allow_unseen=not training)


def _write_chunk(out: Path, chunk: Chunk) -> Iterator[int]:
    """Draw a chunk, yielding after each picture; its records are stored last, which marks it as done."""
    records: dict[str, Record] = {}
    for index in range(chunk.amount):
        _, rendered, record = draw_picture(chunk.seed, chunk.split, chunk.verb, index)
        file_name = f"{chunk.verb}_{chunk.first + index}.jpg"
        write_bytes_atomically(out / IMAGES / file_name, jpeg_bytes(rendered.image))
        records[file_name] = record
        yield index
    write_bytes_atomically(out / UNFINISHED / chunk.name, as_json(records))


def imsitu_space() -> dict[str, object]:
    """Verbs and nouns in the layout of SWiG's imsitu_space.json."""
    nouns = {
        synset: {"gloss": list(noun.words), "def": noun.definition} for synset, noun in sorted(sketch_nouns().items())
    }
    verbs = {
        verb: {
            "framenet": text.framenet,
            "def": text.definition,
            "abstract": text.abstract,
            "order": list(text.roles),
            "roles": {role: {"framenet": of.framenet, "def": of.definition} for role, of in text.role_texts.items()},
        }
        for verb, text in definitions().items()
    }
    return {"nouns": nouns, "verbs": verbs}


def open_vocabulary_split() -> dict[str, object]:
    """Which verbs are seen, rare, unseen, and the synsets that no training record holds."""
    return {
        "format": "ovgsr-split-1",
        "name": "SketchSWiG",
        "seen": list(SEEN),
        "rare": list(RARE),
        "unseen": list(UNSEEN),
        "dev_unseen": list(DEV_UNSEEN),
        "unseen_nouns": sorted(unseen_synsets()),
    }


def _tables(chunks: list[Chunk], drawn: Mapping[str, Any]) -> dict[str, bytes]:
    """SWiG's files, from the records of the chunks."""
    contents = {
        "README.txt": README.encode("utf-8"),
        f"{TABLES}/imsitu_space.json": as_json(imsitu_space()),
        f"{TABLES}/open_vocabulary_split.json": as_json(open_vocabulary_split(), indent=1),
    }
    for split in SPLITS:
        records: dict[str, object] = {}
        for chunk in chunks:
            if chunk.split == split:
                records.update(drawn[chunk.name])
        contents[f"{TABLES}/{split}.json"] = as_json(records)
    return contents


def write_sketch_swig(
    out: Path,
    *,
    seed: int,
    train: int = 8000,
    dev_per_verb: int = 25,
    test_per_verb: int = 50,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> None:
    """Write a whole SketchSWiG to `out`; a set that a killed run left unfinished is completed.

    Args:
        out: a new or empty folder, or one that holds this very set, finished or not.
        seed: decides every picture.
        train: training pictures in all; of rare verbs 8 to 10 each, the rest spread over the seen verbs.
        dev_per_verb: dev pictures of each seen, rare and dev-unseen verb.
        test_per_verb: test pictures of each seen, rare and unseen verb.
        progress: called with (pictures done, pictures in all).
        workers: processes that draw.

    Raises:
        SketchError: the folder holds something else, there are too few training pictures, or a count is negative.
    """
    if min(dev_per_verb, test_per_verb) < 0 or workers < 1:
        raise SketchError("dev_per_verb and test_per_verb must not be negative and workers must be at least 1.")
    plan = Plan(seed, train, dev_per_verb, test_per_verb)
    chunks = plan.chunks()
    open_folder(out, PLAN_FILE, asdict(plan), "SketchSWiG")
    draw_set(
        out,
        chunks,
        _write_chunk,
        partial(_tables, chunks),
        files=FILES,
        folders=(IMAGES,),
        progress=progress,
        workers=workers,
    )
