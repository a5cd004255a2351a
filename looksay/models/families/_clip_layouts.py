"""Released dual encoders: CLIP and SigLIP as transformers saves them, and the state dict of OpenAI's code and of
open_clip.

In the latter a block's three projections of attention are one matrix (`attn.in_proj_weight`, rows of queries,
keys, values in this order), projections into the common space stand the other way round (`visual.proj`: width ×
embedding), and the encoder of texts has no prefix (`transformer.resblocks.…`, `positional_embedding`).
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.families.clip import Clip, Heads, PooledTower, TextTower
from looksay.models.vision import CLIP_MEAN, CLIP_STD, Fit, new_model

OPEN_CLIP = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_ROOT = {
    "logit_scale": "heads.log_scale",
    "logit_bias": "heads.bias",
    "visual.proj": "heads.images.weight",
    "text_projection": "heads.texts.weight",
    "positional_embedding": "text.model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text.model.embeddings.token_embedding.weight",
    "visual.class_embedding": "tower.model.embeddings.class_embedding",
    "visual.positional_embedding": "tower.model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "tower.model.embeddings.patch_embedding.weight",
}
_NORMS = {
    "ln_final": "text.model.final_layer_norm",
    "visual.ln_pre": "tower.model.pre_layrnorm",
    "visual.ln_post": "tower.model.post_layernorm",
}
_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_CONVERT = (
    "What OpenAI released lies on the hub as such: from_folder('openai/clip-vit-base-patch32'). A file of your own "
    "that you trust, open_clip converts; in Python, with the name of its architecture: import open_clip; "
    "from open_clip.push_to_hf_hub import save_for_hf; name = 'ViT-B-32-quickgelu'; "
    "save_for_hf(open_clip.create_model(name, pretrained={file!r}, load_weights_only=False), "
    "open_clip.HFTokenizer('openai/clip-vit-base-patch32'), open_clip.get_model_config(name), 'FOLDER', True)"
)
_TURNED = ("visual.proj", "text_projection")
_SETTINGS = frozenset({"input_resolution", "context_length", "vocab_size", "attn_mask"})
"""What OpenAI's files hold besides weights."""


def from_folder(
    folder: Path | str, tokenizer: Any = None, dtype: torch.dtype | None = None
) -> Clip:
    """A released model from a folder, or by its name on the hub (transformers' layout alone).

    `tokenizer`: one, or where it is to be had; None: the folder's own. Raises InputError where the folder holds
    none of the layouts, or weights that do not fit, and for a file by itself such as OpenAI's.
    """
    if file := _alone(Path(folder)):
        raise InputError(_bare(file))
    if (Path(folder) / OPEN_CLIP).is_file():
        return from_open_clip(folder, tokenizer, dtype)
    return from_transformers(folder, tokenizer, dtype)


def _alone(path: Path) -> Path | None:
    """A file of weights without a configuration: `path`, or a .pt in that folder."""
    if path.is_file():
        return path
    described = any((path / name).is_file() for name in (OPEN_CLIP, "config.json"))
    return None if described else next(iter(sorted(path.glob("*.pt"))), None)


def _bare(file: Path) -> str:
    """What is wrong with a file of weights by itself, and what to do."""
    found = (
        "a TorchScript archive, which is a program"
        if _is_program(file)
        else "a file of weights alone"
    )
    return (
        f"{file} is {found}. Expected a folder with safetensors in the layout of transformers or of open_clip. "
        + _CONVERT.format(file=str(file))
    )


