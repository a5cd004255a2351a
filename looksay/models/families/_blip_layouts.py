"""The released layouts of BLIP's weights (captioning, retrieval, question answering, as transformers has them), and
the published sizes before training.

`vision_model.…` is the tower, `text_decoder.bert.…` and `text_encoder.…` are BERT with cross-attention,
`text_decoder.cls.predictions.…` the output layer, `vision_proj`, `text_proj` and `itm_head` the pairing. A
captioner holds the decoder's attention to itself only, a retrieval model the encoder's only; one that answers
questions holds two transformers that share nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.answering import BertLM
from looksay.models.families.blip import QUEUE, Blip, add_blip_tokens
from looksay.models.fusion import WordHead
from looksay.models.pairing import Pairing
from looksay.models.vision import TransformersTower, new_model

CAPTIONS, RETRIEVAL, QUESTIONS = (
    "BlipForConditionalGeneration",
    "BlipForImageTextRetrieval",
    "BlipForQuestionAnswering",
)
_TEXT = (
    (r"^embeddings\.word_embeddings", "bert.words"),
    (r"^embeddings\.position_embeddings", "bert.places"),
    (r"^embeddings\.LayerNorm", "bert.norm"),
    (r"^encoder\.layer\.(\d+)\.", r"bert.blocks.\1."),
    (r"\.attention\.self\.", ".itself.attention."),
    (r"\.attention\.output\.dense", ".itself.attention.out"),
    (r"\.attention\.output\.LayerNorm", ".itself.norm"),
    (r"\.crossattention\.self\.", ".cross.attention."),
    (r"\.crossattention\.output\.dense", ".cross.attention.out"),
    (r"\.crossattention\.output\.LayerNorm", ".cross.norm"),
    (r"\.intermediate\.dense", ".feed.up"),
    (r"(\.\d+)\.output\.dense", r"\1.feed.down"),
    (r"(\.\d+)\.output\.LayerNorm", r"\1.feed.norm"),
)
_HEAD = {
    "transform.dense": "head.dense",
    "transform.LayerNorm": "head.norm",
    "bias": "head.bias",
}
_PAIRING = {"vision_proj": "images.project", "text_proj": "texts", "itm_head": "matches"}
_REPEATED = ("position_ids", "predictions.decoder.weight", "predictions.decoder.bias")
"""Ends of names in some files that hold what stands there already."""


def text_key(name: str) -> str | None:
    """The name in `BertLM` of one of BERT's weights (below `bert.`), None for what it has no place for."""
    if name.startswith(("pooler.", "embeddings.token_type")):
        return None
    for pattern, ours in _TEXT:
        name = re.sub(pattern, ours, name)
    return name


def keys(names: list[str]) -> dict[str, str]:
    """Names of any of the three layouts to names of `Blip`'s weights."""
    answers = any(name.startswith("text_encoder.") for name in names) and any(
        name.startswith("text_decoder.") for name in names
    )
    found = {}
    for name in names:
        part, _, rest = name.partition(".")
        if name.endswith(_REPEATED):
            continue
        if part == "vision_model":
            found[name] = f"tower.model.{rest}"
        elif part in _PAIRING:
            found[name] = f"pairing.{_PAIRING[part]}.{rest}"
        elif part in ("text_encoder", "text_decoder"):
            ours = "answers" if answers and part == "text_decoder" else "text"
            if rest.startswith("cls.predictions."):
                stem, _, end = rest.removeprefix("cls.predictions.").rpartition(".")
                found[name] = f"{ours}.{_HEAD[stem]}.{end}" if stem else f"{ours}.{_HEAD[end]}"
            elif key := text_key(rest.removeprefix("bert.")):
                found[name] = f"{ours}.{key}"
        else:
            found[name] = name  # unknown, and told as such
    return found


