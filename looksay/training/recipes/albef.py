"""ALBEF (arXiv 2107.07651): pictures and texts aligned, matched and masked in one stage, then questions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from looksay.data.dataset import Source
from looksay.data.sources import scenes as talks
from looksay.models.answering import BertLM, add_bert_tokens
from looksay.models.families.albef import Albef, albef_base
from looksay.models.fusion import Bert
from looksay.models.pairing import Pairing
from looksay.training.recipes import _small
from looksay.training.recipes._published import Outline, published
from looksay.training.stages import Stage

PUBLISHED = {"base": albef_base}
"""The model of the paper before training: DeiT-B/16 and BERT-base."""
BATCH = 32
"""Pairs of a batch on scenes: a row's hard negatives come from it."""


def scenes(size: str = "mini", seed: int = 0) -> tuple[Albef, list[Stage]]:
    """ALBEF on scenes: a tower that recognises (already trained where one of that size ships) rests, the halves
    learn from captions, then from questions.

    The paper trains its tower as well; this one was not made of attention and learned from stronger labels than
    captions are.
    """
    import torch

    torch.manual_seed(seed)
    tokenizer = add_bert_tokens(_small.tokenizer())
    chosen, tower = _small.size(size), _small.seeing(size)
    layers = chosen.layers // 2
    every = tuple(range(layers))
    common: dict[str, Any] = {
        "width": chosen.width,
        "layers": layers,
        "heads": chosen.heads,
        "inner": chosen.hidden,
        "positions": 128,
    }
    model = Albef(
        tower,
        _small.awake(BertLM(len(tokenizer), **common)),
        _small.awake(Bert(0, width_in=tower.width, cross=every, **common)),
        _small.awake(Pairing(tower.width, chosen.width, queue=128 * BATCH, first=False)),
        tokenizer,
        _small.awake(BertLM(len(tokenizer), width_in=chosen.width, cross=every, **common)),
        max_length=96,
        alpha_steps=500,
        decay=0.99,
    )
    before = _small.eyes_first(size, seed)
    learning: dict[str, Any] = {"examples_per_batch": BATCH, **_small.PAIRS}
    return model, [
        *before,
        _small.first_contrast(seed, {"text": 2e-3, "pairing": 2e-3}, "ita"),
        Stage(
            "pretrain",
            trains={"text": 1e-3, "fusion": 1e-3, "pairing": 1e-3},
            objectives=("ita", "itm", "mlm"),
            # Descriptions are twice as long as captions, and all rows are as long as the longest.
            data=talks.read(seed, mix={"caption": 0.5, "mention": 0.5}, **_small.SHOWN),
            steps=1000,
            **learning,
        ),
        Stage(
            "vqa",
            trains={"text": 5e-4, "fusion": 5e-4, "decoder": 1e-3},
            objectives=("vqa",),
            data=talks.read(seed, mix={"question": 1.0}, **_small.SHOWN),
            steps=600,
            **learning,
        ),
    ]


def paper(
    pretrain: Source,
    vqa: Source | None = None,
    retrieval: Source | None = None,
    *,
    devices: int = 8,
    examples_per_device: int = 64,
) -> list[Stage]:
    """The published settings (configs/Pretrain.yaml, VQA.yaml, Retrieval_coco.yaml), AdamW with decay 0.02 and all
    parts trained: 30 epochs in batches of 512, rate 1e-4 falling to 1e-5 after 1,000 steps of warm-up; retrieval
    5 epochs in batches of 256, 1e-5 to 1e-6; questions 8 epochs in batches of 256, 2e-5 to 1e-6.

    Fine-tuning takes pictures of 384 px (`from_released(…, size_px=384)`), which this list does not change
    between its stages. Fewer devices split a batch into several, whose pairs are then no negatives of each other.
    Raises InputError where the batch does not divide.
    """
    pairs = {"tower": 1e-4, "text": 1e-4, "fusion": 1e-4, "pairing": 1e-4}
    asked = {"tower": 2e-5, "text": 2e-5, "fusion": 2e-5, "decoder": 2e-5}
    plan: list[tuple[str, Source | None, dict[str, float], tuple[str, ...], int, int, int, float]]
    plan = [
        ("pretrain", pretrain, pairs, ("ita", "itm", "mlm"), 512, 30, 1000, 0.1),
        ("retrieval", retrieval, dict.fromkeys(pairs, 1e-5), ("ita", "itm"), 256, 5, 100, 0.1),
        ("vqa", vqa, asked, ("vqa",), 256, 8, 400, 0.05),
    ]
    stages = []
    for name, data, rates, objectives, batch, epochs, warmup, floor in plan:
        if data is None:
            continue
        stage = published(
            name,
            data,
            rates,
            batch=batch,
            epochs=epochs,
            devices=devices,
            examples_per_device=min(examples_per_device, batch // devices),
            template="",
        )
        stages.append(
            replace(
                stage,
                objectives=objectives,
                template=None,
                pack=False,
                warmup=min(0.5, warmup / stage.steps),
                floor=floor,
                weight_decay=0.02,
                checkpoint_activations=False,
            )
        )
    return stages


def outline(size: str = "base") -> Outline:
    """The published model without weights: 256 px, 257 tokens."""
    import torch
    from transformers import ViTConfig, ViTModel

    width = 768
    common: dict[str, Any] = {"layers": 6, "cross": tuple(range(6)), "width_in": width}
    with torch.device("meta"):
        parts = {
            "tower": ViTModel(ViTConfig(image_size=256)),
            "text": BertLM(30_522, layers=6),
            "fusion": Bert(0, **common),
            "pairing": Pairing(width, width),
            "decoder": BertLM(30_522, **common),
        }
    tokens = (256 // 16) ** 2 + 1
    return Outline(parts, tokens, tokens)
