"""OpenVINO graphs: made from torch modules, their weights in 8 or 4 bits, as `openvino_bundles` keeps and runs them.

Shapes: N rows, I features in, O features out, G groups of a row's weights.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from looksay.models.fingerprint import is_adapter
from looksay.models.quantized import grouped, rounded

GROUP = 64
"""Weights of a row that share a scale and a zero in 4 bits."""


def library() -> Any:
    """The package `openvino`, which counts its imports and conversions with a server of its maker unless the package
    that does so is not there. Raises ImportError."""
    if "openvino" not in sys.modules:
        counting = sys.modules.get("openvino_telemetry")
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import openvino
        finally:
            sys.modules.pop("openvino_telemetry")
            if counting is not None:
                sys.modules["openvino_telemetry"] = counting
    import openvino

    return openvino


class Unfit(Exception):
    """A module that cannot be made a graph; says why."""


def traced(module: nn.Module, example: Sequence[Tensor]) -> tuple[Any, list[int]]:
    """The graph of a module in float32, and which of its inputs it uses, in order. Sizes may be others at each run.
    Raises Unfit."""
    ov = library()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            graph = ov.convert_model(module, example_input=tuple(example))
    except Exception as error:  # a converter raises anything on what it does not know
        raise Unfit(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error
    used = []
    for number, parameter in enumerate(graph.get_parameters()):
        if parameter.output(0).get_target_inputs():
            used.append(number)
        else:
            graph.remove_parameter(parameter)
    return graph, used


def linear(weight_OI: Tensor, bias_O: Tensor | None, quantize: str | None) -> Any:
    """The graph of a linear layer, narrow at once: rows NI in, NO out."""
    ov = library()
    op = ov.opset13
    rows = op.parameter(ov.PartialShape([-1, weight_OI.shape[1]]), np.float32)
    held = _in_8_bits(weight_OI) if quantize else op.constant(_numbers(weight_OI))
    found = op.matmul(rows, held, False, True)
    if bias_O is not None:
        found = op.add(found, op.constant(_numbers(bias_O)))
    return ov.Model([op.result(found)], [rows])


def narrow(graph: Any, quantize: str) -> int:
    """Hold the weights of a graph's linear layers in 8 or 4 bits; returns how many layers. Adapters stay wide, and so
    do layers whose weights lie the other way round (GPT-2's)."""
    changed = 0
    for layer in graph.get_ordered_ops():
        if layer.get_type_name() != "MatMul" or not layer.get_attributes()["transpose_b"]:
            continue
        held = layer.input_value(1).get_node()
        if held.get_type_name() != "Constant" or len(held.shape) != 2:
            continue
        if held.get_element_type().to_string() != "f32" or is_adapter(held.get_friendly_name()):
            continue
        weight_OI = torch.tensor(held.data)
        fits = quantize == "int4" and weight_OI.shape[1] % GROUP == 0
        made = _in_4_bits(weight_OI) if fits else _in_8_bits(weight_OI)
        layer.input(1).replace_source_output(made.output(0))
        changed += 1
    return changed


def weight(graph: Any) -> Tensor:
    """The weights OI of a graph of `linear`, narrow or not, in float32."""
    layer = next(one for one in graph.get_ordered_ops() if one.get_type_name() == "MatMul")
    held = layer.input_value(1).get_node()
    if held.get_type_name() == "Constant":
        return torch.tensor(held.data)
    codes, scales = (held.input_value(n).get_node() for n in (0, 1))
    codes = codes.input_value(0).get_node()
    return torch.tensor(codes.data).float() * torch.tensor(scales.data)


def _in_8_bits(weight_OI: Tensor) -> Any:
    op = library().opset13
    codes_OI, scales_O = rounded(weight_OI)
    wide = op.convert(op.constant(codes_OI.numpy()), np.float32)
    return op.multiply(wide, op.constant(scales_O[:, None].float().numpy()))


def _in_4_bits(weight_OI: Tensor) -> Any:
    op = library().opset13
    codes_OGN, zeros_OG1, scales_OG1 = grouped(weight_OI, GROUP)
    codes = op.convert(_halves(codes_OGN), np.float32)
    zeros = op.convert(_halves(zeros_OG1), np.float32)
    wide = op.multiply(op.subtract(codes, zeros), op.constant(scales_OG1.numpy()))
    return op.reshape(wide, op.constant(np.array(weight_OI.shape, np.int64)), False)


def _halves(codes: Tensor) -> Any:
    """Numbers from 0 to 15, two in a byte."""
    ov = library()
    flat = codes.numpy().reshape(-1)
    if len(flat) % 2:
        flat = np.append(flat, np.uint8(0))
    packed = flat[0::2] | (flat[1::2] << 4)
    held = ov.Tensor(ov.Type.u4, ov.Shape(list(codes.shape)))
    held.data[:] = packed
    return ov.op.Constant(held)


def _numbers(weight: Tensor) -> Any:
    return weight.detach().float().cpu().numpy()
