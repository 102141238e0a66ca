"""A frozen LLM run on prompts in which a picture's place is taken by given vectors, in padded batches.

Positions, masks and picture tokens are the family's own: its ``forward`` is given the spliced inputs, and what it makes
of them is continued.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ovgsr.teacher.loading import TeacherError, argument_names, image_token_id
from ovgsr.teacher.soft_tokens import attention_bias_on, read_only_prefix, recomputed
from ovgsr.teacher.visual_tokens import Shown, nearest_to_square

_CACHED_KINDS = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass(frozen=True)
class Prefix:
    """A batch of prompts that the LLM has read, padded on the left: a sliding window counts places, padding or not.

    ``next_position`` holds the position of the first token to come, the same on every axis of a multi-axis encoding.
    """

    states: Tensor  # (B, L, D) after the last block that was run
    mask: Tensor  # (B, L) bool: no padding
    at_picture: Tensor  # (B, L) bool
    next_position: Tensor  # (B,) long
    cache: Any = None
    attentions: tuple[Tensor, ...] = ()  # a block: (B, heads, L, L)

    @property
    def last(self) -> Tensor:
        """States (B, D) at each prompt's last token."""
        return self.states[:, -1]


@dataclass(frozen=True)
class Prompt:
    """A shown picture whose ids from ``answer_from`` on belong to the answer."""

    shown: Shown
    answer_from: int


