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

    ``distilled_weight`` is how often the distilled readout's cosine counts in a verb's logit, ``unmet_weight`` how
    often in that of a verb which training never met: there the annotations' readout is a guess. 0 leaves it out.
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
        unmet_weight: float = 0.0,
    ) -> None:
        super().__init__(model, settings, vocabulary, preprocess, text_fingerprint, text_width, provenance)
        self.pairs = pairs
        self.interactions = tuple(interactions)
        self.distilled_weight = distilled_weight
        self.unmet_weight = unmet_weight

    def is_met(self, verb: str) -> bool:
        """Whether a verb is one of training's words."""
        return verb in self.vocabulary

    def distilled_weights(self, vocabulary: Vocabulary) -> Tensor:
        """The weight of each verb (V,): 0 for no interaction, of which no teacher says a word."""
        told = [self.distilled_weight if self.is_met(name) else self.unmet_weight for name in vocabulary.verb_names]
        known = [0.0 if name == NO_INTERACTION else one for name, one in zip(vocabulary.verb_names, told, strict=True)]
        return torch.tensor(known)

    def more_config(self) -> dict[str, Any]:
        """The settings of pairs, the combinations that training was offered, and what the distilled readout counts."""
        return {
            "pairs": self.pairs.model_dump(),
            "interactions": [list(one) for one in self.interactions],
            "distilled_weight": self.distilled_weight,
            "unmet_weight": self.unmet_weight,
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], vocabulary: Vocabulary, network: PairTransformer | None = None
    ) -> Self:
        """A pair student as ``config.json`` describes it, with ``network`` or fresh weights."""
        shared, pairs = shared_fields(config), PairSettings.model_validate(config["pairs"])
        weight = float(config.get("distilled_weight", 0.0))
        model = network or build_pair_student(
            shared["settings"], pairs, text_width=shared["text_width"], tower=config["tower"]
        )
        return cls(
            model=model,
            pairs=pairs,
            vocabulary=vocabulary,
            interactions=[(str(verb), str(thing)) for verb, thing in config["interactions"]],
            distilled_weight=weight,
            unmet_weight=float(config.get("unmet_weight", weight)),
            **shared,
        )
