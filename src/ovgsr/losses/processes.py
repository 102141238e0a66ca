"""A batch that is spread over processes: losses that average to the loss of the joined batch.

Data-parallel training averages the processes' gradients. A mean over a process' own roles would therefore weigh a role
by how few others its process happens to have; a sum divided by :func:`joined_count` does not.

Every process must make these calls, in the same order.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def process_count() -> int:
    """How many processes train together; 1 where nothing was launched."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def joined_count(count: Tensor) -> Tensor:
    """What a process divides its sum by, so that the processes' quotients average to the mean over the joined batch.

    ``count`` is a scalar, how many terms this process' sum has. The result is at least 1 over the number of processes:
    where nobody has a term, the mean is 0.
    """
    processes, total = process_count(), count.detach().float()
    if processes > 1:
        total = total.clone()
        distributed.all_reduce(total)
    return total.clamp(min=1) / processes


def joined_rows(rows: Tensor) -> Tensor:
    """The rows (B, W) of all processes, in their order; B may differ, W may not. No gradient flows through them."""
    return torch.cat(gathered_rows(rows.detach(), row_counts(len(rows), rows.device)))


def row_counts(count: int, device: torch.device) -> list[int]:
    """How many rows each process has."""
    if process_count() == 1:
        return [count]
    counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(process_count())]
    distributed.all_gather(counts, torch.tensor([count], device=device))
    return [int(each) for each in counts]


def gathered_rows(rows: Tensor, counts: list[int]) -> list[Tensor]:
    """Each process' rows (count, W): a collective takes equal shapes only, so padded to the longest and cut again."""
    if len(counts) == 1:
        return [rows]
    padded = rows.new_zeros(max(counts), rows.shape[1])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return [part[:count] for part, count in zip(parts, counts, strict=True)]
