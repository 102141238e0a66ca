"""The wiring diagram: settings -> data, student, task, optimiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ovgsr.config import Config, ConfigError, DataSettings
from ovgsr.data.augment import Augmentation
from ovgsr.data.collate import collate
from ovgsr.data.dataset import SituationDataset
from ovgsr.data.skipped import Skipped
from ovgsr.distillation.recorded import RecordedReadings, readings_or_none
from ovgsr.models.build import build_student
from ovgsr.models.checkpoint import Calibration, StudentCheckpoint
from ovgsr.models.heads import TextSimilarity
from ovgsr.models.image_adapter import tune
from ovgsr.models.model_card import Provenance
from ovgsr.models.preprocess import Preprocess
from ovgsr.models.text_encoder import TextEncoder, embed_vocabulary, load_text_encoder
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.sketch.write import PLAN_FILE
from ovgsr.tensors import Batch, TextEmbeddings
from ovgsr.training.calibration import calibrate
from ovgsr.training.sampling import EpochSampler, repeat_factors, sampled_verb_counts
from ovgsr.training.stand_ins import MadeUpReadings, StandIns
from ovgsr.training.tasks import SituationTask
from ovgsr.training.training_data import TrainingData, read_training_data
from ovgsr.training.validate import Processes, validate

DRAWN_NOTICE = "This model was trained on SketchSWiG alone: it knows drawn pictures only, not photos."
_CACHE_BYTES = 4 << 30
RECOGNITION_WEIGHT = 0.8
"""The recognizer's share among training verbs until dev chooses it (world.md, fusion)."""


@dataclass(frozen=True)
class Parts:
    """All that the loop needs."""

    data: TrainingData
    text_encoder: TextEncoder
    text: TextEmbeddings
    checkpoint: StudentCheckpoint
    dataset: SituationDataset
    sampler: EpochSampler
    loader: DataLoader[Batch]
    verb_counts: Tensor
    readings: RecordedReadings | MadeUpReadings | None = None

    def recognizer(self, device: torch.device) -> SituationRecognizer:
        """The student as it is now, ready to predict on dev."""
        return SituationRecognizer(self.checkpoint, self.text_encoder, str(device))

    def beside_batch(self, device: torch.device) -> tuple[TextEmbeddings, Tensor]:
        """The training words' texts, and how often each verb is shown."""
        return self.text.to(device), self.verb_counts.to(device)

    def validate(self, device: torch.device, config: Config, among: Processes) -> dict[str, float]:
        """Dev scores by name."""
        return validate(self.recognizer(device), self.data, config, among)

    def calibrate(self, device: torch.device, config: Config, among: Processes) -> None:
        """Chooses the finished student's constants on dev."""
        self.checkpoint.calibration = calibrate(self.recognizer(device), self.data, config, among)


def build_parts(config: Config, skipped: Skipped | None = None, *, stand_ins: StandIns | None = None) -> Parts:
    """Everything a run needs, seeded: the same settings give the same weights and the same order of pictures.

    ``skipped``: where pictures that cannot be read are noted; without it they are errors. ``stand_ins``: what a dry run
    gives in the place of what would be read.
    """
    require_readout(config)
    torch.manual_seed(config.train.seed)
    given = stand_ins or StandIns()
    data = replace(given.data or read_training_data(config.data), skipped=skipped)
    if skipped is not None:
        skipped.note(*data.faults)
    encoder = given.text_encoder or load_text_encoder(config.model.text_encoder)
    text = embed_vocabulary(data.vocabulary, encoder)
    checkpoint = _fresh_checkpoint(config, data, text)
    text = checkpoint.bind(text, data.vocabulary)
    names = data.train.file_names
    readings = given.teacher or readings_or_none(
        names, config.distill, text_fingerprint=encoder.fingerprint, text_width=encoder.width
    )
    dataset = SituationDataset(
        data.train,
        data.pictures,
        open_image=given.open_image or partial(checkpoint.preprocess.open, zoom=1 - config.data.crop),
        preprocess=checkpoint.preprocess,
        vocabulary=data.vocabulary,
        augmentation=augmentation(config.data),
        seed=config.train.seed,
        cache_images=cache_budget(config.data),
        teacher=readings,
        skipped=skipped,
    )
    verb_of_picture = [data.vocabulary.verb_index(verb) for verb in data.train.verbs]
    factors = repeat_factors(verb_of_picture, len(data.vocabulary.verbs), config.data.rare_repeat)
    sampler = EpochSampler(factors, config.train.seed)
    loader = batches_of(dataset, sampler, config)
    counts = sampled_verb_counts(verb_of_picture, len(data.vocabulary.verbs), factors)
    return Parts(data, encoder, text, checkpoint, dataset, sampler, loader, counts, readings)


