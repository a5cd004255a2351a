"""SimVLM (arXiv 2108.10904): an encoder–decoder that learns from one objective, a prefix and what follows it.

Patches of an image from a convolutional stem and the first words of a text are read in both directions;
the decoder writes the rest. Where the text is cut is drawn at random, never within the image, so captions
with and without a prompt before them, and answers, are all the same task.

Shapes: B rows, T ids in a row, D width, I images, M patches per image, H heads, R and C ways in which
one patch lies to another (down, right), S ids read by the encoder.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from random import Random
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationMixin, MBartConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.mbart.modeling_mbart import (
    MBartDecoder,
    MBartEncoderLayer,
    MBartPreTrainedModel,
)

from looksay.errors import InputError
from looksay.models import batching
from looksay.models.batching import IGNORE, Batch
from looksay.models.connectors import Linear
from looksay.models.conv_stem import ConvStem
from looksay.models.prompting import add_image_token
from looksay.models.seq2seq import READ_AND_WRITE, Seq2Seq
from looksay.models.spliced import Spliced
from looksay.models.vision import Tower
from looksay.types import Example

PLACE = 3
"""Channels behind an embedding: the number of the image that a patch is of (from 1, 0: a word), its row
and its column."""


class PrefixConfig(MBartConfig):
    """An mBART whose encoder also reads `side` × `side` patches."""

    model_type = "simvlm"
    side: int = 1


class PrefixLayer(nn.Module):
    """mBART's encoder layer with a learned bias for how one patch lies to another (section 3.2; Dai et al.,
    arXiv 2106.04803, equation 3)."""

    def __init__(self, config: PrefixConfig) -> None:
        super().__init__()
        across = 2 * config.side - 1
        self.relative_HRC = nn.Parameter(
            torch.zeros(config.encoder_attention_heads, across, across)
        )
        self.block = MBartEncoderLayer(config)

    def forward(
        self, x_BSD: Tensor, down_BSS: Tensor, right_BSS: Tensor, one_BSS: Tensor, seen_BS: Tensor
    ) -> Tensor:
        bias_HBSS = self.relative_HRC[:, down_BSS, right_BSS] * one_BSS
        bias_BHSS = bias_HBSS.transpose(0, 1).to(x_BSD.dtype)
        lowest = torch.finfo(x_BSD.dtype).min
        output: Tensor = self.block(x_BSD, bias_BHSS.masked_fill(~seen_BS[:, None, None], lowest))
        return output


class PrefixEncoder(nn.Module):
    """Reads patches and words: learned positions for each of the two by itself, the bias between the patches
    of one image only."""

    def __init__(self, config: PrefixConfig) -> None:
        super().__init__()
        width, side = config.d_model, config.side
        self.side, self.width = side, width
        self.embed_words = nn.Embedding(config.max_position_embeddings, width)
        self.embed_patches = nn.Embedding(side * side, width)
        self.layers = nn.ModuleList(PrefixLayer(config) for _ in range(config.encoder_layers))
        self.layernorm_embedding, self.layer_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> BaseModelOutput:
        """(B, S, D) of embeddings (B, S, D + PLACE); `attention_mask` BS is 0 on padding."""
        image_BS, row_BS, column_BS = inputs_embeds[..., self.width :].long().unbind(-1)
        patch_BS = image_BS > 0
        word_BS = (~patch_BS).cumsum(1).sub(1).clamp(min=0)
        place_BSD = torch.where(
            patch_BS[..., None],
            self.embed_patches(row_BS * self.side + column_BS),
            self.embed_words(word_BS),
        )
        x_BSD = self.layernorm_embedding(inputs_embeds[..., : self.width] + place_BSD)
        down_BSS = row_BS[:, :, None] - row_BS[:, None] + self.side - 1
        right_BSS = column_BS[:, :, None] - column_BS[:, None] + self.side - 1
        one_BSS = (image_BS[:, :, None] == image_BS[:, None]) & patch_BS[:, None]
        for layer in self.layers:
            x_BSD = layer(x_BSD, down_BSS, right_BSS, one_BSS, attention_mask.bool())
        return BaseModelOutput(last_hidden_state=self.layer_norm(x_BSD))


class PrefixModel(MBartPreTrainedModel, GenerationMixin):
    """That encoder, mBART's decoder, and the words' embedding as its output layer."""

    config_class = PrefixConfig
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "lm_head.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    }

    def __init__(self, config: PrefixConfig) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = PrefixEncoder(config)
        self.decoder = MBartDecoder(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_encoder(self, modality: Any = None) -> PrefixEncoder:
        return self.encoder

    def get_decoder(self) -> MBartDecoder:
        return self.decoder

    def get_input_embeddings(self) -> nn.Embedding:
        return self.shared

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head


AutoConfig.register(PrefixConfig.model_type, PrefixConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(PrefixConfig, PrefixModel, exist_ok=True)


class SimVlm(Spliced):
    """stem → linear layer → encoder–decoder.

    Objectives: "prefix_lm" (the words before a random place are read, those after it learned, whoever said
    them) and "lm" (what comes before an answer is read, the answer learned). Either loss is named "lm": a
    mean over learned ids, as the loop weighs it.
    """

    family = "simvlm"

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("lm",),
    ) -> batching.Sequence:
        """As `Spliced.encode`. Where "prefix_lm" cuts a text depends on the example's id alone, so that a
        run that was broken goes on exactly; the same example is cut at the same place each time it comes.
        Raises InputError for an image with no words behind it."""
        if "prefix_lm" not in objectives:
            return super().encode(example, template, objectives)
        found = super().encode(example, template, ("lm",))
        image = self.prompter.image_id
        least = max((at + 1 for at, token in enumerate(found.ids) if token == image), default=1)
        if least >= len(found.ids):
            raise InputError(
                f"Example {example.id} has no words behind its image, so there is nothing to learn from "
                "its prefix. Put the image first."
            )
        cut = least + int(Random(f"{example.id}-prefix").random() * (len(found.ids) - least))
        return replace(found, labels=[IGNORE] * cut + found.ids[cut:])

    def forward(
        self, batch: Batch, objectives: Collection[str] = ("prefix_lm",)
    ) -> dict[str, Tensor]:
        """The mean loss of what is labelled, under the name "lm"."""
        return super().forward(
            batch, ["lm" if objective == "prefix_lm" else objective for objective in objectives]
        )

    def embed(self, ids_BT: Tensor, images_IMD: Tensor | None) -> Tensor:
        """Embeddings (B, T, D + PLACE) of a text with its images in place, and where each patch lies."""
        embeds_BTD = super().embed(ids_BT, images_IMD)
        patch_BT = ids_BT == self.prompter.image_id
        nth_BT = patch_BT.cumsum(1) - 1
        count, side = self.prompter.image_tokens, self.language.config.side
        within_BT = nth_BT % count
        place_BT3 = torch.stack([nth_BT // count + 1, within_BT // side, within_BT % side], dim=-1)
        place_BT3 = place_BT3.masked_fill(~patch_BT[..., None], 0)
        return torch.cat([embeds_BTD, place_BT3.to(embeds_BTD.dtype)], dim=-1)


def build(parts: dict[str, Any], tokenizer: Any, **arguments: Any) -> SimVlm:
    """The family from its parts, as a checkpoint names them."""
    return SimVlm(parts["tower"], parts["connector"], parts["language"], tokenizer, **arguments)


def new(
    tokenizer: Any,
    stem: Tower,
    width: int,
    layers: int,
    heads: int,
    hidden: int,
    context: int = 512,
    dropout: float = 0.0,
    attention: str | None = None,
) -> SimVlm:
    """A model from nothing: as many layers in the encoder as in the decoder. `context` is how many words
    either of them takes; `hidden` the width of the feed-forwards. The tokenizer's chat template becomes
    `READ_AND_WRITE`."""
    tokenizer.chat_template = READ_AND_WRITE
    add_image_token(tokenizer)
    config = configured(
        len(tokenizer),
        round(stem.tokens**0.5),
        width,
        layers,
        heads,
        hidden,
        context,
        dropout,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        forced_eos_token_id=None,
    )
    language = Seq2Seq(PrefixModel(config), attention)
    return SimVlm(stem, Linear(stem.width, width), language, tokenizer)


def configured(
    vocabulary: int,
    side: int,
    width: int,
    layers: int,
    heads: int,
    hidden: int,
    context: int = 512,
    dropout: float = 0.0,
    **ids: int | None,
) -> PrefixConfig:
    """The encoder–decoder's settings; `side` is how many patches a row has, `ids` those of control tokens."""
    return PrefixConfig(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=hidden,
        decoder_ffn_dim=hidden,
        max_position_embeddings=context,
        dropout=dropout,
        side=side,
        **ids,
    )