def from_transformers(folder: Path | str, dtype: torch.dtype | None = None, beams: int = 3) -> Blip:
    """BLIP in one of the three layouts of transformers (folder with config.json and safetensors).

    A retrieval model cannot write and one for questions cannot rank words by its encoder: their output layers,
    which no file holds, are new. Raises InputError where the folder holds something else.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoTokenizer

    folder = Path(folder)
    try:
        config: Any = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no transformers checkpoint: {error}") from error
    kind = (config.architectures or ["?"])[0]
    if kind not in (CAPTIONS, RETRIEVAL, QUESTIONS):
        raise InputError(f"{folder} is a {kind}; expected {CAPTIONS}, {RETRIEVAL} or {QUESTIONS}.")
    text = config.text_config
    tokenizer = add_blip_tokens(AutoTokenizer.from_pretrained(folder))
    if tokenizer.convert_tokens_to_ids("[DEC]") != text.bos_token_id:
        raise InputError(
            f"{folder}: [DEC] is number {tokenizer.convert_tokens_to_ids('[DEC]')} of the tokenizer, but the "
            f"config says {text.bos_token_id}. The tokenizer is another one; bring that of the checkpoint."
        )
    with init_empty_weights(include_buffers=False):
        tower = TransformersTower(
            new_model(config.vision_config), layer=None, drop_cls=False, fit="stretch"
        )
        reading = _empty(text, tower.width)
        answers = _empty(text, text.hidden_size) if kind == QUESTIONS else None
    pairing = None
    if kind == RETRIEVAL:
        pairing = Pairing(tower.width, text.hidden_size, config.image_text_hidden_size)
    model = Blip(tower, reading, tokenizer, pairing, answers, beams=beams)
    tensors = checkpoint.read_weights(folder)
    names = keys(list(tensors))
    mapped = {names[name]: value for name, value in tensors.items() if name in names}
    if kind != CAPTIONS:
        fresh = WordHead(text.hidden_size, text.vocab_size).state_dict()
        mapped |= {f"text.head.{name}": value for name, value in fresh.items()}
    mapped["answered"] = torch.tensor(int(kind == QUESTIONS))
    checkpoint.fill(model, mapped, str(folder))
    return cast(Blip, checkpoint.moved(model, "cpu", dtype).eval())


def blip_base(
    tower: str = "facebook/deit-base-patch16-224",
    text: str = "google-bert/bert-base-uncased",
    ramp_steps: int = 0,
) -> Blip:
    """BLIP with ViT-B/16 before training: DeiT sees, BERT reads (section 4.1)."""
    from transformers import AutoTokenizer

    seeing = TransformersTower.from_folder(tower, layer=None, drop_cls=False, fit="stretch")
    tokenizer = add_blip_tokens(AutoTokenizer.from_pretrained(text))
    reading = text_from_bert(text, len(tokenizer), seeing.width)
    pairing = Pairing(seeing.width, reading.width, queue=QUEUE)
    return Blip(seeing, reading, tokenizer, pairing, beams=3, ramp_steps=ramp_steps)


def blip_large(
    tower: str = "google/vit-large-patch16-224-in21k",
    text: str = "google-bert/bert-base-uncased",
    ramp_steps: int = 0,
) -> Blip:
    """BLIP with ViT-L/16 before training; the text transformer stays BERT's base."""
    return blip_base(tower, text, ramp_steps)


def answering(model: Blip) -> Blip:
    """The model with a decoder for answers (which begins as that of captions, with the first batch of questions)
    and without what pairs need: both transformers are trained on by themselves."""
    arguments: dict[str, Any] = {
        **model.text.arguments,
        "width_in": model.text.width,
        "decodes": False,
    }
    answers = BertLM(**arguments).to(model.device)
    return Blip(model.tower, model.text, model.tokenizer, None, answers, **model.arguments)


def text_from_bert(name: str, vocabulary: int, width_in: int) -> BertLM:
    """A text transformer begun from a BERT (folder or name on the hub): its attention to itself twice, its
    feed-forwards, words and output layer; what looks at pictures, and the rows of added words, are new."""
    from transformers import AutoModelForMaskedLM

    bert: Any = AutoModelForMaskedLM.from_pretrained(name)
    config = bert.config
    text = BertLM(
        vocabulary,
        config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        inner=config.intermediate_size,
        positions=config.max_position_embeddings,
        width_in=width_in,
        cross=tuple(range(config.num_hidden_layers)),
        decodes=True,
        dropout=config.hidden_dropout_prob,
    )
    # A file of BERT has a row for each word's kind, added to every word: that of the first is added once.
    known: Mapping[str, Tensor] = bert.state_dict()
    state = text.state_dict()
    for theirs, value in known.items():
        ours = keys([f"text_decoder.{theirs}"]).get(f"text_decoder.{theirs}", "")
        ours = ours.removeprefix("text.")
        for place in (ours, ours.replace(".itself.", ".writing.")):
            if place in state:
                state[place][: len(value)] = value
    kinds = known.get("bert.embeddings.token_type_embeddings.weight")
    if kinds is not None:
        state["bert.places.weight"] += kinds[0]
    text.load_state_dict(state)
    return text


def _empty(text: Any, width_in: int) -> BertLM:
    return BertLM(
        text.vocab_size,
        text.hidden_size,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        inner=text.intermediate_size,
        positions=text.max_position_embeddings,
        width_in=width_in,
        cross=tuple(range(text.num_hidden_layers)),
        dropout=text.hidden_dropout_prob,
    )
