"""The repeated blocks of a network: what is recomputed to save memory, and what is split over processes (FSDP)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def repeated_blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The entries of the network's module lists: transformer layers, stages. Inner ones come first."""
    for module in reversed(list(model.modules())):
        if isinstance(module, nn.ModuleList):
            yield from (block for block in module if not isinstance(block, nn.ModuleList | nn.ModuleDict))


def recompute_blocks(model: nn.Module) -> None:
    """Blocks keep their inputs only and are computed again on the way back (Chen et al. 2016).

    Blocks within blocks are left to the outer one, and blocks with batch statistics keep everything: computed twice,
    a batch would be counted twice.
    """
    inner = {id(module) for block in repeated_blocks(model) for module in block.modules() if module is not block}
    for block in repeated_blocks(model):
        if id(block) not in inner and not any(isinstance(module, _BatchNorm) for module in block.modules()):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def shard_blocks(model: nn.Module, device: torch.device, processes: int) -> None:
    """Splits weights over the processes (FSDP2); a block's are put together while it computes."""
    mesh = init_device_mesh(device.type, (processes,))
    model.to(device)
    for block in repeated_blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """A tensor that is split over processes, put together; another as it is. Every process must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(state: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
    """:func:`whole` of every tensor, one after the other, on the CPU; only taken part in where not ``keep``."""
    kept = {}
    for name, tensor in state.items():
        complete = whole(tensor.detach())
        if keep:
            kept[name] = complete.cpu()
    return kept


def split_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process' part of ``tensor``, where ``like`` is split over processes; ``tensor`` itself where it is not."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
