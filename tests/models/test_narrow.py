"""Layers in 8 bits, inputs too: exact on their codes, near the wide ones, whatever number of rows and threads."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from looksay.models import narrow, packed, quantized
from looksay.models.fingerprint import fingerprint

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not narrow.supported(), reason="no products of 8 bits in this processor"),
]


def linear(inputs: int, outputs: int, seed: int = 0, bias: bool = True) -> Any:
    torch.manual_seed(seed)
    layer = torch.nn.Linear(inputs, outputs, bias=bias)
    layer.weight.data *= torch.rand(outputs, 1) * 3
    return layer


@given(
    st.integers(1, 600),
    st.integers(1, 70),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from(["float32", "bfloat16"]),
    st.sampled_from([1, 3]),
)
def test_it_multiplies_codes_exactly(
    rows: int, inputs: int, outputs: int, bias: bool, dtype: str, threads: int
) -> None:
    layer = linear(inputs, outputs, rows, bias)
    made = narrow.Narrow(layer)
    codes, scales = quantized.rounded(layer.weight.data)
    assert torch.equal(made.weight, codes * scales[:, None])
    x = (torch.randn(rows, inputs) * torch.rand(rows, 1) * 50).to(getattr(torch, dtype))
    steps = x.abs().amax(1, keepdim=True).float().clamp_(min=1e-30)
    given_codes = (x.float() * (127 / steps)).round()
    wanted = (given_codes.double() @ codes.double().t()) * scales * (steps.double() / 127)
    wanted += layer.bias.detach().double() if bias else 0
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            found = made(x[None])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found.shape == (1, rows, outputs)
    assert found.dtype == x.dtype
    precise = {"float32": 1e-5, "bfloat16": 2**-7}[dtype]
    largest = max(1e-6, float(wanted.abs().max()))
    torch.testing.assert_close(found[0].double(), wanted, atol=precise * largest, rtol=precise)


def test_rows_of_nothing_are_the_bias_and_no_rows_are_none() -> None:
    layer = linear(8, 4)
    made = narrow.Narrow(layer)
    assert torch.equal(made(torch.zeros(3, 8)), layer.bias.expand(3, 4))
    assert made(torch.zeros(2, 0, 8)).shape == (2, 0, 4)


def test_it_learns_what_its_weights_say() -> None:
    made = narrow.Narrow(linear(8, 4))
    x = torch.randn(3, 8, requires_grad=True)
    made(x).sum().backward()
    torch.testing.assert_close(x.grad, made.weight.sum(0).expand(3, 8))


def test_models_of_other_weights_have_other_fingerprints() -> None:
    prints = {
        fingerprint(torch.nn.Sequential(narrow.Narrow(linear(8, 8, seed, False))))
        for seed in (0, 1)
    }
    assert len(prints) == 2


@pytest.mark.parametrize("after", narrow.AFTER)
def test_what_follows_is_what_its_name_says(after: Any) -> None:
    x = torch.linspace(-9, 9, 400)
    plain = packed._AFTER.get(after, lambda one: one)(x.double())
    torch.testing.assert_close(narrow.AFTER[after](x.clone()).double(), plain, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_activation_goes_into_the_layer_before_it(dtype: str) -> None:
    from models.test_packed import Block

    torch.manual_seed(1)
    block = Block(torch.nn.GELU(approximate="tanh")).to(getattr(torch, dtype))
    quantized.swap(block, narrow.Narrow, lambda _: True)
    x = torch.randn(40, 64).to(getattr(torch, dtype))
    with torch.inference_mode():
        before = block(x)
        assert packed.pack(block) == 1
        assert block.fc1.after == ("gelu", "tanh")
        assert isinstance(block.activation_fn, torch.nn.Identity)
        near = 0.03 * float(before.float().abs().max())
        torch.testing.assert_close(block(x), before, atol=near, rtol=0)
