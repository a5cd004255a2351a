"""Linear layers in 8 bits on a CPU, weights and inputs, by oneDNN as torch brings it: for models that only answer.

A weight is a code times a scale of its output, an input a code times a scale of its row (a place of a text or a
picture), found anew at each call; products of codes are summed exactly. That is the usual "W8A8, dynamic, per token".

Shapes: N rows, I features in, O features out.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from looksay.models.fingerprint import samples
from looksay.models.quantized import rounded
from looksay.models.sharing import alone, share

ROWS = 256
"""So many at once: what lies between is in float32, and is to stay in a core's own memory."""
FEW = 1 << 17
"""Numbers that one thread rounds in less time than another one takes to wake."""
MIDDLE = 128
"""oneDNN's kernels for inputs without a sign are in every processor; their zero is in the middle."""
After = tuple[str, str]
"""What follows a layer, by oneDNN's name and its variant; ("none", ""): nothing."""


def _gelu_by_tanh(x: Tensor) -> Tensor:
    """In place; torch's own takes longer than the product before it. tanh(u) is 2 sigmoid(2u) - 1."""
    turned = (x * x).mul_(0.0713548162726).add_(1.5957691216057308).mul_(x).sigmoid_()
    return x.mul_(turned)


AFTER: dict[After, Callable[[Tensor], Tensor]] = {
    ("none", ""): lambda x: x,
    ("gelu", "none"): F.gelu,
    ("gelu", "tanh"): _gelu_by_tanh,
    ("swish", ""): lambda x: F.silu(x, inplace=True),
    ("relu", ""): lambda x: x.relu_(),
}


class Narrow(nn.Module):
    """A linear layer for reading, with weights in 8 bits; `after`: what follows it.

    `weight` is what the codes stand for, made anew at each look.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.after: After = ("none", "")
        codes_OI, scales_O = rounded(layer.weight.detach())
        # So that weights can still be told apart by `fingerprint`.
        self.samples: Tensor
        self.register_buffer("samples", samples(layer.weight.detach()))
        self._codes: Tensor = torch.ops.onednn.qlinear_prepack(codes_OI, None)
        self._scales_O = scales_O.float()
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), False)

    def followed(self, after: After) -> Narrow:
        """The same layer, on the same codes, with something after it."""
        new = copy(self)
        new.after = after
        return new

    @property
    def weight(self) -> Tensor:
        """Weights OI, in the precision of the model."""
        codes_OI = self._codes.to_dense().t()
        found: Tensor = codes_OI.to(self.samples.dtype) * self._scales_O[:, None].to(
            self.samples.dtype
        )
        return found

    @property
    def held_bytes(self) -> int:
        """What it takes besides parameters and buffers."""
        return int(self._codes.numel() + self._scales_O.nbytes)

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) to (…, O)."""
        if torch.is_grad_enabled() and x.requires_grad:
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return AFTER[self.after](F.linear(x, self.weight.to(x.dtype), bias))
        rows_NI = x.reshape(-1, self.in_features)
        found_NO = x.new_empty(len(rows_NI), self.out_features)
        share(self._some, list(zip(rows_NI.split(ROWS), found_NO.split(ROWS), strict=True)))
        return found_NO.reshape(*x.shape[:-1], self.out_features)

    def _some(self, rows: tuple[Tensor, Tensor]) -> None:
        """Some rows NI, and where their answers NO go."""
        given_NI, found_NO = rows
        few = max(given_NI.numel(), found_NO.numel()) <= FEW
        with alone(few):
            wide_NI = given_NI.to(torch.float32, copy=True)
            largest_N1 = wide_NI.abs().amax(1, keepdim=True).clamp_(min=1e-30)
            codes_NI = wide_NI.mul_(127 / largest_N1).round_().to(torch.int8)
            # The other sign bit is a shift by 128.
            shifted_NI = codes_NI.view(torch.uint8).bitwise_xor_(MIDDLE)
        wide_NO = _product(shifted_NI, self._codes, self._scales_O)
        with alone(few):
            wide_NO.mul_(largest_N1 / 127)
            if self.bias is not None:
                wide_NO.add_(self.bias)
            found_NO.copy_(AFTER[self.after](wide_NO))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


def _product(codes_NI: Tensor, codes_OI: Tensor, scales_O: Tensor) -> Tensor:
    zeros_O = _zeros(len(scales_O))
    found: Tensor = torch.ops.onednn.qlinear_pointwise(
        codes_NI, 1.0, MIDDLE, codes_OI, scales_O, zeros_O, None, 1.0, 0, torch.float32, "none", [], ""
    )  # fmt: skip
    return found


@cache
def _zeros(number: int) -> Tensor:
    with torch.inference_mode(False):
        return torch.zeros(number, dtype=torch.int64)


@cache
def supported() -> bool:
    """Whether this torch and this processor can, and rightly: older processors cut sums off."""
    try:
        # Without these instructions a product of 8 bits is slower than a wide one.
        if not torch.cpu._is_vnni_supported():
            return False
        chance = torch.Generator().manual_seed(0)
        codes_OI = torch.randint(-127, 128, (32, 256), generator=chance, dtype=torch.int8)
        given_NI = torch.randint(0, 256, (5, 256), generator=chance, dtype=torch.uint8)
        held: Any = torch.ops.onednn.qlinear_prepack(codes_OI, None)
        ones = torch.ones(32)
        found = _product(given_NI, held, ones)
        exact = (given_NI.long() - MIDDLE) @ codes_OI.long().t()
        return bool((found == exact).all() and (held.to_dense().t() == codes_OI).all())
    except (AttributeError, RuntimeError):  # torch without oneDNN, or with other names
        return False
