"""Stage 1: prompts are tuned through the frozen teacher, aligned with rationales and anchored to hand-written words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ovgsr.config import PromptSettings
from ovgsr.distillation.prompts import InteractivePrompts, PromptReader, Readings, RoleInputs
from ovgsr.distillation.rationale_texts import RationaleTexts
from ovgsr.distillation.role_inputs import AnnotatedRoles
from ovgsr.losses.alignment import gather_pool, gaze_loss, glimpse_loss
from ovgsr.losses.distillation import scene_loss
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.visual_tokens import VisualTokens
from ovgsr.training.training_data import harmonic_mean

Watch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class HeldOut:
    """Dev pictures and the verbs that compete on them: the zero-shot check that tells when to stop."""

    visual: Sequence[VisualTokens]
    verb_index: Tensor  # (B,)
    words: Tensor  # (V, D) centred, unit-length texts of the competing verbs
    groups: dict[str, Tensor]  # seen / rare / unseen -> (B,) bool


@dataclass(frozen=True)
class TuningData:
    """What stage 1 reads: a picture's tokens, its roles, its rationales; and tokens of views."""

    visual: Callable[[Sequence[int]], list[VisualTokens]]
    roles: AnnotatedRoles
    texts: RationaleTexts
    views: Callable[[Sequence[int]], list[VisualTokens]] | None = None
    view_count: int = 0
    held_out: HeldOut | None = None


@dataclass
class TuningState:
    """Where a tuning run is; ``best`` is the state that did best on dev."""

    step: int = 0
    best_score: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


