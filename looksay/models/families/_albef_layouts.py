"""The released layout of ALBEF's weights (ALBEF.pth and what was fine-tuned from it), and its parts before training.

`visual_encoder.…` is timm's ViT; `text_encoder.bert.…` (fine-tuned: without `bert.`) twelve layers of BERT, six
of each half; `text_encoder.cls.…` the output layer; names with `_m` the slow copies; `image_queue`, `text_queue`,
`idx_queue` and `queue_ptr` the queues; `text_decoder.…` the decoder for answers.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.answering import BertLM, add_bert_tokens
from looksay.models.families._blip_layouts import text_key
from looksay.models.families.albef import QUEUE, Albef
from looksay.models.fusion import Bert
from looksay.models.pairing import Pairing
from looksay.models.vision import CLIP_MEAN, CLIP_STD, TransformersTower, new_model

HALF = 6
"""Layers that read; those from here on fuse (config_bert.json: fusion_layer)."""
_VIT = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.(\d+)\.norm1\.", r"layers.\1.layernorm_before."),
    (r"^blocks\.(\d+)\.norm2\.", r"layers.\1.layernorm_after."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"layers.\1.attention.o_proj."),
    (r"^blocks\.(\d+)\.attn\.qkv\.", r"layers.\1.attention.{}_proj."),
    (r"^blocks\.(\d+)\.mlp\.", r"layers.\1.mlp."),
)
_HEAD = {
    "cls.predictions.transform.dense.": "head.dense.",
    "cls.predictions.transform.LayerNorm.": "head.norm.",
    "cls.predictions.": "head.",
}
_PAIRING = {
    "vision_proj": "pairing.images.project",
    "text_proj": "pairing.texts",
    "itm_head": "pairing.matches",
}
_REPEATED = ("position_ids", "predictions.decoder.weight", "predictions.decoder.bias")


def translated(state: Mapping[str, Tensor], half: int = HALF) -> dict[str, Tensor]:
    """Weights of the released layout under the names of `Albef`'s. Unknown ones keep their names.

    Each text is of BERT's first kind (token_type_ids 0), so that row is added to the positions.
    """
    found = {
        ours: part for name, value in state.items() for ours, part in _renamed(name, value, half)
    }
    for name, value in state.items():
        if name.endswith("embeddings.token_type_embeddings.weight"):
            place = name.replace("token_type_embeddings", "position_embeddings")
            ((ours, _),) = _renamed(place, value, half)
            found[ours] = found[ours] + value[0]
    return found


def _renamed(name: str, value: Tensor, half: int) -> list[tuple[str, Tensor]]:
    slow = re.match(r"(\w+?)_m\.", name)
    if slow:
        fast = name.replace(f"{slow[1]}_m.", f"{slow[1]}.", 1)
        return [(_slow(ours), part) for ours, part in _renamed(fast, value, half)]
    part, _, rest = name.partition(".")
    if name.endswith((*_REPEATED, "token_type_embeddings.weight")):
        return []
    if part == "visual_encoder":
        return [(f"tower.model.{ours}", piece) for ours, piece in _vit(rest, value)]
    if part in ("text_encoder", "text_decoder"):
        ours = _text(rest, "decoder" if part == "text_decoder" else "text", half)
        return [] if ours is None else [(ours, value)]
    if part in _PAIRING:
        return [(f"{_PAIRING[part]}.{rest}", value)]
    contrast = "pairing.contrast"
    if name == "temp":
        return [(f"{contrast}.temperature", value)]
    if name in ("image_queue", "text_queue"):
        return [(f"{contrast}.{name.split('_')[0]}s.features_KD", value.T.contiguous())]
    if name == "idx_queue":
        return [(f"{contrast}.{kind}.ids_K", value.flatten()) for kind in ("images", "texts")]
    if name == "queue_ptr":
        return [(f"{contrast}.{kind}.place", value.reshape(())) for kind in ("images", "texts")]
    return [(name, value)]


def _vit(name: str, value: Tensor) -> list[tuple[str, Tensor]]:
    for pattern, ours in _VIT:
        name = re.sub(pattern, ours, name)
    if "{}" in name:
        return [
            (name.format(kind), piece) for kind, piece in zip("qkv", value.chunk(3), strict=True)
        ]
    return [(name, value)]


def _text(name: str, part: str, half: int) -> str | None:
    for theirs, ours in _HEAD.items():
        if name.startswith(theirs):
            return f"{part}.{ours}{name.removeprefix(theirs)}"
    key = text_key(name.removeprefix("bert."))
    layer = re.match(r"bert\.blocks\.(\d+)\.(.*)", key or "")
    if layer and part == "text" and int(layer[1]) >= half:
        return f"fusion.blocks.{int(layer[1]) - half}.{layer[2]}"
    return None if key is None else f"{part}.{key}"


def _slow(name: str) -> str:
    """The buffer of `Momentum` that is the slow copy of a weight."""
    part, _, rest = name.removeprefix("pairing.").partition(".")
    return f"momentum.{part}_{rest.replace('.', '_')}"


def from_released(
    weights: Path | str | Mapping[str, Tensor], tokenizer: Any, size_px: int = 256, heads: int = 12
) -> Albef:
    """ALBEF from a released file (ALBEF.pth and the fine-tuned ones), or its state dict.

    `tokenizer` is that of google-bert/bert-base-uncased. Geometry is read from the weights, heads excepted;
    positions are interpolated to `size_px`. What a file does not hold (the output layer of one for retrieval,
    slow copies) is new, or begins as a copy. Raises InputError where it holds something else.
    """
    state = checkpoint.read_saved(weights) if isinstance(weights, str | Path) else weights
    where = str(weights) if isinstance(weights, str | Path) else "the state dict"
    if "visual_encoder.pos_embed" not in state:
        raise InputError(
            f"{where} holds no weight visual_encoder.pos_embed, so it is no ALBEF of salesforce/ALBEF "
            f"(found {len(state)} weights, such as {', '.join(list(state)[:3])})."
        )
    layers = len(
        {
            name.split(".layer.")[1].split(".")[0]
            for name in state
            if ".layer." in name and name.startswith("text_encoder.")
        }
    )
    found = translated(state, layers // 2)
    patch_px = state["visual_encoder.patch_embed.proj.weight"].shape[-1]
    for name, value in found.items():
        if name.endswith("embeddings_position_embeddings") or name == _PLACES:
            found[name] = resized(value, (size_px // patch_px) ** 2)
    model = _like(found, tokenizer, size_px, patch_px, heads)
    model.momentum.update()  # slow copies that the file lacks begin as copies
    result = model.load_state_dict(found, strict=False)
    new = ("tower.model.pooler.", "momentum.", "text.head.", "pairing.", "answered")
    missing = [name for name in result.missing_keys if not name.startswith(new)]
    if missing or result.unexpected_keys:
        raise InputError(
            f"{where}: the weights do not fit ALBEF: {len(missing)} are missing ({', '.join(missing[:3])}), "
            f"{len(result.unexpected_keys)} are unknown ({', '.join(result.unexpected_keys[:3])})."
        )
    if model.decoder is not None:
        model.answered += 1
    return cast(Albef, model.eval())


_PLACES = "tower.model.embeddings.position_embeddings"


def _like(
    found: Mapping[str, Tensor], tokenizer: Any, size_px: int, patch_px: int, heads: int
) -> Albef:
    """A new model with the geometry of these weights."""
    from transformers import ViTConfig

    def count(prefix: str) -> int:
        return len({n.removeprefix(prefix).split(".")[0] for n in found if n.startswith(prefix)})

    seen = found["tower.model.layernorm.weight"].shape[0]
    vision = ViTConfig(
        hidden_size=seen,
        intermediate_size=found["tower.model.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=count("tower.model.layers."),
        num_attention_heads=heads,
        image_size=size_px,
        patch_size=patch_px,
        layer_norm_eps=1e-6,
    )
    vocabulary, width = found["text.bert.words.weight"].shape
    common: dict[str, Any] = {
        "width": width,
        "heads": heads,
        "inner": found["text.bert.blocks.0.feed.up.weight"].shape[0],
        "positions": found["text.bert.places.weight"].shape[0],
        "dropout": 0.1,
    }
    fusing, deciding = count("fusion.blocks."), count("decoder.bert.blocks.")
    decoder = None
    if deciding:
        every = tuple(range(deciding))
        decoder = BertLM(vocabulary, layers=deciding, width_in=width, cross=every, **common)
    queue = found.get("pairing.contrast.images.features_KD")
    joint = found.get("pairing.texts.weight")
    return Albef(
        TransformersTower(new_model(vision), layer=None, drop_cls=False, fit="stretch"),
        BertLM(vocabulary, layers=count("text.bert.blocks."), **common),
        Bert(0, layers=fusing, width_in=seen, cross=tuple(range(fusing)), **common),
        Pairing(
            seen,
            width,
            256 if joint is None else joint.shape[0],
            QUEUE if queue is None else len(queue),
        ),
        tokenizer,
        decoder,
    )


def from_parts(tower: str, text: str, size_px: int, queue: int, **arguments: Any) -> Albef:
    """ALBEF before training, from a ViT and a BERT (folders or names on the hub). What looks at pictures in the
    fusion half, the projections and the decoder are new."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    bert: Any = AutoModelForMaskedLM.from_pretrained(text)
    config = bert.config
    half = config.num_hidden_layers // 2
    seeing = _at_size(
        TransformersTower.from_folder(
            tower, layer=None, drop_cls=False, fit="stretch", mean_rgb=CLIP_MEAN, std_rgb=CLIP_STD
        ),
        size_px,
    )
    tokenizer = add_bert_tokens(AutoTokenizer.from_pretrained(text))
    common: dict[str, Any] = {
        "width": config.hidden_size,
        "layers": half,
        "heads": config.num_attention_heads,
        "inner": config.intermediate_size,
        "positions": config.max_position_embeddings,
        "dropout": config.hidden_dropout_prob,
    }
    every = tuple(range(half))
    reading = BertLM(config.vocab_size, **common)
    fusing = Bert(0, width_in=seeing.width, cross=every, **common)
    known = {f"text_encoder.{name}": value for name, value in bert.state_dict().items()}
    found = translated(known, half)
    for part, prefix in ((reading, "text."), (fusing, "fusion.")):
        own = {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)}
        part.load_state_dict(own, strict=False)
    return Albef(
        seeing,
        reading,
        fusing,
        Pairing(seeing.width, config.hidden_size, queue=queue),
        tokenizer,
        BertLM(config.vocab_size, width_in=config.hidden_size, cross=every, **common),
        **arguments,
    )


def _at_size(tower: TransformersTower, size_px: int) -> TransformersTower:
    """The same ViT for pictures of another size: its positions are interpolated."""
    config = copy.deepcopy(tower.model.config)
    config.image_size = size_px
    model = new_model(config)
    state = tower.model.state_dict()
    places = "embeddings.position_embeddings"
    state[places] = resized(state[places], (size_px // int(config.patch_size)) ** 2)
    model.load_state_dict(state)
    return TransformersTower(model, **{k: v for k, v in tower.arguments.items() if k != "config"})


def resized(places_1ND: Tensor, patches: int) -> Tensor:
    """A ViT's learned positions (class token first) for another number of patches of a square (bicubic)."""
    first, rest = places_1ND[:, :1], places_1ND[:, 1:]
    if rest.shape[1] == patches:
        return places_1ND
    old, new = math.isqrt(rest.shape[1]), math.isqrt(patches)
    grid_1DRC = rest.transpose(1, 2).unflatten(2, (old, old))
    grid_1DRC = F.interpolate(grid_1DRC, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([first, grid_1DRC.flatten(2).transpose(1, 2)], dim=1)
