"""CLIP (arXiv 2103.00020) and SigLIP (2303.15343): an encoder of pictures and one of texts that put what belongs
together close to each other, learned from pairs alone.

Shapes: B rows, T ids in a row, I images, N features per image, K classes, D width.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import batching
from looksay.models.batching import Batch, pad
from looksay.models.configs import config_from_json, config_to_json
from looksay.models.contrastive import anywhere_and_much, clip_loss, siglip_loss
from looksay.models.decoding import resting
from looksay.models.fingerprint import fingerprint
from looksay.models.pairs import encode_pair, framed, one_per_row, pictures_alone
from looksay.models.vision import TransformersTower, new_model, pixels_of, recogniser
from looksay.types import Example, Image

Loss = Literal["softmax", "sigmoid"]
LARGEST_SCALE = math.log(100)
"""Of the logarithm of what similarities are multiplied with (section 2.5)."""


class PooledTower(TransformersTower):
    """A vision transformer read where it sums a picture up itself: CLIP's class token after its last norm, SigLIP's
    attention over all patches. One feature per image."""

    def __init__(self, model: nn.Module, **arguments: Any) -> None:
        super().__init__(model, **{"fit": "crop", **arguments, "layer": None, "drop_cls": False})
        self.tokens = 1

    def forward(self, pixels_ICHW: Tensor) -> Tensor:
        """(I, 1, D)."""
        pixels_ICHW = pixels_ICHW.to(next(self.model.parameters()).dtype)
        return cast(Tensor, self.model(pixels_ICHW).pooler_output[:, None])


class TextTower(nn.Module):
    """A text encoder of transformers. A text is summed up by its last id's state, or (`whole`: SigLIP) by that of
    the last of all places that the model has: those behind the text hold `pad_id` and are read as well."""

    def __init__(
        self,
        model: nn.Module,
        whole: bool = False,
        pad_id: int = 0,
        attention: str | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.whole, self.pad_id, self.attention = whole, pad_id, attention
        config = self.model.config
        self.context = int(config.max_position_embeddings)
        self.vocabulary = int(config.vocab_size)
        self.width = int(config.projection_size if whole else config.hidden_size)
        if attention is not None:
            self.model.set_attn_implementation(attention)

    def forward(self, ids_BT: Tensor, seen_BT: Tensor) -> Tensor:
        """BD. `seen_BT` is False on padding, which may be on either side."""
        if self.whole:
            lengths_B = seen_BT.sum(1)
            filled_BT = ids_BT.new_full((len(ids_BT), self.context), self.pad_id)
            places_BT = torch.arange(self.context, device=ids_BT.device) < lengths_B[:, None]
            filled_BT[places_BT] = ids_BT[seen_BT]
            return cast(Tensor, self.model(input_ids=filled_BT).pooler_output)
        places_BT = (seen_BT.cumsum(1) - 1).clamp(min=0)
        states_BTD = self.model(
            input_ids=ids_BT, attention_mask=seen_BT.long(), position_ids=places_BT
        ).last_hidden_state
        last_B = (seen_BT * torch.arange(ids_BT.shape[1], device=ids_BT.device)).argmax(1)
        return cast(Tensor, states_BTD[torch.arange(len(ids_BT), device=ids_BT.device), last_B])

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.model)

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds this encoder without its weights (JSON)."""
        return {
            "config": config_to_json(self.model.config),
            "whole": self.whole,
            "pad_id": self.pad_id,
            "attention": self.attention,
        }

    @classmethod
    def from_arguments(cls, config: dict[str, Any], **arguments: Any) -> TextTower:
        return cls(new_model(config_from_json(config)), **arguments)


class Heads(nn.Module):
    """What joins the two encoders: a matrix each (`width` None: none, as in SigLIP), the scale of similarities, and
    with the loss "sigmoid" a bias.

    `pool` is for towers that give a feature per place: each goes through a layer of that width with GELU, and
    the matrix reads its maximum over all places (what is there) and its mean (how much of it). 0: the mean of
    the features themselves.
    """

    def __init__(
        self,
        width_images: int,
        width_texts: int,
        width: int | None,
        loss: Loss = "softmax",
        pool: int = 0,
    ) -> None:
        super().__init__()
        if loss not in ("softmax", "sigmoid"):
            raise InputError(f"There is no loss {loss!r} of CLIP; expected softmax or sigmoid.")
        self.width_images, self.width_texts, self.width = width_images, width_texts, width
        self.loss, self.pool = loss, pool
        self.layer = nn.Linear(width_images, pool) if pool else None
        if width is None:
            self.images: nn.Module = nn.Identity()
            self.texts: nn.Module = nn.Identity()
        else:
            self.images = nn.Linear(2 * pool or width_images, width, bias=False)
            self.texts = nn.Linear(width_texts, width, bias=False)
            for head in (self.images, self.texts):
                nn.init.normal_(head.weight, std=head.in_features**-0.5)
        # One number each, but not without a dimension: such a parameter cannot be sharded.
        start = math.log(1 / 0.07) if loss == "softmax" else math.log(10)
        self.log_scale = nn.Parameter(torch.full((1,), start))
        self.bias = nn.Parameter(torch.full((1,), -10.0)) if loss == "sigmoid" else None

    def image_rows(self, features_IND: Tensor) -> Tensor:
        """Embeddings ID of length 1."""
        features_IND = features_IND.to(
            self.log_scale.dtype
        )  # of a resting tower that is held narrower
        if self.layer is None:
            return _unit(self.images(features_IND.mean(1)))
        each_IND = F.gelu(self.layer(features_IND))
        return _unit(self.images(anywhere_and_much(each_IND)))

    def text_rows(self, states_BD: Tensor) -> Tensor:
        """Embeddings BD of length 1."""
        return _unit(self.texts(states_BD.to(self.log_scale.dtype)))

    def logits(self, images_ID: Tensor, texts_BD: Tensor) -> Tensor:
        """Scaled similarities IB."""
        logits_IB = self.log_scale.exp() * images_ID @ texts_BD.T
        return logits_IB if self.bias is None else logits_IB + self.bias


