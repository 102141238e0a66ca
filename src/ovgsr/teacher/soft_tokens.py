"""What running soft tokens through a frozen LLM takes: a prefix that is read only, an attention bias, checkpointing.

The blocks are causal and the soft tokens come last, so nothing before them depends on them: the prefix is computed
once without gradients, and only the soft positions are differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from ovgsr.teacher.loading import TeacherError


def read_only_prefix(cache: Any, rows: Tensor | None = None) -> Any:
    """A key-value cache that is read and never written, of the given ``rows`` of a filled ``cache``.

    Rows may repeat: they are copied one block at a time, when the block asks, so that a prefix shared by 64 candidates
    is not held 64 times. Reading twice gives the same, which recomputation under checkpointing needs.
    """
    from transformers import DynamicCache

    class ReadOnlyPrefix(DynamicCache):
        def update(
            self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            layer: Any = self.layers[layer_idx]
            return _joined(layer.keys, key_states, rows), _joined(layer.values, value_states, rows)

    prefix = ReadOnlyPrefix()
    prefix.layers = cache.layers
    return prefix


def _joined(before: Tensor, after: Tensor, rows: Tensor | None) -> Tensor:
    return torch.cat([before if rows is None else before.index_select(0, rows), after], dim=-2)


@contextmanager
def attention_bias_on(blocks: Sequence[nn.Module], bias: Tensor | None, prefix_length: int) -> Iterator[None]:
    """Adds ``bias`` (B, K, prefix + K) to the attention logits of the K last positions in every block and head.

    Added to the mask that the family itself made, so that sliding windows and padding stay as they are. Raises
    TeacherError in a block that takes no float mask.
    """
    if bias is None:
        yield
        return
    biased: dict[int, tuple[Any, Tensor]] = {}  # one sum for each mask that blocks share; the mask keeps its id alive

    def add(block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        mask = named.get("attention_mask")
        if "attention_mask" not in named or not (mask is None or (isinstance(mask, Tensor) and mask.ndim == 4)):
            raise TeacherError(
                f"{type(block).__name__} takes no attention mask that a bias could be added to; load the teacher with "
                "eager or sdpa attention, or leave out attention_bias"
            )
        if id(mask) not in biased:
            base = _float_mask(mask, bias, prefix_length)
            biased[id(mask)] = (mask, base + bias[:, None].to(base.dtype))
        return arguments, {**named, "attention_mask": biased[id(mask)][1]}

    hooks = [block.register_forward_pre_hook(add, with_kwargs=True) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _float_mask(mask: Tensor | None, bias: Tensor, prefix_length: int) -> Tensor:
    if mask is None:  # no mask means causal and nothing else
        total = bias.shape[-1]
        keys = torch.arange(total, device=bias.device)
        mask = (keys <= keys[prefix_length:, None])[None, None]
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=bias.dtype, device=mask.device).masked_fill(~mask, torch.finfo(bias.dtype).min)


def soft_of_each(soft: Tensor, pictures: int, width: int) -> Tensor:
    """Soft tokens (K, D), the same for all, or (B, K, D) -> (B, K, D). Raises TeacherError for any other shape."""
    if soft.ndim not in (2, 3) or (soft.ndim == 3 and len(soft) != pictures) or soft.shape[-1] != width:
        raise TeacherError(
            f"soft tokens have the shape {tuple(soft.shape)}; for {pictures} pictures they must be (K, {width}) or "
            f"({pictures}, K, {width})"
        )
    return soft.expand(pictures, -1, -1) if soft.ndim == 2 else soft


def bias_over_prefix(bias: Tensor, at_picture: Tensor, soft: int, rows: Tensor | None = None) -> Tensor:
    """(B, K, M) or (K, M) toward the picture's tokens -> (B, K, prefix + K) toward all positions, zero elsewhere.

    ``at_picture`` (B, prefix) says where the picture's tokens stand; ``rows`` (N,), which picture each of N rows is
    of, else there is a row a picture. M is the largest number of tokens of a picture in the batch; what a bias says
    about tokens that a smaller picture lacks is ignored. Raises TeacherError where the shape is another or K is not
    ``soft``.
    """
    most = int(at_picture.sum(1).max())
    at_picture = at_picture if rows is None else at_picture[rows]
    batch = len(at_picture)
    bias = bias.expand(batch, -1, -1) if bias.ndim == 2 else bias
    if bias.ndim != 3 or bias.shape[0] != batch or bias.shape[2] != most:
        raise TeacherError(
            f"attention_bias has the shape {tuple(bias.shape)}; for {batch} pictures of at most {most} "
            f"tokens it must be (soft tokens, {most}) or ({batch}, soft tokens, {most})"
        )
    if bias.shape[1] != soft:
        raise TeacherError(f"attention_bias is for {bias.shape[1]} soft tokens, but there are {soft}")
    order = (at_picture.cumsum(1) - 1).clamp(min=0)
    placed = bias.gather(2, order[:, None].expand(-1, soft, -1)) * at_picture[:, None]
    return torch.cat([placed, placed.new_zeros(batch, soft, soft)], dim=2)


def toward_picture(weights: Tensor, at_picture: Tensor) -> Tensor:
    """(B, K, prefix or longer) toward all positions -> (B, K, M) toward the picture's tokens: undoes the placing.

    M is the largest number of tokens of a picture in the batch; a smaller picture has zeros at the end.
    """
    rows = [row[:, : len(places)][:, places].T for row, places in zip(weights, at_picture, strict=True)]
    return pad_sequence(rows, batch_first=True).transpose(1, 2)


@contextmanager
def recomputed(blocks: Sequence[nn.Module], on: bool) -> Iterator[None]:
    """Keeps no activations inside the blocks: they are computed again for the gradients (Chen et al. 2016).

    Must stay open for the forward pass only; the backward pass has what it needs.
    """
    if not on:
        yield
        return
    before = [block.__dict__.get("forward") for block in blocks]
    for block in blocks:
        block.__dict__["forward"] = partial(_checkpointed, block.forward)
    try:
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                del block.__dict__["forward"]
            else:
                block.__dict__["forward"] = forward


def _checkpointed(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return checkpoint(forward, *arguments, use_reentrant=False, **named)
