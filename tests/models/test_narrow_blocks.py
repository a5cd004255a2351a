"""Feed-forward blocks in 8 bits as one: exact on their codes, near the layers by themselves, and only where they are that."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: there are no layers")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models.test_packed import Block, Gated, Odd
from torch import Tensor, nn

from looksay.models import narrow, packed, quantized
from looksay.models.fingerprint import fingerprint
from looksay.models.narrow_blocks import NarrowBlock

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not narrow.supported(), reason="no products of 8 bits in this processor"),
]


def made(block: nn.Module, dtype: str = "float32") -> nn.Sequential:
    """A model of that block, in 8 bits."""
    model = nn.Sequential(block).to(getattr(torch, dtype))
    quantized.swap(model, narrow.Narrow, lambda _: True)
    return model


def rounded(x: Tensor) -> Tensor:
    """What the codes of rows stand for."""
    steps = x.float().abs().amax(1, keepdim=True).clamp_(min=1e-30).double() / 127
    return (x.double() / steps).round() * steps


def by_hand(layers: Any, act: Any, x: Tensor) -> Tensor:
    """Two layers, or three, in float64 over rounded inputs."""

    def linear(layer: Any, given: Tensor) -> Tensor:
        bias = 0 if layer.bias is None else layer.bias.double()
        return given @ layer.weight.double().t() + bias

    first, *besides, last = layers
    given = rounded(x)
    inner = act(linear(first, given))
    for beside in besides:
        inner = inner * linear(beside, given)
    return linear(last, rounded(inner))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 700),
    sizes=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    gated=st.booleans(),
    threads=st.sampled_from([1, 2, 3]),
)
def test_it_is_its_layers_on_codes(
    rows: int, sizes: tuple[int, int], gated: bool, threads: int
) -> None:
    torch.manual_seed(rows)
    model = made(Gated(*sizes) if gated else Block(nn.GELU(), *sizes))
    names = ("gate_proj", "up_proj", "down_proj") if gated else ("fc1", "fc2")
    order = [getattr(model[0], name) for name in names]
    x = torch.randn(rows, sizes[0]) * (torch.rand(rows, 1) * 5)
    wanted = by_hand(order, nn.SiLU() if gated else nn.GELU(), x)
    assert packed.pack(model) == 1
    assert isinstance(model[0], NarrowBlock)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            found = model(x[None])[0]
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    # A number in the middle between two codes may fall to either side: a step of 1/127 of its row.
    near = 0.02 * float(wanted.abs().max()) + 1e-6
    torch.testing.assert_close(found.double(), wanted, atol=near, rtol=0)
    apart = (found.double() - wanted).abs().mean() / wanted.abs().mean().clamp(min=1e-9)
    assert apart < 2e-3


ACTIVATIONS = {
    ("gelu", "none"): lambda: Block(nn.GELU()),
    ("gelu", "tanh"): lambda: Block(nn.GELU(approximate="tanh")),
    ("relu", ""): lambda: Block(nn.ReLU()),
    ("quick_gelu", ""): lambda: Block(Quick()),
    ("swish", ""): Gated,
}


class Quick(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


@pytest.mark.parametrize("after", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_near_its_layers_by_themselves_and_keeps_their_names(after: Any, dtype: str) -> None:
    torch.manual_seed(1)
    model = made(ACTIVATIONS[after](), dtype).eval()
    layers = {name for name, one in model.named_modules() if isinstance(one, narrow.Narrow)}
    assert len(layers) >= 2
    print_before, state = fingerprint(model), set(model.state_dict())
    x = torch.randn(40, 64).to(getattr(torch, dtype))
    with torch.inference_mode():
        before = model(x)
        assert packed.pack(model) == 1
        found = model(x)
    one: Any = model[0]
    assert getattr(one, one._first).after == after
    assert not one.training
    assert {n for n, m in model.named_modules() if isinstance(m, narrow.Narrow)} == layers
    assert set(model.state_dict()) == state
    assert fingerprint(model) == print_before
    assert found.dtype == before.dtype
    near = 0.03 * float(before.float().abs().max())
    torch.testing.assert_close(found, before, atol=near, rtol=0)


@pytest.mark.parametrize("after", ACTIVATIONS)
def test_it_learns_what_its_weights_say(after: Any) -> None:
    torch.manual_seed(0)
    model = made(ACTIVATIONS[after]())
    packed.pack(model)
    block: Any = model[0]
    first, last, beside = block._layers()
    x = torch.randn(3, 64, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None
    y = x.detach().clone().requires_grad_()
    inner = narrow.PLAIN[after](nn.functional.linear(y, first.weight, first.bias))
    if beside is not None:
        inner = inner * nn.functional.linear(y, beside.weight, beside.bias)
    nn.functional.linear(inner, last.weight, last.bias).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


class Longer(Gated):
    """A block with a layer more."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.more(x))


class Normed(Block):
    """A block with something else between its layers."""

    def __init__(self) -> None:
        super().__init__(nn.GELU())
        self.norm = nn.LayerNorm(192)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(self.norm(self.activation_fn(self.fc1(x))))
        return found


class Clamped(Gated):
    """As some releases have it: what is large is cut off."""

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x).clamp(max=10.0), self.up_proj(x).clamp(-10.0, 10.0)
        found: Tensor = self.down_proj(self.act_fn(gate) * up)
        return found


class Scaled(Gated):
    """A block with a weight of its own that nearly does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.01))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


def heard() -> nn.Module:
    block = Gated()
    block.register_forward_hook(lambda module, given, found: None)
    return block


@pytest.mark.parametrize(
    "block",
    [
        lambda: Odd(nn.GELU()),
        lambda: Block(nn.Tanh()),
        Longer,
        Normed,
        Clamped,
        Scaled,
        heard,
    ],
)
def test_what_is_not_such_a_block_stays_as_it_is(block: Any) -> None:
    torch.manual_seed(2)
    kept = block()
    model = made(kept)
    x = torch.randn(8, 64)
    with torch.inference_mode():
        before = model(x)
        assert packed.pack(model) == 0
        assert model[0] is kept
        assert torch.equal(model(x), before)


def test_what_hears_a_layer_goes_on_hearing_it() -> None:
    model, heard = made(Gated()), []
    model[0].up_proj.register_forward_hook(lambda module, given, found: heard.append(found))
    assert packed.pack(model) == 0
    heard.clear()
    model(torch.zeros(2, 64))
    assert len(heard) == 1


def test_a_block_that_nothing_holds_stays() -> None:
    block = Gated()
    quantized.swap(block, narrow.Narrow, lambda _: True)
    assert packed.pack(block) == 0
    assert isinstance(block.act_fn, nn.SiLU)


def test_no_rows_are_none() -> None:
    model = made(Gated())
    packed.pack(model)
    assert model(torch.zeros(2, 0, 64)).shape == (2, 0, 64)