def batches_of(dataset: SituationDataset, sampler: EpochSampler, config: Config) -> DataLoader[Batch]:
    """The training batches of the epoch that ``sampler`` has begun."""
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=config.train.batch_size,
        sampler=sampler,
        num_workers=config.data.workers,
        collate_fn=collate,
        drop_last=True,  # a last batch of three pictures would unsettle the batch statistics
        persistent_workers=config.data.workers > 0,
        pin_memory=torch.accelerator.is_available(),
        generator=torch.Generator(),  # starting an epoch must not draw from the numbers that dropout uses: see resuming
    )


def require_readout(config: Config) -> None:
    """Raises ConfigError where a teacher would have no readout to teach."""
    if config.distill.teaches_readout and not config.model.distilled_readout:
        raise ConfigError("distill needs the readout that it teaches: set model.distilled_readout=true")


def _fresh_checkpoint(config: Config, data: TrainingData, text: TextEmbeddings) -> StudentCheckpoint:
    text_width = text.verbs.shape[1]
    model = build_student(
        config.model,
        text_width=text_width,
        verb_classes=len(data.vocabulary.verbs),
        noun_classes=len(data.vocabulary.answers),
    )
    tune(model.tower, config.backbone)
    # The common part of the training words' texts, taken off before they are compared (heads.TextSimilarity).
    centred = (
        (model.verb_scores, text.verbs),
        (model.distilled_scores, text.told_verbs),
        (model.noun_scores, text.nouns),
    )
    for scores, words in centred:
        if isinstance(scores, TextSimilarity):
            scores.centre.copy_(words.mean(dim=0))
    tower = model.tower
    drawn = (data.root / PLAN_FILE).is_file() or "sketch" in data.split.name.lower()
    return StudentCheckpoint(
        model=model,
        settings=config.model,
        vocabulary=data.vocabulary,
        preprocess=Preprocess(config.data.image_size, tower.mean, tower.std, config.data.resize),
        text_fingerprint=text.fingerprint,
        text_width=text_width,
        calibration=Calibration(recognition_weight=RECOGNITION_WEIGHT if config.distill.teaches_readout else 1.0),
        rare_verbs=data.split.rare,
        provenance=Provenance(
            dataset=data.split.name,
            notice=DRAWN_NOTICE if drawn else "",
            recipe=config.name,
            details={
                "train_pictures": len(data.train),
                "split_sha256": data.split.fingerprint,
                "seed": config.train.seed,
                "epochs": config.train.epochs,
            },
        ),
    )


def build_task(config: Config, parts: Parts) -> SituationTask:
    """The student with its losses, and the projections that a teacher's readings are compared through."""
    readings = parts.readings
    widths = {} if readings is None else {"role_width": readings.role_width, "token_width": readings.token_width}
    return SituationTask(parts.checkpoint.model, config.loss, config.distill, **widths)


def augmentation(settings: DataSettings) -> Augmentation:
    """How training pictures are varied."""
    return Augmentation(
        flip=settings.flip,
        scale=(1 - settings.crop, 1 + settings.crop),
        translate=settings.crop,
        brightness=settings.colour,
        contrast=settings.colour,
        saturation=settings.colour,
    )


def cache_budget(settings: DataSettings) -> int:
    """Bytes of decoded pictures that each process may keep."""
    return _CACHE_BYTES // max(1, settings.workers) if settings.cache_images else 0
