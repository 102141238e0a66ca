"""Annotated pictures through any recognizer: order, the verb asked for, and boxes in the annotated size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from ovgsr.models.preprocess import ImageError
from ovgsr.recognizers.annotated_pictures import predict_annotated_pictures
from ovgsr.situation import AnnotatedImage, GroundedNoun, ImagePrediction, Situation
from ovgsr.vocabulary import Vocabulary


class Recorder:
    """Says that the whole picture is a man, and keeps what it was asked."""

    notices = ("a recorder",)

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, list[str]]] = []

    def predict(
        self,
        images: Sequence[Image.Image],
        vocabulary: Vocabulary,
        *,
        file_names: Sequence[str] | None = None,
        top_k: int = 5,
        frames_of: Sequence[str] | None = None,
    ) -> list[ImagePrediction]:
        assert file_names is not None
        assert frames_of is not None
        self.calls.append((len(images), top_k, list(frames_of)))
        return [
            ImagePrediction(
                name,
                ((verb, 1.0),),
                {verb: Situation(verb, {"agent": GroundedNoun("n1", (0, 0, *image.size)), "tool": GroundedNoun("")})},
                *image.size,
            )
            for name, verb, image in zip(file_names, frames_of, images, strict=True)
        ]


def annotated(name: str, verb: str, width: int, height: int) -> AnnotatedImage:
    return AnnotatedImage(name, width, height, (Situation(verb, {"agent": GroundedNoun("n1")}),))


def test_pictures_in_batches(tmp_path: Path, tiny_vocabulary: Vocabulary) -> None:
    for name, size in (("a.png", (40, 20)), ("b.png", (40, 20)), ("c.png", (30, 30))):
        Image.new("RGB", size).save(tmp_path / name)
    images = [
        annotated("a.png", "barking", 40, 20),
        annotated("b.png", "cutting", 80, 60),  # annotated at twice the width and three times the height
        annotated("c.png", "barking", 30, 30),
    ]
    recorder, heard = Recorder(), []
    found = list(
        predict_annotated_pictures(
            recorder, images, tmp_path, tiny_vocabulary, batch_size=2, progress=lambda *done: heard.append(done)
        )
    )
    assert recorder.calls == [(2, 0, ["barking", "cutting"]), (1, 0, ["barking"])]
    assert heard == [(2, 3), (3, 3)]
    assert [prediction.file_name for prediction in found] == ["a.png", "b.png", "c.png"]
    assert [prediction.best.nouns["agent"].box_xyxy for prediction in found] == [
        (0, 0, 40, 20),
        (0, 0, 80, 60),
        (0, 0, 30, 30),
    ]
    assert (found[1].width, found[1].height) == (80, 60)
    assert found[1].best.nouns["tool"] == GroundedNoun("")


def test_a_missing_picture_is_named(tmp_path: Path, tiny_vocabulary: Vocabulary) -> None:
    images = [annotated("gone.png", "barking", 4, 4)]
    with pytest.raises(ImageError, match=r"gone\.png"):
        list(predict_annotated_pictures(Recorder(), images, tmp_path, tiny_vocabulary))
