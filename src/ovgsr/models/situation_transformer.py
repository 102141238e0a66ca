"""The student: picture and words in, verb, nouns and boxes out. THE model file.

After ``method.md``: an image tower and an encoder give image tokens and a scene embedding (``encode``); verbs are
scored by their text (``predict_verb``); one query a role of a verb's frame is filled with a noun, a box and grounded-
or-not (``fill_roles``). Words arrive as embeddings only, so the vocabulary is an argument and never a property of the
weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovgsr.models.heads import BoxHead, ClassSimilarity, Readout, TextSimilarity
from ovgsr.models.image_encoder import ImageTower
from ovgsr.models.placement import cell_mask, cell_positions, place
from ovgsr.models.transformer import DecoderLayer, FeedForward, SelfAttentionLayer, sinusoids
from ovgsr.tensors import Encoded, RoleOutputs, TextEmbeddings, VerbScores


class SceneEncoder(nn.Module):
    """Image features to tokens with positions, and a scene token that has looked at them all."""

    def __init__(self, channels: int, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(channels, width)
        self.position = nn.Linear(width, width)
        self.scene = nn.Parameter(torch.randn(width) * 0.05)
        self.layers = nn.ModuleList(SelfAttentionLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor, covered: Tensor | None = None) -> Encoded:
        """Tokens (B, h * w, C) and scene (B, C) from features (B, channels, h, w).

        ``covered`` (B, 2): what of the grid the picture covers (``models/placement.py``); the rest is not looked at.
        """
        height, width = features.shape[-2:]
        positions = sinusoids(cell_positions((height, width), covered, features.device), self.width)
        mask = cell_mask((height, width), covered)
        seen = None if mask is None else F.pad(mask, (1, 0), value=True)
        tokens = self.project(features.flatten(2).transpose(1, 2)) + self.position(positions)
        tokens = torch.cat([self.scene.expand(tokens.shape[0], 1, -1).to(tokens.dtype), tokens], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, seen)
        tokens = self.norm(tokens)
        return Encoded(tokens[:, 1:], tokens[:, 0], (height, width), mask, covered)


class RoleDecoder(nn.Module):
    """One query a role, made of the verb's text, the role's text and a learned part, looks at the image tokens."""

    def __init__(self, width: int, text_width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.query = FeedForward(2 * text_width, width, width)
        self.learned = nn.Parameter(torch.randn(width) * 0.05)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, verb_text: Tensor, role_texts: Tensor, role_mask: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Role features (B, R, C) from verb text (B, D), role texts (B, R, D) and role mask (B, R).

        ``mask`` (B, T) is False at padded tokens.
        """
        verb_texts = verb_text[:, None].expand(-1, role_texts.shape[1], -1)
        queries = self.query(torch.cat([verb_texts, role_texts], dim=-1)) + self.learned
        for layer in self.layers:
            queries = layer(queries, tokens, role_mask, mask)
        return self.norm(queries)  # type: ignore[no-any-return]


class SituationTransformer(nn.Module):
    """The student network; its parts come built (see ``models/build.py``)."""

    def __init__(
        self,
        tower: ImageTower,
        encoder: SceneEncoder,
        recognition: Readout,
        role_decoder: RoleDecoder,
        verb_scores: TextSimilarity | ClassSimilarity,
        noun_scores: TextSimilarity | ClassSimilarity,
        distilled: Readout | None = None,
        distilled_scores: TextSimilarity | None = None,
    ) -> None:
        super().__init__()
        width = encoder.width
        self.tower = tower
        self.encoder = encoder
        self.recognition = recognition
        self.role_decoder = role_decoder
        self.verb_scores = verb_scores
        self.noun_scores = noun_scores
        self.distilled = distilled
        self.distilled_scores = distilled_scores
        self.box = BoxHead(width)
        self.merge = nn.Linear(2 * width, width)
        self.grounded = nn.Linear(width, 1)

    def encode(self, pixels: Tensor) -> Encoded:
        """Image tokens and scene embedding of pixels (B, 3, H, W), or (B, 4, H, W) where they say what is padding."""
        pixels, covered = place(pixels, self.tower.multiple)
        return self.encoder(self.tower(pixels, covered), covered)  # type: ignore[no-any-return]

    def recognize(self, encoded: Encoded, text: TextEmbeddings) -> Tensor:
        """The recognition readout's logits (B, V) of every offered verb."""
        recognized = self.recognition(encoded.scene, encoded.tokens, encoded.mask)
        return score_words(self.verb_scores, recognized, text.verbs, text.verb_classes)

    def predict_verb(self, encoded: Encoded, text: TextEmbeddings) -> VerbScores:
        """Logits of every offered verb; the picture and the words are all it knows."""
        recognition = self.recognize(encoded, text)
        if self.distilled_scores is None:
            return VerbScores(recognition)
        scene_text = self.embed_scene(encoded)
        return VerbScores(recognition, self.distilled_scores.score(scene_text, text.told_verbs), scene_text)

    def embed_scene(self, encoded: Encoded) -> Tensor:
        """The distilled readout's unit-length embeddings (B, D): what a teacher's scene readings are compared with.

        Raises ValueError where the student has no such readout.
        """
        if self.distilled is None or self.distilled_scores is None:
            raise ValueError("this student has no distilled readout; set model.distilled_readout=true")
        return self.distilled_scores.embed(self.distilled(encoded.scene, encoded.tokens, encoded.mask))

    def fill_roles(self, encoded: Encoded, verb_index: Tensor, text: TextEmbeddings) -> RoleOutputs:
        """The frame of one verb a picture, ``verb_index`` (B,) into the offered verbs, filled.

        The three evaluation settings and the top-k of a prediction are so many calls of this.
        """
        role_mask = text.role_mask[verb_index]
        verb_text, role_texts = text.verbs[verb_index], text.roles[verb_index]
        features = self.role_decoder(encoded.tokens, verb_text, role_texts, role_mask, encoded.mask)
        positions = cell_positions(encoded.grid, encoded.covered, encoded.tokens.device)
        boxes_cxcywh, looked_at, attention = self.box(features, encoded.tokens, positions, encoded.mask)
        features = self.merge(torch.cat([features, looked_at], dim=-1))
        return RoleOutputs(
            noun_logits=score_words(self.noun_scores, features, text.nouns, text.noun_classes),
            boxes_cxcywh=boxes_cxcywh,
            grounded_logits=self.grounded(features)[..., 0].float(),
            features=features,
            attention=attention,
        )


def score_words(
    scores: TextSimilarity | ClassSimilarity, features: Tensor, texts: Tensor, classes: Tensor | None
) -> Tensor:
    """Logits (..., N) of the offered words, by their texts or, for the closed baseline, by their classes."""
    if isinstance(scores, TextSimilarity):
        return scores(features, texts)  # type: ignore[no-any-return]
    if classes is None:
        raise ValueError("a closed-vocabulary student needs to know which offered word is which training class")
    return scores(features, classes)  # type: ignore[no-any-return]
