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

    ``distilled_weight`` is how often the distilled readout's cosine counts in a verb's logit; 0 leaves it out.
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
        distilled_weight: float = 0.0,
    ) -> None:
        super().__init__(model, settings, vocabulary, preprocess, text_fingerprint, text_width, provenance)
        self.pairs = pairs
        self.interactions = tuple(interactions)
        self.distilled_weight = distilled_weight

    def distilled_weights(self, vocabulary: Vocabulary, weight: float | None = None) -> Tensor:
        """``distilled_weight``, or another ``weight``, for each verb (V,): of no interaction no teacher says a word."""
        weight = self.distilled_weight if weight is None else weight
        return torch.tensor([0.0 if name == NO_INTERACTION else weight for name in vocabulary.verb_names])

    def more_config(self) -> dict[str, Any]:
        """The settings of pairs, the combinations that training was offered, and what the distilled readout counts."""
        return {
            "pairs": self.pairs.model_dump(),
            "interactions": [list(one) for one in self.interactions],
            "distilled_weight": self.distilled_weight,
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], vocabulary: Vocabulary, network: PairTransformer | None = None
    ) -> Self:
        """A pair student as ``config.json`` describes it, with ``network`` or fresh weights."""
        shared, pairs = shared_fields(config), PairSettings.model_validate(config["pairs"])
        model = network or build_pair_student(
            shared["settings"], pairs, text_width=shared["text_width"], tower=config["tower"]
        )
        return cls(
            model=model,
            pairs=pairs,
            vocabulary=vocabulary,
            interactions=[(str(verb), str(thing)) for verb, thing in config["interactions"]],
            distilled_weight=float(config.get("distilled_weight", 0.0)),
            **shared,
        )
