"""What is done to every layer of a stack: recompute its activations, or compile it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def prepared_layers(model: nn.Module, recompute: bool, compile: bool) -> Iterator[None]:
    """Either, both or neither of the two below, for as long as the context lasts."""
    with (
        recomputed(model) if recompute else nullcontext(),
        compiled(model) if compile else nullcontext(),
    ):
        yield


@contextmanager
def recomputed(model: nn.Module) -> Iterator[int]:
    """Recompute every layer of the outermost stacks (two or more of one class in a list) of
    `model`, frozen ones through which gradients flow included; yields how many. transformers' own
    switch does nothing in evaluation mode, and a frozen language model is in evaluation mode. Layers
    with running statistics (BatchNorm) are left alone: they would count each batch twice."""
    layers = [layer for layer in stacked(model) if not _keeps_count(layer)]
    for layer in layers:
        layer.forward = partial(_again, layer.forward)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward


@contextmanager
def compiled(model: nn.Module) -> Iterator[int]:
    """Compile every layer of the outermost stacks of `model`; yields how many. The layers of a stack share
    one compilation, for any batch and length. On a CPU, torch needs a C++ compiler for it."""
    layers = list(stacked(model))
    for layer in layers:
        layer.compile(dynamic=True)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            layer._compiled_call_impl = None


def _again(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _keeps_count(layer: nn.Module) -> bool:
    return any(getattr(m, "track_running_stats", False) for m in layer.modules())


def stacked(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of the outermost stacks of a module: two or more of one class in a list."""
    for child in module.children():
        if (
            isinstance(child, nn.ModuleList | nn.Sequential)
            and len(child) > 1
            and len({type(layer) for layer in child}) == 1
        ):
            yield from child
        else:
            yield from stacked(child)
