"""Other layouts of LLaVA's weights: that of transformers, released or in memory, and the original projector.

Released (llava-hf/llava-1.5-7b-hf) and saved by 4.x: `language_model.model.…`, `language_model.lm_head.…`,
`multi_modal_projector.linear_1.…`, `vision_tower.vision_model.…`. In memory since 4.52, and in some
files: `model.language_model.…`, `lm_head.…`, `model.multi_modal_projector.…`, `model.vision_tower.…`;
since 5.0 the CLIP tower has lost its `vision_model.`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.connectors import MLP, Linear
from looksay.models.families._llava_chat import jinja
from looksay.models.families.llava import Llava
from looksay.models.language import Language
from looksay.models.prompting import add_image_token
from looksay.models.vision import CLIP_MEAN, CLIP_STD, Fit, TransformersTower

INNER_VISION = frozenset({"clip_vision_model", "siglip_vision_model"})
"""Towers whose released weights stand below `vision_model.`."""


def keys_from_transformers(names: list[str], tower: set[str], prefix: str) -> dict[str, str]:
    """Names of any of the layouts to names of `Llava`'s weights.

    `tower` holds the names that the vision model itself uses, `prefix` is what the language model calls
    its decoder ("model").
    """
    found = {}
    for name in names:
        part, _, rest = re.sub(r"^model\.", "", name).partition(".")
        if part == "vision_tower":
            bare = rest.removeprefix("vision_model.")
            found[name] = f"tower.model.{bare if bare in tower else f'vision_model.{bare}'}"
        elif part == "multi_modal_projector":
            layer = {"linear_1": "0", "linear_2": "2"}[rest.split(".")[0]]
            found[name] = f"connector.layers.{layer}.{rest.split('.')[1]}"
        elif part == "lm_head":
            found[name] = f"language.model.lm_head.{rest}"
        elif rest.startswith("lm_head."):
            found[name] = f"language.model.{rest}"
        else:
            found[name] = f"language.model.{prefix}.{rest.removeprefix('model.')}"
    return found


def from_transformers(
    folder: Path | str,
    fit: Fit = "pad",
    attention: str | None = None,
    dtype: torch.dtype | None = None,
) -> Llava:
    """LLaVA-1.5 in the layout of transformers (folder with config.json and safetensors).

    `fit`: the paper pads to a square, whereas transformers' processor for these weights crops. Raises
    InputError for variants that are another architecture.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

    folder = Path(folder)
    try:
        config: Any = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no transformers checkpoint: {error}") from error
    if config.model_type != "llava":
        raise InputError(f"{folder} is of type {config.model_type}; expected llava.")
    if not isinstance(config.vision_feature_layer, int) or config.projector_hidden_act != "gelu":
        raise InputError(
            f"{folder} reads the layers {config.vision_feature_layer} through "
            f"{config.projector_hidden_act}; expected one layer and gelu, as in LLaVA-1.5."
        )
    mean, std = _normalisation(folder)
    with init_empty_weights(include_buffers=False):
        tower = TransformersTower(
            AutoModel.from_config(config.vision_config),
            layer=config.vision_feature_layer,
            drop_cls=config.vision_feature_select_strategy == "default",
            fit=fit,
            mean_rgb=mean,
            std_rgb=std,
        )
        text: Any = config.text_config
        text.tie_word_embeddings = config.tie_word_embeddings
        language = Language(AutoModelForCausalLM.from_config(text), attention)
        connector = MLP(tower.width, language.width, bias=config.multimodal_projector_bias)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    image_token = tokenizer.convert_ids_to_tokens(config.image_token_index) or "<image>"
    add_image_token(tokenizer, image_token)
    template = None if tokenizer.chat_template else "v1"
    model = Llava(tower, connector, language, tokenizer, template, image_token)
    tensors = checkpoint.read_weights(folder)
    names = keys_from_transformers(
        list(tensors), set(tower.model.state_dict()), language.model.base_model_prefix
    )
    mapped = {names[name]: value for name, value in tensors.items()}
    if config.tie_word_embeddings:
        mapped.pop("language.model.lm_head.weight", None)
    checkpoint.fill(model, mapped, str(folder))
    return cast(Llava, checkpoint.moved(model, "cpu", dtype).eval())


def load_projector(model: Llava, path: Path | str) -> None:
    """The projector as the original repository saves it (mm_projector.bin, non_lora_trainables.bin).

    Raises InputError where the file does not hold the projector of this model. Such a file says nothing
    of the language model that it belongs to: nobody but the user can know.
    """
    found = checkpoint.read_saved(path)
    own = {k.partition("mm_projector.")[2]: v for k, v in found.items() if "mm_projector." in k}
    if isinstance(model.connector, Linear):
        mapped = {f"linear.{name}": value for name, value in own.items()}
    else:
        mapped = {f"layers.{name}": value for name, value in own.items()}
    wanted = {k: tuple(v.shape) for k, v in model.connector.state_dict().items()}
    there = {k: tuple(v.shape) for k, v in mapped.items()}
    if there != wanted:
        raise InputError(
            f"{path} holds the projector {there or 'of nothing'}; this model's connector is {wanted}. "
            "v1 has one matrix (llava_7b), v1.5 two layers (llava15_7b), and widths follow tower and LLM."
        )
    model.connector.load_state_dict(mapped)


