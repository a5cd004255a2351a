"""MoAI's mixer (arXiv 2403.07508, section 3): before some blocks of a language model, what it reads of the picture and
what it reads of the question look at each other and at what vision experts found.

Six small experts for each of these blocks, three for places of the picture, three for words: each attends from
its own places to the findings, to the other kind of place, or to its own kind. In the first step of training one
of three is drawn; in the second a gate weighs them, for each place.

Shapes: B rows, T ids in a row, L latents of the findings, D width, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models.fusion import attend


class LowRank(nn.Module):
    """D → R → D without biases, then GELU."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = (
            nn.Linear(width, rank, bias=False),
            nn.Linear(rank, width, bias=False),
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        return F.gelu(self.up(self.down(x_BTD)))


class Expert(nn.Module):
    """Attention whose four matrices are of low rank, and a way past it. It begins as that way alone, so the whole
    begins as the language model."""

    def __init__(self, width: int, rank: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = LowRank(width, rank), LowRank(width, rank)
        self.value, self.out = LowRank(width, rank), LowRank(width, rank)
        nn.init.zeros_(self.out.up.weight)

    def forward(self, queries_BTD: Tensor, context_BSD: Tensor, seen_BS: Tensor) -> Tensor:
        """Queries and what they found where `seen_BS`; a row in which nothing is seen stays as it is."""

        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        found_BHTd = attend(
            split(self.query(queries_BTD)),
            split(self.key(context_BSD)),
            split(self.value(context_BSD)),
            seen_BS[:, None, None],
        )
        found: Tensor = queries_BTD + self.out(found_BHTd.transpose(1, 2).flatten(2))
        return found


class Mixing(NamedTuple):
    """What the mixers of one pass work with."""

    findings_BLD: Tensor
    """What the experts found in each row's pictures, compressed."""
    image_BT: Tensor
    """Which places are those of a picture, bool."""
    words_BT: Tensor
    """Which are words before the first answer. Answers are not mixed: a word may not see those behind it, and the
    experts have no mask; in decoding the mixers rest anyway."""
    drawn: Tensor | None
    """Which expert each mixer uses, of the three for pictures and of the three for words, (mixers, 2); None: the
    gates weigh all."""


class Mixer(nn.Module):
    """The six experts before one block: for pictures findings, words, pictures; for words findings, pictures, words."""

    def __init__(self, width: int, rank: int, heads: int) -> None:
        super().__init__()
        self.image = nn.ModuleList(Expert(width, rank, heads) for _ in range(3))
        self.words = nn.ModuleList(Expert(width, rank, heads) for _ in range(3))

    def forward(self, hidden_BTD: Tensor, mixing: Mixing, number: int, gate: Gate | None) -> Tensor:
        """The input of a block after its places have looked around. `gate` None: the drawn ones alone."""
        before_BTD = x_BTD = hidden_BTD.to(mixing.findings_BLD.dtype)
        findings_BLD = mixing.findings_BLD
        there_BL = torch.ones(findings_BLD.shape[:2], dtype=torch.bool, device=x_BTD.device)
        kinds = (
            (self.image, mixing.image_BT, mixing.words_BT),
            (self.words, mixing.words_BT, mixing.image_BT),
        )
        for place, (experts, own_BT, other_BT) in enumerate(kinds):
            contexts = (
                (findings_BLD, there_BL),
                (before_BTD, other_BT),
                (before_BTD, own_BT),
            )
            if gate is None:
                assert mixing.drawn is not None
                chosen = int(mixing.drawn[number, place])
                mixed_BTD = experts[chosen](before_BTD, *contexts[chosen])
            else:
                found = [e(before_BTD, *c) for e, c in zip(experts, contexts, strict=True)]
                mixed_BTD = gate.weigh(before_BTD, found, place)
            x_BTD = torch.where(own_BT[..., None], mixed_BTD, x_BTD)
        return x_BTD.to(hidden_BTD.dtype)


class Gate(nn.Module):
    """For each place how much each of the three experts counts; it begins with a third for each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image, self.words = nn.Linear(width, 3), nn.Linear(width, 3)
        for layer in (self.image, self.words):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def weigh(self, hidden_BTD: Tensor, found: Sequence[Tensor], place: int) -> Tensor:
        """The sum of what three experts found, weighed; `place` 0 for pictures, 1 for words."""
        layer = (self.image, self.words)[place]
        shares_BT3 = layer(hidden_BTD).softmax(-1)
        weighed: Tensor = (torch.stack(list(found), -1) * shares_BT3[..., None, :]).sum(-1)
        return weighed


class Mixers(nn.Module):
    """One mixer before each block of the language model whose number is in `places`; the paper: 7, 15, 23, 31."""

    def __init__(self, width: int, places: Sequence[int], rank: int = 64, heads: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"A width of {width} does not divide into {heads} heads.")
        self.steps: Tensor
        self.width, self.places, self.rank, self.heads = width, list(places), rank, heads
        self.blocks = nn.ModuleList(Mixer(width, rank, heads) for _ in places)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def draw(self) -> Tensor:
        """One expert of three for each mixer and kind of place: by how often was drawn, so that all processes draw
        the same and a run that broke goes on as it would have."""
        random = torch.Generator().manual_seed(int(self.steps))
        if self.training:
            self.steps += 1
        return torch.randint(3, (len(self.places), 2), generator=random)


class Gates(nn.Module):
    """One gate for each mixer."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.width, self.count = width, count
        self.blocks = nn.ModuleList(Gate(width) for _ in range(count))
