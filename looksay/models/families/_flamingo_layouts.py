"""The weights that OpenFlamingo releases (checkpoint.pt): resampler, gated blocks and the table of words.

`perceiver.layers.0.0.to_kv.weight`, `perceiver.layers.0.1.1.weight`, `lang_encoder.…blocks.0.
gated_cross_attn_layer.attn_gate`, `lang_encoder.transformer.wte.weight`; version 1 has the gated blocks a
second time, as `lang_encoder.gated_cross_attn_layers.0.…`. Tower and language model are not among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from looksay.errors import InputError
from looksay.models import checkpoint
from looksay.models.families.flamingo import Flamingo

_GATED = re.compile(
    r"^lang_encoder\..*?(\d+)\.gated_cross_attn_layer\.(.+)$"
    r"|^lang_encoder\.gated_cross_attn_layers\.(\d+)\.(.+)$"
)
_FROZEN = re.compile(r"^vision_encoder\.|\.decoder_layer\.|^lang_encoder\.old_decoder_blocks\.")
_LATENTS = re.compile(r"^layers\.(\d+)\.([01])\.(.+)$")
_RESAMPLED = {"norm_media": "norm_image", "norm_latents": "norm_latents"}


def load_openflamingo(model: Flamingo, path: Path | str) -> None:
    """Take a released checkpoint into a model built with its tower and language model (`openflamingo_9b`).

    Raises InputError, with what is missing, unknown or of another shape, where it is of another model.
    """
    found = checkpoint.read_saved(path, "model_state_dict")
    mapped = from_openflamingo(found, model.gates.places)
    table = found.get(f"lang_encoder.{_word_table(model)}")
    if table is not None:
        _take_words(model, table, found, str(path))
    own = model.state_dict()
    wanted = {name for name in own if name.split(".")[0] in ("connector", "gates")}
    missing, unknown = sorted(wanted - mapped.keys()), sorted(mapped.keys() - wanted)
    wrong = [n for n in wanted & mapped.keys() if own[n].shape != mapped[n].shape]
    if missing or unknown or wrong:
        first = (missing + unknown + wrong)[0]
        raise InputError(
            f"{path} is of another model: {len(missing)} weights are missing, {len(unknown)} unknown, "
            f"{len(wrong)} of another shape, such as {first}. Build the model with the interval and the "
            "language model of the checkpoint (openflamingo_3b, openflamingo_4b, openflamingo_9b)."
        )
    model.load_state_dict(mapped, strict=False)


def from_openflamingo(found: Mapping[str, Tensor], places: list[int]) -> dict[str, Tensor]:
    """Weights of resampler and gated blocks under our names. Tables of words and frozen parts are left out;
    a gated block that stands where ours does not keeps its name, and so is told as unknown."""
    mapped: dict[str, Tensor] = {}
    for name, value in found.items():
        if _FROZEN.search(name):
            continue
        if name.startswith("perceiver."):
            mapped |= _resampler(name.removeprefix("perceiver."), value)
        elif gated := _GATED.match(name):
            number, rest = int(gated[1] or gated[3]), gated[2] or gated[4]
            if number not in places:
                mapped[name] = value
                continue
            start = f"gates.blocks.{places.index(number)}"
            mapped |= {f"{start}.{end}": part for end, part in _block(rest, value).items()}
    return mapped


def _resampler(name: str, value: Tensor) -> dict[str, Tensor]:
    named = {"latents": "start", "frame_embs": "times_FD"}.get(name, name)
    layer = _LATENTS.match(name)
    if layer is None:
        return {f"connector.{named}": value}
    start = f"connector.blocks.{layer[1]}"
    if layer[2] == "1":
        return {f"{start}.feed.{layer[3]}": value}
    part, _, leaf = layer[3].partition(".")
    if part in _RESAMPLED:
        return {f"{start}.{_RESAMPLED[part]}.{leaf}": value}
    return {f"{start}.attention.{end}": piece for end, piece in _attention(part, value).items()}


def _block(name: str, value: Tensor) -> dict[str, Tensor]:
    if name in ("attn_gate", "ff_gate"):
        return {{"attn_gate": "attention_gate", "ff_gate": "feed_gate"}[name]: value}
    kind, _, rest = name.partition(".")
    if kind == "ff":
        return {f"feed.{rest}": value}
    part, _, leaf = rest.partition(".")
    if part == "norm":
        return {f"norm.{leaf}": value}
    return {f"attention.{end}": piece for end, piece in _attention(part, value).items()}


def _attention(part: str, value: Tensor) -> dict[str, Tensor]:
    """Keys and values are one matrix there, keys first."""
    if part == "to_kv":
        keys, values = value.chunk(2)
        return {"key.weight": keys, "value.weight": values}
    return {{"to_q": "query.weight", "to_out": "out.weight"}.get(part, part): value}


def _word_table(model: Flamingo) -> str:
    words = model.language.model.get_input_embeddings().weight
    return next(str(n) for n, p in model.language.model.named_parameters() if p is words)


def _take_words(model: Flamingo, table_VD: Tensor, found: Mapping[str, Tensor], where: str) -> None:
    """The rows of the two marks, and of all words, which the release holds as well (frozen but for those)."""
    language = model.language.model
    rows, width = table_VD.shape
    own = language.get_input_embeddings().weight
    if width != own.shape[1] or rows <= max(model.mark_ids):
        raise InputError(
            f"{where} has {rows} words of {width}; this language model's are {own.shape[1]} wide, and the "
            f"tokenizer's marks are the ids {model.mark_ids}. Build the model with the language model and "
            "the tokenizer of the checkpoint."
        )
    if rows != len(own):
        language.resize_token_embeddings(rows, mean_resizing=False)
    head = language.get_output_embeddings()
    named = {id(p): n for n, p in language.named_parameters()}
    with torch.no_grad():
        language.get_input_embeddings().weight.copy_(table_VD)
        model.marks.rows_KD.copy_(table_VD[model.mark_ids])
        scores_VD = found.get(f"lang_encoder.{named.get(id(head.weight))}")
        if scores_VD is not None:
            head.weight.copy_(scores_VD)
