"""MIPD's multimodal interactive prompts: soft tokens through a frozen LLM, read by its own vocabulary head.

Scene-aware prompts are a few learned vectors put after the visual tokens; instance-perception prompts are as many for
each role, with the role's text added and its box as a soft mask over the visual tokens. Before the LLM reads them they
look at one another. What the LLM would say next at each of them is turned into a text embedding (``word_space``).

Our reading of arXiv 2507.14686 (scene-aware and instance-perception prompts, their interaction); that the prompts go
through the frozen LLM and its own head, and start from a hand-written sentence, is this project's (method.md, MIPD).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ovgsr.distillation.box_mask import attention_bias
from ovgsr.distillation.word_space import PromptError, WordSpace
from ovgsr.models.transformer import Attention
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.teacher.visual_tokens import VisualTokens
from ovgsr.tensors import Movable

SCENE_QUESTION = "what is happening?"
SCENE_SENTENCE = "someone is carrying a box with a rope in the"
ACTION_START = "someone is"
INSTANCE_QUESTION = "what can be seen?"
INSTANCE_SENTENCES = ("on the left a", "in the middle a", "on the right a")
_THIRDS = (0.36, 0.64)
_OF_ROLES = ("instance", "role_", "strength")


@dataclass(frozen=True)
class RoleInputs(Movable):
    """What instance-perception prompts are told of a batch's roles; R may be 0."""

    texts: Tensor  # (B, R, D) text embeddings of the roles
    mask: Tensor  # (B, R) bool; real roles come first
    boxes_cxcywh: Tensor  # (B, R, 4) in 0..1, zeros where not grounded
    grounded: Tensor  # (B, R) bool


@dataclass(frozen=True)
class Readings(Movable):
    """What prompts read out of pictures, in the text encoder's space, of any length."""

    scene: Tensor  # (B, D)
    roles: Tensor | None = None  # (B, R, D), zeros where there is no role


class PromptReader(nn.Module):
    """Anything that reads pictures for stage 2; see :class:`InteractivePrompts`."""

    def forward(self, teacher: MultimodalLLM, visual: Sequence[VisualTokens], roles: RoleInputs | None) -> Readings:
        """Readings of B pictures."""
        raise NotImplementedError


