"""Other layouts of BLIP-2's weights: those of transformers, and BERT's, which the Q-Former begins from.

`Blip2ForConditionalGeneration` has `vision_model.…`, `query_tokens`, `qformer.…`, `language_projection.…` and
`language_model.…`; `Blip2ForImageTextRetrieval` has `embeddings.…`, projections and `itm_head.…` in the place of
the language model. The norm of the tower's features, which trains with the queries, is their
`vision_model.post_layernorm`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.configs import config_to_json
from looksay.models.families._blip2_prompts import TEMPLATE
from looksay.models.families.blip2 import Blip2
from looksay.models.language import Language
from looksay.models.prompting import add_image_token
from looksay.models.qformer import QFormer, QFormerText, qformer_keys
from looksay.models.seq2seq import Seq2Seq
from looksay.models.vision import CLIP_MEAN, CLIP_STD, TransformersTower, new_model

HEADS = {
    "vision_projection": "text.see",
    "text_projection": "text.say",
    "itm_head": "text.matching",
    "embeddings.word_embeddings": "text.words",
    "embeddings.position_embeddings": "text.places",
    "language_projection": "connector.project",
}
_NORM = "vision_model.post_layernorm."


def keys_to_ours(names: list[str], layers: int, cross_every: int) -> dict[str, list[str]]:
    """Names of transformers' weights to those of `Blip2`'s (the norm behind the tower has two places)."""
    inner = qformer_keys(layers, cross_every)
    found: dict[str, list[str]] = {}
    for name in names:
        part, _, rest = name.partition(".")
        stem, _, end = name.rpartition(".")
        if end == "position_ids":
            continue  # constants, in files of older releases
        if part == "query_tokens":
            found[name] = ["connector.query_tokens"]
        elif part == "vision_model":
            found[name] = [f"tower.model.{rest}"]
            if name.startswith(_NORM):
                found[name].append(f"connector.seen_norm.{end}")
        elif part == "qformer":
            ours = inner[rest]
            found[name] = [ours if ours.startswith("text.") else f"connector.{ours}"]
        elif part == "language_model":
            found[name] = [f"language.model.{rest}"]
        else:
            found[name] = [f"{HEADS[stem]}.{end}"]
    return found


def from_transformers(
    folder: Path | str, attention: str | None = None, dtype: torch.dtype | None = None
) -> Blip2:
    """A folder in one of the layouts of transformers: with a language model, or for retrieval (which has no
    output layer for the Q-Former's words, and no temperature: 0.07). Raises InputError for anything else."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    folder = Path(folder)
    try:
        config: Any = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no transformers checkpoint: {error}") from error
    if config.model_type != "blip-2":
        raise InputError(f"{folder} is of type {config.model_type}; expected blip-2.")
    tensors = checkpoint.read_weights(folder)
    inner, speaks = config.qformer_config, "language_projection.weight" in tensors
    if inner.hidden_act != "gelu":
        raise InputError(f"{folder} has a Q-Former with {inner.hidden_act}; expected gelu.")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    shape = {"width": inner.hidden_size, "layers": inner.num_hidden_layers}
    shape |= {"inner": inner.intermediate_size}
    with init_empty_weights(include_buffers=False):
        tower = _tower(folder, config.vision_config)
        text, language = None, None
        if speaks:
            spoken = config.text_config
            if spoken.is_encoder_decoder:
                language = Seq2Seq(AutoModelForSeq2SeqLM.from_config(spoken), attention)
            else:
                language = Language(AutoModelForCausalLM.from_config(spoken), attention)
        else:
            text = QFormerText(
                len(tensors["embeddings.word_embeddings.weight"]),
                positions=len(tensors["embeddings.position_embeddings.weight"]),
                embedding=config.image_text_hidden_size,
                words=tokenizer.backend_tokenizer.to_str(),
                first=tokenizer.cls_token_id,
                last=tokenizer.sep_token_id,
                start=len(tensors["embeddings.word_embeddings.weight"]) - 1,
                writes=False,
                **shape,
            )
        connector = QFormer(
            tower.width,
            language.width if language else 0,
            queries=config.num_query_tokens,
            heads=inner.num_attention_heads,
            cross_every=inner.cross_attention_frequency,
            eps=config.vision_config.layer_norm_eps,
            **shape,
        )
    image_token = "<image>"
    if config.image_token_index is not None:
        image_token = tokenizer.convert_ids_to_tokens(config.image_token_index) or image_token
    add_image_token(tokenizer, image_token)
    model = Blip2(tower, connector, tokenizer, text, language, TEMPLATE, image_token)
    names = keys_to_ours(list(tensors), connector.layers, connector.cross_every)
    mapped = {ours: tensors[name] for name, places in names.items() for ours in places}
    if text is None:  # feed-forwards of a text that some files hold for nothing
        mapped = {name: value for name, value in mapped.items() if not name.startswith("text.")}
    else:
        mapped["text.temperature"] = torch.tensor(0.07)
    checkpoint.fill(model, mapped, str(folder))
    return cast(Blip2, checkpoint.moved(model, "cpu", dtype).eval())


def tower_of(name: Path | str) -> TransformersTower:
    """The tower alone of a BLIP-2 in the layout of transformers, by folder or name on the hub."""
    from accelerate import init_empty_weights

    folder, config = _released_by(name)
    with init_empty_weights(include_buffers=False):
        tower = _tower(folder, config.vision_config)
    own = {
        name.replace("vision_model.", "model.", 1): value
        for name, value in checkpoint.read_weights(folder).items()
        if name.startswith("vision_model.")
    }
    checkpoint.fill(tower, own, str(folder))
    tower.eval()
    return tower


def qformer_of(name: Path | str) -> QFormer:
    """The Q-Former alone, without a matrix to a language model (MiniGPT-4 trains its own)."""
    folder, config = _released_by(name)
    inner, seeing = config.qformer_config, config.vision_config
    qformer = QFormer(
        seeing.hidden_size,
        0,
        queries=config.num_query_tokens,
        width=inner.hidden_size,
        layers=inner.num_hidden_layers,
        heads=inner.num_attention_heads,
        inner=inner.intermediate_size,
        cross_every=inner.cross_attention_frequency,
        eps=seeing.layer_norm_eps,
    )
    tensors = checkpoint.read_weights(folder)
    names = keys_to_ours(list(tensors), qformer.layers, qformer.cross_every)
    own = {
        place.removeprefix("connector."): tensors[theirs]
        for theirs, places in names.items()
        for place in places
        if place.startswith("connector.") and not place.startswith("connector.project.")
    }
    checkpoint.fill(qformer, own, str(folder))
    qformer.eval()
    return qformer


def _released_by(name: Path | str) -> tuple[Path, Any]:
    from huggingface_hub import snapshot_download
    from transformers import AutoConfig

    folder = Path(name) if Path(name).is_dir() else Path(snapshot_download(str(name)))
    return folder, AutoConfig.from_pretrained(folder)


def _tower(folder: Path, config: Any) -> TransformersTower:
    """The last block's output: the norm behind it belongs to the Q-Former."""
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return TransformersTower(
        new_model(config),
        layer=-1,
        drop_cls=False,
        fit="stretch",
        mean_rgb=tuple(settings.get("image_mean", CLIP_MEAN)),
        std_rgb=tuple(settings.get("image_std", CLIP_STD)),
    )


def begin_as_bert(connector: QFormer, text: QFormerText, name: Path | str) -> None:
    """BERT's weights into a Q-Former of its size: the feed-forwards of the queries begin as those of the text, the
    words that BERT lacks ([DEC]) as they are. Raises InputError where the sizes differ."""
    from transformers import AutoModelForMaskedLM

    bert = AutoModelForMaskedLM.from_pretrained(name).state_dict()
    pair = nn.ModuleDict({"connector": connector, "text": text})
    state = pair.state_dict()
    found = {"text.words.weight": bert["bert.embeddings.word_embeddings.weight"]}
    found["text.places.weight"] = bert["bert.embeddings.position_embeddings.weight"]
    for end in ("weight", "bias"):
        found[f"connector.bert.norm.{end}"] = bert[f"bert.embeddings.LayerNorm.{end}"]
        if text.head is not None:
            found[f"text.head.dense.{end}"] = bert[f"cls.predictions.transform.dense.{end}"]
            found[f"text.head.norm.{end}"] = bert[f"cls.predictions.transform.LayerNorm.{end}"]
    if text.head is not None:
        found["text.head.bias"] = bert["cls.predictions.bias"]
    for theirs, ours in qformer_keys(connector.layers, connector.cross_every).items():
        source = theirs.replace("_query", "").replace("attention.attention", "attention.self")
        if ".crossattention." not in theirs and theirs.startswith("encoder."):
            found[ours if ours.startswith("text.") else f"connector.{ours}"] = bert[
                f"bert.{source}"
            ]
    for place, value in found.items():
        room = state[place]
        if room.shape[1:] != value.shape[1:] or len(room) < len(value):
            raise InputError(
                f"{name}: {place} is {tuple(value.shape)}, and the Q-Former's is {tuple(room.shape)}. Build it "
                "with the width, layers and inner width of that BERT."
            )
        room[: len(value)] = value


def export(model: Blip2, out: Path) -> None:
    """Write the layout of `Blip2ForConditionalGeneration`. Raises InputError, with the reason, where there is none."""
    from transformers import Blip2Config, GenerationConfig

    why = _no_official_layout(model)
    if why:
        raise InputError(f"This model cannot be written in the layout of transformers: {why}")
    tower, connector, language = model.tower, model.connector, model.language
    rows = max(len(language.head[0]), model.prompter.image_id + 1)
    state = _released(model, rows)
    end, *_ = model.prompter.stop(model.template).ids
    config = Blip2Config(
        vision_config={**config_to_json(tower.model.config), "layer_norm_eps": connector.eps},
        qformer_config={
            "hidden_size": connector.width,
            "num_hidden_layers": connector.layers,
            "num_attention_heads": connector.heads,
            "intermediate_size": connector.inner,
            "cross_attention_frequency": connector.cross_every,
            "encoder_hidden_size": connector.width_in,
        },
        text_config={**config_to_json(language.config), "vocab_size": rows, "eos_token_id": end},
        num_query_tokens=connector.queries,
        image_token_index=model.prompter.image_id,
        architectures=["Blip2ForConditionalGeneration"],
        dtype=str(next(iter(state.values())).dtype).removeprefix("torch."),
    )
    config.save_pretrained(out)
    GenerationConfig(
        bos_token_id=model.tokenizer.bos_token_id,
        decoder_start_token_id=getattr(language.config, "decoder_start_token_id", None),
        eos_token_id=list(model.prompter.stop(model.template).ids),
        pad_token_id=model.tokenizer.pad_token_id,
    ).save_pretrained(out)
    model.tokenizer.save_pretrained(out)
    checkpoint.write_weights(state, out / "model.safetensors")
    _save_processor(model, out)


def _no_official_layout(model: Blip2) -> str | None:
    from transformers import Blip2VisionModel

    tower = model.tower
    if model.language is None:
        return "it has no language model. Train its second stage first."
    if not isinstance(tower, TransformersTower) or not isinstance(tower.model, Blip2VisionModel):
        kind = type(getattr(tower, "model", tower)).__name__
        return f"its tower is {kind}, and the layout has EVA's ViT (Blip2VisionModel) only."
    if tower.layer != -1 or tower.dropped or tower.fit != "stretch":
        return (
            f"its tower reads layer {tower.layer}, drops {tower.dropped} tokens and makes pictures square by "
            f"{tower.fit}; the layout reads all tokens of the last layer of stretched pictures."
        )
    if tower.model.config.layer_norm_eps != model.connector.eps:
        return (
            f"the norm of its features adds {model.connector.eps}, and the layout has one number for it and for "
            f"the tower's own norms, {tower.model.config.layer_norm_eps}."
        )
    return None


def _released(model: Blip2, rows: int) -> dict[str, Tensor]:
    """Weights under the released names; the vocabulary covers the placeholder of pictures."""
    connector = model.connector
    ours = {
        name: value
        for part in ("tower", "connector")
        for name, value in nn.ModuleDict({part: model.parts[part]}).state_dict().items()
    }
    names = [f"vision_model.{name}" for name in model.tower.model.state_dict()]
    names += [f"qformer.{name}" for name in qformer_keys(connector.layers, connector.cross_every)]
    names += ["query_tokens", "language_projection.weight", "language_projection.bias"]
    state: dict[str, Tensor] = {}
    for theirs, places in keys_to_ours(names, connector.layers, connector.cross_every).items():
        if places[-1] in ours:  # the text's side stays behind
            state[theirs] = ours[places[-1]]
    language = model.language.model
    words, head = language.get_input_embeddings().weight, model.language.head[0]
    grown = {words.data_ptr(), head.data_ptr()}
    seen: set[int] = set()
    for name, value in language.state_dict().items():
        if value.data_ptr() in seen:
            continue  # tied
        seen.add(value.data_ptr())
        if value.data_ptr() in grown:
            # The rows added for the placeholder are the mean of the others, so it never wins.
            more = value.float().mean(0, keepdim=True).to(value.dtype)
            value = torch.cat([value, more.expand(rows - len(value), -1)])
        state[f"language_model.{name}"] = value
    return state


def _save_processor(model: Blip2, out: Path) -> None:
    """preprocessor_config.json and processor_config.json, which do what the tower's `prepare` does."""
    tower: TransformersTower = model.tower
    pictures = {
        "image_processor_type": "BlipImageProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(tower.mean_rgb),
        "image_std": list(tower.std_rgb),
        "processor_class": "Blip2Processor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": tower.size_px, "width": tower.size_px},
    }
    whole = {"num_query_tokens": model.connector.queries, "processor_class": "Blip2Processor"}
    for name, settings in (
        ("preprocessor_config.json", pictures),
        ("processor_config.json", whole),
    ):
        (out / name).write_text(json.dumps(settings, indent=2), "utf-8")
