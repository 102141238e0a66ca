"""Which composite views are worth keeping: those that show a teacher something the training verbs do not name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from PIL import Image, ImageOps

from ovgsr.config import ViewSettings
from ovgsr.distillation.prompts import ACTION_START, SCENE_QUESTION
from ovgsr.distillation.word_space import WordSpace
from ovgsr.teacher.multimodal_llm import MultimodalLLM

_BATCH = 50


class NovelPictures:
    """Of a batch of candidates, keeps those whose action is none of the training verbs, and some of the others.

    A candidate is judged by the mean over itself and its mirror image: what a teacher sees in one only, it makes
    up.

    Only the training verbs' names are known here; what else the teacher may call an action is its own affair. Composing
    at random mostly makes more of what there is already: without a choice, one view in ten showed anything new
    (docs/mipd.md). The rule looks at one batch at a time, so that a run that was stopped goes on as if it had not been.
    """

    def __init__(
        self, teacher: MultimodalLLM, words: WordSpace, training_verbs: Sequence[str], settings: ViewSettings
    ) -> None:
        self._teacher, self._words, self._settings = teacher, words, settings
        known = {name.lower() for name in training_verbs}
        self._names = hashlib.sha256("\n".join(sorted(known)).encode()).hexdigest()[:16]
        self._known = torch.tensor([text.strip().lower() in known for text in teacher.vocabulary])
        self._start = teacher.embed_text(ACTION_START)

    @property
    def fingerprint(self) -> str:
        """Names the teacher and the rule."""
        return f"{self._teacher.fingerprint}:novel-{self._settings.novel:g}-{self._settings.others:g}:{self._names}"

    def __call__(self, candidates: list[Image.Image]) -> list[bool]:
        """Which of the candidates to keep."""
        mirrored = [ImageOps.mirror(picture) for picture in candidates]
        share = (self.known_share(candidates) + self.known_share(mirrored)) / 2
        novel = (share < self._settings.novel).tolist()
        others = round(self._settings.others * sum(novel)) or 1  # a batch without anything new still adds a picture
        kept = []
        for is_novel in novel:
            keep = is_novel or others > 0
            others -= keep and not is_novel
            kept.append(keep)
        return kept

    @torch.no_grad()
    def known_share(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """The share (B,) of the training verbs among the actions that the teacher may name."""
        shares = []
        for start in range(0, len(pictures), _BATCH):
            visual = self._teacher.visual_tokens(pictures[start : start + _BATCH])
            states = self._teacher.soft_token_states(visual, self._start, question=SCENE_QUESTION)[:, -1]
            logits = self._teacher.vocabulary_logits(states).float().cpu()
            shares.append(self._words.among_actions(logits).softmax(dim=-1)[:, self._known].sum(dim=-1))
        return torch.cat(shares)