class InteractivePrompts(PromptReader):
    """Scene-aware and instance-perception prompts; a fresh one is the hand-written prompt, word for word.

    The interaction between the prompts and the roles' texts come in through weights that start at zero. Where one of
    the two parts is not learned it stays the hand-written one; where neither is, this is the fixed prompt, a baseline
    of its own.
    """

    role_start: Tensor

    def __init__(
        self,
        teacher: MultimodalLLM,
        words: WordSpace,
        *,
        learn_scene: bool = True,
        learn_instance: bool = True,
        heads: int = 4,
    ) -> None:
        super().__init__()
        width, self.text_width = teacher.hidden_size, words.width
        self.words = words
        self.learn_scene, self.learn_instance = learn_scene, learn_instance
        start = teacher.embed_text(SCENE_SENTENCE).float()
        action = len(teacher.embed_text(ACTION_START)) - 1
        self.scene = nn.Parameter(start.clone())
        gates = torch.full((len(start),), 0.0 if learn_scene else -30.0)
        gates[action] = 3.0
        self.scene_gate = nn.Parameter(gates)
        self.action = action
        begun = [teacher.embed_text(sentence).float() for sentence in INSTANCE_SENTENCES]
        length = max(len(rows) for rows in begun)
        # The word that is read comes last, so that shorter beginnings repeat their first token.
        padded = torch.stack([torch.cat([rows[:1].expand(length - len(rows), -1), rows]) for rows in begun])
        self.register_buffer("role_start", padded, persistent=False)  # (3, K_i, width)
        self.instance = nn.Parameter(torch.zeros(length, width))
        self.role_text = nn.Linear(words.width, width)
        self.role_box = nn.Linear(4, width)
        self.strength = nn.Parameter(torch.tensor(4.0))
        self.scene_log_temperature = nn.Parameter(torch.zeros(()))
        self.role_log_temperature = nn.Parameter(torch.zeros(()))
        self.look = nn.LayerNorm(width)
        self.interaction = Attention(width, heads if width % heads == 0 else 1)
        for layer in (self.role_text, self.role_box, self.interaction.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for name, parameter in self.named_parameters():
            learned = (learn_scene and name.startswith("scene")) or (learn_instance and name.startswith(_OF_ROLES))
            shared = name.startswith(("interaction", "look")) and learn_scene and learn_instance
            parameter.requires_grad_(learned or shared)

    def forward(
        self,
        teacher: MultimodalLLM,
        visual: Sequence[VisualTokens],
        roles: RoleInputs | None,
        *,
        alone: bool = False,
    ) -> Readings:
        """Readings of B pictures; ``roles`` None or R = 0: the scene alone.

        The scene prompts look at the instance prompts while they are tuned, unless they are to be ``alone``. Once tuned
        (``eval()``) they read every picture alone, so that training pictures, views and dev are read alike: only the
        first come with roles.
        """
        if not visual:
            raise PromptError("no picture to read")
        scene, instance = self.soft_tokens(len(visual), roles)
        if instance is not None and (alone or not self.training):
            scene, _ = self.soft_tokens(len(visual), None)
        found = self._read_scene(teacher, visual, scene)
        if instance is None or roles is None or not bool(roles.mask.any()):
            return Readings(found)
        return Readings(found, self._read_roles(teacher, visual, instance, roles))

    def soft_tokens(self, count: int, roles: RoleInputs | None) -> tuple[Tensor, Tensor | None]:
        """The prompts as the LLM reads them: scene (B, K_s, width) and instance (B, R, K_i, width) or None.

        Each looks at all the others of its picture (scene <-> instance), padding aside.
        """
        scene = self.scene.expand(count, -1, -1)
        instance = self._instance(roles) if roles is not None and roles.mask.shape[1] else None
        if not (self.learn_scene and self.learn_instance):
            return scene, instance  # nothing to interact: one side is fixed words
        together, mask = scene, torch.ones(scene.shape[:2], dtype=torch.bool, device=scene.device)
        if instance is not None and roles is not None:
            together = torch.cat([scene, instance.flatten(1, 2)], dim=1)
            mask = torch.cat([mask, roles.mask.repeat_interleave(instance.shape[2], dim=1)], dim=1)
        seen = self.look(together)
        together = together + self.interaction(seen, seen, mask)
        scene = together[:, : scene.shape[1]]
        if instance is not None:
            instance = together[:, scene.shape[1] :].unflatten(1, instance.shape[1:3])
        return scene, instance

    def _instance(self, roles: RoleInputs) -> Tensor:
        """The hand-written beginning for where the box stands, plus what is learned of role and box."""
        thirds = torch.tensor(_THIRDS, device=roles.texts.device)
        side = torch.bucketize(roles.boxes_cxcywh[..., 0].contiguous(), thirds)
        side = torch.where(roles.grounded, side, 1)
        told = self.role_text(roles.texts) + self.role_box(roles.boxes_cxcywh.float())
        asked: Tensor = self.role_start[side] + self.instance + told[:, :, None]
        return asked

    def _read_scene(self, teacher: MultimodalLLM, visual: Sequence[VisualTokens], soft: Tensor) -> Tensor:
        states = teacher.soft_token_states(list(visual), soft, question=SCENE_QUESTION)
        logits = teacher.vocabulary_logits(states)
        heat = self.scene_log_temperature.exp()
        everything = self.words.expected(logits, heat)
        action = self.words.expected(logits[:, self.action], heat, actions=True)
        everything = torch.cat([everything[:, : self.action], action[:, None], everything[:, self.action + 1 :]], dim=1)
        return (everything * self.scene_gate.softmax(dim=0)[:, None]).sum(dim=1)

    def _read_roles(
        self, teacher: MultimodalLLM, visual: Sequence[VisualTokens], soft: Tensor, roles: RoleInputs
    ) -> Tensor:
        """Each role's prompts go through the LLM by themselves: one role's words must not colour another's."""
        where = roles.mask.nonzero()
        length = soft.shape[2]
        bias = self.ragged_bias(visual, roles, length)
        states = teacher.soft_token_states(
            list(visual),
            soft[roles.mask],
            question=INSTANCE_QUESTION,
            attention_bias=None if bias is None else bias[where[:, 0], where[:, 1]],
            rows=where[:, 0],
        )
        logits = teacher.vocabulary_logits(states[:, -1])
        read = self.words.expected(logits, self.role_log_temperature.exp())
        found = torch.zeros(*roles.mask.shape, self.text_width, dtype=read.dtype, device=read.device)
        found = found.masked_scatter(roles.mask[..., None], read)
        # Without a box the hand-written words ask for whatever stands in the middle: no answer about this role.
        return found if self.learn_instance else found * roles.grounded[..., None]

    def ragged_bias(self, visual: Sequence[VisualTokens], roles: RoleInputs, length: int) -> Tensor | None:
        """The boxes' soft masks as attention biases (B, R, K_i, M) for ``length`` = K_i prompts a role.

        M is the largest number of tokens. None where grids are unknown: then boxes are no mask.
        """
        grids: list[Any] = [picture.grid for picture in visual]
        if any(grid is None for grid in grids):
            return None
        most = max(len(picture.tokens) for picture in visual)
        strength = nn.functional.softplus(self.strength)
        rows = []
        for index, (rows_count, columns) in enumerate(grids):
            of_one = attention_bias(
                roles.boxes_cxcywh[index].float(), roles.grounded[index], (rows_count, columns), strength
            )
            rows.append(nn.functional.pad(of_one, (0, most - of_one.shape[-1])))
        return torch.stack(rows)[:, :, None].expand(-1, -1, length, -1)
