"""The wiring diagram of human-object interactions: settings -> data, pair student, task, the look at dev."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from ovgsr.config import Config
from ovgsr.data.dataset import SituationDataset
from ovgsr.data.errors import DataError
from ovgsr.data.hico_det import HicoDetFold, image_folder, read_hico_det
from ovgsr.data.hoi_pairs import object_of
from ovgsr.data.hoi_splits import read_hoi_split, training_fold
from ovgsr.data.pair_targets import AllPairs
from ovgsr.data.skipped import Skipped
from ovgsr.distillation.recorded_pairs import RecordedPairs
from ovgsr.hoi_vocabulary import HoiSplit, Interaction, words_of
from ovgsr.models.build import build_pair_student
from ovgsr.models.image_adapter import tune
from ovgsr.models.model_card import Provenance
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.models.preprocess import Preprocess
from ovgsr.models.text_encoder import TextEncoder, embed_vocabulary, load_text_encoder
from ovgsr.recognizers.pairs import PairOffer, PairRecognizer, ReadPictures, read_annotated_pairs
from ovgsr.sketch.hoi_write import PLAN_FILE
from ovgsr.tensors import Batch, TextEmbeddings
from ovgsr.training.build import augmentation, batches_of, cache_budget, require_readout
from ovgsr.training.pair_calibration import choose_weights, dev_scores
from ovgsr.training.pair_task import PairTask
from ovgsr.training.sampling import EpochSampler
from ovgsr.training.validate import Processes

DISTILLED_WEIGHT, UNMET_WEIGHT = 2.0, 8.0
"""How often the distilled readout's cosine counts until dev chooses it: for verbs that training met, for others."""
DRAWN_NOTICE = "This model was trained on SketchHOI alone: it knows drawn pictures only, not photos."


@dataclass(frozen=True)
class PairData:
    """A data set as training sees it: ``train`` holds neither a picture's row nor a word of anything unseen."""

    root: Path
    split: HoiSplit | None
    train: HicoDetFold
    dev: HicoDetFold | None
    """With the test's unseen interactions left out; None where the data set has no such fold."""


@dataclass(frozen=True)
class PairParts:
    """All that the loop needs."""

    data: PairData
    text_encoder: TextEncoder
    text: TextEmbeddings
    checkpoint: PairCheckpoint
    dataset: SituationDataset
    sampler: EpochSampler
    loader: DataLoader[Batch]
    readings: RecordedPairs | None = None

    def beside_batch(self, device: torch.device) -> tuple[TextEmbeddings, Tensor]:
        """The training words' texts, and which combinations of them training may judge."""
        return self.text.to(device), open_combinations(self.data.train, self.data.split).to(device)

    def validate(self, device: torch.device, config: Config, among: Processes) -> dict[str, float]:
        """Mean average precision on dev in percent (official, Default), its own unseen interactions included.

        Average precision ranks all pictures together, so that every process looks at all of them.
        """
        if self.data.dev is None:
            return {}
        recognizer, offer, read = self._dev(self.data.dev, device, config)
        return dev_scores(
            (p for pictures in read for p in recognizer.decode(pictures, offer)), self.data.dev, self.data.split
        )

    def calibrate(self, device: torch.device, config: Config, among: Processes) -> None:
        """Chooses how much the distilled readout counts, where a teacher taught it.

        A constant for unseen interactions is not chosen: it would change no class's ranking.
        """
        if self.data.dev is None or not config.distill.teaches_readout:
            return
        recognizer, offer, read = self._dev(self.data.dev, device, config)
        score = partial(dev_scores, dev=self.data.dev, split=self.data.split)
        choose_weights(recognizer, list(read), offer, score)

    def _dev(
        self, dev: HicoDetFold, device: torch.device, config: Config
    ) -> tuple[PairRecognizer, PairOffer, Iterator[ReadPictures]]:
        recognizer = PairRecognizer(self.checkpoint, self.text_encoder, str(device))
        offer = recognizer.offer(dev.vocabulary, dev.interactions)
        folder, size, workers = image_folder(self.data.root, "dev"), config.evaluation.batch_size, config.data.workers
        return recognizer, offer, read_annotated_pairs(recognizer, dev.images, folder, offer, size, workers)


def read_pair_data(config: Config) -> PairData:
    """The folds, with everything unseen kept away from training.

    Raises DataError where the folder is no such data set, the split is another's, or no training picture is left.
    """
    root = Path(config.data.root)
    split = read_hoi_split(root, config.data.split)
    train = training_fold(read_hico_det(root, "train"), split, config.pairs.drop)
    if not train.images:
        raise DataError(f"{root}: no training picture with an interaction that the split leaves to training")
    dev = read_hico_det(root, "dev") if (root / "instances_dev2015.json").is_file() else None
    return PairData(root, split, train, dev and _without(dev, split.unseen if split else frozenset()))


