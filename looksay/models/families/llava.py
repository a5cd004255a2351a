"""LLaVA (arXiv 2304.08485) and LLaVA-1.5 (2310.03744): a vision tower's features, through a linear layer or
a small MLP, stand in a language model's text as if they were words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from looksay.models.connectors import MLP, Linear
from looksay.models.language import Language
from looksay.models.prompting import add_image_token
from looksay.models.spliced import Spliced
from looksay.models.vision import TransformersTower


class Llava(Spliced):
    """tower → linear layer or MLP → language model."""

    family = "llava"


def build(parts: dict[str, Any], tokenizer: Any, **arguments: Any) -> Llava:
    """The family from its parts, as a checkpoint names them."""
    return Llava(parts["tower"], parts["connector"], parts["language"], tokenizer, **arguments)


def export(model: Llava, out: Path) -> None:
    """Write the official layout of transformers into a folder (`looksay.models.export`)."""
    from looksay.models.families import _llava_layouts

    _llava_layouts.export(model, out)


def llava_7b(
    tower: str = "openai/clip-vit-large-patch14",
    language: str = "lmsys/vicuna-7b-v1.3",
    dtype: str = "auto",
) -> Llava:
    """LLaVA v1 before training: one matrix, 224 px, 256 tokens, the last block but one, no class token."""
    seeing = TransformersTower.from_folder(tower, layer=-2, drop_cls=True, fit="crop")
    speaking, tokenizer = speaker(language, dtype)
    connector = Linear(seeing.width, speaking.width)
    return Llava(seeing, connector, speaking, tokenizer, template="v1")


def llava_13b(
    tower: str = "openai/clip-vit-large-patch14",
    language: str = "lmsys/vicuna-13b-v1.3",
    dtype: str = "auto",
) -> Llava:
    """LLaVA v1 with the larger Vicuna, the paper's own size."""
    return llava_7b(tower, language, dtype)


def llava15_7b(
    tower: str = "openai/clip-vit-large-patch14-336",
    language: str = "lmsys/vicuna-7b-v1.5",
    dtype: str = "auto",
) -> Llava:
    """LLaVA-1.5 before training: two layers with GELU, 336 px, 576 tokens, padded to a square."""
    seeing = TransformersTower.from_folder(tower, layer=-2, drop_cls=True, fit="pad")
    speaking, tokenizer = speaker(language, dtype)
    return Llava(seeing, MLP(seeing.width, speaking.width), speaking, tokenizer, template="v1")


def llava15_13b(
    tower: str = "openai/clip-vit-large-patch14-336",
    language: str = "lmsys/vicuna-13b-v1.5",
    dtype: str = "auto",
) -> Llava:
    """LLaVA-1.5 with the larger Vicuna."""
    return llava15_7b(tower, language, dtype)


def speaker(language: str, dtype: str) -> tuple[Language, Any]:
    """A released language model, and its tokenizer with a place for pictures."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(language)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    add_image_token(tokenizer)
    return Language.from_folder(language, dtype=dtype), tokenizer
