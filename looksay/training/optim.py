"""What trains, how fast, and what stays still."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from looksay.errors import InputError, UnknownName
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
        learning[name] = [p for p in chosen if p.requires_grad]
    return learning


def optimizer(learning: Mapping[str, list[nn.Parameter]], stage: Stage) -> torch.optim.Optimizer:
    """AdamW with one learning rate per part; what has fewer than two dimensions does not decay."""
    groups: list[dict[str, Any]] = []
    seen: set[int] = set()
    for part, parameters in learning.items():
        for decays in (True, False):
            chosen = [p for p in parameters if (p.dim() >= 2) == decays and id(p) not in seen]
            seen |= {id(p) for p in chosen}
            if chosen:
                groups.append(
                    {
                        "params": chosen,
                        "part": part,
                        "peak": stage.trains[part],
                        "weight_decay": stage.weight_decay if decays else 0.0,
                    }
                )
    return torch.optim.AdamW(groups, lr=0.0, betas=stage.betas, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, stage: Stage, step: int) -> None:
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
