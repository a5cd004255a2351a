"""Activation checkpointing: the layers of a stack keep their inputs only, and run again backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed(model: nn.Module) -> Iterator[int]:
    """Recompute every layer of the outermost stacks (an nn.ModuleList of two or more of one class) of
    `model`, frozen ones through which gradients flow included; yields how many. transformers' own
    switch does nothing in evaluation mode, and a frozen language model is in evaluation mode."""
    layers = list(_layers(model))
    for layer in layers:
        layer.forward = partial(_again, layer.forward)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward


def _again(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if (
            isinstance(child, nn.ModuleList)
            and len(child) > 1
            and len({type(layer) for layer in child}) == 1
        ):
            yield from child
        else:
            yield from _layers(child)
