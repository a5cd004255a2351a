"""What a loss over the whole batch asks of data-parallel training: the rows of all processes, and the same draws.

A batch of W processes with B rows each is the batch that one process would have with W × B rows, in the order
of the processes. Without torch.distributed all of this is the identity.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world() > 1 else 0


def own(rows: int) -> slice:
    """Where this process's rows stand among those of all."""
    return slice(rank() * rows, (rank() + 1) * rows)


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, B… to (W × B)…; gradients of all their losses flow back into one's own rows."""
    return rows if world() == 1 else cast(Tensor, _Gather.apply(rows))


def gather_texts(values_BT: Tensor, filler: int | bool = 0) -> Tensor:
    """The same for rows of whatever length: (G, longest of all), `filler` behind the shorter ones. No gradient."""
    if world() == 1:
        return values_BT
    longest = torch.tensor(values_BT.shape[1], device=values_BT.device)
    dist.all_reduce(longest, dist.ReduceOp.MAX)
    wider = F.pad(values_BT.long(), (0, int(longest) - values_BT.shape[1]), value=int(filler))
    return gather(wider).to(values_BT.dtype)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = rows.shape[0]
        found = [torch.empty_like(rows) for _ in range(world())]
        dist.all_gather(found, rows.contiguous())
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        whole = grads[0].contiguous()
        dist.all_reduce(whole)
        return whole[own(ctx.rows)]


def mean(total: Tensor, count: Tensor | int) -> Tensor:
    """The mean over all processes of something that each has `count` of and `total` for, so scaled that the
    average of what the processes return (which data-parallel training takes of gradients) is that mean."""
    counted = torch.as_tensor(count, dtype=total.dtype, device=total.device).detach().clone()
    if world() > 1:
        dist.all_reduce(counted)
    return total * (world() / counted.clamp(min=1))


def uniform(seed: int, rows: int, *shape: int) -> Tensor:
    """Numbers from 0 to 1 for each row, (rows, …): those that a single process would draw for it."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(world() * rows, *shape, generator=generator)
    return drawn[own(rows)]
