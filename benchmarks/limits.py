"""What this machine can do at most, measured the way that the work beside it is: matrix products and reading memory.

    python benchmarks/limits.py [--dtype float32] [--device cpu]

FLOP of a step are those of its matrix products and attention, forward and backward, as torch counts them; the model
FLOP utilisation (MFU; PaLM, appendix B) is what was done of them per second over the peak.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Of the square matrices that are multiplied."""
READ_BYTES = {"cpu": 1 << 29, "cuda": 1 << 32}


def peak_flops(dtype: torch.dtype, device: str = "cpu", rounds: int = 5) -> float:
    """FLOP per second of the best product of two square matrices, in this process's threads."""
    best = 0.0
    for side in SIDES[device]:
        left = torch.randn(side, side, device=device, dtype=dtype)
        right = torch.randn(side, side, device=device, dtype=dtype)
        for _ in range(rounds):
            best = max(best, 2 * side**3 / seconds(lambda: left @ right, device))  # noqa: B023
    return best


def bandwidth(device: str = "cpu", rounds: int = 5) -> float:
    """Bytes per second of summing an array that fits no cache."""
    array = torch.ones(READ_BYTES[device] // 4, device=device)
    return max(READ_BYTES[device] / seconds(array.sum, device) for _ in range(rounds))


def seconds(work: Callable[[], Any], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def counted(work: Callable[[], Any]) -> int:
    """FLOP of what `work` multiplies. Attention goes by plain products meanwhile: torch does not count its fused kernel
    of a CPU."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    peak = peak_flops(getattr(torch, asked.dtype), asked.device)
    print(f"{peak / 1e9:,.0f} GFLOP/s of matrix products in {asked.dtype}")
    print(f"{bandwidth(asked.device) / 1e9:.1f} GB/s read from memory")
