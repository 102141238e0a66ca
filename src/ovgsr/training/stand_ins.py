"""What a dry run puts in the place of text embeddings, and of data or readings that are not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ovgsr.config import Config, DataSettings
from ovgsr.data.annotation_table import AnnotatedImages
from ovgsr.data.swig import read_split
from ovgsr.data.teaching import RecordedTeacher, RecordedView
from ovgsr.models.text_encoder import TextEncoder, load_text_encoder
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.tensors import TeacherSignals
from ovgsr.training.training_data import TrainingData
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import swig_vocabulary

SWIG_PICTURES = {"train": 75_702, "dev": 25_200}
TOKEN_GRID, TOKEN_WIDTH = (12, 12), 4096
"""LLaVA-1.5's visual tokens at the grid that docs/teacher.md starts from."""
_WIDTH, _HEIGHT = 512, 384


@dataclass(frozen=True)
class StandIns:
    """Parts of a run that are given instead of read; None: read it."""

    data: TrainingData | None = None
    text_encoder: TextEncoder | None = None
    teacher: MadeUpReadings | None = None
    open_image: Callable[[Path], Image.Image] | None = None


class MadeUpText:
    """Random unit vectors in the place of a text encoder's: they cost what real ones cost, and nothing is embedded."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.width = encoder.width
        self.fingerprint = encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (n, D)."""
        return _unit_rows(len(texts), self.width)


class MadeUpReadings(RecordedTeacher):
    """Random readings of the shapes that a teacher leaves, and grey views."""

    def __init__(self, config: Config, width: int, roles: int) -> None:
        distill = config.distill
        self.views_a_picture = distill.views
        self.width, self.roles = width, roles
        self.role_width = width if distill.signals else 0
        self.token_width = TOKEN_WIDTH if distill.token_cache else 0

    def signals(self, index: int) -> TeacherSignals:
        """The readings of a picture, with B = 1."""
        scene, roles = _unit_rows(1, self.width), _unit_rows(self.roles, self.width)[None]
        tokens = _unit_rows(TOKEN_GRID[0] * TOKEN_GRID[1], TOKEN_WIDTH)[None] if self.token_width else None
        if not self.role_width:
            return TeacherSignals(None, None, tokens, TOKEN_GRID)
        return TeacherSignals(scene, roles, tokens, TOKEN_GRID if self.token_width else None)

    def views(self, generator: np.random.Generator) -> list[RecordedView]:
        """As many views as come with a picture on average."""
        whole = int(self.views_a_picture)
        count = whole + int(generator.random() < self.views_a_picture - whole)
        return [RecordedView(grey_picture(Path()), _unit_rows(1, self.width)[0]) for _ in range(count)]


def stand_ins(config: Config) -> tuple[StandIns, tuple[str, ...]]:
    """What a dry run of a recipe needs, and a sentence for each thing that was not there."""
    missing: list[str] = []
    text = MadeUpText(load_text_encoder(config.model.text_encoder))
    data = None
    if not Path(config.data.root).exists():
        data = swig_shaped_data(config.data)
        missing.append(
            f"{config.data.root} is not there: grey pictures and random annotations of SWiG's number and shape"
        )
    teacher = None
    named = [folder for folder in (config.distill.signals, config.distill.token_cache) if folder]
    absent = [folder for folder in named if not Path(folder).exists()]
    if absent:
        teacher = MadeUpReadings(config, text.width, swig_vocabulary().max_roles)
        missing.append(f"{', '.join(absent)} is not there: random readings of the usual shape")
    return StandIns(data, text, teacher, None if data is None else grey_picture), tuple(missing)


def swig_shaped_data(settings: DataSettings) -> TrainingData:
    """As many pictures as SWiG has, spread evenly over its verbs; of those a split's training verbs, if it is given."""
    root, whole = Path(settings.root), swig_vocabulary()
    split = read_split(root, settings.split) if settings.split else None
    split = split or VerbSplit("all verbs seen", seen=whole.verb_names)
    generator = np.random.default_rng(0)

    def fold(name: str, verbs: Sequence[str]) -> AnnotatedImages:
        images = [_made_up_image(generator, verb) for verb in verbs]
        count = SWIG_PICTURES[name] * len(verbs) // len(whole.verbs)
        return AnnotatedImages(AnnotatedImages.of(images).table, np.arange(count) % len(images))

    def _made_up_image(generator: np.random.Generator, verb: str) -> AnnotatedImage:
        nouns = {}
        for role in whole.verb(verb).roles:
            keys = tuple(whole.nouns[index].key for index in generator.integers(len(whole.nouns), size=3))
            nouns[role] = GroundedNoun(keys[0], (10.0, 10.0, _WIDTH / 2, _HEIGHT / 2), annotators=keys)
        return AnnotatedImage(f"{verb}_1.jpg", _WIDTH, _HEIGHT, (Situation(verb, nouns),))

    train = fold("train", split.training)
    dev = fold("dev", split.candidates("dev"))
    return TrainingData(root, split, whole, whole.with_verbs(split.training), train, dev, root)


def grey_picture(path: Path) -> Image.Image:
    """A picture of a usual size, whatever the path."""
    return Image.new("RGB", (_WIDTH, _HEIGHT), (128, 128, 128))


def _unit_rows(count: int, width: int) -> Tensor:
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(count))
    return torch.nn.functional.normalize(rows, dim=-1)
