"""BLIP-2 (arXiv 2301.12597): a Q-Former learns what of a picture words can tell, then to tell it to a language
model that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from looksay.data.dataset import Source
from looksay.data.sources import scenes as talks
from looksay.errors import UnknownName
from looksay.models.families import blip2
from looksay.models.families.blip2 import Blip2
from looksay.models.language import Language
from looksay.models.qformer import QFormer, QFormerText
from looksay.models.representing import FIRST
from looksay.training.recipes import _small
from looksay.training.recipes._published import Outline, fitting, published, split
from looksay.training.recipes.simvlm import Bare
from looksay.training.stages import Stage

PUBLISHED = {
    "vit-l-opt-2.7b": blip2.vit_l_opt_2_7b,
    "vit-g-opt-2.7b": blip2.vit_g_opt_2_7b,
    "vit-g-opt-6.7b": blip2.vit_g_opt_6_7b,
    "vit-l-flan-t5-xl": blip2.vit_l_flan_t5_xl,
    "vit-g-flan-t5-xl": blip2.vit_g_flan_t5_xl,
    "vit-g-flan-t5-xxl": blip2.vit_g_flan_t5_xxl,
}
"""The model of the paper before training, by size (table 2): released towers and language models."""
SIZES = {
    "vit-l-opt-2.7b": ("l", "opt-2.7b"),
    "vit-g-opt-2.7b": ("g", "opt-2.7b"),
    "vit-g-opt-6.7b": ("g", "opt-6.7b"),
    "vit-l-flan-t5-xl": ("l", "flan-t5-xl"),
    "vit-g-flan-t5-xl": ("g", "flan-t5-xl"),
    "vit-g-flan-t5-xxl": ("g", "flan-t5-xxl"),
}
"""Tower and language model of each."""
GEOMETRY: Mapping[str, dict[str, int]] = {
    "opt-2.7b": {"hidden_size": 2560, "ffn_dim": 10240, "num_hidden_layers": 32},
    "opt-6.7b": {"hidden_size": 4096, "ffn_dim": 16384, "num_hidden_layers": 32},
    "flan-t5-xl": {"d_model": 2048, "d_ff": 5120, "num_heads": 32},
    "flan-t5-xxl": {"d_model": 4096, "d_ff": 10240, "num_heads": 64},
}
"""Of the language models (their config.json); OPT has 32 heads, T5 24 layers and heads of 64."""
BATCH = 32
"""Pairs of a batch on scenes: each row's negatives come from it."""


def scenes(
    size: str = "mini",
    seed: int = 0,
    *,
    language: Literal["causal", "seq2seq"] = "causal",
    first_stage: bool = True,
    itg: bool = True,
) -> tuple[Blip2, list[Stage]]:
    """BLIP-2 on scenes over a tower that recognises (already trained where one of that size ships): a language
    model that reads lists, then the paper's two stages over both as they are.

    `language`: a decoder alone (the paper: OPT), or an encoder–decoder (FLAN-T5). Without `first_stage` the
    queries begin blind (the paper's figure 5), without `itg` they never write (table 6). The Q-Former is as deep
    as the language model, so cross-attention is in every block, not in every second.
    """
    import torch

    torch.manual_seed(seed)
    tokenizer, tower = _small.tokenizer(), _small.seeing(size)
    kinds = {"causal": _small.language, "seq2seq": _small.seq2seq}
    if language not in kinds:
        raise UnknownName("kind of language model", language, kinds)
    model = over(tower, kinds[language](size, tokenizer), tokenizer, size)
    before = _small.eyes_first(size, seed)
    before.append(_small.language_stage(seed))
    stages = joining(seed, first_stage=first_stage, itg=itg)
    return model, [*before, *stages]


def over(tower: Any, language: Language, tokenizer: Any, size: str = "mini") -> Blip2:
    """A new Q-Former between a tower and a language model that are there."""
    connector, text = queries(tower, tokenizer, size, width_out=language.width)
    return Blip2(tower, connector, tokenizer, text, language)


def queries(
    tower: Any, tokenizer: Any, size: str, *, width_out: int
) -> tuple[QFormer, QFormerText]:
    """A new Q-Former and its side of words. Scenes have five objects at most, so half of the paper's queries serve."""
    chosen = _small.size(size)
    shape = {"width": chosen.width, "layers": chosen.layers, "inner": chosen.hidden}
    connector = QFormer(
        tower.width, width_out, queries=16, heads=chosen.heads, cross_every=1, **shape
    )
    text = QFormerText.over(tokenizer, positions=64, length=64, embedding=chosen.width, **shape)
    return _small.awake(connector), _small.awake(text)


