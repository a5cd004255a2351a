"""Layers laid out for oneDNN: the same numbers, and blocks that are not what they look like stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: there are no layers")

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from looksay.models import mapped, packed
from looksay.models.fingerprint import fingerprint

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not packed.supported(), reason="no bfloat16 in this processor's oneDNN"),
]


class Block(nn.Module):
    """A feed-forward block as transformers has it."""

    def __init__(self, act: Any, width: int = 64, inner: int = 192) -> None:
        super().__init__()
        self.fc1, self.activation_fn, self.fc2 = (
            nn.Linear(width, inner),
            act,
            nn.Linear(inner, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(self.activation_fn(self.fc1(x)))
        return found


class Gated(nn.Module):
    def __init__(self, width: int = 64, inner: int = 96) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj, self.act_fn = nn.Linear(inner, width, bias=False), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return found


class Odd(Block):
    """It has the names of a block and does something else between."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(self.activation_fn(-self.fc1(x)))
        return found


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    bias=st.booleans(),
)
def test_a_layer_gives_the_same_to_the_bit(rows: list[int], sizes: Any, bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(*sizes, bias=bias).bfloat16()
    x = torch.randn(*rows, sizes[0]).bfloat16()
    with torch.inference_mode():
        laid = packed.Packed(layer)
        assert torch.equal(laid.weight, layer.weight)
        assert torch.equal(laid(x), layer(x))
        turned = x.transpose(0, -1).transpose(0, -1)
        assert torch.equal(laid(turned), layer(turned))


@pytest.mark.parametrize(
    ("block", "after"),
    [
        (Block(nn.GELU()), ("gelu", "none")),
        (Block(nn.GELU(approximate="tanh")), ("gelu", "tanh")),
        (Block(nn.ReLU()), ("relu", "")),
        (Gated(), ("swish", "")),
    ],
)
def test_an_activation_goes_into_the_layer_before_it_and_is_nearer_to_the_truth(
    block: Any, after: Any
) -> None:
    torch.manual_seed(1)
    block = block.bfloat16()
    x = torch.randn(40, 64).bfloat16()
    with torch.inference_mode():
        plain = block(x)
        truth = block.double()(x.double())
        block.bfloat16()
        assert packed.pack(block) >= 1
        found = block(x)
    first = getattr(block, "fc1", None) or block.gate_proj
    assert first.after == after
    error, before = ((one.double() - truth).abs().mean() for one in (found, plain))
    assert error <= 1.02 * before


@pytest.mark.parametrize("block", [Odd(nn.GELU()), Block(nn.Tanh()), Block(nn.Hardswish())])
def test_what_is_not_known_keeps_its_activation(block: Any) -> None:
    block = block.bfloat16()
    x, act = torch.randn(8, 64).bfloat16(), block.activation_fn
    with torch.inference_mode():
        before = block(x)
        assert packed.pack(block) == 2
        assert block.activation_fn is act
        assert torch.equal(block(x), before)


def test_shared_and_output_layers_and_float32_stay() -> None:
    class Speaker(nn.Module):
        def __init__(self, tied: bool) -> None:
            super().__init__()
            self.words, self.inside = nn.Embedding(50, 16), nn.Linear(16, 16)
            self.head = nn.Linear(16, 50, bias=False)
            if tied:
                self.head.weight = self.words.weight

        def get_output_embeddings(self) -> nn.Module:
            return self.head

    for tied in (True, False):
        model = Speaker(tied).bfloat16()
        assert packed.pack(model) == 1
        assert type(model.head) is nn.Linear
        assert isinstance(model.inside, packed.Packed)
    assert packed.pack(Speaker(True)) == 0


def test_packed_models_are_still_told_apart() -> None:
    prints = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(8, 8, bias=False)).bfloat16()
        packed.pack(model)
        prints.add(fingerprint(model))
    assert len(prints) == 2


def test_weights_of_a_file_are_let_go_and_those_that_stay_are_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Linear(512, 512), nn.Embedding(400, 512), nn.Linear(512, 512)
    ).bfloat16()
    save_file(plain.state_dict(), tmp_path / "model.safetensors")
    model = nn.Sequential(
        nn.Linear(512, 512), nn.Embedding(400, 512), nn.Linear(512, 512)
    ).bfloat16()
    model.load_state_dict(load_file(tmp_path / "model.safetensors"), assign=True)
    dropped = model[0].weight
    assert packed.pack(model) == 2
    x = torch.randn(3, 512).bfloat16()
    with torch.inference_mode():
        for mine, theirs in zip(model, plain, strict=True):
            given = torch.arange(9) if isinstance(mine, nn.Embedding) else x
            assert torch.equal(mine(given), theirs(given))
    assert (
        any(a <= dropped.data_ptr() < b for a, b in mapped.of_files()) or not Path("/proc").exists()
    )
    assert torch.equal(dropped, plain[0].weight)  # read anew from the file, should anyone ask


def test_a_layer_is_found_by_what_it_does() -> None:
    wide, narrow = packed._AFTER, packed.PLAIN
    for known in (wide, narrow):
        found = packed._named(lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)), known)
        assert found == ("gelu", "none")
        assert packed._named(F.silu, known) == ("swish", "")
    assert packed._named(lambda x: x * torch.sigmoid(1.702 * x), wide) is None
    assert packed._named(lambda x: x * torch.sigmoid(1.702 * x), narrow) == ("quick_gelu", "")
