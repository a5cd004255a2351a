"""MoAI (arXiv 2403.07508): over a LLaVA that stays as it is, compressor and mixers learn with experts drawn one by one,
then with gates that weigh them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from looksay.data.dataset import Source
from looksay.data.sources import scenes as talks
from looksay.errors import UnknownName
from looksay.models import checkpoint
from looksay.models.families.moai import ONE, Compressor, Moai
from looksay.models.mixer import Gates, Mixers
from looksay.training.recipes import _small, llava15
from looksay.training.recipes._published import Outline
from looksay.training.recipes._published import published as published_stage
from looksay.training.stages import Stage

PLACES = (7, 15, 23, 31)
"""Of the mixers in the paper, counted from 0."""
FINDINGS = 320
"""Ids of sentences about a scene: the longest has some 300."""


def scenes(size: str = "mini", seed: int = 0, *, experts: float = 0.0) -> tuple[Moai, list[Stage]]:
    """MoAI on scenes, over `mini` as it ships; the size tiny trains its base first. Findings are the truth, with a
    share of `experts` wrong.

    The mixers stand before every second block of the language model (the paper: every eighth of 32).
    """
    torch.manual_seed(seed)
    base, before = _base(size, seed)
    model = over(base)
    return model, [*before, *joining(seed, experts=experts)]


def over(base: Any) -> Moai:
    """New compressor, mixers and gates over a small LLaVA that is there."""
    width, layers = base.language.width, int(base.language.config.num_hidden_layers)
    compressor = Compressor(width, latents=16, layers=2, heads=4, head_width=16)
    mixers = Mixers(width, list(range(1, layers, 2)), rank=32, heads=4)
    return _joined(base, compressor, mixers, findings_length=FINDINGS)


def _joined(base: Any, compressor: Compressor, mixers: Mixers, **arguments: Any) -> Moai:
    """Over a LLaVA, with a gate for each mixer."""
    gates = Gates(mixers.width, len(mixers.places))
    parts = (base.tower, base.connector, base.language, compressor, mixers, gates)
    return Moai(*parts, base.tokenizer, base.template, base.image_token, **arguments)


def joining(seed: int = 0, *, experts: float = 0.0) -> list[Stage]:
    """The two stages over a base that is there: experts drawn one by one, then gates too."""
    usual: dict[str, Any] = {
        "cache_features": True,
        "pack": False,
        **{key: value for key, value in _small.SPEAKING.items() if key != "optimizer"},
    }
    both = {"compressor": 1e-3, "mixers": 1e-3}
    asked: dict[talks.Kind, float] = {"questions": 0.7, "description": 0.3}
    data = talks.read(seed + 6, mix=asked, experts=experts, **_small.SHOWN)
    return [
        Stage("experts", both, data, steps=600, objectives=(ONE,), **usual),
        Stage("gates", {**both, "gates": 1e-3}, data, steps=600, **usual),
    ]


def _base(size: str, seed: int) -> tuple[Any, list[Stage]]:
    if size != "mini":
        return llava15.scenes(size, seed)
    return checkpoint.load(checkpoint.SHIPPED, dtype=torch.float32), []


def moai_7b(base: str = "llava-hf/llava-1.5-7b-hf") -> Moai:
    """MoAI before training, over a LLaVA-1.5 of transformers' layout, by folder or name on the hub: 64 latents, mixers
    before blocks 8, 16, 24 and 32. (The paper's base, CLIP at 490 px before InternLM-7B, was not released by itself.)
    """
    from huggingface_hub import snapshot_download

    from looksay.models.families._llava_layouts import from_transformers

    llava = from_transformers(base if Path(base).is_dir() else snapshot_download(base))
    width = llava.language.width
    return _joined(llava, Compressor(width), Mixers(width, PLACES))


PUBLISHED = {"7b": moai_7b}
"""The model before training, by size."""


def paper(instruct: Source, *, devices: int = 8, examples_per_device: int = 4) -> list[Stage]:
    """Two epochs of instructions: experts drawn one by one at 1e-4, then with gates at 1e-5, batches of 128.

    The paper's own settings were not found in a readable source; these are recalled, its batch is LLaVA-1.5's.
    Raises InputError where the batch does not divide into the devices.
    """
    both = ("compressor", "mixers")
    split: dict[str, Any] = {"devices": devices, "examples_per_device": examples_per_device}
    steps = {
        "experts": (dict.fromkeys(both, 1e-4), (ONE,)),
        "gates": (dict.fromkeys((*both, "gates"), 1e-5), ("lm",)),
    }
    return [
        replace(
            published_stage(name, instruct, trains, batch=128, epochs=1, template="v1", **split),
            objectives=objectives,
            pack=False,
        )
        for name, (trains, objectives) in steps.items()
    ]


def outline(size: str = "7b") -> Outline:
    """The published model without weights; size 7b. Raises UnknownName."""
    if size not in PUBLISHED:
        raise UnknownName("published size of moai", size, PUBLISHED)
    found = llava15.outline("7b")
    width = 4096
    with torch.device("meta"):
        mine = {
            "compressor": Compressor(width),
            "mixers": Mixers(width, PLACES),
            "gates": Gates(width, len(PLACES)),
        }
    *others, language = found.parts.items()
    parts = dict([*others, *mine.items(), language])
    return Outline(parts, found.image_tokens, found.tower_tokens)
