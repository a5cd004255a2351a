"""LLaVA-1.5 (arXiv 2310.03744): two layers between tower and language model, a better mixture, larger pictures."""

from __future__ import annotations

from functools import partial
from typing import Any

from looksay.data.dataset import Source
from looksay.models.connectors import MLP
from looksay.models.families.llava import Llava, llava15_7b, llava15_13b
from looksay.models.small_tower import PLACE_WIDTH
from looksay.training.recipes import llava
from looksay.training.recipes._published import Outline, lora, own, published
from looksay.training.recipes._published import outline as published_outline
from looksay.training.stages import Stage

__all__ = ["PUBLISHED", "outline", "own", "paper", "scenes"]

PUBLISHED = {"7b": llava15_7b, "13b": llava15_13b}
"""The model of the paper before training, by size: released towers and language models."""


def scenes(size: str = "mini", seed: int = 0) -> tuple[Llava, list[Stage]]:
    """The recipe of `llava` for scenes, with the connector of LLaVA-1.5 and a straight way for places."""
    return llava.scenes(size, seed, connector=partial(MLP, place=PLACE_WIDTH))


def paper(
    align: Source,
    instruct: Source | None = None,
    *,
    devices: int = 8,
    examples_per_device: int = 16,
    adapter: bool = False,
    quantize: bool = False,
) -> list[Stage]:
    """The released scripts (scripts/v1_5): 558K captions, rate 1e-3, batch 256, connector alone; then the
    mixture of 665K, rate 2e-5, batch 128; one epoch each.

    `align` and `instruct` read blip_laion_cc_sbu_558k.json and llava_v1_5_mix665k.json. `adapter` takes
    LoRA for the second (rank 128, rates 2e-4 and 2e-5 for the connector), `quantize` QLoRA.
    """
    split: dict[str, Any] = {"devices": devices, "examples_per_device": examples_per_device}
    stages = [
        published(
            "align", align, {"connector": 1e-3}, batch=256, epochs=1, template="plain", **split
        )
    ]
    if instruct is not None:
        both = {"connector": 2e-5, "language": 2e-5}
        stages.append(
            published("instruct", instruct, both, batch=128, epochs=1, template="v1", **split)
        )
    return lora(stages, quantize=quantize) if adapter or quantize else stages


def outline(size: str = "7b") -> Outline:
    """The published model without weights: 336 px, an MLP; sizes 7b and 13b."""
    return published_outline(size, side_px=336, mlp=True)
