"""Losses that never hold the logits of a whole batch.

Shapes: B rows, T ids in a row, D width, V vocabulary, N positions whose next id is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from looksay.models.batching import IGNORE, learned_mask


def token_loss(
    hidden_BTD: Tensor,
    weight_VD: Tensor,
    labels_BT: Tensor,
    segments_BT: Tensor,
    bias_V: Tensor | None = None,
    chunk: int | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy of each next id, over the positions that have a label in the same segment.

    `smoothing` gives that share of each target to the whole vocabulary (BLIP's decoder: 0.1).

    Labels are not shifted; the shift happens here and never crosses from one segment into the next.
    Logits exist for `chunk` positions at a time (by default some 4 million numbers, on an accelerator
    32 million); their gradients are taken on the spot, so that the backward pass needs no second
    forward pass. 0 (with a gradient of 0) where nothing is learned.
    """
    mask_BT = learned_mask(labels_BT, segments_BT)
    labels_N = labels_BT[:, 1:][mask_BT]
    hidden_ND = hidden_BTD[:, :-1][mask_BT]
    if labels_N.numel() == 0:
        return hidden_BTD.float().sum() * 0.0
    chunk = chunk or _chunk(weight_VD)
    dtype = _dtype(hidden_ND)
    return cast(
        Tensor,
        _ChunkedCrossEntropy.apply(hidden_ND, weight_VD, bias_V, labels_N, chunk, dtype, smoothing),
    )


def row_log_likelihoods(
    hidden_BTD: Tensor,
    weight_VD: Tensor,
    labels_BT: Tensor,
    segments_BT: Tensor,
    bias_V: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Log-likelihood of the labelled ids of each row, B, in nats, at least fp32: a sum, not a mean.

    Labels and chunks as of `token_loss`. What a sum weighs is not known before it is complete, so the backward pass
    makes the logits of each chunk again.
    """
    mask_BT = learned_mask(labels_BT, segments_BT)
    hidden_ND, labels_N = hidden_BTD[:, :-1][mask_BT], labels_BT[:, 1:][mask_BT]
    chunk = chunk or _chunk(weight_VD)
    each_N = cast(
        Tensor,
        _ChunkedLogLikelihood.apply(
            hidden_ND, weight_VD, bias_V, labels_N, chunk, _dtype(hidden_ND)
        ),
    )
    return each_N.new_zeros(len(labels_BT)).index_add(0, mask_BT.nonzero()[:, 0], each_N)


def _chunk(weight_VD: Tensor) -> int:
    room = 2**22 if weight_VD.device.type == "cpu" else 2**25
    return max(16, room // len(weight_VD))


def _dtype(hidden: Tensor) -> torch.dtype:
    """What logits are computed in."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy with the gradients computed chunk by chunk beside the loss."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        labels_N: Tensor,
        chunk: int,
        dtype: torch.dtype,
        smoothing: float,
    ) -> Tensor:
        count = labels_N.numel()
        # Sums over chunks are kept in fp32 at least: bf16 would lose small terms.
        wide = torch.promote_types(torch.float32, dtype)
        grads = _Grads(ctx.needs_input_grad, hidden_ND, weight_VD, bias_V, wide)
        total = torch.zeros((), dtype=wide, device=hidden_ND.device)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            weight = weight_VD.to(dtype)
            for start in range(0, count, chunk):
                span = slice(start, start + chunk)
                hidden = hidden_ND[span].to(dtype)
                logits_NV = _logits(hidden, weight, bias_V, wide)
                wanted_N1 = labels_N[span, None]
                log_sum_N1 = logits_NV.logsumexp(1, keepdim=True)
                right_N1 = (1 - smoothing) * logits_NV.gather(1, wanted_N1)
                if smoothing:
                    right_N1 += smoothing * logits_NV.mean(1, keepdim=True)
                total += (log_sum_N1 - right_N1).sum()
                if not grads.wanted:
                    continue
                grad_NV = logits_NV.sub_(log_sum_N1).exp_()
                grad_NV.scatter_add_(1, wanted_N1, torch.full_like(log_sum_N1, smoothing - 1))
                if smoothing:
                    grad_NV.sub_(smoothing / weight.shape[0])
                grads.add(span, grad_NV.div_(count), hidden, weight)
        ctx.save_for_backward(*grads.each)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = tuple(None if g is None else g * grad.to(g.dtype) for g in ctx.saved_tensors)
        return (*grads, None, None, None, None)