def joining(seed: int = 0, *, first_stage: bool = True, itg: bool = True) -> list[Stage]:
    """The stages over a tower and a language model that are there: represent and generate."""
    told: dict[talks.Kind, float] = {"caption": 0.5, "description": 0.5}
    represent = Stage(
        "represent",
        trains={"connector": 2e-3, "text": 2e-3},
        objectives=tuple(name for name in FIRST if itg or name != "itg"),
        data=talks.read(seed, mix={"caption": 1.0}, **_small.SHOWN),
        steps=800,
        examples_per_batch=BATCH,
        **_small.PAIRS,
    )
    generate = Stage(
        "generate",
        trains={"connector": 1e-3},
        objectives=("prefix_lm",),
        cache_features=True,
        data=talks.read(seed + 1, mix=told, **_small.SHOWN),
        steps=1000,
        **_small.SPEAKING,
    )
    contrast = _small.first_contrast(seed, {"connector": 2e-3, "text": 2e-3}, "itc")
    return [contrast, represent, generate] if first_stage else [generate]


def paper(
    pairs: Source,
    questions: Source | None = None,
    *,
    tower: Literal["vit-l", "vit-g"] = "vit-g",
    encoder: bool = False,
    devices: int = 16,
    examples_per_device: int = 5,
) -> list[Stage]:
    """The paper's stages (section 3.4): 250,000 steps of the three objectives in batches of 2,320 (ViT-L) or
    1,680 (ViT-g), 80,000 steps of speaking in batches of 1,920 (OPT) or 1,520 (with an encoder: FLAN-T5); AdamW
    with betas 0.9 and 0.98, decay 0.05, cosine from 1e-4 after 2,000 steps (to 5e-5 in the second; to 1e-5 in the
    first, as the released configuration has it). Then, on `questions`, five epochs in batches of 128 at 1e-5,
    tower and Q-Former.

    The paper takes pictures of 490 px for questions, and shows them to the Q-Former too; neither is done here.
    A device takes at most `examples_per_device` at once: of each batch as many as it divides into. Fewer devices
    split a batch into several, whose pairs are then no negatives of each other: contrast learns less. Captions are
    learned without the user's words. Raises InputError where a batch does not divide into the devices.
    """
    common: dict[str, Any] = {
        "pack": False,
        "betas": (0.9, 0.98),
        "weight_decay": 0.05,
        "overlong": "cut",
    }
    first, second = (2320 if tower == "vit-l" else 1680), (1520 if encoder else 1920)
    stages = [
        Stage(
            "represent",
            trains={"connector": 1e-4, "text": 1e-4},
            objectives=FIRST,
            data=pairs,
            steps=250_000,
            warmup=2_000 / 250_000,
            floor=0.1,
            **split(first, devices, examples_per_device),
            **common,
        ),
        Stage(
            "generate",
            trains={"connector": 1e-4},
            objectives=("prefix_lm",),
            data=Bare(pairs),
            steps=80_000,
            warmup=2_000 / 80_000,
            floor=0.5,
            **split(second, devices, examples_per_device),
            **common,
        ),
    ]
    if questions is not None:
        both = {"tower": 1e-5, "connector": 1e-5}
        answers = published(
            "questions",
            questions,
            both,
            batch=128,
            epochs=5,
            devices=devices,
            examples_per_device=fitting(128, devices, examples_per_device),
            template=None,
        )
        stages.append(replace(answers, weight_decay=0.05, warmup=0.0))
    return stages


def outline(size: str = "vit-g-opt-2.7b") -> Outline:
    """A published model without weights; sizes as in `PUBLISHED`. Raises UnknownName."""
    import torch
    from transformers import (
        Blip2VisionConfig,
        Blip2VisionModel,
        CLIPVisionConfig,
        CLIPVisionModel,
        OPTConfig,
        OPTForCausalLM,
        T5Config,
        T5ForConditionalGeneration,
    )

    if size not in PUBLISHED:
        raise UnknownName("published size of blip2", size, PUBLISHED)
    seeing, speaking = SIZES[size]
    shape = GEOMETRY[speaking]
    with torch.device("meta"):
        if seeing == "g":
            tower: Any = Blip2VisionModel(Blip2VisionConfig())
        else:
            tower = CLIPVisionModel(
                CLIPVisionConfig(
                    hidden_size=1024,
                    intermediate_size=4096,
                    num_hidden_layers=23,
                    num_attention_heads=16,
                    patch_size=14,
                )
            )
        if "d_model" in shape:
            width = shape["d_model"]
            language: Any = T5ForConditionalGeneration(
                T5Config(
                    vocab_size=32128,
                    num_layers=24,
                    d_kv=64,
                    feed_forward_proj="gated-gelu",
                    tie_word_embeddings=False,
                    **shape,
                )
            )
            # transformers (5.24) makes it the embedding; the released weights have one of their own.
            language.lm_head = torch.nn.Linear(width, 32128, bias=False)
        else:
            width = shape["hidden_size"]
            language = OPTForCausalLM(
                OPTConfig(
                    vocab_size=50272, num_attention_heads=32, word_embed_proj_dim=width, **shape
                )
            )
        connector = QFormer(tower.config.hidden_size, width)
        text = QFormerText(30523)
    parts = {"tower": tower, "connector": connector, "text": text, "language": language}
    return Outline(parts, connector.queries, 257)
