"""PaLI (arXiv 2209.06794): all tokens of a vision transformer, through one matrix, and a query are read by an
encoder; a decoder writes the answer. Captions, questions, reading and translating are all image + query → text."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from looksay.errors import InputError
from looksay.models.connectors import Linear
from looksay.models.prompting import add_image_token
from looksay.models.seq2seq import READ_AND_WRITE, Seq2Seq
from looksay.models.spliced import Spliced
from looksay.models.vision import TransformersTower

OPEN_TOWER = "google/siglip-so400m-patch14-224"
"""Stands where the paper has ViT-G or ViT-e, which Google has not released: as many patches of as many pixels."""


class Pali(Spliced):
    """tower → linear layer → encoder–decoder (mT5)."""

    family = "pali"


def build(parts: dict[str, Any], tokenizer: Any, **arguments: Any) -> Pali:
    """The family from its parts, as a checkpoint names them."""
    return Pali(parts["tower"], parts["connector"], parts["language"], tokenizer, **arguments)


def pali_3b(
    tower: str = OPEN_TOWER, language: str = "google/mt5-large", dtype: str = "auto"
) -> Pali:
    """PaLI-3B before training: 224 px, mT5-Large. The paper's tower is ViT-G."""
    from transformers import AutoTokenizer

    seeing = TransformersTower.from_folder(tower, layer=None, drop_cls=True, fit="stretch")
    writing = Seq2Seq.from_folder(language, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(language)
    tokenizer.chat_template = READ_AND_WRITE
    add_image_token(tokenizer)
    return Pali(seeing, Linear(seeing.width, writing.width), writing, tokenizer)


def pali_15b(
    tower: str = OPEN_TOWER, language: str = "google/mt5-xxl", dtype: str = "auto"
) -> Pali:
    """PaLI-15B before training: mT5-XXL. The paper's tower is ViT-G."""
    return pali_3b(tower, language, dtype)


def pali_17b(
    tower: str = OPEN_TOWER, language: str = "google/mt5-xxl", dtype: str = "auto"
) -> Pali:
    """PaLI-17B before training: mT5-XXL. The paper's tower is ViT-e."""
    return pali_3b(tower, language, dtype)


def enlarged(model: Pali, side_px: int) -> Pali:
    """The same model for larger pictures (section 3.3: 224 to 588 px): more patches of the same size, their
    positions in the tower resampled (bicubic). All other weights are shared with `model`, not copied.

    Raises InputError where the side does not divide into patches, and for towers that are not transformers'.
    """
    tower = model.tower
    if not isinstance(tower, TransformersTower):
        raise InputError(
            f"The tower {type(tower).__name__} has one size of picture. Only towers of transformers grow."
        )
    patch_px = int(tower.model.config.patch_size)
    if side_px % patch_px:
        raise InputError(
            f"Pictures of {side_px} px do not divide into patches of {patch_px} px. Choose a multiple of "
            f"{patch_px}."
        )
    arguments = tower.arguments
    grown = TransformersTower.from_arguments(
        **{**arguments, "config": {**arguments["config"], "image_size": side_px}}
    )
    own, weights = grown.state_dict(), tower.state_dict()
    for name, value in weights.items():
        if value.shape != own[name].shape:
            weights[name] = _resampled(value, tower.leading, side_px // patch_px)
    grown.load_state_dict(weights, assign=True)
    arguments = {"template": model.template, "image_token": model.image_token}
    bigger = Pali(grown, model.connector, model.language, model.tokenizer, **arguments)
    bigger.train(model.training)
    return bigger


def _resampled(places: Tensor, leading: int, side: int) -> Tensor:
    """A table of positions ND (or 1ND), its first `leading` for tokens that are no patches, for side × side."""
    table_ND = places.reshape(-1, places.shape[-1])
    kept_ND, grid_ND = table_ND[:leading], table_ND[leading:]
    before = round(len(grid_ND) ** 0.5)
    grid_1DHW = grid_ND.float().unflatten(0, (before, before)).permute(2, 0, 1)[None]
    wide = F.interpolate(grid_1DHW, size=(side, side), mode="bicubic", align_corners=False)
    grown_ND = wide[0].permute(1, 2, 0).flatten(0, 1).to(places.dtype)
    return torch.cat([kept_ND, grown_ND]).reshape(*places.shape[:-2], -1, places.shape[-1])