class Clip(nn.Module):
    """tower and text, and the heads that join them. Objectives: "itc"; "recognise" where the tower has it."""

    family = "clip"

    def __init__(self, tower: Any, text: Any, heads: Heads, tokenizer: Any) -> None:
        super().__init__()
        self.tower, self.text, self.heads, self.tokenizer = tower, text, heads, tokenizer
        for what, found, wanted in (
            ("tower's features", tower.width, heads.width_images),
            ("text encoder's states", text.width, heads.width_texts),
        ):
            if found != wanted:
                raise InputError(
                    f"The {what} are {found} wide, but the heads expect {wanted}. Build them as "
                    f"width_images={tower.width}, width_texts={text.width}."
                )
        if heads.width is None and tower.width != text.width:
            raise InputError(
                f"Without projections both encoders must be of one width; found {tower.width} and {text.width}."
            )
        if len(tokenizer) > text.vocabulary:
            raise InputError(
                f"The tokenizer has {len(tokenizer)} ids, the text encoder knows {text.vocabulary}. "
                "Load the tokenizer that it was trained with."
            )
        if tokenizer.eos_token_id is None:
            raise InputError(
                "The tokenizer has no end token, in whose place the text encoder sums a text up. "
                "Set tokenizer.eos_token."
            )
        # SigLIP's texts begin at once, and its tokenizer knows no token for that.
        self.start_id: int | None = None if text.whole else tokenizer.bos_token_id
        self.end_id: int = tokenizer.eos_token_id

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a stage can train, by name."""
        return {"tower": self.tower, "text": self.text, "heads": self.heads}

    @property
    def arguments(self) -> dict[str, Any]:
        return {}

    @property
    def device(self) -> torch.device:
        device: torch.device = self.heads.log_scale.device
        return device

    # -- learning

    def pixels(self, image: Image) -> Tensor:
        """An image as the tower wants it: CHW float32."""
        return pixels_of(image, self.tower)

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("itc",),
    ) -> batching.Sequence:
        """A picture and its caption; for "recognise" also what the tower learns from. `template` is not used.
        Raises InputError where the example is no pair."""
        if "itc" in objectives:
            found = encode_pair(
                example, self.tokenizer, self.pixels, self.start_id, self.end_id, self.text.context
            )
        else:
            found = pictures_alone(example, self.pixels)
        targets = dict(found.targets)
        if "recognise" in objectives:
            targets |= recogniser(self.tower).targets(example)
        return batching.Sequence(found.ids, found.labels, found.pixels, found.keys, targets)

    def forward(self, batch: Batch, objectives: Collection[str] = ("itc",)) -> dict[str, Tensor]:
        """Mean losses by objective; those of "recognise" are named "recognise/…"."""
        losses: dict[str, Tensor] = {}
        if "recognise" in objectives:
            found = recogniser(self.tower).losses(batch.pixels_ICHW, batch.targets)
            losses |= {f"recognise/{name}": loss for name, loss in found.items()}
        if "itc" in objectives:
            losses["itc"] = self._contrast(one_per_row(batch))
        return losses

    def _contrast(self, batch: Batch) -> Tensor:
        heads, pictures_B = self.heads, batch.targets["picture"]
        if self.training and heads.loss == "softmax":
            # In place: a limit within the graph would leave a scale beyond it without a gradient.
            with torch.no_grad():
                heads.log_scale.clamp_(max=LARGEST_SCALE)
        features_IND = batch.features_IND
        if features_IND is None:
            features_IND = self.tower(batch.pixels_ICHW)
        images_BD = heads.image_rows(features_IND)
        texts_BD = heads.text_rows(self.text(batch.ids_BT, batch.segments_BT > 0))
        # Similarities times 100 in bf16 would be wrong by more than what neighbours differ in.
        with torch.autocast(images_BD.device.type, enabled=False):
            scale = heads.log_scale.exp()
            if heads.bias is None:
                return clip_loss(images_BD, texts_BD, scale, pictures_B)
            return siglip_loss(images_BD, texts_BD, scale, heads.bias, pictures_B)

    # -- embedding, and what follows from it

    def embed_images(self, images: Sequence[Image]) -> Tensor:
        """Rows ID of length 1."""
        with resting(self):
            pixels_ICHW = torch.stack([self.pixels(image) for image in images]).to(self.device)
            return self.heads.image_rows(self.tower(pixels_ICHW))

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Rows BD of length 1. A text longer than the encoder reads is cut at its end."""
        ids = [
            framed(text, self.tokenizer, self.start_id, self.end_id, self.text.context)
            for text in texts
        ]
        batch = pad([batching.Sequence(one, one) for one in ids]).to(self.device)
        with resting(self):
            return self.heads.text_rows(self.text(batch.ids_BT, batch.segments_BT > 0))

    def scores(self, images: Sequence[Image], texts: Sequence[str]) -> Tensor:
        """How well each text fits each image, IB: scaled similarities, the logits of the loss. The largest of a row
        is the text that the image finds, the largest of a column the image that the text finds."""
        rows = self.embed_images(images), self.embed_texts(texts)
        with resting(self):
            return self.heads.logits(*rows)

    def classify(
        self,
        images: Sequence[Image],
        names: Sequence[str],
        templates: Sequence[str] = ("a photo of a {}.",),
    ) -> Tensor:
        """Probabilities IK of the classes, never trained on (section 3.1). A class is the mean of its name in all
        `templates`. With the loss "sigmoid" each is a probability by itself. Raises InputError where a template
        has no place for the name."""
        odd = [template for template in templates if "{}" not in template]
        if odd or not templates or not names:
            raise InputError(
                f"Classes are told by names in templates such as 'a photo of a {{}}.'; found {len(names)} names "
                f"and {odd[0]!r} without a place for one."
                if odd
                else f"Found {len(names)} names and {len(templates)} templates; expected one or more of both."
            )
        rows = [self.embed_texts([one.format(name) for one in templates]) for name in names]
        images_ID = self.embed_images(images)
        with resting(self):
            classes_KD = _unit(torch.stack([each_BD.mean(0) for each_BD in rows]))
            logits_IK = self.heads.logits(images_ID, classes_KD)
            return logits_IK.softmax(1) if self.heads.bias is None else logits_IK.sigmoid()


