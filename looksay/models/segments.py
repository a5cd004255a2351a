"""Attention inside each example of a packed row: one kernel call per example, no mask, nothing padded.

A dense mask lets the kernel compute what it then hides: all that the examples of a row would see of each
other, and all that they would see of the future. On a CPU, where a call costs little beside its work, the
split takes half the time (`benchmarks/training.py`). On a GPU, flash attention does the same in one call:
choose `flash_attention_2` there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

SEGMENTS = "segments"
"""The name to give as a language model's `attention`."""


class Flat(NamedTuple):
    """The ids of a packed batch without padding, as one row, N long."""

    kept_BT: Tensor
    """Where an id is, bool: what `rows` puts back."""
    bounds: Tensor
    """Where each example begins, and N, int32: transformers' `cu_seq_lens_q`."""

    def row(self, values_BT: Tensor) -> Tensor:
        """Values (B, T, …) as (1, N, …)."""
        return values_BT[self.kept_BT][None]

    def rows(self, values_1N: Tensor) -> Tensor:
        """Values (1, N, …) back as (B, T, …), with 0 for padding."""
        found = values_1N.new_zeros(*self.kept_BT.shape, *values_1N.shape[2:])
        found[self.kept_BT] = values_1N[0]
        return found


def flat(segments_BT: Tensor) -> Flat:
    """How to lay out a batch whose `segments_BT` number the examples of each row from 1 (0: padding)."""
    kept_BT = segments_BT > 0
    rows = torch.arange(len(segments_BT), device=segments_BT.device)[:, None]
    names = (rows * (segments_BT.max() + 1) + segments_BT)[kept_BT]
    _, counts = torch.unique_consecutive(names, return_counts=True)
    return Flat(kept_BT, torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int())


def nowhere(like: Tensor) -> Tensor:
    """A mask for models that do not hand `cu_seq_lens_q` on to their attention: what they compute with it is no
    number, so a training run stops instead of letting examples see each other."""
    return like.new_full((1, 1, 1, 1), torch.nan)


@torch.compiler.disable
def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: (B, heads, T, d) each, to (B, T, heads, d). Without `cu_seq_lens_q` it is
    torch's own over whole rows."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if cu_seq_lens_q is None:
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found, None
    lengths = cu_seq_lens_q.diff().tolist()
    dtype, kind = query.dtype, query.device.type
    if kind == "cpu":  # whose kernel takes twice as long there and back in bf16 as in fp32
        query, key, value = query.float(), key.float(), value.float()
    parts = zip(*(whole.split(lengths, 2) for whole in (query, key, value)), strict=True)
    with torch.autocast(kind, enabled=kind != "cpu" and torch.is_autocast_enabled(kind)):
        each = [sdpa_attention_forward(module, *part, None, **options)[0] for part in parts]
    return torch.cat(each, 1).to(dtype), None


def register() -> None:
    """Make the name known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(SEGMENTS, attend)
    AttentionMaskInterface.register(SEGMENTS, sdpa_mask)
