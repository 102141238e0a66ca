"""Which pictures an epoch shows, in which order: a function of seed and epoch, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ovgsr.config import TrainSettings


def repeat_factors(verb_of_picture: Sequence[int], verbs: int, most: float) -> np.ndarray:
    """How often each picture is shown an epoch, (pictures,): up to ``most`` times where its verb is rarer than the
    commonest.

    Class-aware sampling with a bound, as repeat-factor sampling in LVIS (Gupta et al. 2019): without one, a verb's
    eight pictures would be learned by heart.
    """
    labels = np.asarray(verb_of_picture)
    counts = np.bincount(labels, minlength=verbs)
    factors: np.ndarray = np.minimum(most, counts.max() / counts[labels])
    return factors


def epoch_order(factors: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The positions of an epoch's pictures in order; a factor of 2.3 means twice, and at times a third time."""
    generator = np.random.default_rng([seed, epoch, 0])
    whole = np.floor(factors)
    times = (whole + (generator.random(len(factors)) < factors - whole)).astype(np.int64)
    return generator.permutation(np.repeat(np.arange(len(factors)), times))


def planned_batches(factors: np.ndarray, settings: TrainSettings) -> list[int]:
    """The batches of each epoch of a run."""
    return [len(epoch_order(factors, settings.seed, epoch)) // settings.batch_size for epoch in range(settings.epochs)]


def seed_of_batch(seed: int, epoch: int, batch: int, process: int) -> int:
    """What dropout draws from: other masks for each batch and process, the same ones in a resumed run."""
    return int(np.random.SeedSequence([seed, epoch, batch, process]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def sampled_verb_counts(verb_of_picture: Sequence[int], verbs: int, factors: np.ndarray) -> Tensor:
    """The pictures (V,) that each verb contributes to an epoch, on average."""
    counts = np.bincount(np.asarray(verb_of_picture), weights=factors, minlength=verbs)
    return torch.from_numpy(counts).float()


class EpochSampler(torch.utils.data.Sampler[int]):
    """Yields an epoch's order; ``begin`` chooses the epoch, and how many pictures of it were already seen.

    It is not called ``set_epoch`` because accelerate's loader would call that with a count of its own, which knows of
    no resumed run.
    """

    def __init__(self, factors: np.ndarray, seed: int) -> None:
        self.factors = factors
        self.seed = seed
        self.epoch = 0
        self.skip = 0

    def begin(self, epoch: int, skip: int = 0) -> None:
        """Chooses the epoch and how many of its pictures to leave out."""
        self.epoch, self.skip = epoch, skip

    def __iter__(self) -> Iterator[int]:
        """The positions in order."""
        return iter(epoch_order(self.factors, self.seed, self.epoch)[self.skip :].tolist())

    def __len__(self) -> int:
        return len(epoch_order(self.factors, self.seed, self.epoch)) - self.skip
