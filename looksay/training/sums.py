"""What a run adds up between two records of its log, without waiting for the device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Sums:
    """Losses weighted by what they were taken over, since the last record; on the device."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    examples: int = 0
    steps: int = 0
    began: float = field(default_factory=time.monotonic)
    norm: Tensor | None = None

    def add(self, key: str, loss: Tensor, count: int) -> None:
        term = loss.detach().float() * count
        self.losses[key] = self.losses[key] + term if key in self.losses else term
        self.counts[key] = self.counts.get(key, 0) + count

    def plain(self) -> dict[str, float]:
        """As numbers; the only place where the loop waits for the device."""
        return {
            **{f"loss:{key}": float(value) for key, value in self.losses.items()},
            **{f"count:{key}": value for key, value in self.counts.items()},
            "tokens": self.tokens,
            "examples": self.examples,
            "steps": self.steps,
            "seconds": time.monotonic() - self.began,
        }

    @classmethod
    def of(cls, plain: Mapping[str, float]) -> Sums:
        def those(head: str) -> dict[str, float]:
            return {k.removeprefix(head): v for k, v in plain.items() if k.startswith(head)}

        losses = {key: torch.tensor(value) for key, value in those("loss:").items()}
        tokens, examples, steps = (int(plain.get(k, 0)) for k in ("tokens", "examples", "steps"))
        began = time.monotonic() - plain.get("seconds", 0.0)
        return cls(losses, those("count:"), tokens, examples, steps, began)
