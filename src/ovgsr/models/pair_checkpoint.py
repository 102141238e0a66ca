"""A student for human-object interactions on disk: the files of ``models/checkpoint.py`` and what pairs add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from ovgsr.config import ModelSettings, PairSettings
from ovgsr.hoi_vocabulary import NO_INTERACTION, Interaction
from ovgsr.models.build import build_pair_student
from ovgsr.models.checkpoint import Checkpoint, shared_fields
from ovgsr.models.model_card import INTERACTIONS, Provenance
from ovgsr.models.pair_transformer import PairTransformer
from ovgsr.models.preprocess import Preprocess
from ovgsr.vocabulary import Vocabulary

PAIR_FORMAT = "ovgsr-pairs-1"


class PairCheckpoint(Checkpoint[PairTransformer]):
    """A pair network with all it takes to use it; ``interactions`` are the combinations that training was offered.

    ``recognition_weight`` is the share of the verb readout that annotations taught where a second one was taught; 1
    leaves that one out.
    """

    FORMAT = PAIR_FORMAT
    CARD_TEXT = INTERACTIONS

    def __init__(
        self,
        model: PairTransformer,
        settings: ModelSettings,
        pairs: PairSettings,
        vocabulary: Vocabulary,
        interactions: Sequence[Interaction],
        preprocess: Preprocess,
        text_fingerprint: str,
        text_width: int,
        provenance: Provenance | None = None,
        recognition_weight: float = 1.0,
    ) -> None:
        super().__init__(model, settings, vocabulary, preprocess, text_fingerprint, text_width, provenance)
        self.pairs = pairs
        self.interactions = tuple(interactions)
        self.recognition_weight = recognition_weight

    def recognition_weights(self, vocabulary: Vocabulary) -> Tensor:
        """The share (V,) of the readout that annotations taught: all of it where a teacher says nothing."""
        silent = (verb.name == NO_INTERACTION for verb in vocabulary.verbs)
        return torch.tensor([1.0 if nothing else self.recognition_weight for nothing in silent])

    def more_config(self) -> dict[str, Any]:
        """The settings of pairs, the combinations that training was offered, and the mixture of the readouts."""
        return {
            "pairs": self.pairs.model_dump(),
            "interactions": [list(one) for one in self.interactions],
            "recognition_weight": self.recognition_weight,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], vocabulary: Vocabulary) -> Self:
        """A pair student with fresh weights, as ``config.json`` describes it."""
        shared, pairs = shared_fields(config), PairSettings.model_validate(config["pairs"])
        return cls(
            model=build_pair_student(shared["settings"], pairs, text_width=shared["text_width"], tower=config["tower"]),
            pairs=pairs,
            vocabulary=vocabulary,
            interactions=[(str(verb), str(thing)) for verb, thing in config["interactions"]],
            recognition_weight=float(config.get("recognition_weight", 1.0)),
            **shared,
        )
