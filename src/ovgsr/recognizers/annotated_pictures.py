"""Running any recognizer over annotated pictures, a batch of files at a time: what an evaluation needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ovgsr.models.preprocess import load_image
from ovgsr.recognizers.protocol import Recognizer
from ovgsr.situation import AnnotatedImage, BoxXyxy, GroundedNoun, ImagePrediction
from ovgsr.vocabulary import Vocabulary


def predict_annotated_pictures(
    recognizer: Recognizer,
    images: Sequence[AnnotatedImage],
    image_folder: Path,
    vocabulary: Vocabulary,
    *,
    batch_size: int = 8,
    top_k: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[ImagePrediction]:
    """Every verb of ``vocabulary`` ranked, and the annotated verb's frame filled, for each picture in order.

    The annotated verb chooses which frame is filled and never reaches the ranking. Boxes are in pixels of the
    annotated size, whatever the file's. ``progress`` hears how many pictures are done. Raises ImageError where a
    picture cannot be read.
    """
    for start in range(0, len(images), batch_size):
        chosen = images[start : start + batch_size]
        found = recognizer.predict(
            [load_image(image_folder / image.file_name) for image in chosen],
            vocabulary,
            file_names=[image.file_name for image in chosen],
            top_k=top_k,
            frames_of=[image.situation.verb for image in chosen],
        )
        for prediction, image in zip(found, chosen, strict=True):
            yield in_annotated_size(prediction, image)
        if progress is not None:
            progress(start + len(chosen), len(images))


def in_annotated_size(prediction: ImagePrediction, image: AnnotatedImage) -> ImagePrediction:
    """The prediction with its boxes in pixels of the annotated size; as it is where the file has that size."""
    if (
        not prediction.width
        or not prediction.height
        or (prediction.width, prediction.height)
        == (
            image.width,
            image.height,
        )
    ):
        return prediction
    x_scale, y_scale = image.width / prediction.width, image.height / prediction.height

    def scaled(noun: GroundedNoun) -> GroundedNoun:
        return replace(noun, box_xyxy=noun.box_xyxy and _scaled(noun.box_xyxy, x_scale, y_scale))

    situations = {
        verb: replace(situation, nouns={role: scaled(noun) for role, noun in situation.nouns.items()})
        for verb, situation in prediction.situations.items()
    }
    return replace(prediction, situations=situations, width=image.width, height=image.height)


def _scaled(box_xyxy: BoxXyxy, x_scale: float, y_scale: float) -> BoxXyxy:
    left, top, right, bottom = box_xyxy
    return (left * x_scale, top * y_scale, right * x_scale, bottom * y_scale)