def build(parts: dict[str, Any], tokenizer: Any, **arguments: Any) -> Clip:
    """The family from its parts, as a checkpoint names them."""
    return Clip(parts["tower"], parts["text"], parts["heads"], tokenizer, **arguments)


def from_folder(folder: Path | str, **options: Any) -> Clip:
    """A released model: of transformers (CLIP, SigLIP) or of open_clip (`_clip_layouts`)."""
    from looksay.models.families import _clip_layouts

    return _clip_layouts.from_folder(folder, **options)


def vit_b32(tokenizer: Any = "openai/clip-vit-base-patch32", loss: Loss = "softmax") -> Clip:
    """ViT-B/32 before training: 224 px, 49 patches. `tokenizer`: CLIP's own, or where it is to be had."""
    return _vit(768, 12, 224, 32, 512, tokenizer, loss)


def vit_b16(tokenizer: Any = "openai/clip-vit-base-patch32", loss: Loss = "softmax") -> Clip:
    """ViT-B/16 before training: 224 px, 196 patches."""
    return _vit(768, 12, 224, 16, 512, tokenizer, loss)


def vit_l14(tokenizer: Any = "openai/clip-vit-base-patch32", loss: Loss = "softmax") -> Clip:
    """ViT-L/14 before training: 224 px, 256 patches."""
    return _vit(1024, 24, 224, 14, 768, tokenizer, loss)


def vit_l14_336(tokenizer: Any = "openai/clip-vit-base-patch32", loss: Loss = "softmax") -> Clip:
    """ViT-L/14 for 336 px, 576 patches; the paper's is the one of 224 px, trained for one more epoch."""
    return _vit(1024, 24, 336, 14, 768, tokenizer, loss)


def _vit(
    width: int,
    layers: int,
    size_px: int,
    patch_px: int,
    text_width: int,
    tokenizer: Any,
    loss: Loss,
) -> Clip:
    """Heads of 64 everywhere, texts of 77 ids in 12 layers, embeddings as wide as the text encoder."""
    from transformers import AutoTokenizer, CLIPTextConfig, CLIPVisionConfig

    if isinstance(tokenizer, str):
        tokenizer = AutoTokenizer.from_pretrained(tokenizer)
    seeing = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        image_size=size_px,
        patch_size=patch_px,
        projection_dim=text_width,
    )
    reading = CLIPTextConfig(
        vocab_size=49_408,
        hidden_size=text_width,
        intermediate_size=4 * text_width,
        num_hidden_layers=12,
        num_attention_heads=text_width // 64,
        max_position_embeddings=77,
        projection_dim=text_width,
        bos_token_id=49_406,
        eos_token_id=49_407,
    )
    heads = Heads(width, text_width, text_width, loss)
    return Clip(PooledTower(new_model(seeing)), TextTower(new_model(reading)), heads, tokenizer)


def _unit(rows_BD: Tensor) -> Tensor:
    return F.normalize(rows_BD.to(torch.promote_types(rows_BD.dtype, torch.float32)), dim=-1)
