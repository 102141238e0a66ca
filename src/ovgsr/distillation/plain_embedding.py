"""Plain distillation, the baseline without a prompt of any kind: the teacher's own text-aligned embedding.

A LLaVA-class teacher has no contrastive embedding; what it has in a text space is what it says. The scene's embedding
is the text embedding of its caption, a role's the mean visual token inside the box (RoI pooling).
"""

from __future__ import annotations

from collections.abc import Sequence

from ovgsr.distillation.prompts import PromptReader, Readings, RoleInputs
from ovgsr.distillation.regions import pooled_inside
from ovgsr.models.text_encoder import TextEncoder
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.visual_tokens import VisualTokens

CAPTION_QUESTION = "describe the picture in one sentence."
_CAPTION_TOKENS = 24


class PlainEmbedding(PromptReader):
    """Reads a picture by its caption and its boxes; nothing in it is learned. Role readings have the token's width."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self._encoder = encoder

    def forward(self, teacher: MultimodalLLM, visual: Sequence[VisualTokens], roles: RoleInputs | None) -> Readings:
        """Readings of B pictures; ungrounded roles, and all without a grid, are zeros."""
        questions = [CAPTION_QUESTION] * len(visual)
        captions = teacher.generate(None, questions, visual=list(visual), max_new_tokens=_CAPTION_TOKENS)
        scene = self._encoder.encode([caption or "nothing" for caption in captions])
        if roles is None or not roles.mask.shape[1]:
            return Readings(scene)
        return Readings(scene, pooled_inside(visual, roles))
