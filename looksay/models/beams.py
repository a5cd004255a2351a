"""Beam search over a decoder that goes step by step (BLIP's captions: 3 beams).

Texts are those of transformers' `generate(num_beams=…)`, to which the tests hold them.
Shapes: B rows, R = B × beams of them, T ids, V words of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from looksay.models.answering import BertLM
from looksay.models.fusion import both_ways, forwards


class Steps(Protocol):
    """A decoder that remembers what it was given."""

    def step(self, ids_RT: Tensor) -> Tensor:
        """Scores RV of the next word, after these further ids."""

    def select(self, rows_R: Tensor) -> None:
        """Go on with these rows, in this order; a row may come several times."""


class BertSteps:
    """A `BertLM` that writes over a context, as `Steps`."""

    def __init__(
        self, writer: BertLM, context_BSD: Tensor, context_seen_BS: Tensor | None = None
    ) -> None:
        self._writer, self._context = writer, context_BSD
        self._mask = None if context_seen_BS is None else both_ways(context_seen_BS)
        self._memory, self._past = writer.bert.memory(), 0

    def step(self, ids_RT: Tensor) -> Tensor:
        rows, steps = ids_RT.shape
        before_RT = ids_RT.new_ones((rows, self._past + steps), dtype=torch.bool)
        states_RTD = self._writer.bert(
            self._writer.bert.embed(ids_RT, start=self._past),
            forwards(before_RT, self._past),
            self._context,
            self._mask,
            writing=True,
            memory=self._memory,
        )
        self._past += steps
        return self._writer.logits(states_RTD[:, -1])

    def select(self, rows_R: Tensor) -> None:
        for pair in self._memory:
            for one in pair:
                one.select(rows_R)
        self._context = self._context[rows_R]
        self._mask = None if self._mask is None else self._mask[rows_R]


@dataclass(slots=True)
class _Row:
    """The beams of one row: those that go on, with the sum of their log-probabilities, and those that ended,
    with their scores; both best first."""

    open: list[tuple[float, list[int]]] = field(default_factory=lambda: [(0.0, [])])
    ended: list[tuple[float, list[int]]] = field(default_factory=list)
    done: bool = False


@torch.inference_mode()
def beam_search(
    decoder: Steps,
    first_BT: Tensor,
    end_id: int,
    max_tokens: int,
    beams: int = 3,
    min_tokens: int = 0,
    length_penalty: float = 1.0,
) -> list[list[int]]:
    """The best text after each row of `first_BT` as ids, its end among them where it came.

    An end before `min_tokens` ids does not count. A text's score is the sum of its log-probabilities divided
    by its number of ids, to the power of `length_penalty`.
    """
    device = first_BT.device
    rows = [_Row() for _ in range(len(first_BT))]
    logits_RV = decoder.step(first_BT)
    for length in range(1, max_tokens + 1):
        logs_RV = logits_RV.float().log_softmax(-1)
        if length <= min_tokens:
            logs_RV[:, end_id] = -torch.inf
        origins: list[int] = []
        start = 0
        for row in rows:
            width = len(row.open)
            if not row.done:
                last = length == max_tokens
                scores_KV = logs_RV[start : start + width]
                chosen = _extend(row, scores_KV, end_id, beams, length**length_penalty, last)
            else:  # a row that is done stays, unheard, so that the others keep their places
                chosen = list(range(width))
            origins += [start + beam for beam in chosen]
            start += width
        if all(row.done for row in rows):
            break
        decoder.select(torch.tensor(origins, device=device))
        ids = [text[-1:] for row in rows for _, text in row.open]
        logits_RV = decoder.step(torch.tensor(ids, device=device))
    return [row.ended[0][1] for row in rows]


def _extend(
    row: _Row, logs_KV: Tensor, end_id: int, beams: int, divisor: float, last: bool
) -> list[int]:
    """Let a row's beams grow by one id; returns which beam each of the new ones goes on from. Where it is the
    last that fits, texts end without an end."""
    scores_K = torch.tensor([score for score, _ in row.open], device=logs_KV.device)
    flat = (logs_KV + scores_K[:, None]).flatten()
    # Twice as many as go on: even if all of the best ended there are enough that did not.
    values, places = flat.topk(min(2 * beams, len(flat)))
    grown: list[tuple[float, list[int]]] = []
    origins: list[int] = []
    for rank, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
        beam, token = divmod(place, logs_KV.shape[1])
        text = [*row.open[beam][1], token]
        if (token == end_id or last) and rank < beams and value > -torch.inf:
            row.ended.append((value / divisor, text))
        if token != end_id:
            grown.append((value, text))
            origins.append(beam)
    row.ended = sorted(row.ended, key=lambda scored: -scored[0])[:beams]
    row.open, origins = grown[:beams], origins[:beams]
    # An open text can get better by growing only where it is divided by more: as transformers, which stops
    # where the best of them, as long as it is now, is no better than the worst that ended.
    row.done = last or (len(row.ended) == beams and row.open[0][0] / divisor <= row.ended[-1][0])
    return origins
