"""Running a student over annotated pictures: what an evaluation needs and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from ovgsr.data.collate import collate
from ovgsr.data.dataset import SituationDataset
from ovgsr.data.skipped import Skipped
from ovgsr.models.preprocess import Preprocess
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.situation import AnnotatedImage, ImagePrediction
from ovgsr.tensors import Batch, VerbScores
from ovgsr.vocabulary import Vocabulary


def predict_annotated(
    recognizer: SituationRecognizer,
    images: Sequence[AnnotatedImage],
    image_folder: Path,
    vocabulary: Vocabulary,
    *,
    batch_size: int = 100,
    workers: int = 0,
    skipped: Skipped | None = None,
    top_k: int = 0,
    calibrated: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[ImagePrediction]:
    """Every verb of ``vocabulary`` ranked, and the annotated verb's frame filled, for each picture in order.

    The annotated verb chooses which frame is filled and never reaches the ranking. A picture that cannot be read is an
    error, or where there is ``skipped`` noted there and seen as a grey one: it stays in the denominator. ``progress``
    hears how many pictures are done.
    """
    done = 0
    for batch in picture_batches(recognizer.checkpoint.preprocess, images, image_folder, batch_size, workers, skipped):
        chosen = [images[index] for index in batch.indices.tolist()]
        yield from recognizer.predict_pixels(
            batch.pixels,
            batch.sizes_wh,
            vocabulary,
            [image.file_name for image in chosen],
            top_k=top_k,
            frames_of=[image.situation.verb for image in chosen],
            calibrated=calibrated,
        )
        done += len(chosen)
        if progress is not None:
            progress(done, len(images))


def score_annotated(
    recognizer: SituationRecognizer,
    images: Sequence[AnnotatedImage],
    image_folder: Path,
    vocabulary: Vocabulary,
    *,
    batch_size: int = 100,
    workers: int = 0,
    skipped: Skipped | None = None,
) -> Iterator[VerbScores]:
    """Both readouts' scores (B, V), on the CPU, of one batch of pictures after the other, neither mixed nor shifted.

    No frame is filled.
    """
    _, text = recognizer.offer(vocabulary)
    for batch in picture_batches(recognizer.checkpoint.preprocess, images, image_folder, batch_size, workers, skipped):
        with torch.inference_mode():
            encoded = recognizer.model.encode(batch.pixels.to(recognizer.device))
            scores = recognizer.model.predict_verb(encoded, text).to("cpu")
        yield scores


def joined_scores(found: Sequence[VerbScores]) -> VerbScores:
    """The scores of several batches as one."""
    distilled = [scores.distilled for scores in found if scores.distilled is not None]
    embedded = [scores.scene_text for scores in found if scores.scene_text is not None]
    return VerbScores(
        recognition=torch.cat([scores.recognition for scores in found]),
        distilled=torch.cat(distilled) if distilled else None,
        scene_text=torch.cat(embedded) if embedded else None,
    )


def picture_batches(
    preprocess: Preprocess,
    images: Sequence[AnnotatedImage],
    image_folder: Path,
    batch_size: int,
    workers: int,
    skipped: Skipped | None = None,
) -> DataLoader[Batch]:
    """The pictures in order, without their annotations."""
    dataset = SituationDataset(images, image_folder, open_image=preprocess.open, preprocess=preprocess, skipped=skipped)
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.accelerator.is_available(),
    )
