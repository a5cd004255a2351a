"""Muon (Jordan et al., 2024) with matrices of one shape taken together, in a precision that the device has.

torch's own step orthogonalises in bf16 whatever the device: on a CPU without bf16 that took eight times as long
as the forward and backward pass of a small model together, on one that has it (AMX) a quarter of the time of fp32. So
on a CPU it is done in what the run computes in. What it computes is the same.

Shapes: K matrices of one shape, N × M each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Muon):
    """torch.optim.Muon with `adjust_lr_fn="match_rms_adamw"` (Liu et al., arXiv 2502.16982, section 2.2);
    groups and state are torch's. `dtype` is what matrices on a CPU are orthogonalised in; elsewhere it is bf16."""

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(groups, lr=lr, adjust_lr_fn="match_rms_adamw")
        self._dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append((weight, self._direction(weight, group)))
            for (rows, columns), pairs in alike.items():
                found_KNM = orthogonal(
                    torch.stack([direction for _, direction in pairs]),
                    group["ns_coefficients"],
                    group["ns_steps"],
                    group["eps"],
                    self._dtype,
                )
                rate = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
                for (weight, _), found_NM in zip(pairs, found_KNM, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(found_NM, alpha=-rate)

    def _direction(self, weight: Tensor, group: dict[str, Any]) -> Tensor:
        """The gradient with momentum (Nesterov's)."""
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum_buffer"]
        momentum.lerp_(weight.grad, 1 - group["momentum"])
        return weight.grad.lerp(momentum, group["momentum"])


def orthogonal(
    matrices_KNM: Tensor,
    coefficients: tuple[float, float, float],
    steps: int,
    eps: float,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Each matrix with its singular values brought near 1, by Newton–Schulz; in `dtype` on a CPU, else in bf16."""
    a, b, c = coefficients
    wide = matrices_KNM.shape[1] <= matrices_KNM.shape[2]
    x = matrices_KNM if wide else matrices_KNM.mT
    x = x.to(dtype if x.device.type == "cpu" else torch.bfloat16)
    x = x / x.flatten(1).norm(dim=1).clamp(min=eps)[:, None, None]
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices_KNM.dtype)
