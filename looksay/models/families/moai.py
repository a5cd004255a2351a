"""MoAI (arXiv 2403.07508): what four vision experts found in a picture, as sentences and as a map of colours, is
compressed and mixed into some blocks of a LLaVA-like model that stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from looksay.errors import InputError
from looksay.experts import maps, verbalise
from looksay.experts.base import Findings, found_in
from looksay.models import batching
from looksay.models.batching import IGNORE, Batch
from looksay.models.connectors import ResamplerLayer
from looksay.models.gated import decoder_blocks
from looksay.models.language import Language
from looksay.models.mixer import Gates, Mixers, Mixing
from looksay.models.spliced import Spliced
from looksay.types import Conversation, Example

ONE = "one_expert"
"""The objective of the first step: as "lm", but one expert of three is drawn in each mixer. Its loss is named "lm"."""
_NORM = "input_layernorm"


class Compressor(nn.Module):
    """Any number of vectors become `latents`; those that are not there are hidden (the released code compresses
    padding with the rest). Defaults are the paper's: 151.4M parameters at a width of 4096."""

    def __init__(
        self, width: int, latents: int = 64, layers: int = 4, heads: int = 4, head_width: int = 64
    ) -> None:
        super().__init__()
        self.width, self.latents, self.layers = width, latents, layers
        self.heads, self.head_width = heads, head_width
        self.start = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.blocks = nn.ModuleList(
            ResamplerLayer(width, heads, heads * head_width, "gelu", times=1) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, vectors_BSD: Tensor, seen_BS: Tensor) -> Tensor:
        """BLD."""
        x = self.start.expand(len(vectors_BSD), -1, -1)
        for block in self.blocks:
            x = block(x, vectors_BSD.to(x.dtype), seen_BS)
        compressed: Tensor = self.norm(x)
        return compressed


