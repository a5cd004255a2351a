"""Adapters (LoRA): put on a part, several beside each other, taught apart, and folded into the weights below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models.fingerprint import is_adapter

Taught = Mapping[str, Tensor | None]
"""By name of an adapter, which ids of the text teach it (bool BT); None: none of them, as if it were frozen."""


def inject(part: nn.Module, names: Sequence[str] = ("default",), **settings: Any) -> None:
    """An adapter of each name on the same layers of `part`, all of them at work; `settings` are peft's LoraConfig."""
    from peft import LoraConfig, LoraModel
    from peft.tuners.lora import LoraLayer

    tuner = LoraModel(part, {name: LoraConfig(**settings) for name in names}, names[0])
    for name in names[1:]:
        tuner.inject_adapter(part, name)
    if len(names) == 1:
        return
    for layer in list(part.modules()):
        if isinstance(layer, LoraLayer):
            layer.set_adapter(list(names))
            for name in names:
                for matrix in (layer.lora_A[name], layer.lora_B[name]):
                    matrix.register_forward_hook(partial(_taught_alone, part, name))


def injected(part: nn.Module) -> tuple[str, ...]:
    """The names of the adapters on a part."""
    return tuple(getattr(part, "peft_config", ()))


def teach(part: Any, taught: Taught | None) -> None:
    """From here on gradients reach an adapter of `part` from the ids alone that teach it; None: from all.

    What is computed does not change by it: all adapters stay at work, and gradients flow through them.
    """
    part.taught = taught


def _taught_alone(
    part: nn.Module, name: str, matrix: nn.Module, args: tuple[Tensor, ...], output: Tensor
) -> Tensor:
    """After a matrix of an adapter: the same numbers, which depend on its weights only where they are taught."""
    taught: Taught | None = getattr(part, "taught", None)
    if taught is None or name not in taught:
        return output
    weight: Any = matrix.weight
    frozen = F.linear(args[0], weight.detach())
    mask_BT = taught[name]
    if mask_BT is None:
        return frozen
    return torch.where(mask_BT.reshape(*output.shape[:-1], 1), output, frozen)


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
