"""OpenVINO in the place of a model's blocks and output layer, for `quantize` on a CPU where it is installed.

The graphs are kept in a folder that may be deleted at any time. What cannot be made a graph gets torch's narrow layers.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from looksay.errors import BackendError, MissingDependency, UnknownName

RUNTIMES = ("auto", "openvino", "torch")
BITS = ("int8", "int4")
"""What of `quantize` it can do."""
_tell = logging.getLogger("looksay").warning


def holds(quantize: str | None, device: str, runtime: str = "auto") -> bool:
    """Whether OpenVINO holds a model's weights: where it is installed and torch has no faster way, or by name.

    Raises UnknownName, BackendError for what it cannot do and MissingDependency where it is wanted by name and not
    there."""
    if runtime not in RUNTIMES:
        raise UnknownName("runtime", runtime, RUNTIMES)
    can = quantize in BITS and device == "cpu"
    there = importlib.util.find_spec("openvino") is not None
    if runtime == "openvino":
        if not can:
            raise BackendError(
                "runtime = 'openvino' is for int8 and int4 on a CPU. Type: --quantize int8 --device cpu"
            )
        if not there:
            raise MissingDependency("runtime = 'openvino'", "openvino", "openvino")
    if runtime == "auto" and can and there and quantize == "int8":
        from looksay.models import narrow

        return not narrow.supported()
    return can and there and runtime != "torch"


def folder() -> Path:
    from looksay.keeping import caches

    return caches() / "openvino"


def hold(name: str, parts: Sequence[Any], quantize: str | None, try_out: Callable[[], Any]) -> None:
    """Put OpenVINO in the place of the blocks and output layers of parts, which are on the CPU in the precision that
    they were saved in; `try_out` runs the model once, for a block is made from what it is called with. Linear layers
    that are left get 8 bits by torch. `quantize` None: nothing is rounded, and nothing by torch."""
    import torch

    from looksay.models import narrow, openvino_blocks, openvino_bundles, quantized

    kept = openvino_bundles.Kept(folder(), quantize, lambda: _tell(_making(name)))
    # With many rows at once torch's products of 8 bits are the faster, and a picture is nothing else.
    words_only = quantize is not None and narrow.supported()
    outputs = [(part, layer) for part in parts if (layer := _output(part)) is not None]
    blocks = [
        block
        for part in parts
        for block in openvino_blocks.stand_in(_decoder(part) if words_only else part, kept)
    ]
    fault = ""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            try_out()
        except (
            Exception
        ) as error:  # any model may be run here, and its like with a picture before anyone asks
            fault = f"{type(error).__name__}: {error}"
    for part in parts:
        part.one_at_a_time = True  # a graph has one request
    left = [block for block in blocks if not block.done]
    for block in left:
        block.withdraw()
    for part, layer in outputs:
        openvino_blocks.replace(part, layer, openvino_blocks.OutputLayer(layer, kept))
    if not quantize:
        return
    for part in parts:
        make = narrow.Narrow if words_only else quantized.EightBit
        quantized.swap(part, make, lambda layer: layer.weight is not None)
    if left or not blocks:
        why = next((block.unfit for block in left if block.unfit), fault or "it has none that are")
        _tell(
            f"{name}: {len(left) or 'all'} of its blocks are not made for OpenVINO ({why}). torch holds them, in 8 bits."
        )


def _decoder(part: Any) -> Any:
    """What writes the words of a model, where transformers tells it apart."""
    found = part.get_decoder() if hasattr(part, "get_decoder") else None
    return part if found is None else found


def _output(part: Any) -> Any:
    from torch import nn

    from looksay.models import quantized

    found = quantized.output_layer(part)
    return found if type(found) is nn.Linear else None


def _making(name: str) -> str:
    return f"Making {name} ready for OpenVINO, once; it is kept in {folder()}."
