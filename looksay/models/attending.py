"""Attention in bfloat16 on a CPU, for models that only answer: scores of a few heads and places at a time, which fit
into fast memory, by plain matrix products. torch's own kernel reaches a fifth of what such products do there
(docs/performance.md).

Shapes: B rows, H heads, K heads of keys (each for G = H/K heads), T places that ask, S that are asked, D numbers each.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from looksay.models.sharing import share

NAME = "looksay-blocks"
"""As transformers knows it."""
FEW = 16
"""Places that ask: with fewer, as where words are written, torch's kernel is the faster."""
CHANGING = ("position_bias", "softcap", "s_aux", "sinks", "head_mask")
"""Options of attention functions that change scores."""
SCORES = 1 << 20
"""So many scores at once: 2 MB, what a core's own memory holds."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: query BHTD, key and value BKSD, mask B1TS (bool: what is seen; else added) to
    BTHD. Scores are rounded to bfloat16, as where transformers computes attention step by step ("eager"). What is not
    bfloat16 on a CPU, learns, has a mask for each head, options that change scores or few places that ask is left to
    torch's kernel."""
    given = (query, key, value)
    shaped = len(query) == len(key) and query.shape[2] >= FEW and key.shape[2] > 0
    plain = attention_mask is None or (
        attention_mask.dim() == 4
        and attention_mask.shape[1] == 1
        and (attention_mask.dtype == torch.bool or attention_mask.is_floating_point())
    )
    plain = plain and not any(options.get(name) is not None for name in CHANGING)
    wide = query.dtype != torch.bfloat16 or query.device.type != "cpu"
    learns = torch.is_grad_enabled() and any(one.requires_grad for one in given)
    if is_causal is None:
        is_causal = bool(getattr(module, "is_causal", True))
    causal = is_causal and attention_mask is None
    # Where a causal question is not as long as its keys, kernels do not agree on where it begins.
    unequal = causal and query.shape[2] != key.shape[2]
    if wide or learns or not plain or not shaped or unequal or options.get("dropout"):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        options |= {"scaling": scaling, "is_causal": is_causal}
        found, _ = sdpa_attention_forward(module, *given, attention_mask, **options)
        return found, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _attended(query, key, value, attention_mask, scale, causal), None


def _attended(
    query_BHTD: Tensor,
    key_BKSD: Tensor,
    value_BKSD: Tensor,
    mask_B1TS: Tensor | None,
    scale: float,
    causal: bool,
) -> Tensor:
    rows, heads, steps, width = query_BHTD.shape
    kinds, places = key_BKSD.shape[1:3]
    group, units = heads // kinds, rows * kinds  # a unit: the heads that share their keys in a row
    query = (query_BHTD * scale).reshape(units, group, steps, width)
    key, value = key_BKSD.reshape(units, places, width), value_BKSD.flatten(0, 1)
    out = query.new_empty(units, group, steps, value.shape[-1])
    unit_rows = torch.arange(units) // kinds
    if mask_B1TS is not None and mask_B1TS.dtype == torch.bool:
        # Whether it hides what comes later and nothing else is known in a hundredth of the time that this saves.
        later = torch.ones(steps, places, dtype=torch.bool).triu(places - steps + 1)
        hidden = mask_B1TS.logical_not()
        causal = bool((hidden == later).all())
        mask_B1TS = None
        if not causal and hidden.any():
            mask_B1TS = query.new_zeros(hidden.shape)
            mask_B1TS.masked_fill_(hidden, torch.finfo(query.dtype).min)
    elif mask_B1TS is not None:
        # Infinite where it was only very small, a row that sees nothing would be no number.
        mask_B1TS = mask_B1TS.to(query.dtype).clamp(min=torch.finfo(query.dtype).min)

    def work(piece: tuple[slice, slice]) -> None:
        some, span = piece
        # The last place that asks sees the last that is asked.
        seen = places - steps + span.stop if causal else places
        asks = query[some, :, span].flatten(1, 2)
        scores = torch.bmm(asks, key[some, :seen].transpose(1, 2))
        parted = scores.view(-1, group, span.stop - span.start, seen)
        if mask_B1TS is not None:
            mask = mask_B1TS.expand(rows, 1, -1, -1)[unit_rows[some]]
            mask = mask[:, :, span if mask.shape[2] > 1 else slice(None), :seen]
            parted.add_(mask)
        elif causal:
            size = span.stop - span.start  # the last places that are seen are those that ask
            later = torch.ones(size, size, dtype=torch.bool).triu(1)
            parted[..., seen - size :].masked_fill_(later, -torch.inf)
        found = torch.bmm(scores.softmax(-1), value[some, :seen])
        out[some, :, span] = found.view(-1, group, span.stop - span.start, found.shape[-1])

    share(work, _pieces(units, group, steps, places))
    parted = out.view(rows, kinds, group, steps, -1).permute(0, 3, 1, 2, 4)
    return parted.reshape(rows, steps, heads, -1)


def _pieces(units: int, group: int, steps: int, places: int) -> Iterator[tuple[slice, slice]]:
    """Which units and which places that ask are at work together."""
    span = min(steps, max(1, SCORES // (group * places)))
    some = max(1, SCORES // (group * span * places))
    for first in range(0, units, some):
        for start in range(0, steps, span):
            yield slice(first, min(first + some, units)), slice(start, min(start + span, steps))


def use(model: nn.Module) -> int:
    """Have the parts of a model whose attention is torch's attend so; how many."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    found: dict[int, tuple[Any, str]] = {}
    kept = set()
    for module in model.modules():
        config = _config(module)
        if config is not None:
            found.setdefault(id(config), (config, config._attn_implementation))
            if _looks_for_sdpa(type(module).__module__):
                kept.add(id(config))
    kinds = [
        (config, NAME if kind == "sdpa" and key not in kept else kind)
        for key, (config, kind) in found.items()
    ]
    for config, kind in kinds:  # the outer ones first, for they have their parts take after them
        config._attn_implementation = kind
    return sum(kind == NAME != found[id(config)][1] for config, kind in kinds)


@cache
def _looks_for_sdpa(name: str) -> bool:
    """Whether the code of a model's module does something else where attention is called "sdpa"."""
    try:
        source = inspect.getsource(sys.modules[name])
    except (OSError, TypeError, KeyError):
        return False
    return bool(
        re.search(r"""_attn_implementation\s*(==|!=|in|not in)\s*[^\n]*["']sdpa["']""", source)
    )


def _config(module: nn.Module) -> Any:
    """Where transformers looks up how a module attends, if it does."""
    config = getattr(module, "config", None)
    return config if getattr(config, "_attn_implementation", None) is not None else None
