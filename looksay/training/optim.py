"""What trains, how fast, and what stays still."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import nn

from looksay.errors import InputError, UnknownName
from looksay.training.layers import stacked
from looksay.training.muon import Muon
from looksay.training.stages import Stage


def thaw(parts: Mapping[str, nn.Module], stage: Stage) -> dict[str, list[nn.Parameter]]:
    """Freeze everything, then thaw what the stage trains; returns the learning parameters by part.

    Frozen parts are in evaluation mode. A part under an adapter (LoRA) learns its adapter alone. What
    learns is held in fp32, whatever the model was loaded in.
    """
    for name in stage.trains:
        if name not in parts:
            raise UnknownName("part of this model", name, parts)
    for part in parts.values():
        part.requires_grad_(False).eval()
    learning: dict[str, list[nn.Parameter]] = {}
    for name in stage.trains:
        part = parts[name].train()
        found = list(part.named_parameters())
        adapted = [p for key, p in found if "lora_" in key]
        chosen = adapted or [p for _, p in found]
        for parameter in chosen:
            if parameter.is_floating_point():
                parameter.data = parameter.data.float()
                parameter.requires_grad_(True)
        if not adapted:  # running means go with the weights that they follow
            for owner in part.modules():
                for key, value in list(owner.named_buffers(recurse=False)):
                    if value.is_floating_point():
                        setattr(owner, key, value.float())
        learning[name] = [p for p in chosen if p.requires_grad]
    return learning


class Optimizer(Protocol):
    """What the loop asks of one."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def step(self) -> Any: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Together:
    """Several optimisers, each of some of the parameters, as one."""

    def __init__(self, *each: torch.optim.Optimizer) -> None:
        self._each = each

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for one in self._each for group in one.param_groups]

    def step(self) -> None:
        for one in self._each:
            one.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for one in self._each:
            one.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"each": [one.state_dict() for one in self._each]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for one, own in zip(self._each, state["each"], strict=True):
            one.load_state_dict(own)


def optimizer(
    parts: Mapping[str, nn.Module],
    learning: Mapping[str, list[nn.Parameter]],
    stage: Stage,
    dtype: torch.dtype = torch.float32,
) -> Optimizer:
    """AdamW with one learning rate per part; what has fewer than two dimensions does not decay. `dtype` is what the
    run computes in.

    With `stage.optimizer` muon, the matrices of stacked layers go to Muon instead, scaled so that the
    same learning rates serve (Liu et al., arXiv 2502.16982, section 2.2).
    """
    hidden_ids = {
        id(p) for part in parts.values() for layer in stacked(part) for p in layer.parameters()
    }
    groups: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    seen: set[int] = set()
    for part, parameters in learning.items():
        fresh = [p for p in parameters if id(p) not in seen]
        seen |= {id(p) for p in fresh}
        for hidden in (True, False):
            for decays in (True, False):
                chosen = [
                    p
                    for p in fresh
                    if (p.dim() >= 2) == decays
                    and (stage.optimizer == "muon" and p.dim() == 2 and id(p) in hidden_ids)
                    == hidden
                ]
                decay = stage.weight_decay if decays else 0.0
                group = {"part": part, "peak": stage.trains[part], "weight_decay": decay}
                if chosen:
                    groups[hidden].append({"params": chosen, **group})
    each: list[torch.optim.Optimizer] = []
    if groups[True]:
        each.append(Muon(groups[True], lr=0.0, dtype=dtype))
    if groups[False]:
        each.append(torch.optim.AdamW(groups[False], lr=0.0, betas=stage.betas, fused=True))
    return Together(*each) if len(each) > 1 else cast(Optimizer, each[0])


def set_rates(optimizer: Optimizer, stage: Stage, step: int) -> None:
    """The learning rates of step number `step`, from 0."""
    share = rate(stage, step)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def rate(stage: Stage, step: int) -> float:
    """Share of the peak learning rate at a step, from 0: linear warm-up, then the schedule."""
    warm = max(1, round(stage.warmup * stage.steps)) if stage.warmup else 0
    if step < warm:
        return (step + 1) / (warm + 1)
    if stage.schedule == "constant":
        return 1.0
    done = (step - warm) / max(1, stage.steps - warm)
    if stage.schedule == "linear":
        return stage.floor + (1 - stage.floor) * (1 - done)
    return stage.floor + (1 - stage.floor) * 0.5 * (1 + math.cos(math.pi * done))


def summary(model: nn.Module, learning: Mapping[str, list[nn.Parameter]]) -> dict[str, int]:
    """Learning parameters by part, and under "frozen" all others."""
    counts = {part: sum(p.numel() for p in found) for part, found in learning.items()}
    total = sum(p.numel() for p in model.parameters())
    return {**counts, "frozen": total - sum(counts.values())}


def precision(name: str, device: torch.device) -> torch.dtype:
    """What a run computes in: auto is bf16 on an accelerator that has it, else fp32."""
    if name == "auto":
        has = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has else torch.float32
    known = {"bf16": torch.bfloat16, "fp32": torch.float32}
    if name not in known:
        raise InputError(f"There is no precision {name!r}; expected auto, bf16 or fp32.")
    return known[name]
