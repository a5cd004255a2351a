"""LoRA and QLoRA on a part of a model, in place: no wrapper changes what the model is called or can do.

The connector and whatever else a stage trains stay ordinary parameters, so a checkpoint holds them
beside the adapter (checkpoints of LLaVA's LoRA runs used to lose the projector: haotian-liu/LLaVA #474).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from looksay.errors import MissingDependency, UnknownName
from looksay.models.adapters import inject
from looksay.models.quantized import four_bit, whole_blocks
from looksay.training.stages import Adapter


def attach(model: nn.Module, adapter: Adapter, *, seed: int = 0) -> list[str]:
    """Put the adapter on its part; returns the names of the layers that got one.

    `all-linear` is every linear layer of the part but its output layer (LLaVA-1.5's recipe). With
    `quantize` the layers' own weights are held as nf4 with double quantisation (QLoRA §3); those whose rows are no multiple of 64 stay
    wide. Raises
    UnknownName for a part or layer that is not there, MissingDependency without peft or bitsandbytes.
    """
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise MissingDependency("LoRA", "train", str(error.name)) from error
    part = _part(model, adapter.part)
    names = _layers(part, adapter)
    if adapter.quantize is not None:
        _quantize(part, names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject(
            part,
            adapter.names,
            r=adapter.rank,
            lora_alpha=adapter.alpha,
            lora_dropout=adapter.dropout,
            target_modules=names,
            bias="none",
        )
    for name, parameter in part.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return names


def _part(model: nn.Module, name: str) -> nn.Module:
    parts: Any = model.parts
    if name not in parts:
        raise UnknownName("part of this model", name, parts)
    found: nn.Module = parts[name]
    return found


def _layers(part: nn.Module, adapter: Adapter) -> list[str]:
    """Full names within the part of the linear layers that get an adapter."""
    linear = {name: m for name, m in part.named_modules() if isinstance(m, nn.Linear)}
    inner: Any = getattr(part, "model", part)
    output = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    linear = {name: m for name, m in linear.items() if m is not output}
    if adapter.targets == "all-linear":
        return list(linear)
    for target in adapter.targets:
        if not any(name.split(".")[-1] == target or name == target for name in linear):
            raise UnknownName("linear layer", target, {name.split(".")[-1] for name in linear})
    return [n for n in linear if n in adapter.targets or n.split(".")[-1] in adapter.targets]


def _quantize(part: nn.Module, names: list[str]) -> None:
    try:
        import bitsandbytes as bnb
    except ImportError as error:
        raise MissingDependency("4-bit training (QLoRA)", "quantized", str(error.name)) from error
    if hasattr(part, "digest"):
        part.digest = part.fingerprint  # what 4-bit weights were cannot be read from them
    for name in names:
        layer: Any = part.get_submodule(name)
        if isinstance(layer, bnb.nn.Linear4bit) or not whole_blocks(layer):
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(part.get_submodule(parent), leaf, four_bit(layer))
