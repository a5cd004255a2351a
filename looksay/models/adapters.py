"""Adapters (LoRA) folded into the weights below them."""

from __future__ import annotations

from typing import Any

from torch import nn

from looksay.errors import InputError
from looksay.models.fingerprint import is_adapter


def merge(model: nn.Module) -> list[nn.Parameter]:
    """Fold every adapter into the weights below it and take it away; returns the changed weights.

    Raises InputError over 4-bit weights, which cannot take the sum without loss.
    """
    if not any(is_adapter(name) for name, _ in model.named_parameters()):
        return []
    from peft.tuners.lora import LoraLayer

    changed: list[nn.Parameter] = []
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, LoraLayer):
            continue
        base: Any = layer.get_base_layer()
        if type(base) is not nn.Linear:
            raise InputError(
                f"The adapter of {name} lies over {type(base).__name__} weights, which cannot take it "
                "without loss. Load the model unquantised to merge it."
            )
        layer.merge()
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, base)
        changed.append(base.weight)
    for part in model.modules():
        if part.__dict__.pop("peft_config", None) and hasattr(part, "digest"):
            part.digest = None  # it named the weights before they took the adapter in
    return changed
