"""The pair student as a recognizer: pictures and words in, human-object interactions out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ovgsr.data.detections import Detections
from ovgsr.hoi_vocabulary import Interaction
from ovgsr.interactions import PERSON, PairPrediction
from ovgsr.models.checkpoint import CheckpointError, checkpoint_format, exported
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.models.pair_decode import Combinations, decode_pairs, read_detected, read_pictures
from ovgsr.models.preprocess import load_image
from ovgsr.models.text_encoder import TextEncoder, embed_vocabulary, load_text_encoder
from ovgsr.recognizers.annotated import picture_batches
from ovgsr.recognizers.onnx import OnnxPairs, open_export
from ovgsr.recognizers.student import usable_device
from ovgsr.situation import AnnotatedImage
from ovgsr.tensors import DetectedBoxes, PairOutputs, TextEmbeddings
from ovgsr.vocabulary import Vocabulary


@dataclass(frozen=True)
class PairOffer:
    """The words of a call, embedded, and the combinations of them that are scored."""

    vocabulary: Vocabulary
    text: TextEmbeddings
    combinations: Combinations
    distilled_weight: Tensor
    """How often the distilled readout's cosine counts in each verb's logit (V,)."""
    detections: Detections | None = None
    """A detector's boxes, which take the place of the student's own (two-stage)."""

    def detected(self, file_name: str, device: torch.device) -> DetectedBoxes:
        """The detector's boxes in a picture. Raises DataError where its file does not mention the picture."""
        assert self.detections is not None
        found = self.detections.of(file_name)
        places = {answer.key: place for place, answer in enumerate(self.vocabulary.answers)}
        return DetectedBoxes(
            boxes_xyxy=torch.tensor([box.box_xyxy for box in found]).reshape(-1, 4),
            human=torch.tensor([box.label == PERSON for box in found], dtype=torch.bool),
            object_index=torch.tensor([places.get(box.label, 0) for box in found], dtype=torch.long),
            scores=torch.tensor([box.score for box in found]),
        ).to(device)


class ReadPictures(NamedTuple):
    """What the network says of some pictures, before it is decoded."""

    outputs: PairOutputs
    sizes_wh: Tensor  # (B, 2)
    file_names: Sequence[str]