class _ChunkedLogLikelihood(torch.autograd.Function):
    """Log-likelihood of each label, N; of the logits only their log-sums are kept."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        labels_N: Tensor,
        chunk: int,
        dtype: torch.dtype,
    ) -> Tensor:
        wide = torch.promote_types(torch.float32, dtype)
        found_N = torch.empty(len(labels_N), dtype=wide, device=hidden_ND.device)
        log_sum_N = torch.empty_like(found_N)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            weight = weight_VD.to(dtype)
            for start in range(0, len(labels_N), chunk):
                span = slice(start, start + chunk)
                logits_NV = _logits(hidden_ND[span], weight, bias_V, wide)
                log_sum_N[span] = logits_NV.logsumexp(1)
                right_N = logits_NV.gather(1, labels_N[span, None])[:, 0]
                found_N[span] = right_N - log_sum_N[span]
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, labels_N, log_sum_N)
        ctx.chunk, ctx.dtype = chunk, dtype
        return found_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, labels_N, log_sum_N = ctx.saved_tensors
        wide = log_sum_N.dtype
        grads = _Grads(ctx.needs_input_grad, hidden_ND, weight_VD, bias_V, wide)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            weight = weight_VD.to(ctx.dtype)
            for start in range(0, len(labels_N), ctx.chunk):
                span = slice(start, start + ctx.chunk)
                hidden = hidden_ND[span].to(ctx.dtype)
                logits_NV = _logits(hidden, weight, bias_V, wide)
                own_N1 = grad_N[span, None].to(wide)
                grad_NV = logits_NV.sub_(log_sum_N[span, None]).exp_().mul_(-own_N1)
                grad_NV.scatter_add_(1, labels_N[span, None], own_N1)
                grads.add(span, grad_NV, hidden, weight)
        return (*grads.each, None, None, None)


class _Grads:
    """Gradients of the states, the weight and the bias, as far as they are wanted, summed in `wide` over chunks."""

    def __init__(
        self,
        wants: Sequence[bool],
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        wide: torch.dtype,
    ) -> None:
        self._hidden = torch.empty_like(hidden_ND) if wants[0] else None
        self._weight = torch.zeros_like(weight_VD, dtype=wide) if wants[1] else None
        self._bias = (
            torch.zeros_like(bias_V, dtype=wide) if wants[2] and bias_V is not None else None
        )
        self._given = weight_VD, bias_V

    @property
    def wanted(self) -> bool:
        return any(one is not None for one in (self._hidden, self._weight, self._bias))

    def add(self, span: slice, grad_NV: Tensor, hidden_ND: Tensor, weight_VD: Tensor) -> None:
        """Of a chunk's logits, from its states and the weight, both as they were multiplied."""
        if self._bias is not None:
            self._bias += grad_NV.sum(0)
        narrow = grad_NV.to(weight_VD.dtype)
        if self._hidden is not None:
            self._hidden[span] = narrow @ weight_VD
        if self._weight is not None and narrow.dtype == self._weight.dtype:
            self._weight.addmm_(narrow.t(), hidden_ND)
        elif self._weight is not None:
            self._weight += narrow.t() @ hidden_ND

    @property
    def each(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """In the precision of what they are gradients of."""
        weight_VD, bias_V = self._given
        return (
            self._hidden,
            None if self._weight is None else self._weight.to(weight_VD.dtype),
            None if self._bias is None or bias_V is None else self._bias.to(bias_V.dtype),
        )


def _logits(
    hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, wide: torch.dtype
) -> Tensor:
    """Computed in the weight's precision, given in a wider one."""
    logits_NV = (hidden_ND.to(weight_VD.dtype) @ weight_VD.t()).to(wide)
    return logits_NV if bias_V is None else logits_NV + bias_V


def full_loss(
    hidden_BTD: Tensor,
    weight_VD: Tensor,
    labels_BT: Tensor,
    segments_BT: Tensor,
    bias_V: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """The same by torch's own cross-entropy over full logits: the reference of tests and benchmarks."""
    logits_BTV = F.linear(hidden_BTD, weight_VD, bias_V).float()
    mask_BT = learned_mask(labels_BT, segments_BT)
    labels = labels_BT[:, 1:].masked_fill(~mask_BT, IGNORE)
    return F.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
