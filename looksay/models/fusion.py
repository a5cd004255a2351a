"""BERT blocks that can look at a picture: text alone, text over a picture, a decoder over it, queries beside text.

ALBEF's fusion encoder, BLIP's mixture of encoder and decoder (MED) and BLIP-2's Q-Former are these blocks with
other parts switched on.

Shapes: B rows, T places in a row, S places that are looked at, N features of a picture, D width, V vocabulary;
masks are True where something is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALL = 512 * 512
"""Scores of one head (T × S) up to which a CPU is faster step by step than through torch's fused kernel."""


@dataclass(slots=True)
class Memory:
    """Keys and values of earlier steps of one attention; `fixed` ones (a picture's) are made once."""

    fixed: bool = False
    keys: Tensor | None = None
    values: Tensor | None = None

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order (beams, or rows that have not ended)."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


class Repeated(NamedTuple):
    """What rows look at where several look at the same: its keys and values are made once."""

    contexts_CSD: Tensor
    places_B: Tensor
    """Which of them each row looks at."""

    @classmethod
    def of(cls, pictures_GSD: Tensor, places_B: Tensor) -> Repeated:
        """Of these pictures, those that some row looks at."""
        wanted_C, places_B = places_B.unique(return_inverse=True)
        return cls(pictures_GSD[wanted_C], places_B)


