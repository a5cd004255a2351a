"""Gated cross-attention (Flamingo, arXiv 2204.14198, section 3.1.2): blocks before those of a frozen language model,
in which its words look at a picture.

A word sees the picture that stands last before it and no other; earlier ones reach it through the language
model's own attention (section 3.1.3). Gates begin at zero, so that the whole begins as the language model.

Shapes: B rows, T ids in a row, I images, K images of the row that has most, M embeddings per image, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models.connectors import feed_forward
from looksay.models.fusion import Attention
from looksay.models.language import Language
from looksay.models.splice import SpliceError


class Sight(NamedTuple):
    """What the words of a batch may look at."""

    images_BKMD: Tensor
    """The images of each row, in order, padded with zeros."""
    seen_BT: Tensor
    """Which of them each word sees (int64, from 0); -1: none, it stands before the first of its example."""
    shown_BT: Tensor
    """Whether the word's example has a picture at all (bool). One without is left to the language model alone."""

    def next(self, rows_B: Tensor) -> Sight:
        """What the next word of some rows may look at: what their last one sees."""
        seen_B = self.seen_BT[rows_B, -1]
        images_B1MD = self.images_BKMD[rows_B, seen_B.clamp(min=0)][:, None]
        return Sight(images_B1MD, seen_B.clamp(max=0)[:, None], self.shown_BT[rows_B, -1:])


def look(ids_BT: Tensor, segments_BT: Tensor, images_IMD: Tensor, image_id: int) -> Sight:
    """Who sees what: `images_IMD` belong, in order, to the places where `ids_BT` holds `image_id`.

    No word sees a picture of another segment (0 is padding). A picture's own placeholder sees it already.
    Raises SpliceError, with both counts, where they do not fit exactly.
    """
    here_BT = (ids_BT == image_id) & (segments_BT > 0)
    found, given = int(here_BT.sum()), len(images_IMD)
    if found != given:
        raise SpliceError(
            f"The text holds {found} image placeholders, but there are {given} images. Each image needs "
            "exactly one: encode the conversation with the model's own prompter."
        )
    counted_BT = here_BT.long().cumsum(1)
    rows_I, _ = here_BT.nonzero(as_tuple=True)
    places_I = counted_BT[here_BT] - 1
    most = int(counted_BT[:, -1].max())
    shape = (len(ids_BT), most, *images_IMD.shape[1:])
    images_BKMD = images_IMD.new_zeros(shape).index_put((rows_I, places_I), images_IMD)

    begins_BT = F.pad(segments_BT[:, 1:] != segments_BT[:, :-1], (1, 0), value=True)
    # How many images the row had before the word's own example began.
    before_BT = ((counted_BT - here_BT.long()) * begins_BT).cummax(1).values
    seen_BT = torch.where(counted_BT > before_BT, counted_BT - 1, -1)

    examples = int(segments_BT.max()) + 1
    own_BE = counted_BT.new_zeros(len(ids_BT), examples)
    own_BE.scatter_add_(1, segments_BT, here_BT.long())
    return Sight(images_BKMD, seen_BT, own_BE.gather(1, segments_BT) > 0)


class GatedBlock(nn.Module):
    """Cross-attention and a feed-forward of four times the width, each behind a gate tanh(α).

    `heads` × `head_width` is the width of queries, keys and values together. With `gated` false there are
    no gates (the paper's ablation, table 3, row iii).
    """

    def __init__(
        self,
        width: int,
        width_in: int,
        heads: int = 8,
        head_width: int = 64,
        activation: str = "gelu",
        gated: bool = True,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, width_in, heads, bias=False, inner=heads * head_width)
        self.feed = feed_forward(width, activation)
        self.attention_gate = nn.Parameter(torch.zeros(1)) if gated else None
        self.feed_gate = nn.Parameter(torch.zeros(1)) if gated else None

    def forward(
        self, hidden_BTD: Tensor, images_BKMD: Tensor, seen_BT: Tensor, shown_BT: Tensor
    ) -> Tensor:
        """The words after they have looked; those of examples without pictures as they were."""
        x = hidden_BTD.to(self.norm.weight.dtype)
        x = x + self._through(self.attention_gate, self._looked(x, images_BKMD, seen_BT))
        x = x + self._through(self.feed_gate, self.feed(x))
        return torch.where(shown_BT[..., None], x.to(hidden_BTD.dtype), hidden_BTD)

    def _looked(self, x_BTD: Tensor, images_BKMD: Tensor, seen_BT: Tensor) -> Tensor:
        """What each word finds in its picture; exactly 0 where it sees none."""
        _, count, each, _ = images_BKMD.shape
        blind_BT1 = seen_BT[..., None] < 0
        numbers_K = torch.arange(count, device=seen_BT.device)
        # A word that sees nothing looks at everything first: a softmax over nothing is no number.
        mask_BTK = (seen_BT[..., None] == numbers_K) | blind_BT1
        mask_B1TN = mask_BTK.repeat_interleave(each, dim=-1)[:, None]
        context_BND = images_BKMD.flatten(1, 2).to(x_BTD.dtype)
        found_BTD = self.attention(self.norm(x_BTD), context_BND, mask_B1TN)
        return found_BTD.masked_fill(blind_BT1, 0.0)

    @staticmethod
    def _through(gate: Tensor | None, x: Tensor) -> Tensor:
        return x if gate is None else gate.tanh() * x


class Gates(nn.Module):
    """All gated blocks of a model: one before each block of the language model whose number is in `places`."""

    def __init__(
        self,
        width: int,
        width_in: int,
        places: Sequence[int],
        heads: int = 8,
        head_width: int = 64,
        activation: str = "gelu",
        gated: bool = True,
    ) -> None:
        super().__init__()
        self.width, self.width_in, self.places = width, width_in, list(places)
        self.heads, self.head_width = heads, head_width
        self.activation, self.gated = activation, gated
        self.blocks = nn.ModuleList(
            GatedBlock(width, width_in, heads, head_width, activation, gated) for _ in self.places
        )


def every(interval: int, layers: int, first: int | None = None) -> list[int]:
    """Numbers of the language model's blocks that get a gated one before them: `first` (None: as OpenFlamingo,
    the last of the first `interval`), and every `interval`-th from there.

    The paper's 12 for 80 layers by sevens begin with block 0; OpenFlamingo's would be 11.
    """
    return list(range(interval - 1 if first is None else first, layers, interval))


class Marks(nn.Module):
    """Embeddings of the ids that a language model never read: of `<image>` and, where the tokenizer has it, of
    `<|endofchunk|>`, in this order. They stand in the place of its own rows (or of none), so that these two
    can learn while all other words stay as they are."""

    def __init__(self, width: int, count: int = 1) -> None:
        super().__init__()
        self.width, self.count = width, count
        self.rows_KD = nn.Parameter(torch.randn(count, width) * 0.02)


def decoder_blocks(language: Language) -> list[nn.Module]:
    """The blocks of the language model's decoder, in order."""
    if language.config.is_encoder_decoder:
        raise InputError(
            "This language model has an encoder; what stands before the blocks of a model wants a decoder alone. "
            "Choose a causal one (Llama, GPT-NeoX, MPT, OPT)."
        )
    layers = int(language.config.num_hidden_layers)
    for module in language.decoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == layers:
            return list(module)
    raise InputError(
        f"No list of {layers} blocks was found in {type(language.model).__name__}, before which gates could "
        "stand. Choose Llama, GPT-NeoX, MPT or OPT."
    )
