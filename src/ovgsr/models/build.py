"""Settings -> student: the one place where the parts of the network are put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovgsr.config import ModelSettings, PairSettings
from ovgsr.models.heads import ClassSimilarity, Readout, TextSimilarity
from ovgsr.models.image_encoder import build_tower
from ovgsr.models.pair_transformer import PairTransformer
from ovgsr.models.situation_transformer import RoleDecoder, SceneEncoder, SituationTransformer


def build_student(
    settings: ModelSettings,
    *,
    text_width: int,
    verb_classes: int,
    noun_classes: int,
    tower: Mapping[str, Any] | None = None,
) -> SituationTransformer:
    """A student with fresh weights (and the backbone's, where it is pretrained).

    ``verb_classes`` and ``noun_classes`` size the closed-vocabulary baseline's heads and nothing else. ``tower`` is
    what a checkpoint remembers of its backbone.
    """
    width, heads, dropout = settings.width, settings.heads, settings.dropout
    image_tower = build_tower(settings, tower)
    verb_scores: TextSimilarity | ClassSimilarity
    noun_scores: TextSimilarity | ClassSimilarity
    if settings.head == "open":
        verb_scores, noun_scores = TextSimilarity(width, text_width), TextSimilarity(width, text_width)
    else:
        verb_scores = ClassSimilarity(width, text_width, verb_classes)
        noun_scores = ClassSimilarity(width, text_width, noun_classes)
    layers = settings.readout_layers
    return SituationTransformer(
        tower=image_tower,
        encoder=SceneEncoder(image_tower.channels, width, heads, settings.encoder_layers, dropout),
        recognition=Readout(width, heads, layers, dropout=dropout),
        role_decoder=RoleDecoder(width, text_width, heads, settings.decoder_layers, dropout),
        verb_scores=verb_scores,
        noun_scores=noun_scores,
        distilled=Readout(width, heads, layers, dropout=dropout) if settings.distilled_readout else None,
        distilled_scores=TextSimilarity(width, text_width) if settings.distilled_readout else None,
    )


def build_pair_student(
    settings: ModelSettings, pairs: PairSettings, *, text_width: int, tower: Mapping[str, Any] | None = None
) -> PairTransformer:
    """A student for human-object interactions with fresh weights; arguments as of :func:`build_student`."""
    image_tower = build_tower(settings, tower)
    return PairTransformer(
        tower=image_tower,
        encoder=SceneEncoder(
            image_tower.channels, settings.width, settings.heads, settings.encoder_layers, settings.dropout
        ),
        text_width=text_width,
        queries=pairs.queries,
        heads=settings.heads,
        layers=settings.decoder_layers,
        dropout=settings.dropout,
        distilled_readout=settings.distilled_readout,
    )
