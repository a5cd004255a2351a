"""A short name for weights, the same for the same weights in float32, bfloat16 or float16."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

SAMPLES = 64
"""Values looked at per tensor: training moves every value of a matrix, so a few of each tell models apart
without reading gigabytes."""
_WRAPPERS = (
    "base_model.model.",
    "base_layer.",
    "_orig_mod.",
    "module.",
    "_checkpoint_wrapped_module.",
)


def fingerprint(module: nn.Module) -> str:
    """16 hex digits of the weights of `module`: names, shapes, and some values rounded to bfloat16.

    Adapters (LoRA) are left out: they are trained beside the connector, not what it was made for.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(
        (plain(name), tensor) for name, tensor in module.state_dict().items()
    ):
        if not is_adapter(name) and tensor.is_floating_point() and not tensor.is_meta:
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(_bytes(samples(tensor).bfloat16()))
    return digest.hexdigest()[:16]


def exact_fingerprint(state: Mapping[str, Tensor]) -> str:
    """16 hex digits that change with any one value of the weights, and with their precision: a sum over all
    and a look at some, which trades what only a forger would do (two values swapped) for a minute of reading."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        # Added as whole numbers: the same on every machine, whatever the order of the sum.
        whole = tensor.contiguous().view(-1).view(_WHOLE[tensor.element_size()])
        total = int(whole.sum(dtype=torch.int64))
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {total}\n".encode())
        digest.update(_bytes(samples(tensor)))
    return digest.hexdigest()[:16]


_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def samples(tensor: Tensor) -> Tensor:
    """At most `SAMPLES` of its values, on the CPU."""
    flat = tensor.detach().reshape(-1)
    places = torch.linspace(0, flat.numel() - 1, min(SAMPLES, flat.numel()), dtype=torch.float64)
    return flat[places.long().to(flat.device)].cpu()


def _bytes(values: Tensor) -> bytes:
    found: bytes = values.contiguous().view(torch.uint8).numpy().tobytes()
    return found


def plain(name: str) -> str:
    """A weight's name without what peft, torch.compile and DDP put in front of it."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def is_adapter(name: str) -> bool:
    """Whether a weight belongs to a peft adapter rather than to the model below it."""
    return ".lora_" in name
