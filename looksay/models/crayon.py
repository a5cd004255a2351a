"""The Crayon Prompt (CoLLaVO, arXiv 2402.11248, section 3): for each token of a picture, an embedding of which class
lies there and which thing of that class, added to what the attention of every layer reads.

Shapes: B rows, T ids in a row, I images, M embeddings per image, E examples, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.experts import maps
from looksay.experts.base import Findings
from looksay.models import segments
from looksay.models.adapters import Taught, teach
from looksay.models.connectors import MLP
from looksay.models.language import Language

_ATTENTION = ("self_attn", "attention", "attn")
"""What transformers calls the attention of a decoder's block."""
_HANDED = "drawing"
"""The keyword by which a block hands a `Drawing` to its attention."""


class Crayon(nn.Module):
    """Two tables and an MLP: the semantic and the numbering query of each token, summed, as wide as words.

    Row 0 of each table is for what is unknown. `width` is that of the queries (None: of the words, as the paper has
    it; the released code has 1,024). Without `numbers` there are no numbering queries (the paper's ablation).
    The MLP's last layer begins at zero, so that the whole begins as the model without crayon.
    """

    def __init__(
        self,
        width_out: int,
        classes: int = maps.CLASSES,
        numbers: int = maps.NUMBERS,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.width_out, self.classes, self.numbers, self.width = width_out, classes, numbers, width
        own = width or width_out
        self.semantic = nn.Embedding(classes + 1, own)
        self.numbering = nn.Embedding(numbers + 1, own) if numbers else None
        self.mlp = MLP(own, width_out)
        for weight in self.mlp.layers[-1].parameters():
            nn.init.zeros_(weight)

    def forward(self, cells_I2M: Tensor) -> Tensor:
        """Embeddings IMD of maps (`cells`)."""
        embeds_IMD: Tensor = self.mlp(self.queries(cells_I2M))
        return embeds_IMD

    def queries(self, cells_I2M: Tensor) -> Tensor:
        """What the tables give, summed, before the MLP."""
        found: Tensor = self.semantic(cells_I2M[:, 0])
        return found if self.numbering is None else found + self.numbering(cells_I2M[:, 1])

    def cells(self, every: Sequence[Findings | None], tokens: int, fit: maps.Fit) -> Tensor:
        """The maps of pictures, int64 of shape (I, 2, M): semantic and numbering index of each of its `tokens`, which
        are a square in reading order. 0 everywhere for a picture without findings. Raises InputError for a class
        that the table has no row for."""
        side = math.isqrt(tokens)
        cells_I2M = np.zeros((len(every), 2, tokens), np.int64)
        for own_2M, found in zip(cells_I2M, every, strict=True):
            if found is not None:
                both = maps.crayon(
                    found, side, side, classes=self.classes, numbers=self.numbers, fit=fit
                )
                own_2M[:] = np.reshape(both, (2, tokens))
        return torch.from_numpy(cells_I2M)


class Drawing(NamedTuple):
    """What one pass through a language model draws with, laid out as its ids are."""

    segments_BT: Tensor
    crayon_BTD: Tensor | None = None
    """0 everywhere but at the ids of pictures; None: there are none."""
    taught: Taught | None = None

    def laid_out(self, like: Tensor) -> Drawing:
        """The same as the language model lays out its ids, (B, T, …), or packed rows as one row (1, N, …)."""
        if like.shape[:2] == self.segments_BT.shape:
            return self
        row = segments.flat(self.segments_BT).row
        crayon = None if self.crayon_BTD is None else row(self.crayon_BTD)
        taught = self.taught and {n: m if m is None else row(m) for n, m in self.taught.items()}
        return Drawing(row(self.segments_BT), crayon, taught)


class Hand:
    """Draws on the input of every attention of a language model while `drawing` is set, and leaves the residual
    stream as it is.

    A block gets the drawing as a keyword and hands it to its attention, so that a block whose activations are
    computed again in the backward pass draws the same again. Raises InputError for a model whose blocks hand on no
    keywords.
    """

    def __init__(self, language: Language, blocks: Sequence[nn.Module]) -> None:
        self._language = language
        self.drawing: Drawing | None = None
        for block in blocks:
            attention: Any = next(filter(None, (getattr(block, n, None) for n in _ATTENTION)), None)
            if attention is None:
                raise InputError(
                    f"{type(block).__name__} has no attention called {', '.join(_ATTENTION)}, at which a crayon "
                    "could draw. Choose Llama, Qwen2, Mistral, OPT or GPT-NeoX."
                )
            block.register_forward_pre_hook(self._give, with_kwargs=True)
            attention.register_forward_pre_hook(partial(_draw, language), with_kwargs=True)

    def _give(
        self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Before a block."""
        if self.drawing is None:
            teach(self._language, None)
            return None
        self.drawing = self.drawing.laid_out(args[0] if args else kwargs["hidden_states"])
        return args, {**kwargs, _HANDED: self.drawing}


def _draw(
    language: Language, attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Before an attention."""
    if _HANDED not in kwargs:
        return None
    drawing: Drawing = kwargs.pop(_HANDED)
    # Here and not before the block: computed again, the block must teach the same.
    teach(language, drawing.taught)
    if drawing.crayon_BTD is None:
        return args, kwargs
    x_BTD = args[0] if args else kwargs["hidden_states"]
    x_BTD = x_BTD + drawing.crayon_BTD.to(x_BTD.dtype)
    if args:
        return (x_BTD, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": x_BTD}