class PairRecognizer:
    """Finds people and what they do to which objects."""

    def __init__(self, checkpoint: PairCheckpoint, text_encoder: TextEncoder, device: str = "cpu") -> None:
        self.checkpoint = checkpoint
        self.text_encoder = text_encoder
        self.device = torch.device(device)
        self.model = checkpoint.model.to(self.device).eval()

    @classmethod
    def from_pretrained(cls, name: str | Path, *, device: str | None = None, **hub: Any) -> PairRecognizer:
        """A recognizer from a folder, or from a model on the Hugging Face hub.

        Raises CheckpointError where the checkpoint is missing, damaged or one for situations, TextEncoderError where
        its text encoder is missing, DeviceError where this machine cannot compute on ``device``. A folder that ``ovgsr
        export`` wrote is run by ONNX Runtime, and raises OnnxError where it cannot be.
        """
        if checkpoint_format(name, **hub) == exported(PairCheckpoint.FORMAT):
            return cls(*open_export(PairCheckpoint, OnnxPairs, str(name), device, **hub))
        chosen = usable_device(device)
        checkpoint = PairCheckpoint.from_pretrained(str(name), **hub)
        return cls(checkpoint, load_text_encoder(checkpoint.settings.text_encoder, device=chosen), chosen)

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences that every result of this checkpoint carries."""
        notice = self.checkpoint.provenance.notice
        return (notice,) if notice else ()

    def notices_with(self, offer: PairOffer) -> tuple[str, ...]:
        """Those, and where the boxes are a detector's, whose they are."""
        return self.notices if offer.detections is None else (*self.notices, offer.detections.notice)

    def offer(
        self,
        vocabulary: Vocabulary | None = None,
        interactions: Sequence[Interaction] | None = None,
        detections: Detections | None = None,
    ) -> PairOffer:
        """Words for :meth:`predict`: by default those of training, in the combinations that training was offered.

        With a ``vocabulary`` of one's own every verb is scored with every object, unless ``interactions`` lists
        combinations. Raises CheckpointError where nothing is left to be scored.
        """
        if vocabulary is None:
            vocabulary = self.checkpoint.vocabulary
            interactions = self.checkpoint.interactions if interactions is None else interactions
        if interactions is None:
            combinations = Combinations.all_of(vocabulary)
        else:
            combinations = Combinations.listed(interactions, vocabulary)
        if not len(combinations.verb_index):
            raise CheckpointError("no combination of a verb and an object is offered; name at least one of each")
        text = embed_vocabulary(vocabulary, self.text_encoder)
        self.checkpoint.require_encoder(text.fingerprint)
        weights = self.checkpoint.distilled_weights(vocabulary).to(self.device)
        return PairOffer(vocabulary, text.to(self.device), combinations.to(self.device), weights, detections)

    def __call__(self, image: Image.Image | str | Path, offer: PairOffer | None = None) -> PairPrediction:
        """The interactions in one picture, best first. Raises ImageError where a path is no readable picture."""
        name = "" if isinstance(image, Image.Image) else str(image)
        picture = image if isinstance(image, Image.Image) else load_image(Path(image))
        return self.predict([picture], offer or self.offer(), file_names=[name])[0]

    def predict(
        self, images: Sequence[Image.Image], offer: PairOffer, *, file_names: Sequence[str] | None = None
    ) -> list[PairPrediction]:
        """Predictions for pictures of any sizes."""
        if not images:
            return []
        pixels = torch.stack([self.checkpoint.preprocess(image) for image in images])
        sizes_wh = torch.tensor([image.size for image in images], dtype=torch.float32)
        return self.predict_pixels(pixels, sizes_wh, offer, file_names or [""] * len(images))

    def predict_pixels(
        self, pixels: Tensor, sizes_wh: Tensor, offer: PairOffer, file_names: Sequence[str]
    ) -> list[PairPrediction]:
        """As :meth:`predict`, from pixels (B, 3, H, W) that are ready and the pictures' sizes (B, 2)."""
        return self.decode(self.read(pixels, sizes_wh, offer, file_names), offer)

    @torch.inference_mode()
    def read(self, pixels: Tensor, sizes_wh: Tensor, offer: PairOffer, file_names: Sequence[str]) -> ReadPictures:
        """What the network says of the pictures."""
        return ReadPictures(self.model(pixels.to(self.device), offer.text), sizes_wh.to(self.device), file_names)

    @torch.inference_mode()
    def decode(self, pictures: ReadPictures, offer: PairOffer) -> list[PairPrediction]:
        """Predictions from what the network says, for an offer of the same words."""
        settings, (outputs, sizes_wh, file_names) = self.checkpoint.pairs, pictures
        readings = read_pictures(outputs, sizes_wh, offer.distilled_weight)
        if offer.detections is not None:
            readings = [
                read_detected(reading, offer.detected(name, self.device))
                for reading, name in zip(readings, file_names, strict=True)
            ]
        found = [
            decode_pairs(reading, offer.vocabulary, offer.combinations, kept=settings.kept, nms=settings.nms)
            for reading in readings
        ]
        return [
            PairPrediction(name, pairs, int(width), int(height), self.notices_with(offer))
            for name, pairs, (width, height) in zip(file_names, found, sizes_wh.tolist(), strict=True)
        ]


def predict_annotated_pairs(
    recognizer: PairRecognizer,
    images: Sequence[AnnotatedImage],
    image_folder: Path,
    offer: PairOffer,
    *,
    batch_size: int = 100,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[PairPrediction]:
    """The interactions in each annotated picture, in order; ``progress`` hears how many pictures are done."""
    done = 0
    for pictures in read_annotated_pairs(recognizer, images, image_folder, offer, batch_size, workers):
        yield from recognizer.decode(pictures, offer)
        done += len(pictures.file_names)
        if progress is not None:
            progress(done, len(images))


def read_annotated_pairs(
    recognizer: PairRecognizer,
    images: Sequence[AnnotatedImage],
    image_folder: Path,
    offer: PairOffer,
    batch_size: int = 100,
    workers: int = 0,
) -> Iterator[ReadPictures]:
    """What the network says of annotated pictures, a batch at a time, in order."""
    for batch in picture_batches(recognizer.checkpoint.preprocess, images, image_folder, batch_size, workers):
        names = [images[index].file_name for index in batch.indices.tolist()]
        yield recognizer.read(batch.pixels, batch.sizes_wh, offer, names)
