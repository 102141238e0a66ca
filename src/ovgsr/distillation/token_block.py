"""The cheap alternative to prompts through the LLM: a light block over cached visual tokens, no LLM in the loop.

It must end in the teacher's own frozen vocabulary head: a block with a new output space fits the training verbs and
forgets the others (measured in world.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from ovgsr.distillation.prompts import PromptReader, Readings, RoleInputs
from ovgsr.distillation.regions import pooled_inside
from ovgsr.distillation.word_space import WordSpace
from ovgsr.models.transformer import Attention, FeedForward
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.visual_tokens import VisualTokens


class TokenBlock(PromptReader):
    """Scene and role queries look at the visual tokens and at one another; the frozen head reads them as words."""

    def __init__(self, teacher: MultimodalLLM, words: WordSpace, *, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        width = teacher.hidden_size
        heads = heads if width % heads == 0 else 1
        self.words = words
        self.scene = nn.Parameter(torch.randn(width) * 0.05)
        self.role_text = nn.Linear(words.width, width)
        self.role_box = nn.Linear(4, width)
        self.tokens_norm = nn.LayerNorm(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 * layers))
        self.look = nn.ModuleList(Attention(width, heads) for _ in range(layers))
        self.talk = nn.ModuleList(Attention(width, heads) for _ in range(layers))
        self.think = nn.ModuleList(FeedForward(width, 2 * width, width) for _ in range(layers))
        self.to_states = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.log_temperature = nn.Parameter(torch.zeros(2))

    def forward(self, teacher: MultimodalLLM, visual: Sequence[VisualTokens], roles: RoleInputs | None) -> Readings:
        """Readings of B pictures; ``roles`` None or R = 0: the scene alone."""
        tokens = pad_sequence([picture.tokens.float() for picture in visual], batch_first=True).to(self.scene.device)
        counts = torch.tensor([len(picture.tokens) for picture in visual], device=tokens.device)
        real = torch.arange(tokens.shape[1], device=tokens.device) < counts[:, None]
        tokens = self.tokens_norm(tokens)
        queries = self.scene.expand(len(tokens), 1, -1)
        mask = torch.ones(queries.shape[:2], dtype=torch.bool, device=tokens.device)
        if roles is not None and roles.mask.shape[1]:
            asked = self.role_text(roles.texts) + self.role_box(roles.boxes_cxcywh.float())
            asked = asked + self.tokens_norm(pooled_inside(visual, roles))
            queries = torch.cat([queries, asked], dim=1)
            mask = torch.cat([mask, roles.mask], dim=1)
        for index, (look, talk, think) in enumerate(zip(self.look, self.talk, self.think, strict=True)):
            first, second, third = self.norms[3 * index : 3 * index + 3]
            queries = queries + look(first(queries), tokens, real)
            seen = second(queries)
            queries = queries + talk(seen, seen, mask)
            queries = queries + think(third(queries))
        logits = teacher.vocabulary_logits(self.to_states(queries))
        scene = self.words.expected(logits[:, 0], self.log_temperature[0].exp(), actions=True)
        if queries.shape[1] == 1 or roles is None:
            return Readings(scene)
        read = self.words.expected(logits[:, 1:], self.log_temperature[1].exp())
        return Readings(scene, read * roles.mask[..., None])
