"""Linear layers whose weights are held in 8 or 4 bits, put in place of those of a model.

Only the weights are narrow: what goes in and comes out has the model's own precision, so a model is called as before,
cache, masks and all. 8 bits are torch's own kernel; 4 bits are bitsandbytes' (fp4, or nf4 of QLoRA §3).

Shapes: N rows, I features in, O features out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from looksay.models.fingerprint import SAMPLES, is_adapter
from looksay.models.mapped import let_go, shared

BLOCK = 64
"""Weights of a row that share a scale in 4 bit: bitsandbytes' smallest."""
ROWS = 32
"""bitsandbytes' kernels for the CPU take so many outputs at a time."""
FEW = 16
"""Up to so many rows torch's kernel reads the 8-bit weights as they are, at half the time of wide ones; with more it
pays to widen them once (measured: 16 rows 2.6 against 14 ms in fp32, 700 rows 294 against 9,000)."""
AT_ONCE = 8192
"""So many rows of a weight are rounded at a time."""
Make = Callable[[nn.Linear], nn.Module]
"""A linear layer's narrow stand-in."""


class EightBit(nn.Module):
    """A linear layer with weights in 8 bits, one scale for each output, zero in the middle.

    `weight` is what the codes stand for, made anew at each look. On a CPU few rows are multiplied in bfloat16,
    whatever the model's precision.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        codes_OI, scales_O = rounded(layer.weight.detach())
        self.register_buffer("codes_OI", codes_OI)
        self.register_buffer("scales_O", scales_O)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), False)

    @property
    def weight(self) -> Tensor:
        """Weights OI, in the precision of the scales."""
        found: Tensor = self.codes_OI.to(self.scales_O.dtype) * self.scales_O[:, None]
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) to (…, O)."""
        rows_NI = x.reshape(-1, self.in_features)
        learns = torch.is_grad_enabled() and x.requires_grad
        if x.device.type == "cpu" and 0 < len(rows_NI) <= FEW and not learns:
            scales_O = self.scales_O.bfloat16()
            found = torch._weight_int8pack_mm(rows_NI.bfloat16(), self.codes_OI, scales_O)
            found = found.to(x.dtype)
        else:
            found = F.linear(rows_NI, self.codes_OI.to(x.dtype)) * self.scales_O.to(x.dtype)
        found = found.reshape(*x.shape[:-1], self.out_features)
        return found if self.bias is None else found + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


