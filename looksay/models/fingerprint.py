"""A short name for weights, the same for the same weights in float32, bfloat16 or float16."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

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


def fingerprint(module: nn.Module, adapters: bool = False) -> str:
    """16 hex digits of the weights of `module`: names, shapes, and values rounded to bfloat16.

    Adapters (LoRA) are left out unless asked for: they are trained beside the connector, not what it
    was made for.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(
        (plain(name), tensor) for name, tensor in module.state_dict().items()
    ):
        if (is_adapter(name) and not adapters) or not tensor.is_floating_point():
            continue
        flat = tensor.detach().reshape(-1)
        places = torch.linspace(
            0, flat.numel() - 1, min(SAMPLES, flat.numel()), dtype=torch.float64
        )
        values = flat[places.long().to(flat.device)].to("cpu", torch.bfloat16).view(torch.int16)
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:16]


def plain(name: str) -> str:
    """A weight's name without what peft, torch.compile and DDP put in front of it."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def is_adapter(name: str) -> bool:
    """Whether a weight belongs to a peft adapter rather than to the model below it."""
    return ".lora_" in name