class PromptTuning:
    """One run: ``run`` goes on from ``state`` to the last step, and leaves the best prompts in ``prompts``."""

    def __init__(
        self,
        prompts: PromptReader,
        anchor: PromptReader,
        teacher: MultimodalLLM,
        data: TuningData,
        settings: PromptSettings,
        *,
        seed: int = 0,
    ) -> None:
        self.prompts, self.anchor, self.teacher = prompts, anchor, teacher
        self.data, self.settings, self.seed = data, settings, seed
        self.temperature = nn.Parameter(
            torch.tensor(settings.temperature).log(), requires_grad=settings.learn_temperature
        )
        learned = [p for p in (*prompts.parameters(), self.temperature) if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, lr=settings.learning_rate, weight_decay=0.0)
        self.state = TuningState()

    def run(self, watch: Watch | None = None) -> TuningState:
        """Tunes to the last step. ``watch`` hears every step with its losses, and dev's scores where there are any."""
        if not self.state.history:
            self._check(watch)
        while self.state.step < self.settings.steps:
            numbers = self._step()
            self.state.step += 1
            if watch is not None:
                watch(self.state.step, numbers)
            if self.state.step % self.settings.check_every == 0 or self.state.step == self.settings.steps:
                self._check(watch)
        if self.state.best:
            self.prompts.load_state_dict(self.state.best)
        return self.state

    def losses(self, indices: Sequence[int], views: Sequence[int], generator: np.random.Generator) -> dict[str, Tensor]:
        """The weighted terms of one step."""
        visual = self.data.visual(indices)
        roles = self._some_roles(self.data.roles(indices), generator)
        # Every other step the scene prompts are alone, as they will be when they read.
        read: Readings = self.prompts(self.teacher, visual, roles, **self._alone())
        with torch.no_grad():
            held: Readings = self.anchor(self.teacher, visual, None)
        glimpses = self.data.texts.glimpses(indices, read.scene)
        heat = self.temperature.exp()
        found = {
            "glimpse": glimpse_loss(glimpses, heat, gather_pool(glimpses.positives, glimpses.groups)),
            "anchor": self.settings.anchor * scene_loss(read.scene, held.scene),
        }
        if read.roles is not None and roles is not None:
            gazes = self.data.texts.gazes(indices, read.roles)
            shown = roles.mask[gazes.pictures, self._places(indices, roles)] if len(gazes.groups) else None
            if shown is not None and bool(shown.any()):
                gazes = type(gazes)(**{name: value[shown] for name, value in vars(gazes).items()})
                pool = gather_pool(gazes.positives, gazes.groups, gazes.role_types)
                found["gaze"] = gaze_loss(gazes, heat, pool)
        if views and self.data.views is not None:
            shown_views = self.data.views(views)
            with torch.no_grad():
                kept = self.anchor(self.teacher, shown_views, None)
            told = self.prompts(self.teacher, shown_views, None)
            found["anchor_views"] = self.settings.anchor * scene_loss(told.scene, kept.scene)
        return found

    def _alone(self) -> dict[str, bool]:
        return {"alone": bool(self.state.step % 2)} if isinstance(self.prompts, InteractivePrompts) else {}

    def _step(self) -> dict[str, float]:
        generator = np.random.default_rng([self.seed, self.state.step])
        count = len(self.data.texts.images)
        indices = generator.choice(count, size=min(self.settings.batch_size, count), replace=False)
        views: list[int] = []
        if self.data.view_count and self.settings.views:
            views = generator.integers(self.data.view_count, size=self.settings.views).tolist()
        losses = self.losses(sorted(indices.tolist()), views, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * _rate(self.state.step, self.settings.steps)
        self.optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([p for p in self.prompts.parameters() if p.requires_grad], 1.0)
        self.optimizer.step()
        return {name: float(term.detach()) for name, term in losses.items()}

    def _some_roles(self, roles: RoleInputs, generator: np.random.Generator) -> RoleInputs | None:
        """At most ``settings.roles`` of the batch's roles: they cost a reading each."""
        if not self.settings.roles:
            return None
        where = roles.mask.nonzero()
        if len(where) <= self.settings.roles:
            return roles
        kept = torch.zeros_like(roles.mask)
        chosen = torch.from_numpy(generator.choice(len(where), size=self.settings.roles, replace=False))
        kept[where[chosen].unbind(1)] = True
        return RoleInputs(roles.texts, kept, roles.boxes_cxcywh, roles.grounded)

    def _places(self, indices: Sequence[int], roles: RoleInputs) -> Tensor:
        return self.data.texts.places(indices).to(roles.mask.device)

    @torch.no_grad()
    def _check(self, watch: Watch | None) -> None:
        if self.data.held_out is None:
            return
        self.prompts.eval()
        scores = zero_shot(self.prompts, self.teacher, self.data.held_out)
        self.prompts.train()
        self.state.history.append({"step": float(self.state.step), **scores})
        # Not worse is better: what was tuned longer knows more of what dev does not ask.
        if scores["harmonic_mean"] >= self.state.best_score - 1e-9 or not self.state.best:
            self.state.best_score = max(scores["harmonic_mean"], self.state.best_score)
            self.state.best = {name: value.detach().clone() for name, value in self.prompts.state_dict().items()}
        if watch is not None:  # last: who keeps the state on disk must keep this look's best
            watch(self.state.step, scores)


@torch.no_grad()
def zero_shot(prompts: PromptReader, teacher: MultimodalLLM, held_out: HeldOut, batch: int = 100) -> dict[str, float]:
    """How often the reading of a dev picture lies nearest to its own verb's text, percent by group."""
    parts = [
        prompts(teacher, held_out.visual[start : start + batch], None).scene
        for start in range(0, len(held_out.visual), batch)
    ]
    read = torch.cat(parts).float().cpu()
    read = nn.functional.normalize(read - read.mean(dim=0), dim=-1)
    right = (read @ held_out.words.T).argmax(dim=-1) == held_out.verb_index
    scores: dict[str, Any] = {
        f"zero_shot_{name}": 100 * float(right[mask].float().mean()) for name, mask in held_out.groups.items()
    }
    return {**scores, "harmonic_mean": harmonic_mean(list(scores.values()))}


def _rate(step: int, steps: int) -> float:
    """Rises over the first tenth, then falls to a twentieth along a cosine."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))