def _is_program(file: Path) -> bool:
    """Whether it is TorchScript, which holds its code beside its weights."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def from_transformers(
    folder: Path | str, tokenizer: Any = None, dtype: torch.dtype | None = None
) -> Clip:
    """CLIPModel or SiglipModel (folder or name on the hub)."""
    from transformers import AutoConfig, AutoModel

    try:
        config: Any = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds neither a transformers checkpoint nor {OPEN_CLIP}: {error}"
        ) from error
    if config.model_type not in ("clip", "siglip"):
        raise InputError(f"{folder} is of type {config.model_type}; expected clip or siglip.")
    found, report = AutoModel.from_pretrained(
        folder, dtype=dtype or torch.float32, output_loading_info=True
    )
    if lacking := sorted(report["missing_keys"]):
        raise InputError(
            f"{folder}: {len(lacking)} weights are missing, {lacking[0]} among them; expected all of "
            f"{type(found).__name__}'s."
        )
    projects = config.model_type == "clip"
    mean, std = _normalisation(folder, (CLIP_MEAN, CLIP_STD) if projects else ((0.5,) * 3,) * 2)
    tower = PooledTower(
        found.vision_model, fit="crop" if projects else "stretch", mean_rgb=mean, std_rgb=std
    )
    text = TextTower(found.text_model, whole=not projects, pad_id=0 if projects else 1)
    heads = Heads(
        tower.width,
        text.width,
        config.projection_dim if projects else None,
        "softmax" if projects else "sigmoid",
    )
    with torch.no_grad():
        heads.log_scale.copy_(found.logit_scale.reshape(1))
        if heads.bias is not None:
            heads.bias.copy_(found.logit_bias.reshape(1))
        if projects:
            cast(Any, heads.images).weight.copy_(found.visual_projection.weight)
            cast(Any, heads.texts).weight.copy_(found.text_projection.weight)
    model = Clip(tower, text, heads, _tokenizer(tokenizer, folder))
    if model.text.whole and model.tokenizer.pad_token_id is not None:
        model.text.pad_id = int(model.tokenizer.pad_token_id)
    return cast(Clip, checkpoint.moved(model, "cpu", dtype).eval())


def from_open_clip(
    folder: Path | str, tokenizer: Any = None, dtype: torch.dtype | None = None
) -> Clip:
    """A folder with open_clip_config.json and weights beside it, of a ViT and a causal encoder of texts.

    Raises InputError for other architectures (timm towers, other poolings)."""
    from accelerate import init_empty_weights
    from transformers import CLIPTextConfig, CLIPVisionConfig

    folder = Path(folder)
    try:
        content = json.loads((folder / OPEN_CLIP).read_text("utf-8"))
        whole, prepared = content["model_cfg"], content.get("preprocess_cfg", {})
        seeing, reading, width = whole["vision_cfg"], whole["text_cfg"], whole["embed_dim"]
        layers, breadth = seeing["layers"], seeing["width"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder / OPEN_CLIP} describes no ViT of open_clip: {error!r}"
        ) from error
    _known(folder, "vision_cfg", seeing, _SEEING)
    _known(folder, "text_cfg", reading, _READING)
    tensors = state_of(next((folder / n for n in _WEIGHTS if (folder / n).is_file()), folder))
    activation = "quick_gelu" if whole.get("quick_gelu") else "gelu"
    text_width = reading.get("width", 512)
    with init_empty_weights(include_buffers=False):
        tower = PooledTower(
            new_model(
                CLIPVisionConfig(
                    hidden_size=breadth,
                    intermediate_size=int(breadth * seeing.get("mlp_ratio", 4.0)),
                    num_hidden_layers=layers,
                    num_attention_heads=breadth // seeing.get("head_width", 64),
                    image_size=seeing["image_size"],
                    patch_size=seeing["patch_size"],
                    hidden_act=activation,
                )
            ),
            fit=_FITS.get(prepared.get("resize_mode", "shortest"), "crop"),
            mean_rgb=tuple(prepared.get("mean", CLIP_MEAN)),
            std_rgb=tuple(prepared.get("std", CLIP_STD)),
        )
        text = TextTower(
            new_model(
                CLIPTextConfig(
                    vocab_size=reading.get("vocab_size", 49_408),
                    hidden_size=text_width,
                    intermediate_size=int(text_width * reading.get("mlp_ratio", 4.0)),
                    num_hidden_layers=reading.get("layers", 12),
                    num_attention_heads=reading.get("heads", 8),
                    max_position_embeddings=reading.get("context_length", 77),
                    hidden_act=activation,
                    eos_token_id=reading.get("vocab_size", 49_408) - 1,
                )
            )
        )
        sigmoid = "logit_bias" in tensors
        heads = Heads(breadth, text_width, width, "sigmoid" if sigmoid else "softmax")
    model = Clip(tower, text, heads, _tokenizer(tokenizer, folder))
    checkpoint.fill(model, open_clip_weights(tensors), str(folder))
    return cast(Clip, checkpoint.moved(model, "cpu", dtype or torch.float32).eval())


def state_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a file: safetensors, a state dict, or a checkpoint of open_clip's training. Nothing but
    tensors is unpickled."""

    if path.is_dir():
        raise InputError(f"{path} holds no weights of open_clip; expected {' or '.join(_WEIGHTS)}.")
    if _is_program(path):
        raise InputError(_bare(path))
    if path.suffix == ".safetensors":
        return dict(checkpoint.read_file(path))
    return checkpoint.read_saved(path, "state_dict")


