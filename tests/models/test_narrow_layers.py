"""Layers in 8 and 4 bits: no weight is further off than its step allows, and a model is called as before."""

# ruff: noqa: E402

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from models.tiny import enliven, language_config

from looksay.models import quantized
from looksay.models.language import Language

pytestmark = pytest.mark.local

GAPS = {"nf4": 1 - 0.6961928, "fp4": 1 - 2 / 3}
"""The widest gap between two numbers of a 4-bit table whose largest is 1 (QLoRA, appendix E; bitsandbytes' fp4)."""


def linear(inputs: int, outputs: int, seed: int = 0, bias: bool = True) -> Any:
    torch.manual_seed(seed)
    layer = torch.nn.Linear(inputs, outputs, bias=bias)
    layer.weight.data *= torch.rand(outputs, 1) * 3  # outputs of different reach
    return layer


@given(
    st.integers(1, 70),
    st.integers(1, 40),
    st.integers(0, 1000),
    st.floats(1e-6, 1e3, allow_nan=False),
)
def test_no_weight_in_8_bits_is_off_by_more_than_half_its_step(
    inputs: int, outputs: int, seed: int, size: float
) -> None:
    weight = linear(inputs, outputs, seed).weight.data * size
    codes, scales = quantized.rounded(weight)
    assert int(codes.abs().amax()) <= 127
    off = (weight.double() - codes.double() * scales.double()[:, None]).abs()
    assert bool((off <= scales.double()[:, None] * (0.5 + 1e-6)).all())
    steps = weight.abs().amax(1) / 127
    assert bool((scales <= steps * (1 + 2**-6) + 1e-30).all()), "steps are as fine as 8 bits allow"


@pytest.mark.parametrize("rows", [1, quantized.FEW, quantized.FEW + 1, 50])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_8_bits_multiply_is_off_by_no_more_than_steps_and_precision_allow(
    rows: int, dtype: str
) -> None:
    layer = linear(96, 40)
    x = torch.randn(rows, 96)
    wide = x.double() @ layer.weight.double().T + layer.bias.double()
    narrow = quantized.EightBit(layer).to(getattr(torch, dtype))
    found = narrow(x.to(getattr(torch, dtype))[None])[0]
    assert found.shape == wide.shape
    _, scales = quantized.rounded(layer.weight.data)
    room = x.double().abs().sum(1, keepdim=True) * scales.double() / 2
    if (
        dtype == "bfloat16" or rows <= quantized.FEW
    ):  # inputs and results lose what bf16 does not hold
        product = x.double().abs() @ layer.weight.double().abs().T
        room = room + 2**-8 * product + 2**-7 * (wide.abs() + layer.bias.abs())
    assert bool(((found.double() - wide).abs() <= room * 1.001 + 1e-5).all())
    assert bool(((found.double() - wide).abs() > 0).any()), "8 bits are not all of 32"


def test_a_change_of_precision_moves_no_weight_in_8_bits() -> None:
    narrow = quantized.EightBit(linear(64, 32))
    before = narrow.weight.double()
    after = narrow.bfloat16().float().weight.double()
    assert bool((before == after).all())


def test_gradients_flow_through_8_bits_to_what_went_in() -> None:
    narrow = quantized.EightBit(linear(64, 32, bias=False))
    x = torch.randn(3, 64, requires_grad=True)
    narrow(x).sum().backward()
    torch.testing.assert_close(x.grad, narrow.weight.sum(0).expand(3, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_no_weight_in_4_bits_is_off_by_more_than_half_the_widest_gap(kind: str) -> None:
    need(importlib.util.find_spec("bitsandbytes"), 'pip install ".[quantized]"')
    from bitsandbytes.functional import dequantize_4bit

    layer = linear(128, 64)
    wide = layer.weight.data.clone()
    narrow: Any = quantized.four_bit(layer, kind, torch.float32)
    held = dequantize_4bit(narrow.weight.data, narrow.weight.quant_state)
    blocks, off = (v.reshape(-1, quantized.BLOCK) for v in (wide, (held - wide).abs()))
    reach = blocks.abs().amax(1, keepdim=True)
    # Scales have 8 bits of their own, which are shared by 256 blocks: small ones beside large ones lose most.
    assert bool((off <= GAPS[kind] / 2 * reach + 0.02 * reach.amax()).all())
    assert float(off.mean() / blocks.abs().mean()) < 0.13
    x = torch.randn(2, 128)
    found, wanted = narrow.eval()(x), x @ held.T + layer.bias
    assert float((found - wanted).detach().norm() / wanted.detach().norm()) < 0.02


def speaking(kind: str) -> Language:
    from transformers import AutoModelForCausalLM

    return Language(
        enliven(AutoModelForCausalLM.from_config(language_config(kind, 40))).eval(), "sdpa"
    )


@pytest.mark.parametrize("kind", ["llama", "qwen2", "opt"])
def test_a_language_model_in_8_bits_reads_and_writes_as_before(kind: str) -> None:
    from transformers import DynamicCache

    language = speaking(kind)
    embeds = language.embed(torch.arange(1, 25)[None]).detach()
    with torch.inference_mode():
        wide = language.read(embeds, DynamicCache(config=language.config))
        count = quantized.swap(language, quantized.EightBit, lambda _: True)
        whole = language.read(embeds, DynamicCache(config=language.config))
        cache = DynamicCache(config=language.config)
        language.read(embeds[:, :20], cache)
        for place in range(20, 24):
            last = language.read(embeds[:, place : place + 1], cache)
    assert count >= 2 * 6 + 1
    assert isinstance(language.model.get_output_embeddings(), quantized.EightBit)
    spread = float(wide.std())
    assert float((whole - wide).abs().max()) < 0.15 * spread
    assert float((last - whole).abs().max()) < 0.1 * spread
    words, bias = language.head
    assert words.shape == (40, 32)
    assert bias is None


def test_layers_that_4_bits_cannot_hold_and_adapters_stay_wide() -> None:
    part = torch.nn.ModuleDict(
        {"whole": linear(64, 32), "narrow": linear(48, 32), "few": linear(64, 8)}
    )
    part["lora_A"] = torch.nn.ModuleDict({"default": linear(64, 32)})
    names = [n for n, layer in quantized.linear_layers(part) if quantized.whole_blocks(layer)]
    assert names == ["whole"]
    assert quantized.swap(part, quantized.EightBit, quantized.whole_blocks) == 1
    kinds = {name: type(module).__name__ for name, module in part.items()}
    assert (kinds["whole"], kinds["few"]) == ("EightBit", "Linear")
