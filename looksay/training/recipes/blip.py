"""BLIP (arXiv 2201.12086): contrast, matching and captions learned together; then captions, then questions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from looksay.data.dataset import Source
from looksay.data.sources import scenes as talks
from looksay.models.answering import BertLM
from looksay.models.families._blip_layouts import blip_base, blip_large
from looksay.models.families.blip import Blip, add_blip_tokens
from looksay.models.pairing import Pairing
from looksay.models.small_tower import SmallTower
from looksay.training.recipes import _small
from looksay.training.recipes._published import Outline, published
from looksay.training.stages import Stage

PUBLISHED = {"base": blip_base, "large": blip_large}
"""The model of the paper before training: ViT-B/16 or ViT-L/16 and BERT-base."""
BATCH = 32
"""Pairs of a batch on scenes: a row's hard negatives come from it."""
LEARNING: dict[str, Any] = {"examples_per_batch": BATCH, **_small.PAIRS}
"""What the stages on scenes share."""


def model(size: str = "mini", seed: int = 0, tower: SmallTower | None = None) -> Blip:
    """A new BLIP for scenes over a tower that recognises: `tower`, or else the one that ships (of a size where none
    does, a new one)."""
    import torch

    torch.manual_seed(seed)
    tokenizer = add_blip_tokens(_small.tokenizer())
    chosen, tower = _small.size(size), tower or _small.seeing(size)
    common: dict[str, Any] = {
        "vocabulary": len(tokenizer),
        "width": chosen.width,
        "layers": chosen.layers,
        "heads": chosen.heads,
        "inner": chosen.hidden,
        "positions": 128,
        "cross": tuple(range(chosen.layers)),
    }
    return Blip(
        tower,
        _small.awake(BertLM(width_in=tower.width, decodes=True, **common)),
        tokenizer,
        _small.awake(Pairing(tower.width, chosen.width, queue=128 * BATCH, first=False)),
        _small.awake(BertLM(width_in=chosen.width, **common)),
        prompt="",
        max_length=96,
        ramp_steps=1000,
        decay=0.99,
    )


def scenes(size: str = "mini", seed: int = 0) -> tuple[Blip, list[Stage]]:
    """BLIP on scenes: the tower rests, the text transformer learns its three modes, then captions alone, then
    questions.

    The paper trains its tower as well; this one was not made of attention and learned from stronger labels than
    captions are. The prompt is left out: captions of scenes have forms of their own.
    """
    before = _small.eyes_first(size, seed)
    return model(size, seed), [*before, *joining(seed)]


def joining(seed: int = 0, data: Source | None = None, steps: int = 800) -> list[Stage]:
    """The stages over a tower that is there: contrast and pretrain (on `data` where given, the second so many
    steps), caption, vqa."""
    # Descriptions, twice as long, wait until one loss alone is computed of them.
    pairs = data or talks.read(seed, mix={"caption": 1.0}, **_small.SHOWN)
    return [
        _small.first_contrast(seed, {"text": 2e-3, "pairing": 2e-3}, "itc", data),
        Stage(
            "pretrain",
            trains={"text": 1e-3, "pairing": 1e-3},
            objectives=("itc", "itm", "lm"),
            data=pairs,
            steps=steps,
            **LEARNING,
        ),
        Stage(
            "caption",
            trains={"text": 3e-4},
            data=talks.read(seed, mix={"description": 1.0}, **_small.SHOWN),
            steps=300,
            **LEARNING,
        ),
        Stage(
            "vqa",
            trains={"text": 3e-4, "answers": 1e-3},
            objectives=("vqa",),
            data=talks.read(seed, mix={"question": 1.0}, **_small.SHOWN),
            steps=600,
            **LEARNING,
        ),
    ]


def paper(
    pretrain: Source,
    caption: Source | None = None,
    retrieval: Source | None = None,
    vqa: Source | None = None,
    *,
    large: bool = False,
    devices: int = 32,
    examples_per_device: int | None = None,
) -> list[Stage]:
    """The published settings (section 4.1; configs/caption_coco.yaml, retrieval_coco.yaml, vqa.yaml), AdamW with
    decay 0.05: 20 epochs in batches of 2,880 (ViT-L: 2,400), 3e-4 (2e-4) after 3,000 steps of warm-up; captions 5
    epochs in batches of 256, 1e-5; retrieval 6 epochs in batches of 256, 1e-5 (ViT-L: 5e-6); questions 10 epochs in
    batches of 256, 2e-5.

    Pre-training has no prompt, and its rate falls by a cosine; the paper's falls by 0.85 (its configuration: 0.9)
    each epoch. Fine-tuning takes pictures of 384 px (questions: 480), which this list does not change between its
    stages; each of the three begins from the pre-trained model, so train them in runs of their own. Fewer devices
    split a batch into several, whose pairs are then no negatives of each other. Raises InputError where the batch
    does not divide.
    """
    rate, whole = (2e-4, 2400) if large else (3e-4, 2880)
    all_parts = ("tower", "text", "pairing")
    found = 5e-6 if large else 1e-5
    plan: list[tuple[str, Source | None, dict[str, float], tuple[str, ...], int, int, int]] = [
        (
            "pretrain",
            pretrain,
            dict.fromkeys(all_parts, rate),
            ("itc", "itm", "lm"),
            whole,
            20,
            3000,
        ),
        ("caption", caption, {"tower": 1e-5, "text": 1e-5}, ("lm",), 256, 5, 0),
        ("retrieval", retrieval, dict.fromkeys(all_parts, found), ("itc", "itm"), 256, 6, 0),
        ("vqa", vqa, {"tower": 2e-5, "text": 2e-5, "answers": 2e-5}, ("vqa",), 256, 10, 0),
    ]
    stages = []
    for name, data, rates, objectives, batch, epochs, warmup in plan:
        if data is None:
            continue
        each = min(examples_per_device or batch, max(1, batch // devices))
        stage = published(
            name,
            data,
            rates,
            batch=batch,
            epochs=epochs,
            devices=devices,
            examples_per_device=each,
            template=None if name == "caption" else "",
        )
        stages.append(
            replace(
                stage,
                objectives=objectives,
                pack=False,
                weight_decay=0.05,
                warmup=min(0.5, warmup / stage.steps),
                betas=(0.9, 0.999),
            )
        )
    return stages


def outline(size: str = "base") -> Outline:
    """The published model without weights: ViT-B/16 or ViT-L/16 at 224 px, BERT-base in three modes."""
    import torch
    from transformers import ViTConfig, ViTModel

    width, layers, heads = (1024, 24, 16) if size == "large" else (768, 12, 12)
    with torch.device("meta"):
        tower = ViTModel(
            ViTConfig(
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                image_size=224,
                patch_size=16,
            ),
            add_pooling_layer=False,
        )
        text = BertLM(30_524, width_in=width, cross=tuple(range(12)), decodes=True)
        pairing = Pairing(width, 768)
    return Outline({"tower": tower, "text": text, "pairing": pairing}, 197, 197)