SIZES: dict[str, dict[str, Any]] = {
    "base": {"width": 768, "layers": 12, "heads": 12, "hidden": 3072},
    "large": {"width": 1024, "layers": 24, "heads": 16, "hidden": 4096},
    "huge": {"width": 1280, "layers": 32, "heads": 16, "hidden": 5120},
}
"""Section 4.1 follows ViT's three sizes. Recalled, as are the depths of the stems: nothing was released to
hold them to."""
STEMS: dict[str, tuple[int, ...]] = {"base": (3, 4, 23), "large": (3, 4, 23), "huge": (3, 8, 36)}
"""ResNet-101 for base and large, ResNet-152 for huge."""


def simvlm_base(tokenizer: str = "google-t5/t5-small") -> SimVlm:
    """SimVLM-base before training: 224 px, 196 patches. Neither weights nor vocabulary were released; T5's
    has the published 32,000 pieces."""
    return _published("base", tokenizer)


def simvlm_large(tokenizer: str = "google-t5/t5-small") -> SimVlm:
    """SimVLM-large before training."""
    return _published("large", tokenizer)


def simvlm_huge(tokenizer: str = "google-t5/t5-small") -> SimVlm:
    """SimVLM-huge before training."""
    return _published("huge", tokenizer)


def _published(size: str, tokenizer: str) -> SimVlm:
    from transformers import AutoTokenizer

    return new(
        AutoTokenizer.from_pretrained(tokenizer), ConvStem(depths=STEMS[size]), **SIZES[size]
    )
