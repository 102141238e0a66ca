"""``ovgsr predict`` with a student for human-object interactions: JSON, and people joined to objects by lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from ovgsr.interactions import PairPrediction
    from ovgsr.recognizers.pairs import PairOffer, PairRecognizer


@dataclass(frozen=True)
class PairPredictor:
    """A pair student and the words that it is offered."""

    recognizer: PairRecognizer
    offer: PairOffer
    draw: bool

    @classmethod
    def of(
        cls,
        model: str,
        device: str | None,
        verbs: str | None,
        objects: str | None,
        all_combinations: bool,
        boxes: Path | None,
        *,
        draw: bool,
    ) -> PairPredictor:
        """The student of a folder or hub name. Words of one's own are scored in every combination."""
        from ovgsr.data.detections import read_detections
        from ovgsr.recognizers.interaction_words import user_interaction_words
        from ovgsr.recognizers.pairs import PairRecognizer

        recognizer = PairRecognizer.from_pretrained(model, device=device)
        words = None
        if verbs is not None or objects is not None or all_combinations:
            words = user_interaction_words(recognizer.checkpoint.vocabulary, verbs, objects)
        detections = None if boxes is None else read_detections(boxes)
        return cls(recognizer, recognizer.offer(words, detections=detections), draw)

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences that belong to every result."""
        return self.recognizer.notices_with(self.offer)

    def finish(self, images: list[Image], names: list[str], targets: list[Path]) -> Iterator[str]:
        """Predicts and writes what was found; gives the sentence that tells it, picture by picture."""
        predictions = self.recognizer.predict(images, self.offer, file_names=names)
        for image, prediction, target in zip(images, predictions, targets, strict=True):
            yield self._write(prediction, image, target)

    def _write(self, prediction: PairPrediction, image: Image, target: Path) -> str:
        from ovgsr.cli.picture_files import with_ending
        from ovgsr.files import write_atomically, write_text_atomically
        from ovgsr.pair_drawing import draw_pairs, found_pairs

        record = json.dumps(prediction.to_json(), ensure_ascii=False, indent=2)
        write_text_atomically(with_ending(target, ".json"), record)
        found = found_pairs(prediction.pairs)
        if self.draw:
            notice = " ".join(prediction.notices) or None
            drawn = draw_pairs(image, found, self.offer.vocabulary, notice=notice)
            write_atomically(with_ending(target, ".png"), lambda path: drawn.save(path, format="PNG"))
        return "; ".join(pair.phrase(self.offer.vocabulary) for pair in found) or "no interaction found"
