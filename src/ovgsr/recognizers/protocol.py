"""What a recognizer is. Evaluation, drawing and the command line know nothing else about one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from PIL import Image

from ovgsr.situation import ImagePrediction
from ovgsr.vocabulary import Vocabulary


@runtime_checkable
class Recognizer(Protocol):
    """Turns pictures and a vocabulary into situations. The vocabulary belongs to the call, not to the recognizer."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences that belong to every result, e.g. that drawn pictures are all it knows."""
        ...

    def predict(
        self,
        images: Sequence[Image.Image],
        vocabulary: Vocabulary,
        *,
        file_names: Sequence[str] | None = None,
        top_k: int = 5,
        frames_of: Sequence[str] | None = None,
    ) -> list[ImagePrediction]:
        """One prediction a picture, in order.

        Every verb of ``vocabulary`` is ranked, best first. The frames of the ``top_k`` best are filled, and besides,
        where ``frames_of`` names one verb a picture (the annotated one, for an evaluation), that verb's. ``frames_of``
        must not change the ranking. Boxes are in pixels of the given pictures. A verb without a frame borrows one and
        its situation says from whom. ``file_names`` become the predictions' names.
        """
        ...