class Moai(Spliced):
    """tower → connector → language model, with mixers before some of its blocks.

    Findings are those that images carry (`types.Image.findings`). At most `findings_length` ids of their sentences
    are read. Where no picture of a conversation has any the mixers rest, and the base answers. Rows with findings
    hold one example each (`Stage.pack`).
    """

    family = "moai"

    def __init__(
        self,
        tower: Any,
        connector: Any,
        language: Language,
        compressor: Compressor,
        mixers: Mixers,
        gates: Gates,
        tokenizer: Any,
        template: str | None = None,
        image_token: str = "<image>",
        findings_length: int = 2048,
    ) -> None:
        super().__init__(tower, connector, language, tokenizer, template, image_token)
        self.compressor, self.mixers, self.gates = compressor, mixers, gates
        self.findings_length = findings_length
        self._mixing: Mixing | None = None
        self._one = False
        blocks = decoder_blocks(language)
        self._check(blocks)
        for number, place in enumerate(mixers.places):
            # The norm reads what the mixers made; the way past the attention carries what came in.
            blocks[place].get_submodule(_NORM).register_forward_pre_hook(
                partial(self._before, number)
            )

    @property
    def parts(self) -> dict[str, nn.Module]:
        mine = {"compressor": self.compressor, "mixers": self.mixers, "gates": self.gates}
        *others, language = super().parts.items()
        return dict([*others, *mine.items(), language])

    @property
    def arguments(self) -> dict[str, Any]:
        return {**super().arguments, "findings_length": self.findings_length}

    def _check(self, blocks: Sequence[nn.Module]) -> None:
        for what, width in (("compressor", self.compressor.width), ("mixers", self.mixers.width)):
            if width != self.language.width:
                raise InputError(
                    f"The {what} are {width} wide, but the language model's embeddings are "
                    f"{self.language.width}. Build them as width={self.language.width}."
                )
        if self.gates.count != len(self.mixers.places):
            raise InputError(
                f"There are {self.gates.count} gates for {len(self.mixers.places)} mixers. Build them as "
                f"count={len(self.mixers.places)}."
            )
        beyond = [place for place in self.mixers.places if not 0 <= place < len(blocks)]
        if beyond:
            raise InputError(
                f"A mixer stands before block {beyond[0]} of the language model, which has the blocks 0 to "
                f"{len(blocks) - 1}."
            )
        if not hasattr(blocks[0], _NORM):
            raise InputError(
                f"The blocks of this language model ({type(blocks[0]).__name__}) have no {_NORM}, before which "
                "mixers stand. Choose a Llama, Qwen, Mistral or InternLM."
            )

    # -- learning

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("lm",),
    ) -> batching.Sequence:
        """As `Spliced.encode`, with what the experts found."""
        named = {"lm" if name == ONE else name for name in objectives}
        return self._with_findings(super().encode(example, template, named), example.conversation)

    def prepare(self, conversation: Conversation) -> batching.Sequence:
        """As `Spliced.prepare`, with what the experts found."""
        return self._with_findings(super().prepare(conversation), conversation)

    def forward(self, batch: Batch, objectives: Collection[str] = ("lm",)) -> dict[str, Tensor]:
        """Mean losses by objective."""
        self._one = ONE in objectives
        return super().forward(batch, {"lm" if name == ONE else name for name in objectives})

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads, BTD."""
        with self._mixed(self._mixing_of(batch)):
            return super().hidden(batch)

    def _with_findings(
        self, found: batching.Sequence, conversation: Conversation
    ) -> batching.Sequence:
        """`told` says of each example whether there are findings; where there are, `findings` are ids of the
        sentences, padded with IGNORE, and `map` the pictures of colours."""
        images = conversation.images
        every = [found_in(image) for image in images]
        told = any(found is not None for found in every)
        targets = {**found.targets, "told": torch.tensor([told])}
        if told:
            said = " ".join(filter(None, (verbalise.moai(f) for f in every if f is not None)))
            ids = self.tokenizer(said, add_special_tokens=False)["input_ids"] if said else []
            kept = torch.tensor(ids[: self.findings_length], dtype=torch.long)
            row = torch.full((1, self.findings_length), IGNORE)
            row[0, : len(kept)] = kept
            targets |= {"findings": row, "map": torch.stack([self._map(f) for f in every])}
        return replace(found, targets=targets)

    def _map(self, found: Findings | None) -> Tensor:
        """The colours as a picture for the tower: CHW. (The released code normalises shares as if they were 0 to
        255, and the map says nothing.)"""
        side = self.tower.size_px
        if found is None:
            drawn = np.zeros((side, side, 3), np.uint8)
        else:
            drawn = maps.colours(found, getattr(self.tower, "fit", "stretch"))
        return cast(Tensor, self.tower.prepare(Pillow.fromarray(drawn)))

    def _mixing_of(self, batch: Batch) -> Mixing | None:
        """None where nothing was found in any picture."""
        told_B = batch.targets.get("told")
        if told_B is None or not bool(told_B.any()):
            return None
        if len(told_B) != len(batch.ids_BT):
            raise InputError(
                f"MoAI's mixers take one example in each row; found {len(told_B)} in {len(batch.ids_BT)}. Set "
                "Stage.pack=False."
            )
        there_BT = (batch.segments_BT > 0) & told_B[:, None]
        image_BT = (batch.ids_BT == self.prompter.image_id) & there_BT
        asked_BT = (batch.labels_BT != IGNORE).cumsum(1) == 0
        return Mixing(
            self.compressor(*self._vectors(batch, image_BT)),
            image_BT,
            asked_BT & there_BT & ~image_BT,
            self.mixers.draw() if self._one else None,
        )

    def _vectors(self, batch: Batch, image_BT: Tensor) -> tuple[Tensor, Tensor]:
        """What was found in each row's pictures, BSD, and what of it is there: sentences, then maps."""
        maps_IMD = self.images(self.tower(batch.targets["map"]))
        counts_B = image_BT.sum(1) // self.prompter.image_tokens
        found = iter(batch.targets["findings"])
        rows = []
        for own_IMD in maps_IMD.split(counts_B.tolist()):
            ids_A = next(found) if len(own_IMD) else image_BT.new_zeros(0, dtype=torch.long)
            words_SD = self.language.embed(ids_A[ids_A != IGNORE])
            rows.append(torch.cat([words_SD, own_IMD.flatten(0, 1).to(words_SD.dtype)]))
        vectors_BSD = pad_sequence(rows, batch_first=True)
        lengths_B = torch.tensor([len(row) for row in rows], device=vectors_BSD.device)
        places_S = torch.arange(vectors_BSD.shape[1], device=vectors_BSD.device)
        return vectors_BSD, places_S < lengths_B[:, None]

    @contextmanager
    def _mixed(self, mixing: Mixing | None) -> Iterator[None]:
        """While it lasts the mixers work. With gradients they go on until the next pass: a layer whose activations
        are computed again meets them then."""
        self._mixing = mixing
        try:
            yield
        finally:
            if not torch.is_grad_enabled():
                self._mixing = None

    def _before(
        self, number: int, norm: nn.Module, args: tuple[Any, ...]
    ) -> tuple[Any, ...] | None:
        """Before the norm of a block's attention: the mixer."""
        if self._mixing is None:
            return None
        one = self._mixing.drawn is not None
        gate = None if one else self.gates.blocks[number]
        hidden_BTD, *others = args
        return (self.mixers.blocks[number](hidden_BTD, self._mixing, number, gate), *others)

    # -- answering

    @contextmanager
    def _reading(self, prompts: Sequence[batching.Sequence]) -> Iterator[None]:
        self._one = False
        with self._mixed(self._mixing_of(batching.pad(prompts, side="left").to(self.device))):
            yield
        self._mixing = None


def build(parts: dict[str, Any], tokenizer: Any, **arguments: Any) -> Moai:
    """The family from its parts, as a checkpoint names them."""
    return Moai(
        parts["tower"],
        parts["connector"],
        parts["language"],
        parts["compressor"],
        parts["mixers"],
        parts["gates"],
        tokenizer,
        **arguments,
    )
