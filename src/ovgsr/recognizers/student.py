"""The student as a recognizer: a checkpoint and a text encoder; pictures and words in, situations out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ovgsr.errors import OvgsrError, first_line
from ovgsr.models.checkpoint import CheckpointError, StudentCheckpoint, checkpoint_format, exported
from ovgsr.models.decode import decode_situations, rank_verbs, repeat_pictures, verb_log_probabilities
from ovgsr.models.preprocess import load_image
from ovgsr.models.text_encoder import TextEncoder, embed_vocabulary, load_text_encoder
from ovgsr.recognizers.frames import borrow_frames
from ovgsr.recognizers.onnx import OnnxSituations, open_export
from ovgsr.situation import ImagePrediction, Situation
from ovgsr.tensors import Encoded, TextEmbeddings
from ovgsr.vocabulary import Vocabulary

SHIPPED_STUDENT = "sketch"
"""The name of the student that the package carries: it knows drawn pictures only."""


class DeviceError(OvgsrError):
    """A device that this machine does not have."""


class SituationRecognizer:
    """Says what is going on in a picture, who and what takes part, and where.

    >>> from ovgsr import SituationRecognizer                           # doctest: +SKIP
    >>> recognizer = SituationRecognizer.from_pretrained()              # doctest: +SKIP
    >>> recognizer("picture.jpg").best.verb                             # doctest: +SKIP
    'juggling'
    """

    def __init__(self, checkpoint: StudentCheckpoint, text_encoder: TextEncoder, device: str = "cpu") -> None:
        self.checkpoint = checkpoint
        self.text_encoder = text_encoder
        self.device = torch.device(device)
        self.model = checkpoint.model.to(self.device).eval()
        self._offered: tuple[Vocabulary, Vocabulary, TextEmbeddings] | None = None

    @classmethod
    def from_pretrained(
        cls, name: str | Path = SHIPPED_STUDENT, *, device: str | None = None, **hub: Any
    ) -> SituationRecognizer:
        """A recognizer from a folder, a model on the Hugging Face hub, or the shipped student (``"sketch"``, the
        default).

        Raises CheckpointError where the checkpoint is missing or damaged, TextEncoderError where its text encoder is,
        DeviceError where this machine cannot compute on ``device``. A folder that ``ovgsr export`` wrote is run by ONNX
        Runtime, and raises OnnxError where it cannot be.
        """
        name = shipped_folder(name)
        if checkpoint_format(name, **hub) == exported(StudentCheckpoint.FORMAT):
            return cls(*open_export(StudentCheckpoint, OnnxSituations, str(name), device, **hub))
        chosen = usable_device(device)
        checkpoint = StudentCheckpoint.from_pretrained(str(name), **hub)
        return cls(checkpoint, load_text_encoder(checkpoint.settings.text_encoder, device=chosen), chosen)

    @property
    def vocabulary(self) -> Vocabulary:
        """The training vocabulary: what is offered where a call names no other."""
        return self.checkpoint.vocabulary

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences that every result of this checkpoint carries."""
        notice = self.checkpoint.provenance.notice
        return (notice,) if notice else ()

    def __call__(
        self, image: Image.Image | str | Path, vocabulary: Vocabulary | None = None, *, top_k: int = 5
    ) -> ImagePrediction:
        """The verbs of ``vocabulary`` ranked for one picture, and the frames of the first ``top_k`` filled.

        A file is turned upright as its EXIF data say; an ``Image`` is taken as it stands.

        Raises ImageError where a path is no readable picture.
        """
        name = "" if isinstance(image, Image.Image) else str(image)
        picture = image if isinstance(image, Image.Image) else load_image(Path(image))
        return self.predict([picture], vocabulary, file_names=[name], top_k=top_k)[0]

    def offer(self, vocabulary: Vocabulary | None) -> tuple[Vocabulary, TextEmbeddings]:
        """The vocabulary with every frame known, and its embeddings on the model's device (kept for the next call).

        A verb without a frame borrows the frame of the nearest known verb by text, and says so.
        """
        vocabulary = vocabulary or self.vocabulary
        if self._offered is None or self._offered[0] is not vocabulary:
            if not vocabulary.verbs:
                raise CheckpointError("the vocabulary offers no verb; name at least one")
            complete = borrow_frames(vocabulary, self.vocabulary, self.text_encoder.encode)
            text = self.checkpoint.bind(embed_vocabulary(complete, self.text_encoder), complete)
            self._offered = (vocabulary, complete, text.to(self.device))
        return self._offered[1], self._offered[2]

    @torch.inference_mode()
    def predict(
        self,
        images: Sequence[Image.Image],
        vocabulary: Vocabulary | None = None,
        *,
        file_names: Sequence[str] | None = None,
        top_k: int = 5,
        frames_of: Sequence[str] | None = None,
        calibrated: bool = True,
    ) -> list[ImagePrediction]:
        """Predictions for pictures of any sizes.

        ``frames_of`` names one verb a picture whose frame is filled besides the ``top_k`` best, as an evaluation needs.
        ``calibrated`` uses the checkpoint's constant for verbs outside its training.
        """
        if not images:
            return []
        pixels = torch.stack([self.checkpoint.preprocess(image) for image in images])
        sizes_wh = torch.tensor([image.size for image in images], dtype=torch.float32)
        names = file_names or [""] * len(images)
        return self.predict_pixels(
            pixels, sizes_wh, vocabulary, names, top_k=top_k, frames_of=frames_of, calibrated=calibrated
        )

    @torch.inference_mode()
    def predict_pixels(
        self,
        pixels: Tensor,
        sizes_wh: Tensor,
        vocabulary: Vocabulary | None,
        file_names: Sequence[str],
        *,
        top_k: int,
        frames_of: Sequence[str] | None = None,
        calibrated: bool = True,
    ) -> list[ImagePrediction]:
        """As :meth:`predict`, from pixels (B, 3 or 4, H, W) that are ready and the pictures' sizes (B, 2)."""
        complete, text = self.offer(vocabulary)
        encoded = self.model.encode(pixels.to(self.device))
        calibration = self.checkpoint.calibration
        if not calibrated:
            calibration = replace(calibration, unseen_offset=0.0, rare_offset=0.0)
        log_probabilities = verb_log_probabilities(self.model.predict_verb(encoded, text), text, calibration)
        rankings = rank_verbs(log_probabilities, complete)
        chosen = _verbs_to_fill(log_probabilities, min(top_k, len(complete.verbs)), frames_of, complete)
        situations = self._fill(encoded, chosen, log_probabilities, sizes_wh.to(self.device), complete, text)
        predictions = []
        for name, ranking, (width, height) in zip(file_names, rankings, sizes_wh.tolist(), strict=True):
            filled = {situation.verb: situation for situation in (next(situations) for _ in range(chosen.shape[1]))}
            predictions.append(ImagePrediction(name, ranking, filled, int(width), int(height), self.notices))
        return predictions

    def _fill(
        self,
        encoded: Encoded,
        chosen: Tensor,
        log_probabilities: Tensor,
        sizes_wh: Tensor,
        vocabulary: Vocabulary,
        text: TextEmbeddings,
    ) -> Iterator[Situation]:
        """Situations of ``chosen`` (B, K) verbs, picture by picture."""
        count = chosen.shape[1]
        if not count:
            return iter(())
        scores = [round(score, 6) for score in log_probabilities.gather(1, chosen).exp().flatten().tolist()]
        verbs = chosen.flatten()
        outputs = self.model.fill_roles(encoded.repeated(count), verbs, text)
        return iter(decode_situations(outputs, verbs, scores, repeat_pictures(sizes_wh, count), vocabulary))


def shipped_folder(name: str | Path) -> str:
    """The name itself, or where the shipped student is if it is meant."""
    if str(name) == SHIPPED_STUDENT and not (Path(name) / "config.json").is_file():
        return str(resources.files("ovgsr") / "assets" / "sketch_student")
    return str(name)


def usable_device(name: str | None) -> str:
    """The device of that name, by default a GPU where there is one. Raises DeviceError where it cannot be used."""
    if name is None:
        return str(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise DeviceError(
            f"the device {name!r} cannot be used on this machine ({reason}); name cpu or leave it out"
        ) from None
    return name


def _verbs_to_fill(
    log_probabilities: Tensor, top_k: int, frames_of: Sequence[str] | None, vocabulary: Vocabulary
) -> Tensor:
    """The verbs (B, K) whose frames are filled: the best ``top_k``, then the one asked for."""
    best = log_probabilities.argsort(dim=-1, descending=True, stable=True)[:, :top_k]
    if frames_of is None:
        return best
    asked = torch.tensor([vocabulary.verb_index(verb) for verb in frames_of], device=best.device)
    return torch.cat([best, asked[:, None]], dim=1)
