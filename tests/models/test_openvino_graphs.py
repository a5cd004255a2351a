"""Graphs of OpenVINO: no weight is further off than its step allows, files are whole or made anew, nothing is counted."""

# ruff: noqa: E402

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from looksay.models import openvino_blocks as blocks
from looksay.models import openvino_bundles as bundles
from looksay.models import openvino_graphs as graphs
from looksay.models import quantized

pytestmark = pytest.mark.local


@pytest.fixture(autouse=True)
def library_is_there() -> None:
    need(importlib.util.find_spec("openvino"), 'pip install ".[openvino]"')


def weights(rows: int, columns: int, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return torch.randn(rows, columns) * torch.rand(rows, 1) * 3


@given(
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(0, 1000),
    st.floats(1e-6, 1e3, allow_nan=False),
    st.floats(-3, 3, allow_nan=False),
)
def test_no_weight_in_4_bits_is_off_by_more_than_half_its_step(
    rows: int, groups: int, seed: int, size: float, shift: float
) -> None:
    wide = (weights(rows, groups * 32, seed) + shift) * size
    codes, zeros, scales = quantized.grouped(wide, 32)
    assert int(codes.amax()) <= 15
    held = (codes.double() - zeros.double()) * scales.double()
    off = (held.reshape(wide.shape) - wide.double()).abs().reshape(held.shape)
    assert bool((off <= scales.double() * (0.5 + 1e-5)).all())
    assert float(scales.amax()) <= 2 * float(wide.abs().amax()) / 15 * 1.001 + 1e-30
    assert bool((quantized.grouped(torch.zeros(1, 32), 32)[0] == 0).all())


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_a_linear_layer_multiplies_what_its_weights_say(quantize: str | None) -> None:
    layer = torch.nn.Linear(128, 40)
    x = torch.randn(3, 128)
    data = bundles.bundled([graphs.linear(layer.weight.detach(), layer.bias, quantize)], {})
    packed = bundles.Bundle.opened(np.frombuffer(bytearray(data), np.uint8))
    held = graphs.weight(packed.graphs[0])
    (found,) = bundles.Runner(packed, 0, quantize)(x)
    wanted = x @ held.T + layer.bias
    if quantize is None:
        assert bool((held == layer.weight).all())
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        return
    codes, scales = quantized.rounded(layer.weight.detach())
    assert bool((held == codes.float() * scales[:, None]).all())
    # Inputs have 8 bits as well, with a scale for each row.
    room = x.abs().amax(1, keepdim=True) / 127 / 2 * held.abs().sum(1)
    assert bool(((found - wanted).abs() <= room * 1.05 + 1e-5).all())


def test_4_bits_of_a_graph_are_those_of_its_groups() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(128, 64, bias=False))
    graph, used = graphs.traced(layer, [torch.randn(2, 128)])
    assert used == [0]
    assert graphs.narrow(graph, "int4") == 1
    packed = bundles.Bundle.opened(
        np.frombuffer(bytearray(bundles.bundled([graph], {"a": 1})), np.uint8)
    )
    assert packed.about == {"a": 1}
    codes, zeros, scales = quantized.grouped(layer[0].weight.detach(), graphs.GROUP)
    held = ((codes.float() - zeros.float()) * scales).reshape(64, 128)
    x = torch.eye(128)
    (found,) = bundles.Runner(packed, 0, "int4")(x)
    # A row of the unit matrix is exact in 8 bits.
    torch.testing.assert_close(found, held.T, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("where", [0, 70, 200, -1])
def test_a_damaged_file_is_noticed(where: int) -> None:
    graph = graphs.linear(torch.randn(8, 8), None, None)
    data = bytearray(bundles.bundled([graph], {}))
    data[where] ^= 1
    with pytest.raises(ValueError, match=r"damaged|no graphs"):
        bundles.Bundle.opened(np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match=r"damaged|no graphs"):
        bundles.Bundle.opened(np.frombuffer(data[: len(data) // 2], np.uint8))


def test_what_was_made_is_kept_and_what_is_damaged_is_made_anew(tmp_path: Path) -> None:
    told: list[str] = []

    def get() -> Any:
        kept = bundles.Kept(tmp_path / "deep", "int8", lambda: told.append("made"))
        layer = torch.nn.Linear(64, 32)
        torch.nn.init.constant_(layer.weight, 0.5)
        torch.nn.init.zeros_(layer.bias)
        return blocks.OutputLayer(layer, kept)(torch.ones(1, 64))

    first = get()
    assert told == ["made"]
    again = get()
    assert told == ["made"]
    (file,) = (tmp_path / "deep").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    anew = get()
    assert told == ["made", "made"]
    assert bool((first == again).all())
    assert bool((first == anew).all())


def test_a_folder_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    kept = bundles.Kept(tmp_path / "file" / "deep", None, lambda: None)
    layer = torch.nn.Linear(8, 4)
    found = blocks.OutputLayer(layer, kept)(torch.ones(2, 8))
    torch.testing.assert_close(found, layer(torch.ones(2, 8)))


def test_nothing_is_counted_by_the_makers_of_the_library() -> None:
    code = (
        "import sys\n"
        "from looksay.models import openvino_graphs as graphs\n"
        "ov = graphs.library()\n"
        "import torch\n"
        "graphs.traced(torch.nn.Linear(4, 4), [torch.ones(1, 4)])\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__, 'openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]
