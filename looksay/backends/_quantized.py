"""Which library holds a model's weights in 8 or 4 bits on which device, and what to type where none does.

| `quantize` | cpu | cuda | mps |
|---|---|---|---|
| int8 | torch, by oneDNN's products of 8 bits; on processors without them OpenVINO where it is installed, else torch | bitsandbytes, LLM.int8() | torch |
| int4 | OpenVINO where it is installed, else bitsandbytes, fp4 | bitsandbytes, fp4 | – |
| nf4 | bitsandbytes, nf4 | bitsandbytes, nf4 | – |
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from looksay.backends import _openvino
from looksay.errors import BackendError, InputError, MissingDependency

BITS = {"int8": 8, "int4": 4, "nf4": 4}
"""What `quantize` takes."""
KINDS = {"int4": "fp4", "nf4": "nf4"}
"""bitsandbytes' names for 4 bits."""
PARTS = ("tower", "language")
"""Parts of looksay's models whose layers may be narrow: those that come from transformers. What lies between is small."""


def check(quantize: str | None, device: str, runtime: str = "auto") -> None:
    """Raise as `known` and `_openvino.holds` do, and MissingDependency where bitsandbytes is needed and not there."""
    known(quantize, device)
    if _openvino.holds(quantize, device, runtime) or quantize is None or by_torch(quantize, device):
        return
    # It remarks on every layer, at every token, that inputs are cast.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        what = f"quantize = {quantize!r} on {device}"
        raise MissingDependency(what, "quantized", "bitsandbytes") from error


def known(quantize: str | None, device: str) -> None:
    """Raise InputError for a precision that there is not, BackendError for one that the device has not. None is
    always right."""
    if quantize is None:
        return
    if quantize not in BITS:
        raise InputError(f"quantize = {quantize!r} is unknown. Expected one of: {', '.join(BITS)}.")
    if device == "mps" and quantize != "int8":
        raise BackendError(
            f"There is no {quantize} on mps: bitsandbytes is proven on cpu and cuda only. Type --quantize int8, or "
            "--device cpu."
        )


def precision(dtype: Any, quantize: str | None, device: str, runtime: str = "auto") -> str:
    """What a fingerprint says of it."""
    words = [str(dtype).removeprefix("torch."), *([quantize] if quantize else [])]
    if _openvino.holds(quantize, device, runtime):
        words.append("openvino")
        quantize = "int8"  # of the pictures' part
    if quantize and _inputs_too(quantize, device):
        words.append("inputs")
    return "-".join(words)


def _inputs_too(quantize: str, device: str) -> bool:
    """Whether torch rounds what goes into a layer to 8 bits as well."""
    from looksay.models import narrow

    return quantize == "int8" and device == "cpu" and narrow.supported()


def by_torch(quantize: str, device: str) -> bool:
    """Whether torch alone holds the weights, layer by layer; else bitsandbytes does."""
    return quantize == "int8" and device != "cuda"


def hold(part: Any, quantize: str, device: str, dtype: Any) -> int:
    """Put narrow layers in place of the linear ones of a part, which is on the CPU; returns how many.

    In int8 by torch the output layer too, beside the table of words where the two are one; otherwise that stays wide,
    as do layers whose widths are no whole blocks of 4 bits. `dtype`: what bitsandbytes multiplies in.
    """
    from looksay.models import narrow, quantized

    makes = {
        "int8": narrow.Narrow if _inputs_too(quantize, device) else quantized.EightBit,
        "llm.int8": quantized.eight_bit_of_cuda,
        "4bit": lambda layer: quantized.four_bit(layer, KINDS[quantize], dtype),
    }
    make = makes[how(quantize, device).partition(" ")[0]]
    return quantized.swap(part, make, wanted(part, quantize, device))


def wanted(part: Any, quantize: str, device: str) -> Callable[[Any], bool]:
    """Which linear layers of a part `hold` makes narrow."""
    from looksay.models import quantized

    output = quantized.output_layer(part)
    if by_torch(quantize, device):
        return lambda _: True
    if quantize == "int8":
        return lambda layer: layer is not output
    return lambda layer: layer is not output and quantized.whole_blocks(layer)


def how(quantize: str, device: str) -> str:
    """The layout, as `looksay.models.quantized.held_bytes` takes it."""
    if BITS[quantize] == 4:
        return "4bit cpu" if device == "cpu" else "4bit"
    if _inputs_too(quantize, device):
        return "int8 inputs"
    return "int8" if by_torch(quantize, device) else "llm.int8"


def may_be_narrow(name: str, part: Any) -> bool:
    """Whether the part `name` of one of looksay's models has layers that `hold` may make narrow."""
    return name in PARTS and hasattr(getattr(part, "model", None), "config")


def of_transformers(name: str, hollow: Any, quantize: str, device: str, dtype: Any) -> Any:
    """How transformers is told to hold the same layers of a model while it loads them; `hollow`: the model without
    weights. Raises BackendError where nothing in it can be narrow."""
    import transformers

    from looksay.models import quantized

    fits = wanted(hollow, quantize, device)
    layers = dict(quantized.linear_layers(hollow))
    skip = [at for at, layer in layers.items() if not fits(layer)]
    if len(skip) == len(layers):
        raise _nothing_to_save(name, quantize)
    if quantize == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        llm_int8_skip_modules=skip,
        bnb_4bit_quant_type=KINDS[quantize],
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
    )


def hold_parts(
    name: str, model: Any, quantize: str, device: str, dtype: Any, runtime: str = "auto"
) -> None:
    """The same for the model `name` of looksay's own. Raises BackendError where nothing in it can be narrow."""
    swapped = 0
    by_openvino = _openvino.holds(quantize, device, runtime)
    for part_name in PARTS:
        part = model.parts.get(part_name)
        if not may_be_narrow(part_name, part):
            continue
        if hasattr(part, "digest"):
            part.digest = part.fingerprint  # what narrow weights were cannot be read from them
        words = part_name == "language" or not _inputs_too("int8", device)
        if by_openvino and words:
            _openvino.hold(f"{name} ({part_name})", [part], quantize, partial(_tried, part))
            swapped += 1
        else:
            swapped += hold(part, "int8" if by_openvino else quantize, device, dtype)
    if not swapped:
        raise _nothing_to_save(name, quantize)


def _tried(part: Any) -> None:
    """Run a tower or a language model once."""
    import torch
    from transformers import DynamicCache

    if hasattr(part, "read"):
        part.read(part.embed(torch.arange(8)[None]), DynamicCache())
    else:
        part(torch.zeros(1, 3, part.size_px, part.size_px))


def _nothing_to_save(name: str, quantize: str) -> BackendError:
    blocks, instead = "", "Leave out --quantize."
    if BITS[quantize] == 4:
        blocks, instead = " whose widths are multiples of 64", "Type --quantize int8."
    return BackendError(
        f"{name} has no linear layers of a transformers model{blocks}, so {quantize} would save nothing. {instead}"
    )
