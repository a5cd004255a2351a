"""Linear layers in 8 bits on a CPU, weights and inputs, by oneDNN as torch brings it: for models that only answer.

A weight is a code times a scale of its output, an input a code times a scale of its row (a place of a text or a
picture), found anew at each call; products of codes are summed exactly. That is the usual "W8A8, dynamic, per token".

Shapes: N rows, I features in, O features out.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from looksay.models.fingerprint import samples
from looksay.models.quantized import rounded
from looksay.models.sharing import alone, count, share

ROWS = 256
"""So many at once: what lies between is in float32, and is to stay near a core."""
LEAST = 64
"""Fewer rows are not worth a thread of their own, which reads all weights."""
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


PLAIN: dict[After, Callable[[Tensor], Tensor]] = {
    ("none", ""): lambda x: x,
    ("gelu", "none"): F.gelu,
    ("gelu", "tanh"): lambda x: F.gelu(x, approximate="tanh"),
    ("swish", ""): F.silu,
    ("relu", ""): F.relu,
    ("quick_gelu", ""): lambda x: x * torch.sigmoid(1.702 * x),
}
"""What can follow; of quick_gelu oneDNN knows nothing, and the name is transformers'."""
AFTER = PLAIN | {
    ("gelu", "tanh"): _gelu_by_tanh,
    ("swish", ""): lambda x: F.silu(x, inplace=True),
    ("relu", ""): lambda x: x.relu_(),
    ("quick_gelu", ""): lambda x: x.mul_((x * 1.702).sigmoid_()),
}
"""The same as fast as may be, in place, where nobody learns."""
TOGETHER = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("q", "k", "v"))
"""Names of layers that are given the same."""


class Codes(NamedTuple):
    """Rows in 8 bits."""

    codes_NI: Tensor
    """Without a sign."""
    scales_N1: Tensor
    """In float32."""

    @staticmethod
    def room(rows: int, width: int) -> Codes:
        return Codes(torch.empty(rows, width, dtype=torch.uint8), torch.empty(rows, 1))

    def some(self, rows: slice) -> Codes:
        """Some of the rows, at the same place in memory."""
        return Codes(self.codes_NI[rows], self.scales_N1[rows])

    def take(self, given_NI: Tensor) -> None:
        """Codes of all rows."""
        with alone(given_NI.numel() <= FEW):
            self.round(given_NI.to(torch.float32, copy=True), largest(given_NI))

    def round(self, wide_NI: Tensor, largest_N1: Tensor) -> None:
        """The same from numbers in float32 that nobody needs afterwards."""
        self.codes_NI.view(torch.int8).copy_(wide_NI.mul_(127 / largest_N1).round_())
        self.codes_NI.bitwise_xor_(MIDDLE)  # the other sign bit is a shift by 128
        torch.div(largest_N1, 127, out=self.scales_N1)


def largest(given_NI: Tensor) -> Tensor:
    """The largest absolute number of each row, N1 in float32; of nothing but zeros a very small one."""
    kind, size = _BITS[given_NI.element_size()]
    # Without their sign, numbers are ordered as the whole numbers are that have the same bits.
    found = given_NI.view(kind).bitwise_and(size).amax(1, keepdim=True).view(given_NI.dtype)
    return found.float().clamp_(min=1e-30)


_BITS = {
    size: (kind, torch.iinfo(kind).max)
    for size, kind in ((2, torch.int16), (4, torch.int32), (8, torch.int64))
}


class _Kept:
    """Codes of what several layers are given, and which of them have not asked for it."""

    def __init__(self, codes: Codes, waiting: set[int]) -> None:
        self.codes, self.waiting = codes, waiting


def pieces(rows: int) -> list[slice]:
    """Rows for one thread each, not too many to multiply at once."""
    number = max(-(-rows // ROWS), min(count(), rows // LEAST), 1)
    size = max(1, -(-rows // number))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def learns(x: Tensor) -> bool:
    """Whether gradients are wanted."""
    return bool(torch.is_grad_enabled() and x.requires_grad)


class Narrow(nn.Module):
    """A linear layer for reading, with weights in 8 bits; `after`: what follows it.

    `weight` is what the codes stand for, made anew at each look.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.after: After = ("none", "")
        self.beside: frozenset[int] = frozenset()
        """Layers that are given the same (`together`)."""
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
        if learns(x):
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return PLAIN[self.after](F.linear(x, self.weight.to(x.dtype), bias))
        codes = self._given(x)
        found_NO = x.new_empty(len(codes.codes_NI), self.out_features)
        share(lambda rows: self.answer(codes.some(rows), found_NO[rows]), pieces(len(found_NO)))
        return found_NO.reshape(*x.shape[:-1], self.out_features)

    def _given(self, x: Tensor) -> Codes:
        """Codes of inputs. The first of layers beside each other finds them for those that are given the same tensor;
        between them nobody changes it in place."""
        kept = getattr(x, "_codes", None)
        if kept is not None and id(self) in kept.waiting:
            kept.waiting.discard(id(self))  # if it asks again, the numbers may be others
            found: Codes = kept.codes
            return found
        rows_NI = x.reshape(-1, self.in_features)
        codes = Codes.room(len(rows_NI), self.in_features)
        share(lambda rows: codes.some(rows).take(rows_NI[rows]), pieces(len(rows_NI)))
        if self.beside:
            x._codes = _Kept(codes, set(self.beside))
        return codes

    def answer(self, codes: Codes, found_NO: Tensor) -> None:
        """What the layer makes of codes, in the precision of where it goes."""
        wide_NO = self.product(codes)
        with alone(wide_NO.numel() <= FEW):
            found_NO.copy_(self.followed_by(wide_NO, codes.scales_N1))

    def product(self, codes: Codes) -> Tensor:
        """NO in float32, without the scales of rows."""
        return _product(codes.codes_NI, self._codes, self._scales_O)

    def followed_by(self, wide_NO: Tensor, scales_N1: Tensor) -> Tensor:
        """A product with all that follows it, in its place."""
        wide_NO.mul_(scales_N1)
        if self.bias is not None:
            wide_NO.add_(self.bias)
        return AFTER[self.after](wide_NO)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


def _product(codes_NI: Tensor, codes_OI: Tensor, scales_O: Tensor) -> Tensor:
    zeros_O = _zeros(len(scales_O))
    found: Tensor = torch.ops.onednn.qlinear_pointwise(
        codes_NI, 1.0, MIDDLE, codes_OI, scales_O, zeros_O, None, 1.0, 0, torch.float32, "none", [], ""
    )  # fmt: skip
    return found


def together(model: nn.Module) -> None:
    """Have layers in 8 bits that are given the same find its codes once."""
    for module in model.modules():
        for names in TOGETHER:
            layers = [getattr(module, name, None) for name in names]
            alike = [one for one in layers if isinstance(one, Narrow)]
            for layer in alike:
                layer.beside = frozenset(id(one) for one in alike if one is not layer)


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