def export(model: Llava, out: Path) -> None:
    """Write the layout of the released LLaVA-1.5. Raises InputError, with the reason, where there is none."""
    from transformers import GenerationConfig, LlavaConfig

    why = _no_official_layout(model)
    if why:
        raise InputError(f"This model cannot be written in the layout of transformers: {why}")
    tower: TransformersTower = model.tower
    state, rows = _released(model)
    tied = "language_model.lm_head.weight" not in state
    text = model.language.config.to_dict() | {"vocab_size": rows, "tie_word_embeddings": tied}
    config = LlavaConfig(
        vision_config=tower.model.config.to_dict(),
        text_config=text,
        image_token_index=model.prompter.image_id,
        image_seq_length=model.prompter.image_tokens,
        vision_feature_layer=tower.layer,
        vision_feature_select_strategy="default" if tower.dropped else "full",
        multimodal_projector_bias=model.connector.bias,
        tie_word_embeddings=tied,
        architectures=["LlavaForConditionalGeneration"],
        dtype=str(next(iter(state.values())).dtype).removeprefix("torch."),
    )
    config.save_pretrained(out)
    ends = list(model.prompter.stop(model.template).ids)
    GenerationConfig(
        bos_token_id=model.tokenizer.bos_token_id,
        eos_token_id=ends,
        pad_token_id=model.tokenizer.pad_token_id,
    ).save_pretrained(out)
    model.tokenizer.save_pretrained(out)
    chat = jinja(model.tokenizer, model.template, model.image_token)
    if chat is not None:
        (out / "chat_template.jinja").write_text(chat, "utf-8")
    checkpoint.write_weights(state, out / "model.safetensors")
    _save_processor(model, out)


def _no_official_layout(model: Llava) -> str | None:
    tower, connector = model.tower, model.connector
    if not isinstance(tower, TransformersTower):
        return (
            f"its tower is {type(tower).__name__}, which transformers does not have. Train with a "
            "tower of transformers (CLIP, SigLIP)."
        )
    if not isinstance(connector, MLP) or connector.depth != 2 or connector.place:
        kind = type(connector).__name__
        return (
            f"its connector is {kind}, and LlavaForConditionalGeneration has two linear layers with "
            "GELU between them, nothing else. Train with the connector MLP of depth 2 (llava15)."
        )
    if model.language.config.is_encoder_decoder:
        return "its language model has an encoder, and the layout has a decoder only."
    if tower.layer is None:
        return "it reads its tower's last output, and the layout reads a hidden layer."
    if tower.dropped > 1:
        return (
            f"its tower puts {tower.dropped} tokens before the patches, and the layout drops one."
        )
    if model.language.head[1] is not None:
        return "its language model's output layer has a bias, and the layout has none."
    return None


def _released(model: Llava) -> tuple[dict[str, Tensor], int]:
    """Weights under the released names, and the rows of the vocabulary, which covers the image token."""
    prefix = f"{model.language.model.base_model_prefix}."
    inner = "vision_model." if model.tower.model.config.model_type in INNER_VISION else ""
    # The official class ties its output layer to `embed_tokens` only; other models (OPT) are untied.
    tied = model.language.config.tie_word_embeddings and hasattr(
        model.language.model.base_model, "embed_tokens"
    )
    rows = max(len(model.language.head[0]), model.prompter.image_id + 1)
    words = model.language.model.get_input_embeddings().weight
    state: dict[str, Tensor] = {}
    for name, value in model.language.model.state_dict().items():
        if value.shape == words.shape and value.data_ptr() in _pointers(model.language):
            if name.startswith("lm_head.") and tied:
                continue
            # The rows added for the placeholder are the mean of the others, so it never wins.
            more = value.float().mean(0, keepdim=True).to(value.dtype)
            value = torch.cat([value, more.expand(rows - len(value), -1)])
        stem = name.removeprefix(prefix)
        state[f"language_model.{'model.' if stem != name else ''}{stem}"] = value
    for name, value in model.tower.model.state_dict().items():
        state[f"vision_tower.{inner}{name.removeprefix('vision_model.')}"] = value
    for ours, theirs in (("0", "linear_1"), ("2", "linear_2")):
        layer = model.connector.layers[int(ours)]
        for end, value in layer.state_dict().items():
            state[f"multi_modal_projector.{theirs}.{end}"] = value
    return state, rows


def _pointers(language: Language) -> set[int]:
    return {language.head[0].data_ptr(), language.model.get_input_embeddings().weight.data_ptr()}


def _save_processor(model: Llava, out: Path) -> None:
    """preprocessor_config.json and processor_config.json, which do what the tower's `prepare` does."""
    tower: TransformersTower = model.tower
    side = {"height": tower.size_px, "width": tower.size_px}
    common = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(tower.mean_rgb),
        "image_std": list(tower.std_rgb),
        "processor_class": "LlavaProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    kinds: dict[str, dict[str, Any]] = {
        "pad": {
            "image_processor_type": "LlavaImageProcessor",
            "do_pad": True,
            "do_center_crop": True,
            "crop_size": side,
            "size": {"shortest_edge": tower.size_px},
        },
        "crop": {
            "image_processor_type": "CLIPImageProcessor",
            "do_center_crop": True,
            "crop_size": side,
            "size": {"shortest_edge": tower.size_px},
        },
        "stretch": {"image_processor_type": "SiglipImageProcessor", "size": side},
    }
    _save_json(out / "preprocessor_config.json", common | kinds[tower.fit])
    _save_json(
        out / "processor_config.json",
        {
            "image_token": model.image_token,
            "num_additional_image_tokens": tower.leading,
            "patch_size": tower.model.config.patch_size,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": "default" if tower.dropped else "full",
        },
    )


def _save_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), "utf-8")


def _normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    path = folder / "preprocessor_config.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return tuple(found.get("image_mean", CLIP_MEAN)), tuple(found.get("image_std", CLIP_STD))
