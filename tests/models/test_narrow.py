"""Layers in 8 bits, inputs too: exact on their codes, near the wide ones, whatever number of rows and threads."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from looksay.models import narrow, quantized, sharing
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
    plain = narrow.PLAIN[after](x.double())
    torch.testing.assert_close(narrow.AFTER[after](x.clone()).double(), plain, atol=2e-6, rtol=1e-5)


class Attending(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (linear(16, 8, seed) for seed in range(3))

    def forward(self, x: Any, other: Any = None) -> Any:
        other = x if other is None else other
        return torch.cat([self.q_proj(x), self.k_proj(other), self.v_proj(other)], -1)


@pytest.mark.parametrize("crossed", [False, True])
def test_layers_beside_each_other_say_the_same_with_codes_found_once(
    crossed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rounds = Attending(), []
    quantized.swap(model, narrow.Narrow, lambda _: True)
    take = narrow.Codes.take
    monkeypatch.setattr(
        narrow.Codes, "take", lambda self, given: (rounds.append(1), take(self, given))[1]
    )
    x, other = torch.randn(5, 16), torch.randn(7, 16)
    given = (x, other[:5].clone()) if crossed else (x,)
    with torch.inference_mode():
        apart = model(*given)
        assert len(rounds) == 3
        narrow.together(model)
        rounds.clear()
        assert torch.equal(model(*given), apart)
        assert len(rounds) == 1 + crossed
        x.mul_(-3).add_(1)  # the same tensor, other numbers
        again = model(*given)
        assert torch.equal(again, model(*(one.clone() for one in given)))
        assert not torch.equal(again, apart)


def test_codes_are_taken_once_by_each() -> None:
    model = Attending()
    quantized.swap(model, narrow.Narrow, lambda _: True)
    narrow.together(model)
    x = torch.randn(5, 16)
    with torch.inference_mode():
        for layer in (model.q_proj, model.k_proj, model.v_proj):
            layer(x)
        x.mul_(-3).add_(1)
        assert torch.equal(model.v_proj(x), model.v_proj(x.clone()))


@given(st.integers(0, 3000), st.sampled_from([1, 2, 8, 64]))
def test_pieces_are_all_rows_in_order_neither_many_nor_few(rows: int, threads: int) -> None:
    with sharing.limited(threads):
        found = narrow.pieces(rows)
    assert [n for one in found for n in range(one.start, one.stop)] == list(range(rows))
    sizes = [one.stop - one.start for one in found]
    assert all(size <= narrow.ROWS for size in sizes)
    assert len(found) <= 1 or min(sizes[:-1]) >= narrow.LEAST
