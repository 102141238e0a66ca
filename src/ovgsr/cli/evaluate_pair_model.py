"""The part of ``ovgsr evaluate`` that runs a student for human-object interactions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovgsr.cli.evaluate_pairs import PairTest
    from ovgsr.evaluation.hico_det import InteractionReport


@dataclass(frozen=True, slots=True)
class PairModel:
    """A student to run, and how: on which device, with which combinations, with whose boxes."""

    model: str
    device: str | None
    all_combinations: bool
    boxes: Path | None
    save: Path | None
    """Where the predictions file goes, if anywhere."""

    def report(self, data: Path, test: PairTest) -> tuple[InteractionReport, tuple[str, ...]]:
        """Scores of the listed interactions, and sentences that belong to them."""
        from ovgsr.cli.progress import progress_bar
        from ovgsr.data.detections import read_detections
        from ovgsr.data.hico_det import image_folder
        from ovgsr.evaluation.hico_det import evaluate_pairs
        from ovgsr.evaluation.predictions import PredictionsWriter
        from ovgsr.recognizers.pairs import PairRecognizer, predict_annotated_pairs

        recognizer, read = PairRecognizer.from_pretrained(self.model, device=self.device), test.read
        detections = None if self.boxes is None else read_detections(self.boxes)
        offer = recognizer.offer(read.vocabulary, None if self.all_combinations else read.interactions, detections)
        with ExitStack() as stack:
            progress = stack.enter_context(progress_bar("predicting"))
            folder = image_folder(data, test.fold)
            found = predict_annotated_pairs(recognizer, read.images, folder, offer, progress=progress)
            if self.save is not None:
                found = stack.enter_context(PredictionsWriter(self.save)).passed_on(found)
            report = evaluate_pairs(
                found,
                read.images,
                read.interactions,
                read.rare,
                test.splits,
                test.known_objects,
                test.modes,
                test.fold,
                test.left_out,
            )
        scored = "every verb with every object" if self.all_combinations else "the listed interactions only"
        notices = (*recognizer.notices_with(offer), f"scored were {scored}")
        met = set(recognizer.checkpoint.interactions)
        for name, unseen in test.splits.items():
            if unseen & met:
                trained = f"the student was trained on {len(unseen & met)} of the {len(unseen)} unseen interactions"
                notices += (f"{trained} of {name}: to it they are seen",)
        return report, notices
