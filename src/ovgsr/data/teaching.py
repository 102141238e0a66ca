"""What a data set asks of a frozen teacher's files: readings of its own pictures, and composite views."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from ovgsr.tensors import TeacherSignals


class RecordedTeacher(Protocol):
    """A teacher that left its readings on disk; picklable, for worker processes."""

    def signals(self, index: int) -> TeacherSignals:
        """The readings of the picture at that position of the data set, with B = 1."""

    def views(self, generator: np.random.Generator) -> list[tuple[Image.Image, Tensor]]:
        """The composite views that go along with a picture: each with its scene reading (D,); may be none."""