class FrozenLanguageModel:
    """The decoder of an image-text-to-text model, its embeddings and its vocabulary head."""

    def __init__(self, model: Any, *, has_prefix: bool) -> None:
        self.model, self.core = model, model.model
        self.decoder = self.core.get_decoder()
        self.blocks: nn.ModuleList = self.decoder.layers
        self.text_config = model.config.get_text_config()
        self._image_id = image_token_id(model.config)
        self._has_prefix = has_prefix
        self._arguments = argument_names(self.core.forward)
        self._axes = getattr(self.core, "get_rope_index", None)

    @property
    def width(self) -> int:
        """D, the length of a token's vector."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    def embed(self, ids: Tensor) -> Tensor:
        """Input embeddings (..., D) of token ids, scaled as the family scales them."""
        embedded: Tensor = self.core.get_input_embeddings()(ids.to(self.model.device))
        return embedded

    def logits(self, states: Tensor) -> Tensor:
        """(..., V) through the frozen vocabulary head, soft-capped where the family caps (Gemma 2)."""
        head = self.model.get_output_embeddings()
        logits: Tensor = head(states.to(self.model.dtype))
        cap = getattr(self.text_config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def block(self, layer: int) -> int:
        """The index of a block, counted from the end where negative. Raises TeacherError where there is no such one."""
        count = len(self.blocks)
        if not -count <= layer < count:
            raise TeacherError(f"layer {layer} of {count}: give 0 to {count - 1}, or -1 to -{count} from the end")
        return layer % count

    def read(
        self, prompts: Sequence[Prompt], *, layer: int = -1, keep: bool = False, attentions: bool = False
    ) -> Prefix:
        """Runs the prompts up to the block ``layer``, without gradients; ``keep`` keeps the keys and values."""
        ids = [prompt.shown.ids for prompt in prompts]
        padded = _padded(ids).to(self.model.device)
        mask = _padded([torch.ones_like(row, dtype=torch.bool) for row in ids]).to(padded.device)
        pictures = _padded([prompt.shown.at_picture for prompt in prompts]).to(padded.device)
        from transformers import DynamicCache

        self._require_cache(keep)
        with torch.no_grad():
            named = self._spliced(prompts, padded, pictures)
            if "token_type_ids" in self._arguments:
                named["token_type_ids"] = self._kinds(prompts, pictures, mask)
            positions = self._positions(prompts, padded, pictures, mask)
            cache = DynamicCache() if keep else None  # keeps whole rows; windows are the mask's business
            states, weights = self._run(layer, mask, cache, attentions=attentions, position_ids=positions, **named)
        last = torch.where(mask, positions, 0).amax(-1)
        next_position = (last if self._axes is None else last.amax(0)) + 1
        return Prefix(states, mask, pictures, next_position, cache, weights)

    def extend(
        self,
        prefix: Prefix,
        vectors: Tensor,
        *,
        rows: Tensor | None = None,
        layer: int = -1,
        bias: Tensor | None = None,
        checkpointing: bool = False,
    ) -> Tensor:
        """States (R, T, D) of ``vectors`` (R, T, D) put after the prefix, whose ``rows`` (R,) may repeat.

        The prefix is left as it is. ``bias`` (R, T, L + T) is added to the attention logits. Gradients reach vectors
        and bias.
        """
        chosen = rows if rows is not None else torch.arange(len(prefix.mask), device=vectors.device)
        mask = torch.cat([prefix.mask[chosen], prefix.mask.new_ones(vectors.shape[:2])], dim=1)
        cache = read_only_prefix(prefix.cache, rows)
        used = list(self.blocks)[: self.block(layer) + 1]
        with recomputed(used, checkpointing), attention_bias_on(used, bias, prefix.mask.shape[1]):
            return self._run(
                layer, mask, cache, inputs_embeds=vectors, position_ids=self._after(prefix, chosen, vectors.shape[1])
            )[0]

    def attend(self, prefix: Prefix, vectors: Tensor, *, bias: Tensor | None = None) -> tuple[Tensor, ...]:
        """Attention weights (B, heads, T, L + T) of each block for ``vectors`` put after the prefix as in
        :meth:`extend`, without gradients. The decoder must be in plain (eager) attention; the prefix may be of any.
        """
        mask = torch.cat([prefix.mask, prefix.mask.new_ones(vectors.shape[:2])], dim=1)
        everyone = torch.arange(len(mask), device=vectors.device)
        with torch.no_grad(), attention_bias_on(list(self.blocks), bias, prefix.mask.shape[1]):
            return self._run(
                -1,
                mask,
                read_only_prefix(prefix.cache),
                attentions=True,
                inputs_embeds=vectors,
                position_ids=self._after(prefix, everyone, vectors.shape[1]),
            )[1]

    def grow(self, prefix: Prefix, ids: Tensor, step: int) -> Tensor:
        """States (B, D) of one more token a row, whose keys and values join the prefix's cache (for generation)."""
        mask = torch.cat([prefix.mask, prefix.mask.new_ones(len(ids), step + 1)], dim=1)
        everyone = torch.arange(len(ids), device=ids.device)
        positions = self._after(prefix, everyone, step + 1)[..., -1:]
        with torch.no_grad():
            states, _ = self._run(
                -1, mask, prefix.cache, inputs_embeds=self.embed(ids[:, None]), position_ids=positions
            )
        return states[:, -1]

    def _after(self, prefix: Prefix, rows: Tensor, count: int) -> Tensor:
        positions = prefix.next_position[rows, None] + torch.arange(count, device=rows.device)
        return positions if self._axes is None else positions.expand(3, -1, -1)

    def _run(
        self, layer: int, mask: Tensor, cache: Any, *, attentions: bool = False, **named: Any
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        index = self.block(layer)
        found: dict[str, Any] = {}

        def output(block: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
            found["states"] = result[0] if isinstance(result, tuple) else result

        with ExitStack() as stack:
            stack.callback(self.blocks[index].register_forward_hook(output).remove)
            stack.enter_context(self._first_blocks(index + 1))
            result = self.core(
                attention_mask=mask.long(),
                past_key_values=cache,
                use_cache=cache is not None,
                output_attentions=attentions,
                return_dict=True,
                **named,
            )
        # As in transformers' own hidden_states, the last entry is after the final norm.
        states = result.last_hidden_state if index == len(self.blocks) - 1 else found["states"]
        return states, tuple(result.attentions or ()) if attentions else ()

    @contextmanager
    def _first_blocks(self, count: int) -> Iterator[None]:
        """Nothing is computed after the block that is asked for."""
        self.decoder.layers = self.blocks[:count]
        try:
            yield
        finally:
            self.decoder.layers = self.blocks

    def _spliced(self, prompts: Sequence[Prompt], ids: Tensor, pictures: Tensor) -> dict[str, Any]:
        visual = [prompt.shown.visual for prompt in prompts]
        tokens = torch.cat([picture.tokens.to(ids.device, self.model.dtype) for picture in visual])
        deep = [picture.deep for picture in visual]
        if all(levels is not None for levels in deep):
            # Deeper levels are added by the family's forward, which finds the places by the placeholder's embedding.
            joined = torch.cat([levels for levels in deep if levels is not None], dim=1).to(ids.device)
            encoded = SimpleNamespace(pooler_output=[tokens], deepstack_features=[[level] for level in joined])
            return {"inputs_embeds": self.embed(ids), "mm_encoder_outputs": {"image": encoded}}
        # The placeholder may lie outside the embeddings (PaliGemma), and every picture position is overwritten.
        embeds = self.embed(ids.masked_fill(pictures, 0))
        return {"inputs_embeds": embeds.masked_scatter(pictures[..., None], tokens.to(embeds.dtype))}

    def _kinds(self, prompts: Sequence[Prompt], pictures: Tensor, mask: Tensor) -> Tensor:
        """Token types: 0 for a prefix that is read in both directions (PaliGemma), elsewhere 1 for picture tokens."""
        if not self._has_prefix:
            return pictures.long()
        places = mask.cumsum(1) - 1
        starts = torch.tensor([prompt.answer_from for prompt in prompts], device=pictures.device)
        return (places >= starts[:, None]).long()

    def _positions(self, prompts: Sequence[Prompt], ids: Tensor, pictures: Tensor, mask: Tensor) -> Tensor:
        """Positions (B, L), or (3, B, L) on the axes time, row and column (Qwen-VL families)."""
        if self._axes is None:
            # PaliGemma counts from 1.
            return (mask.cumsum(1) - 1).clamp(min=0) + int(self._has_prefix)
        merge = int(getattr(self.model.config.vision_config, "spatial_merge_size", 1))
        grids = [prompt.shown.visual.grid or nearest_to_square(len(prompt.shown.visual.tokens)) for prompt in prompts]
        offered = {
            "input_ids": ids,
            "mm_token_type_ids": pictures.int(),
            "image_grid_thw": torch.tensor(
                [(1, rows * merge, cols * merge) for rows, cols in grids], device=ids.device
            ),
            "attention_mask": mask.long(),
        }
        taken = argument_names(self._axes)
        positions: Tensor = self._axes(**{name: value for name, value in offered.items() if name in taken})[0]
        return positions

    def _require_cache(self, keep: bool) -> None:
        kinds = set(getattr(self.text_config, "layer_types", None) or _CACHED_KINDS) - _CACHED_KINDS
        if keep and kinds:
            raise TeacherError(
                f"the blocks of {type(self.model).__name__} are of the kind {sorted(kinds)[0]!r}, which keeps no keys "
                "and values of single tokens; only visual tokens can be had of it: choose one with attention blocks"
            )


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(rows), batch_first=True, padding_side="left")
