"""What the recipes for real data share: batches as published, and the outlines of the published models."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from looksay.data.dataset import Noted, Source
from looksay.errors import InputError
from looksay.models.preference import ANCHOR, BETA, PREFERENCE
from looksay.training.stages import Adapter, Stage

LORA = Adapter(part="language", rank=128, alpha=256, dropout=0.05, targets="all-linear")
"""LLaVA-1.5's LoRA (scripts/v1_5/finetune_lora.sh): all linear layers of the language model but its head."""
LORA_RATES = {"connector": 2e-5, "language": 2e-4}
PREFER_RATE, PREFER_LORA_RATE = 5e-7, 2e-6
"""Peak learning rates of preference training for a published size: RLAIF-V's (script/train/llava15_train.sh), and
HA-DPO's for an adapter of the same rank as LLaVA-1.5's (ha_dpo/models/llava-v1_5)."""
PREFER_SMALL_RATE = 3e-5
"""The same for a small model, and each part that its recipe's last stage trains. Ours: of `mini`, 45 steps at 1e-4 left
recall at 86 where it had been 90; at 3e-5 it stayed."""


def published(
    name: str,
    data: Source,
    trains: Mapping[str, float],
    *,
    batch: int,
    epochs: int,
    devices: int,
    examples_per_device: int,
    template: str | None,
    adapter: Adapter | None = None,
) -> Stage:
    """A stage with LLaVA's settings: AdamW without decay, cosine after 3% warm-up, activations computed
    again, texts cut at 2,048 ids. The batch is split over devices and accumulation, which changes no
    number. Raises InputError where it does not divide."""
    accumulate = divided(batch, devices, examples_per_device)
    if data.size is None:
        raise InputError(f"The stage {name!r} counts epochs, so its data need an end.")
    return Stage(
        name,
        trains,
        data,
        steps=max(1, data.size * epochs // batch),
        template=template,
        examples_per_batch=examples_per_device,
        accumulate=accumulate,
        max_length=2048,
        overlong="cut",
        schedule="cosine",
        warmup=0.03,
        weight_decay=0.0,
        checkpoint_activations=True,
        adapter=adapter,
    )


def divided(batch: int, devices: int, examples_per_device: int) -> int:
    """How often a batch is accumulated. Raises InputError where it does not divide."""
    at_once = devices * examples_per_device
    if batch % at_once:
        raise InputError(
            f"A batch of {batch} does not divide into {devices} devices × {examples_per_device} examples. "
            "Choose divisors."
        )
    return batch // at_once


def fitting(batch: int, devices: int, most: int) -> int:
    """The most examples for each device at once, up to `most`, that a batch divides into. Raises InputError where
    it does not divide into the devices."""
    if batch % devices:
        raise InputError(
            f"A batch of {batch} does not divide into {devices} devices. Choose a divisor."
        )
    return next(count for count in range(most, 0, -1) if batch // devices % count == 0)


def split(batch: int, devices: int, most: int) -> dict[str, Any]:
    """A batch as `Stage` wants it: at most so many examples for each device at once, the rest accumulated. Raises
    InputError where it does not divide into the devices."""
    each = fitting(batch, devices, most)
    return {"examples_per_batch": each, "accumulate": divided(batch, devices, each)}


def lora(stages: list[Stage], *, quantize: bool = False) -> list[Stage]:
    """The same stages with LLaVA-1.5's LoRA (QLoRA: nf4) wherever connector and language model train.

    Raises InputError where a stage trains a language model from nothing: an adapter is low-rank, and lies
    over weights that must know language already."""
    fresh = [s.name for s in stages if "language" in s.trains and "connector" not in s.trains]
    fresh += [s.name for s in stages if {"tower", "language"} <= set(s.trains)]
    if fresh:
        raise InputError(
            f"The stage {fresh[0]!r} trains a language model from nothing, which an adapter cannot. "
            "Name a trained model with --from FOLDER, or a published --size."
        )
    adapter = replace(LORA, quantize="nf4" if quantize else None)
    return [
        replace(s, adapter=adapter, trains=_adapted(s)) if "language" in s.trains else s
        for s in stages
    ]


def _adapted(stage: Stage) -> dict[str, float]:
    """The rates of a stage that trains an adapter: from preferences the adapter alone learns (HA-DPO)."""
    if PREFERENCE not in stage.objectives:
        return {**stage.trains, **LORA_RATES}
    times = PREFER_LORA_RATE / PREFER_RATE
    return {"language": stage.trains["language"] * times}


def prefer(
    data: Source,
    trains: Collection[str],
    *,
    small: bool,
    examples: int = 16,
    devices: int = 1,
    template: str | None = None,
    beta: float = BETA,
    smoothing: float = 0.0,
) -> Stage:
    """The stage that learns from preference data: the parts named in `trains`, by DPO.

    Of a published size as RLAIF-V (Yu et al., arXiv 2405.17220) trains LLaVA-1.5: rate 5e-7, batch 8, beta 0.1, and
    four rounds. Of a `small` one our own: the chosen answers are learned as well ("anchor"), `examples` pairs at once,
    three rounds, and 100 steps at least. `smoothing` is the share of pairs that are taken to be the wrong way round.
    """
    pairs = Noted(data, beta=beta, smoothing=smoothing)
    rate = PREFER_SMALL_RATE if small else PREFER_RATE
    common: dict[str, Any] = {
        "trains": dict.fromkeys(trains, rate),
        "data": pairs,
        "objectives": (PREFERENCE, ANCHOR) if small else (PREFERENCE,),
        "template": template,
        "pack": False,
        "cache_features": "tower" not in trains,
    }
    size = data.size or 0
    if small:
        steps = max(100, 3 * size // examples)
        return Stage("prefer", steps=steps, examples_per_batch=examples, warmup=0.1, **common)
    return Stage(
        "prefer",
        steps=max(1, 4 * size // 8),
        max_length=4096,
        warmup=0.05,
        weight_decay=0.01,
        checkpoint_activations=True,
        **split(8, devices, examples),
        **common,
    )


def _steps(data: Source, examples: int, epochs: int, fresh: bool) -> int:
    """Rounds of the data as steps, within bounds. Ten pictures are known by heart after 500 from nothing (50 leave every
    answer the same); a model that has learned before has new words right after 300 (100 leave them garbled)."""
    least = 500 if fresh else 300
    return max(least, min(5000, (data.size or 10_000) * epochs // examples))


def own(data: Source, *, fresh: bool, examples: int = 16, epochs: int = 10) -> list[Stage]:
    """Stages for data of one's own: a model that has learned before goes through LLaVA's two, one from
    nothing (`fresh`) trains all parts at once."""
    steps = _steps(data, examples, epochs, fresh)
    common: dict[str, Any] = {"data": data, "examples_per_batch": examples, "overlong": "cut"}
    if fresh:
        rates = {"tower": 1e-3, "connector": 1e-3, "language": 1e-3}
        return [Stage("all", rates, steps=steps, **common)]
    common["cache_features"] = True  # the tower rests, and each picture comes again and again
    return [
        Stage("align", {"connector": 1e-3}, steps=steps // 4, **common),
        Stage("instruct", {"connector": 2e-4, "language": 2e-4}, steps=steps, **common),
    ]


def like(
    stages: Sequence[Stage],
    parts: Collection[str],
    data: Source,
    *,
    fresh: bool,
    examples: int = 16,
) -> list[Stage]:
    """A recipe's own stages on data of one's own: with its objectives and rates, ten rounds of the data in each.
    A model from nothing (`fresh`, with these `parts`) learns to see and to speak along with the rest; stages that
    need a scene's truth, or no picture, are left out."""
    new = {name: 1e-3 for name in ("tower", "language") if fresh and name in parts}
    steps = _steps(data, examples, 10, fresh)
    kept = [s for s in stages if not set(s.objectives) <= {"recognise", "ground"}]
    return [
        replace(
            stage,
            data=data,
            steps=steps,
            examples_per_batch=examples,
            overlong="cut",
            gate=None,
            trains={**new, **stage.trains},
            cache_features=stage.cache_features and "tower" not in new,
        )
        for stage in kept
        if stage.name != "language"
    ]


@dataclass(frozen=True, slots=True)
class Outline:
    """A model without weights: its parts on the meta device, and what a plan wants to know besides."""

    parts: Mapping[str, Any]
    image_tokens: int
    tower_tokens: int


def outline(size: str, *, side_px: int, mlp: bool) -> Outline:
    """LLaVA with Vicuna 7b or 13b over CLIP ViT-L/14, from the published geometry; nothing is loaded."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

    from looksay.models import connectors

    width, inner, layers, heads = (4096, 11008, 32, 32) if size == "7b" else (5120, 13824, 40, 40)
    with torch.device("meta"):
        tower = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                image_size=side_px,
                patch_size=14,
            )
        )
        language = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=32000,
                hidden_size=width,
                intermediate_size=inner,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                num_key_value_heads=heads,
            )
        )
        connector = connectors.MLP(1024, width) if mlp else connectors.Linear(1024, width)
    tokens = (side_px // 14) ** 2
    parts = {"tower": tower, "connector": connector, "language": language}
    return Outline(parts, tokens, tokens + 1)