class Attention(nn.Module):
    """Multi-head attention with separate projections; keys and values may have another width, and all heads
    together, `inner`, a third one."""

    def __init__(
        self,
        width: int,
        width_kv: int,
        heads: int,
        bias: bool = True,
        dropout: float = 0.0,
        inner: int | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        inner = inner or width
        self.query = nn.Linear(width, inner, bias=bias)
        self.key = nn.Linear(width_kv, inner, bias=bias)
        self.value = nn.Linear(width_kv, inner, bias=bias)
        self.out = nn.Linear(inner, width, bias=bias)

    def forward(
        self,
        queries_BTD: Tensor,
        context: Tensor | Repeated,
        mask: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """BTD; `mask` is broadcast to (B, heads, T, S), and the context is BSD."""

        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        context_CSD, places_B = context if isinstance(context, Repeated) else (context, slice(None))
        query = split(self.query(queries_BTD))
        if memory is not None and memory.fixed and memory.keys is not None:
            keys, values = memory.keys, memory.values
            assert values is not None
        else:
            keys = split(self.key(context_CSD))[places_B]
            values = split(self.value(context_CSD))[places_B]
            if memory is not None:
                if memory.keys is not None and memory.values is not None:
                    keys = torch.cat([memory.keys, keys], dim=2)
                    values = torch.cat([memory.values, values], dim=2)
                memory.keys, memory.values = keys, values
        dropout = self.dropout if self.training else 0.0
        mixed = attend(query, keys, values, mask, dropout)
        joined: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return joined


def attend(
    query_BHTD: Tensor,
    keys_BHSD: Tensor,
    values_BHSD: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Scaled dot-product attention by whatever is fastest here. A row that sees nothing gives zeros."""
    if query_BHTD.device.type != "cpu" or query_BHTD.shape[2] * keys_BHSD.shape[2] > _SMALL:
        found = F.scaled_dot_product_attention(
            query_BHTD, keys_BHSD, values_BHSD, attn_mask=mask, dropout_p=dropout
        )
        return found if mask is None else found.masked_fill(~mask.any(-1, keepdim=True), 0.0)
    scores_BHTS = query_BHTD @ keys_BHSD.transpose(-1, -2) * (1 / math.sqrt(query_BHTD.shape[-1]))
    if mask is not None:
        scores_BHTS = scores_BHTS.masked_fill(~mask, torch.finfo(scores_BHTS.dtype).min)
    shares_BHTS = scores_BHTS.softmax(-1)
    if mask is not None:
        shares_BHTS = shares_BHTS.masked_fill(~mask, 0.0)
    if dropout:
        shares_BHTS = F.dropout(shares_BHTS, dropout)
    return shares_BHTS @ values_BHSD


class Feed(nn.Module):
    """The two linear layers of a BERT block, with its way past them and its norm."""

    def __init__(self, width: int, inner: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x_BTD: Tensor) -> Tensor:
        fed = F.dropout(self.down(F.gelu(self.up(x_BTD))), self.dropout, self.training)
        normed: Tensor = self.norm(x_BTD + fed)
        return normed


class Look(nn.Module):
    """One attention of a BERT block (to itself or to a picture), with its way past it and its norm."""

    def __init__(self, width: int, width_kv: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention = Attention(width, width_kv, heads, dropout=dropout)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(
        self,
        x_BTD: Tensor,
        context: Tensor | Repeated,
        mask: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        seen = F.dropout(self.attention(x_BTD, context, mask, memory), self.dropout, self.training)
        normed: Tensor = self.norm(x_BTD + seen)
        return normed


class FusionLayer(nn.Module):
    """A BERT block. `cross`: it can look at a picture; `decodes`: it has a second attention to itself, for writing
    (BLIP shares all the rest); `queries`: learned queries have a feed of their own and alone look (Q-Former)."""

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        *,
        width_in: int = 0,
        cross: bool = False,
        decodes: bool = False,
        text: bool = True,
        queries: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.itself = Look(width, width, heads, dropout)
        self.writing = Look(width, width, heads, dropout) if decodes else None
        self.cross = Look(width, width_in, heads, dropout) if cross else None
        self.feed = Feed(width, inner, dropout) if text else None
        self.query_feed = Feed(width, inner, dropout) if queries else None

    def forward(
        self,
        x_BTD: Tensor,
        mask: Tensor | None = None,
        context: Tensor | Repeated | None = None,
        context_mask: Tensor | None = None,
        *,
        writing: bool = False,
        queries: int = 0,
        memory: tuple[Memory, Memory] | None = None,
        feed: nn.Module | None = None,
    ) -> Tensor:
        """The first `queries` places are queries. `memory`: of the attention to itself, and of the one across.
        `feed`: of the text, where it lives outside of the block."""
        feed = feed or self.feed
        itself = self.writing if writing and self.writing is not None else self.itself
        own, across = memory or (None, None)
        x_BTD = itself(x_BTD, x_BTD, mask, own)
        looking, rest = (x_BTD[:, :queries], x_BTD[:, queries:]) if queries else (x_BTD, None)
        if self.cross is not None and context is not None and looking.shape[1]:
            looking = self.cross(looking, context, context_mask, across)
        if rest is None:
            assert feed is not None
            fed: Tensor = feed(looking)
            return fed
        assert self.query_feed is not None
        parts = [self.query_feed(looking)]
        if rest.shape[1]:
            assert feed is not None
            parts.append(feed(rest))
        return torch.cat(parts, dim=1)


class Bert(nn.Module):
    """Words, places and blocks. `vocabulary` 0: no words of its own (ALBEF's fusion half).

    `cross`: which blocks can look at a picture of width `width_in`, by number. Without `text` there are queries
    only, until the feeds of a text are lent to `forward`.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        inner: int = 3072,
        positions: int = 512,
        width_in: int = 0,
        cross: tuple[int, ...] = (),
        decodes: bool = False,
        queries: bool = False,
        dropout: float = 0.0,
        text: bool = True,
    ) -> None:
        super().__init__()
        self.arguments = {
            "vocabulary": vocabulary,
            "width": width,
            "layers": layers,
            "heads": heads,
            "inner": inner,
            "positions": positions,
            "width_in": width_in,
            "cross": list(cross),
            "decodes": decodes,
            "queries": queries,
            "dropout": dropout,
            "text": text,
        }
        self.width, self.positions, self.dropout = width, positions, dropout
        self.words = nn.Embedding(vocabulary, width) if vocabulary else None
        self.places = nn.Embedding(positions, width) if vocabulary else None
        self.norm = nn.LayerNorm(width, eps=1e-12) if vocabulary or queries else None
        self.blocks = nn.ModuleList(
            FusionLayer(
                width,
                heads,
                inner,
                width_in=width_in,
                cross=number in cross,
                decodes=decodes,
                queries=queries,
                dropout=dropout,
                text=text,
            )
            for number in range(layers)
        )
        self.apply(initialised)

    def embed(self, ids_BT: Tensor, start: int = 0, queries_BQD: Tensor | None = None) -> Tensor:
        """Words with their places (from `start`), behind queries (which have none): what the blocks take."""
        assert self.words is not None
        assert self.places is not None
        places = torch.arange(start, start + ids_BT.shape[1], device=ids_BT.device)
        x_BTD = self.words(ids_BT) + self.places(places)
        if queries_BQD is not None:
            x_BTD = torch.cat([queries_BQD, x_BTD], dim=1)
        return self.settled(x_BTD)

    def settled(self, x_BTD: Tensor) -> Tensor:
        """The norm before the blocks."""
        assert self.norm is not None
        return F.dropout(self.norm(x_BTD), self.dropout, self.training)

    def forward(
        self,
        x_BTD: Tensor,
        mask: Tensor | None = None,
        context: Tensor | Repeated | None = None,
        context_mask: Tensor | None = None,
        *,
        writing: bool = False,
        queries: int = 0,
        memory: list[tuple[Memory, Memory]] | None = None,
        feeds: Sequence[nn.Module] | None = None,
    ) -> Tensor:
        """BTD through all blocks. `mask` and `context_mask` are broadcast to (B, heads, T, S)."""
        for number, block in enumerate(self.blocks):
            x_BTD = block(
                x_BTD,
                mask,
                context,
                context_mask,
                writing=writing,
                queries=queries,
                memory=memory[number] if memory else None,
                feed=feeds[number] if feeds is not None else None,
            )
        return x_BTD

    def memory(self) -> list[tuple[Memory, Memory]]:
        """An empty memory for writing step by step."""
        return [(Memory(), Memory(fixed=True)) for _ in self.blocks]


class WordHead(nn.Module):
    """BERT's output layer: what goes in front of the word embeddings, and their bias."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.width, self.vocabulary = width, vocabulary
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.dense.apply(initialised)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """What is multiplied with the word embeddings, BTD."""
        normed: Tensor = self.norm(F.gelu(self.dense(hidden_BTD)))
        return normed


def both_ways(seen_BT: Tensor) -> Tensor:
    """The mask (B, 1, 1, T) of text that reads in both directions; `seen_BT` is False on padding."""
    return seen_BT[:, None, None, :]


def forwards(seen_BT: Tensor, past: int = 0) -> Tensor:
    """The mask (B, 1, T, past + T) of text that is written: what came before, and itself."""
    steps = seen_BT.shape[1] - past
    places = torch.arange(seen_BT.shape[1], device=seen_BT.device)
    before_TS = places[None, :] <= places[past:, None]
    assert before_TS.shape[0] == steps
    return before_TS[None, None] & seen_BT[:, None, None, :]


def initialised(module: nn.Module) -> None:
    """BERT's own start (arXiv 1810.04805): normal with deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