def _without(fold: HicoDetFold, unseen: frozenset[Interaction]) -> HicoDetFold:
    kept = tuple(interaction for interaction in fold.interactions if interaction not in unseen)
    images = tuple(
        replace(image, situations=tuple(s for s in image.situations if (s.verb, object_of(s)) not in unseen))
        for image in fold.images
    )
    return replace(
        fold, images=images, vocabulary=words_of(fold.vocabulary, kept), interactions=kept, rare=fold.rare - unseen
    )


def open_combinations(train: HicoDetFold, split: HoiSplit | None) -> Tensor:
    """Where (V, N) a verb and an object (no object first) may be judged together: all that the split does not hold out.

    A combination that is listed nowhere is a negative, as with the peers: without those, hardly a verb has negatives.
    """
    table = torch.ones(len(train.vocabulary.verbs), len(train.vocabulary.answers), dtype=torch.bool)
    table[:, 0] = False
    for verb, thing in split.held_out if split else ():
        index = train.vocabulary.answer_index(thing)
        if verb in train.vocabulary and index is not None:
            table[train.vocabulary.verb_index(verb), index] = False
    return table


def build_pair_parts(config: Config, skipped: Skipped | None = None) -> PairParts:
    """Everything a run needs, seeded: the same settings give the same weights and the same order of pictures.

    ``skipped``: where broken rows and pictures that cannot be read are noted; without it such a picture is an error.
    """
    require_readout(config)
    torch.manual_seed(config.train.seed)
    data = read_pair_data(config)
    if skipped is not None:
        skipped.note(*map(str, data.train.broken))
    encoder = load_text_encoder(config.model.text_encoder)
    text = embed_vocabulary(data.train.vocabulary, encoder)
    checkpoint = _fresh_checkpoint(config, data, text)
    pairs, folder = AllPairs(data.train.images, data.train.vocabulary), image_folder(data.root, "train")
    readings = _readings(config, data.train, pairs, partial(_open, checkpoint.preprocess, folder), encoder, text)
    dataset = SituationDataset(
        data.train.images,
        folder,
        open_image=checkpoint.preprocess.open,
        preprocess=checkpoint.preprocess,
        pairs=pairs,
        teacher=readings,
        augmentation=augmentation(config.data),
        seed=config.train.seed,
        cache_images=cache_budget(config.data),
        skipped=skipped,
    )
    sampler = EpochSampler(np.ones(len(dataset)), config.train.seed)
    loader = batches_of(dataset, sampler, config)
    return PairParts(data, encoder, text, checkpoint, dataset, sampler, loader, readings)


def _readings(
    config: Config,
    train: HicoDetFold,
    pairs: AllPairs,
    open_picture: Callable[[str], Image.Image],
    encoder: TextEncoder,
    text: TextEmbeddings,
) -> RecordedPairs | None:
    if not config.distill.signals:
        return None
    return RecordedPairs(
        train,
        pairs,
        config.distill,
        open_picture=open_picture,
        told_verbs=text.told_verbs if config.pairs.agreeing else None,
        text_fingerprint=encoder.fingerprint,
        text_width=encoder.width,
    )


def _open(preprocess: Preprocess, folder: Path, file_name: str) -> Image.Image:
    return preprocess.open(folder / file_name)


def build_pair_task(config: Config, parts: PairParts) -> PairTask:
    """The pair student with its losses."""
    return PairTask(parts.checkpoint.model, config.loss, config.pairs, config.distill)


def _fresh_checkpoint(config: Config, data: PairData, text: TextEmbeddings) -> PairCheckpoint:
    model = build_pair_student(config.model, config.pairs, text_width=text.verbs.shape[1])
    tune(model.tower, config.backbone)
    # The common part of the training words' texts, taken off before they are compared (heads.TextSimilarity).
    model.verb_scores.centre.copy_(text.verbs.mean(dim=0))
    model.object_scores.centre.copy_(text.nouns[1:].mean(dim=0))
    if model.distilled_scores is not None:
        model.distilled_scores.centre.copy_(text.told_verbs.mean(dim=0))
    tower = model.tower
    return PairCheckpoint(
        model=model,
        settings=config.model,
        pairs=config.pairs,
        vocabulary=data.train.vocabulary,
        interactions=data.train.interactions,
        preprocess=Preprocess(config.data.image_size, tower.mean, tower.std, config.data.resize),
        text_fingerprint=text.fingerprint,
        text_width=text.verbs.shape[1],
        distilled_weight=DISTILLED_WEIGHT if config.distill.teaches_readout else 0.0,
        unmet_weight=UNMET_WEIGHT if config.distill.teaches_readout else 0.0,
        provenance=Provenance(
            dataset=data.train.vocabulary.name if data.split is None else data.split.name,
            notice=DRAWN_NOTICE if (data.root / PLAN_FILE).is_file() else "",
            recipe=config.name,
            details={
                "train_pictures": len(data.train.images),
                "seed": config.train.seed,
                "epochs": config.train.epochs,
            },
        ),
    )
