"""MiniGPT-4 (arXiv 2304.10592): one matrix learns, on many captions, then on a few curated descriptions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch

from looksay.data.dataset import Source
from looksay.data.sources import scenes as talks
from looksay.errors import UnknownName
from looksay.models.connectors import MLP, Joined, Linear
from looksay.models.families import minigpt4
from looksay.models.families.minigpt4 import MiniGpt4
from looksay.models.qformer import QFormer
from looksay.training.recipes import _small, blip2
from looksay.training.recipes._published import Outline, split
from looksay.training.recipes.simvlm import Bare
from looksay.training.stages import Stage

PUBLISHED = {"7b": minigpt4.vicuna_7b, "13b": minigpt4.vicuna_13b}
"""The model before training, by size: BLIP-2's tower and Q-Former, Vicuna."""
Kind = Literal["paper", "no-qformer", "three-layers", "tuned-qformer"]
KINDS: tuple[Kind, ...] = ("paper", "no-qformer", "three-layers", "tuned-qformer")
"""The paper's own model, and its ablations (table 4): four patches joined instead of the Q-Former, three layers
instead of one matrix, the Q-Former learning with the matrix."""
CURATED = 3439
"""Pairs of the second stage (cc_sbu_align)."""


def scenes(
    size: str = "mini", seed: int = 0, *, kind: Kind = "paper"
) -> tuple[MiniGpt4, list[Stage]]:
    """MiniGPT-4 on scenes over a tower that recognises (already trained where one of that size ships): a language
    model that reads lists, BLIP-2's first stage, then the paper's two.

    What the paper downloads, `tower`, `language`, `contrast` and `represent` make. Raises UnknownName for another kind.
    """
    torch.manual_seed(seed)
    tokenizer, tower = _small.tokenizer(), _small.seeing(size)
    language = _small.language(size, tokenizer)
    model = over(tower, language, tokenizer, size, kind=kind)
    before = _small.eyes_first(size, seed)
    return model, [*before, _small.language_stage(seed), *joining(seed, kind=kind)]


def over(
    tower: Any, language: Any, tokenizer: Any, size: str = "mini", *, kind: Kind = "paper"
) -> MiniGpt4:
    """A new Q-Former and matrix between a tower and a language model that are there. It chats in the form of the
    language model's own template. Raises UnknownName for another kind."""
    if kind not in KINDS:
        raise UnknownName("kind of MiniGPT-4", kind, KINDS)
    if kind == "no-qformer":
        return MiniGpt4(
            tower, Joined(tower.width, language.width), language, tokenizer, template=None
        )
    queries, text = blip2.queries(tower, tokenizer, size, width_out=0)
    layers = partial(MLP, depth=3) if kind == "three-layers" else Linear
    connector = layers(queries.width, language.width)
    return MiniGpt4(
        tower, connector, language, tokenizer, template=None, qformer=queries, text=text
    )


def joining(seed: int = 0, *, kind: Kind = "paper") -> list[Stage]:
    """The stages over a tower and a language model that are there: contrast and represent (BLIP-2's first, where there is a
    Q-Former), align, tune."""
    tuned = {"qformer": 2e-4} if kind == "tuned-qformer" else {}
    before = blip2.joining(seed)[:2]
    align = Stage(
        "align",
        trains={"connector": 1e-3, **tuned},
        data=Bare(talks.read(seed + 2, mix={"caption": 1.0}, **_small.SHOWN)),
        steps=1000,
        cache_features=True,
        **_small.SPEAKING,
    )
    tune = Stage(
        "tune",
        trains={"connector": 2e-4, **tuned},
        data=talks.read(seed + 3, mix={"description": 1.0}, **_small.SHOWN),
        steps=200,
        cache_features=True,
        **_small.SPEAKING,
    )
    if kind == "no-qformer":
        return [align, tune]
    before = [
        replace(s, trains={"qformer": s.trains["connector"], "text": s.trains["text"]})
        for s in before
    ]
    return [*before, align, tune]


def paper(
    captions: Source,
    curated: Source | None = None,
    *,
    devices: int = 4,
    examples_per_device: int = 64,
) -> list[Stage]:
    """The paper's stages: 20,000 steps of captions without a prompt in batches of 256, AdamW with decay 0.05, cosine
    from 1e-4 to 8e-5 after 5,000 steps; then, on `curated` pairs, 400 steps in batches of 12 from 3e-5 to 1e-5
    after 200 (the released configuration has 1,000 steps). The matrix alone learns.

    Texts end after 32 ids in the first stage and 160 in the second, beside the 32 of the picture. Raises
    InputError where a batch does not divide into the devices.
    """
    common: dict[str, Any] = {"pack": False, "overlong": "cut", "weight_decay": 0.05}
    stages = [
        Stage(
            "align",
            trains={"connector": 1e-4},
            data=captions,
            steps=20_000,
            template="plain",
            max_length=32 + 32,
            warmup=5_000 / 20_000,
            floor=0.8,
            **split(256, devices, examples_per_device),
            **common,
        )
    ]
    if curated is not None:
        stages.append(
            Stage(
                "tune",
                trains={"connector": 3e-5},
                data=curated,
                steps=400,
                template="minigpt4_pairs",
                max_length=32 + 160 + 64,
                warmup=0.5,
                floor=1 / 3,
                **split(12, devices, examples_per_device),
                **common,
            )
        )
    return stages


def outline(size: str = "7b") -> Outline:
    """A published model without weights; sizes 7b and 13b. Raises UnknownName."""
    from looksay.training.recipes._published import outline as published_outline

    if size not in PUBLISHED:
        raise UnknownName("published size of minigpt4", size, PUBLISHED)
    found = published_outline(size, side_px=224, mlp=False)
    seeing = blip2.outline("vit-g-opt-2.7b").parts
    with torch.device("meta"):
        qformer = QFormer(seeing["tower"].config.hidden_size, 0)
        connector = Linear(qformer.width, found.parts["language"].config.hidden_size)
    parts = {
        "tower": seeing["tower"],
        "qformer": qformer,
        "connector": connector,
        "language": found.parts["language"],
    }
    return Outline(parts, qformer.queries, 257)
