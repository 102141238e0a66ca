"""What a data set asks of a frozen teacher's files: readings of its own pictures, and composite views."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from ovgsr.tensors import PairTargets, TeacherSignals


class RecordedView(NamedTuple):
    """A composite picture with its reading."""

    picture: Image.Image
    reading: Tensor  # (D,)
    pairs: PairTargets | None = None
    """Of a view of one pair, with B = 1: where human and object are and what the object is, no verb."""


class RecordedTeacher(Protocol):
    """A teacher that left its readings on disk; picklable, for worker processes."""

    def signals(self, index: int) -> TeacherSignals:
        """The readings of the picture at that position of the data set, with B = 1."""

    def views(self, generator: np.random.Generator) -> list[RecordedView]:
        """The composite views that go along with a picture; may be none."""
