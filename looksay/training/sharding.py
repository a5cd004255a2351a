"""A model in shards: each process holds its share of every weight, gradient and optimiser state, and a
layer is whole only while it works (FSDP; ZeRO stage 3 of Rajbhandari et al., 1910.02054).

The language model's layers are gathered one by one. All else is one group that stands whole during a
step: embeddings, output layer (which the chunked loss reads as a tensor), connector and tower. A tower is
not gathered by layers, because a batch without images does not pass it and the processes that wait for
its layers would wait for ever.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.training.layers import stacked
from looksay.training.optim import Optimizer
from looksay.training.stages import Stage

GATHERED = "language"
"""The part that every batch passes, whose layers can therefore be gathered one by one."""


def check(stages: Sequence[Stage], world: int, compile: bool) -> None:
    """Raise InputError for what sharding cannot do."""
    if world == 1:
        raise InputError(
            "A model is sharded over several processes; found one. Type: torchrun --nproc-per-node N "
            "-m looksay train … --shard"
        )
    packed = [s.name for s in stages if s.adapter is not None and s.adapter.quantize]
    if packed:
        raise InputError(
            f"The stage {packed[0]!r} holds weights in 4 bit, which cannot be sharded. "
            "Use --lora with --shard, or --qlora without it."
        )
    muon = [s.name for s in stages if s.optimizer == "muon"]
    if muon:
        raise InputError(
            f"The stage {muon[0]!r} uses Muon, which needs whole matrices. Leave out --shard: what this "
            "recipe trains from nothing fits any device."
        )
    if compile:
        raise InputError("Compiled layers cannot be sharded yet. Leave out --compile or --shard.")


class Shards:
    """A model's structure over shards of its weights, for one stage.

    `whole` stays an ordinary model on the CPU, as checkpoints, adapters and gates want it; `module` is
    what trains, and `gather` brings home what it has learned. All methods are called by all processes.
    """

    def __init__(self, whole: nn.Module, device: torch.device, precision: torch.dtype) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import (
            MixedPrecisionPolicy,
            fully_shard,
            register_fsdp_forward_method,
        )

        self.whole, self.module = whole, _again(whole)
        mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
        # Layers travel in the precision that they compute in; gradients are summed in fp32. The other
        # group stays as wide as it is held, or a narrow embedding would narrow the residual stream.
        narrow = None if precision is torch.float32 else precision
        policy = MixedPrecisionPolicy(narrow, torch.float32, cast_forward_inputs=False)
        parts = cast(Any, self.module).parts
        for layer in stacked(parts[GATHERED]) if GATHERED in parts else ():
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(self.module, mesh=mesh, reshard_after_forward=False)
        if hasattr(self.module, "likelihoods"):
            register_fsdp_forward_method(self.module, "likelihoods")

    def learning(self, found: Mapping[str, list[nn.Parameter]]) -> dict[str, list[nn.Parameter]]:
        """The shards of the whole model's parameters, by part."""
        names = {id(p): name for name, p in self.whole.named_parameters()}
        own = dict(self.module.named_parameters())
        return {part: [own[names[id(p)]] for p in every] for part, every in found.items()}

    @torch.no_grad()
    def gather(self) -> None:
        """Bring `whole` up to date: what learns, and running values (the first process' everywhere)."""
        cast(Any, self.module).reshard()
        own: dict[str, Any] = dict(self.module.named_parameters())
        for name, parameter in self.whole.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(own[name].full_tensor())
        running = dict(self.module.named_buffers())
        for name, buffer in self.whole.named_buffers():
            value = running[name].contiguous()
            torch.distributed.broadcast(value, src=0)
            buffer.copy_(value)


def whole_state(optimizer: Optimizer, keep: bool) -> dict[str, Any]:
    """The optimiser's state as if nothing were sharded, on the CPU; empty where it is not to be kept."""
    found: dict[str, Any] = optimizer.state_dict()
    states: dict[int, dict[str, Any]] = {}
    for number, state in found["state"].items():
        for key, value in state.items():
            full = _full(value)
            if keep:
                states.setdefault(number, {})[key] = full.cpu()
    return {**found, "state": states} if keep else {}


def split_state(state: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The other way: each process takes its shards of a whole state."""
    from torch.distributed.tensor import distribute_tensor

    places: list[Any] = [p for group in optimizer.param_groups for p in group["params"]]

    def split(value: Tensor, like: Any) -> Tensor:
        if value.shape != like.shape:
            return value  # the number of steps
        shard: Tensor = distribute_tensor(value, like.device_mesh, like.placements)
        return shard

    states = {
        number: {key: split(value, places[number]) for key, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": states}


def clip(parameters: list[nn.Parameter], limit: float) -> Tensor:
    """Scale gradients, sharded or not, to a norm of at most `limit`; returns the norm before."""
    return _full(nn.utils.clip_grad_norm_(parameters, limit))


def part() -> None:
    """Leave the other processes, for the end of a process whose work is done.

    Gloo's threads let go of tensors late, which takes Python's lock; one that does so while Python ends
    aborts the process. So what holds the group goes first, and its threads are waited for here.
    """
    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _full(value: Any) -> Tensor:
    from torch.distributed.tensor import DTensor

    return cast(Tensor, value.full_tensor() if isinstance(value, DTensor) else value)


def _again(model: nn.Module) -> nn.Module:
    """The same structure over the same numbers: parameters of its own that share their storage."""
    memo: dict[int, Any] = {
        id(p): nn.Parameter(p.detach().contiguous(), requires_grad=p.requires_grad)
        for p in model.parameters()
    }
    return copy.deepcopy(model, memo)