def rounded(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Codes OI from -127 to 127 and scales O in the precision of the weights: weight ≈ code × scale, wrong by no more
    than half a scale. Scales are numbers of bfloat16, rounded up, so that no later change of precision moves them and
    no code is cut off."""
    found = []
    for some_OI in weight_OI.split(AT_ONCE):  # of a large table no second one in float32
        wide_OI = some_OI.float()
        scales_O = (wide_OI.abs().amax(1) / 127 * (1 + 2**-7)).clamp(min=1e-30).bfloat16().float()
        codes_OI = (wide_OI / scales_O[:, None]).round()
        found.append((codes_OI.to(torch.int8), scales_O.to(weight_OI.dtype)))
    codes, scales = (torch.cat(some) for some in zip(*found, strict=True))
    return codes, scales


def grouped(weight_OI: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes OGN from 0 to 15, zeros OG1 among them and scales OG1 in float32, for G groups of `size` weights:
    weight ≈ (code - zero) × scale, wrong by no more than half a scale, so that a weight of 0 stays 0."""
    wide_OGN = weight_OI.float().reshape(len(weight_OI), -1, size)
    low_OG1 = wide_OGN.amin(2, keepdim=True).clamp(max=0)
    high_OG1 = wide_OGN.amax(2, keepdim=True).clamp(min=0)
    scales_OG1 = ((high_OG1 - low_OG1) / 15).clamp(min=1e-30)
    zeros_OG1 = (-low_OG1 / scales_OG1).round()
    codes_OGN = (wide_OGN / scales_OG1).round().add(zeros_OG1).clamp(0, 15)
    return codes_OGN.to(torch.uint8), zeros_OG1.to(torch.uint8), scales_OG1


def four_bit(layer: nn.Linear, kind: str = "nf4", dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """The layer with weights in 4 bit ("nf4" or "fp4") by bitsandbytes, their scales in 8 (QLoRA's double
    quantisation), multiplied in `dtype`. Raises ImportError without bitsandbytes."""
    import bitsandbytes as bnb

    narrow: Any = bnb.nn.Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=dtype,
        compress_statistics=True,
        quant_type=kind,
    )
    narrow.weight = bnb.nn.Params4bit(
        layer.weight.data, requires_grad=False, quant_type=kind, compress_statistics=True
    )
    if layer.bias is not None:
        narrow.bias = nn.Parameter(layer.bias.data, requires_grad=False)
    moved: nn.Module = narrow.to(layer.weight.device)
    return moved


def eight_bit_of_cuda(layer: nn.Linear) -> nn.Module:
    """The layer by bitsandbytes' LLM.int8(): inputs beyond 6 are set apart and multiplied wide (arXiv 2208.07339).
    The weights become narrow when the layer is moved to the GPU."""
    import bitsandbytes as bnb

    narrow: Any = bnb.nn.Linear8bitLt(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        has_fp16_weights=False,
        threshold=6.0,
    )
    narrow.weight = bnb.nn.Int8Params(
        layer.weight.data, requires_grad=False, has_fp16_weights=False
    )
    if layer.bias is not None:
        narrow.bias = nn.Parameter(layer.bias.data, requires_grad=False)
    found: nn.Module = narrow
    return found


def held_bytes(weights: int, outputs: int, layout: str, each: int) -> int:
    """Bytes of a layer's narrow weights with their scales; `each`: of a number of the model's precision.

    "int8": `EightBit`; "int8 inputs": `narrow.Narrow`. "llm.int8": bitsandbytes', its scales in float32. "4bit": blocks whose scales have 8 bits, with
    a float32 for each 256 of them and bitsandbytes' two tables of numbers; "4bit cpu": its layout for a CPU with bf16
    instructions, scales in bfloat16.
    """
    if layout == "int8":
        return weights + outputs * each
    if layout == "int8 inputs":
        return weights + outputs * 4 + min(SAMPLES, weights) * each
    if layout == "llm.int8":
        return weights + outputs * 4
    blocks = weights // BLOCK
    if layout == "4bit cpu":
        return weights // 2 + 2 * blocks
    return weights // 2 + blocks + 4 * -(-blocks // 256) + 4 * (16 + 256 + 1)


def whole_blocks(layer: Any) -> bool:
    """Whether a layer's widths are such that 4 bits can hold it."""
    return bool(layer.in_features % BLOCK == 0 and layer.out_features % ROWS == 0)


def linear_layers(part: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """The plain linear layers of a part by name, those of adapters left out."""
    for name, layer in part.named_modules():
        if type(layer) is nn.Linear and not is_adapter(f".{name}."):
            yield name, layer


def output_layer(part: Any) -> nn.Module | None:
    """What makes scores of words, where the part is a language model."""
    found: Any = None
    inner: Any = getattr(part, "model", None)
    for one in (part, inner):
        if found is None and hasattr(one, "get_output_embeddings"):
            found = one.get_output_embeddings()
    return found if isinstance(found, nn.Module) else None


def swap(part: nn.Module, make: Make, wanted: Callable[[nn.Linear], bool]) -> int:
    """Put `make(layer)` in place of each linear layer that is `wanted`, one after another, so that no two copies of
    all are in memory at once; returns how many."""
    names = [name for name, layer in linear_layers(part) if wanted(layer)]
    kept = shared(part)
    for name in names:
        parent, _, leaf = name.rpartition(".")
        owner = part.get_submodule(parent)
        layer = getattr(owner, leaf)
        # bitsandbytes' fast way on a CPU is for layers in evaluation mode.
        setattr(owner, leaf, make(layer).train(layer.training))
        if layer.weight.device.type == "cpu" and layer.weight.data_ptr() not in kept:
            let_go(layer.weight)
    return len(names)