def open_clip_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of OpenAI's code or of open_clip under the names of `Clip`. Raises InputError for names of another
    architecture."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        bare = name.removeprefix(
            "text."
        )  # where open_clip was told to build the text encoder apart
        if bare in _SETTINGS:
            continue
        if bare in _ROOT:
            value = value.T if bare in _TURNED else value
            found[_ROOT[bare]] = value.reshape(1) if bare.startswith("logit_") else value
            continue
        stem, _, kind = bare.rpartition(".")
        if stem in _NORMS:
            found[f"{_NORMS[stem]}.{kind}"] = value
            continue
        match = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)", bare)
        if match is None:
            raise InputError(
                f"The weights have {name!r}, which no ViT of CLIP has; expected such as "
                "visual.transformer.resblocks.0.attn.in_proj_weight. ResNets and timm towers are not read."
            )
        side = "tower" if match[1] else "text"
        block = f"{side}.model.encoder.layers.{match[2]}"
        if match[3].startswith("attn.in_proj_"):
            kind = match[3].removeprefix("attn.in_proj_")
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                found[f"{block}.self_attn.{part}_proj.{kind}"] = rows
            continue
        stem, _, kind = match[3].rpartition(".")
        found[f"{block}.{_BLOCK.get(stem, stem)}.{kind}"] = value
    return found


_FITS: dict[str, Fit] = {"shortest": "crop", "squash": "stretch", "longest": "pad"}
_SEEING = {"layers", "width", "patch_size", "image_size", "head_width", "mlp_ratio"}
_READING = {
    "context_length",
    "vocab_size",
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "hf_tokenizer_name",
    "tokenizer_kwargs",
}
_USUAL = (None, False, "tok", "argmax", 0, 0.0)
"""Values that change nothing: of settings that a plain ViT does not have, and the poolings that it has."""


def _known(folder: Path, what: str, found: Mapping[str, Any], known: Iterable[str]) -> None:
    odd = {k: v for k, v in found.items() if k not in known and v not in _USUAL}
    if odd:
        name, value = next(iter(odd.items()))
        raise InputError(
            f"{folder / OPEN_CLIP}: {what} has {name}={value!r}, which makes it another architecture than CLIP's. "
            f"Read are {', '.join(sorted(known))}."
        )


def _tokenizer(given: Any, folder: Path | str) -> Any:
    from transformers import AutoTokenizer

    if given is not None and not isinstance(given, str | Path):
        return given
    try:
        return AutoTokenizer.from_pretrained(folder if given is None else given)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} has no tokenizer beside it ({error}). Name one: "
            "from_folder(folder, tokenizer='openai/clip-vit-base-patch32')."
        ) from error


def _normalisation(
    folder: Path | str, usual: tuple[tuple[float, ...], tuple[float, ...]]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from transformers.utils import cached_file

    path = cached_file(
        str(folder), "preprocessor_config.json", _raise_exceptions_for_missing_entries=False
    )
    found = json.loads(Path(path).read_text("utf-8")) if path is not None else {}
    return tuple(found.get("image_mean", usual[0])), tuple(found.get("image_std", usual[1]))
