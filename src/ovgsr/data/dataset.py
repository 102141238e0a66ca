"""A torch data set over annotated pictures: open, augment, preprocess."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ovgsr.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from ovgsr.data.augment import Augmentation, Shown, augment_shown, generator_for, token_map_shown
from ovgsr.data.errors import DataError
from ovgsr.data.pair_targets import AllPairs, join_pairs
from ovgsr.data.skipped import Skipped
from ovgsr.data.targets import encode_all_targets
from ovgsr.data.teaching import RecordedTeacher
from ovgsr.situation import AnnotatedImage
from ovgsr.tensors import PairTargets, Targets, TeacherSignals, Views
from ovgsr.vocabulary import Vocabulary

_MOST_IN_A_ROW = 100
"""So many unreadable pictures one after the other are no accident: a disk is gone, or the folder is wrong."""
_GREY = (124, 116, 104)
_Boxed = TypeVar("_Boxed", Targets | PairTargets | None, PairTargets | None)


@dataclass(frozen=True, slots=True)
class Example:
    """One picture on its way into a batch."""

    pixels: Tensor  # (3, H, W) float, normalised
    size_wh: tuple[int, int]  # pixels of the annotated picture
    index: int  # position in the data set
    targets: Targets | PairTargets | None  # with B = 1
    teacher: TeacherSignals | None = None  # with B = 1
    views: Views | None = None


class SituationDataset(Dataset[Example]):
    """Annotated pictures as :class:`Example`; without ``vocabulary`` there are no targets.

    ``open_image`` reads a file (``models.preprocess.load_image``), ``preprocess`` makes it the student's input; both
    must be picklable where worker processes are spawned. ``cache_images`` is a budget in bytes for decoded pictures,
    in each process: the first ones that fit stay in memory. A ``teacher`` adds its readings of each picture, and views.
    Without ``vocabulary``, ``pairs`` may be the targets: human-object interactions.

    Without ``skipped`` a picture that cannot be read is an error. With it the picture is noted there, and the next one
    of the data set that can be read is shown in its place, annotations and all: what a position shows depends on the
    files alone, not on workers or resuming. Without targets, where each picture is to be scored, it is a grey one.

    Raises DataError for an annotation that the vocabulary cannot express, and on access for a picture that cannot be
    read, or a hundred of them in a row.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        image_folder: Path,
        *,
        open_image: Callable[[Path], Image.Image],
        preprocess: Callable[[Image.Image], Tensor],
        vocabulary: Vocabulary | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        cache_images: int = 0,
        max_roles: int | None = None,
        teacher: RecordedTeacher | None = None,
        skipped: Skipped | None = None,
        pairs: AllPairs | None = None,
    ) -> None:
        self.images = images
        self.image_folder = Path(image_folder)
        self.seed = seed
        self.augmentation = augmentation
        self._teacher = teacher
        self._skipped = skipped
        self._open_image = open_image
        self._preprocess = preprocess
        self._targets: Targets | AllPairs | None = pairs
        if vocabulary is not None:
            # Encoded once, as a few large tensors: forked workers share them, and a fault shows before training.
            self._targets = encode_all_targets(self.images, vocabulary, max_roles or vocabulary.max_roles)
        # Shared memory: persistent workers keep their copy of this object and would never hear of a new epoch.
        self._epoch = torch.zeros(1, dtype=torch.long)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._cache_budget = cache_images
        self._cached: dict[int, NDArray[np.uint8]] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.images)

    @property
    def epoch(self) -> int:
        """The epoch whose augmentations are shown."""
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's augmentations, before iterating; running workers follow."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> Example:
        if not -len(self.images) <= index < len(self.images):
            raise IndexError(index)
        index, image = self._readable(index % len(self.images))
        annotated = self.images[index]
        targets = self._target_row(index)
        image, targets, shown = self._varied(image, targets, generator_for(self.seed, self.epoch, index))
        size = (annotated.width, annotated.height)
        return Example(self._preprocess(image), size, index, targets, self._signals(index, shown), self._views(index))

    def _varied(
        self, image: Image.Image, targets: _Boxed, generator: np.random.Generator
    ) -> tuple[Image.Image, _Boxed, Shown]:
        """The picture as the augmentation shows it, the targets' boxes with it."""
        if self.augmentation is None:
            return image, targets, Shown()
        boxes_xyxy = torch.zeros(0, 4) if targets is None else cxcywh_to_xyxy(targets.boxes_cxcywh).reshape(-1, 4)
        image, boxes_xyxy, shown = augment_shown(image, boxes_xyxy, self.augmentation, generator)
        if targets is not None:
            boxes_cxcywh = xyxy_to_cxcywh(boxes_xyxy).reshape(targets.boxes_cxcywh.shape)
            targets = replace(targets, boxes_cxcywh=boxes_cxcywh)
        return image, targets, shown

    def _readable(self, index: int) -> tuple[int, Image.Image]:
        """The picture at a position, or the next that can be read, with its position."""
        for _ in range(_MOST_IN_A_ROW):
            try:
                return index, self._picture(index)
            except DataError as error:
                if self._skipped is None:
                    raise
                self._skipped.note(str(error))
                if self._targets is None:
                    return index, Image.new("RGB", (8, 8), _GREY)
                index = (index + 1) % len(self.images)
        raise DataError(
            f"{self.image_folder}: {_MOST_IN_A_ROW} pictures in a row cannot be read, up to number {index}; check the "
            f"folder, and what {self._skipped and self._skipped.path} says of them"
        )

    def _signals(self, index: int, shown: Shown) -> TeacherSignals | None:
        if self._teacher is None:
            return None
        signals = self._teacher.signals(index)
        if signals.tokens is None or signals.tokens_grid is None:
            return signals
        moved = token_map_shown(signals.tokens[0], signals.tokens_grid, shown)
        return replace(signals, tokens=moved[None])

    def _views(self, index: int) -> Views | None:
        """The views that come with a picture, varied as pictures are; those of situations have no boxes to be kept."""
        if self._teacher is None:
            return None
        generator = generator_for(self.seed, self.epoch, index, stream=1)
        pixels, readings, pairs = [], [], []
        for view in self._teacher.views(generator):
            picture, targets, _ = self._varied(view.picture, view.pairs, generator)
            pixels.append(self._preprocess(picture))
            readings.append(view.reading)
            pairs += [] if targets is None else [targets]
        return Views(torch.stack(pixels), torch.stack(readings), join_pairs(pairs)) if pixels else None

    def _target_row(self, index: int) -> Targets | PairTargets | None:
        if self._targets is None:
            return None
        if isinstance(self._targets, AllPairs):
            return self._targets[index]
        row = slice(index, index + 1)
        return Targets(
            verb_index=self._targets.verb_index[row],
            role_mask=self._targets.role_mask[row],
            noun_index=self._targets.noun_index[row],
            boxes_cxcywh=self._targets.boxes_cxcywh[row],
            grounded=self._targets.grounded[row],
        )

    def _picture(self, index: int) -> Image.Image:
        pixels = self._cached.get(index)
        if pixels is not None:
            return Image.fromarray(pixels)
        path = self.image_folder / self.images[index].file_name
        try:
            image = self._open_image(path)
        except (OSError, ValueError) as error:
            sentence = str(error) if str(path) in str(error) else f"{path}: {error}"
            raise DataError(f"{sentence} (picture {index} of the data set)") from error
        size = image.width * image.height * 3
        if self._cached_bytes + size <= self._cache_budget:
            self._cached[index] = np.array(image)
            self._cached_bytes += size
        return image
