"""The part of ``ovgsr evaluate`` that runs a student for human-object interactions."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovgsr.cli.evaluate_pairs import PairTest
    from ovgsr.evaluation.hico_det import InteractionReport


def report_of_pair_model(
    model: str,
    data: Path,
    test: PairTest,
    save: Path | None,
    device: str | None,
    boxes: Path | None,
    *,
    all_combinations: bool,
) -> tuple[InteractionReport, tuple[str, ...]]:
    """Scores of the listed interactions, and sentences that belong to them; predictions go to ``save`` on the way."""
    from ovgsr.cli.progress import progress_bar
    from ovgsr.data.detections import read_detections
    from ovgsr.data.hico_det import image_folder
    from ovgsr.evaluation.hico_det import evaluate_pairs
    from ovgsr.evaluation.predictions import PredictionsWriter
    from ovgsr.recognizers.pairs import PairRecognizer, predict_annotated_pairs

    recognizer, read = PairRecognizer.from_pretrained(model, device=device), test.read
    detections = None if boxes is None else read_detections(boxes)
    offer = recognizer.offer(read.vocabulary, None if all_combinations else read.interactions, detections)
    folder = image_folder(data, test.fold)
    with ExitStack() as stack:
        progress = stack.enter_context(progress_bar("predicting"))
        found = predict_annotated_pairs(recognizer, read.images, folder, offer, progress=progress)
        if save is not None:
            found = stack.enter_context(PredictionsWriter(save)).passed_on(found)
        report = evaluate_pairs(
            found, read.images, read.interactions, read.rare, test.splits, test.known_objects, test.modes, test.fold
        )
    scored = "every verb with every object" if all_combinations else "the listed interactions only"
    notices = (*recognizer.notices_with(offer), f"scored were {scored}")
    met = set(recognizer.checkpoint.interactions)
    for name, unseen in test.splits.items():
        if unseen & met:
            told = f"the student was trained on {len(unseen & met)} of the {len(unseen)} unseen interactions of {name}"
            notices += (f"{told}: to it they are seen",)
    return report, notices
