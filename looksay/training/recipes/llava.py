"""LLaVA (arXiv 2304.08485): one matrix between a frozen tower and a language model, in two stages."""

from __future__ import annotations

from typing import Any, Unpack

from looksay.data.dataset import Source
from looksay.data.sources import scenes as talks
from looksay.data.sources.drawing import Curriculum
from looksay.models.connectors import Linear
from looksay.models.families.llava import Llava, llava_7b, llava_13b
from looksay.training.recipes import _small
from looksay.training.recipes._published import Outline, own, published
from looksay.training.recipes._published import outline as published_outline
from looksay.training.stages import Stage

__all__ = ["PUBLISHED", "outline", "own", "paper", "scenes"]

PUBLISHED = {"7b": llava_7b, "13b": llava_13b}
"""The model of the paper before training, by size: released towers and language models."""


def scenes(size: str = "mini", seed: int = 0, connector: Any = Linear) -> tuple[Llava, list[Stage]]:
    """LLaVA from nothing on scenes: a tower that recognises, a language model that reads lists, words for
    places, then the paper's two stages (align: the connector alone; instruct: connector and language model)."""
    import torch

    torch.manual_seed(seed)
    tokenizer = _small.tokenizer()
    tower, language = _small.tower(size), _small.language(size, tokenizer)
    model = Llava(tower, connector(tower.width, language.width), language, tokenizer)
    return model, [_small.tower_stage(seed), _small.language_stage(seed), *joining(seed)]


def joining(seed: int = 0, **shown: Unpack[Curriculum]) -> list[Stage]:
    """The stages over a tower and a language model that are there: ground, align, instruct. `shown` changes what all
    of them show: with `pictures` features are computed once.

    What a published system downloads, `tower` and `language` make; the second is held to the text-only
    oracle before anything visual is built on it. `ground` is not in the paper: a CLIP tower has met words
    in its own training, this one has not, and without it captions alone teach the connector nothing.
    """
    reading: Curriculum = {"sign_share": 0.5, "invented": 0.7, **shown}
    usual: Curriculum = {"sign_share": 0.3, "invented": 0.5, **shown}
    known = "pictures" in shown
    return [
        Stage(
            "ground",
            trains={"connector": 4e-3},
            objectives=("ground",),
            data=talks.read(seed + 4, mix={"picture": 1.0}, **reading),
            steps=800,
            examples_per_batch=32,
            cache_features=known,
            weight_decay=0.01,
        ),
        # Slowly from here on: at 1e-3 the vectors left the words that `ground` had led them to (cosine 0.57 at
        # first, 0.07 after 4,000 steps of instruct) and grew to twenty times their length.
        Stage(
            "align",
            trains={"connector": 2e-4},
            data=talks.read(seed + 2, mix={"description": 1.0}, **usual),
            steps=200,
            cache_features=known,
            **_small.SPEAKING,
        ),
        Stage(
            "instruct",
            trains={"connector": 2e-4, "language": 2e-3},
            data=talks.read(
                seed + 3,
                mix={"everything": 0.7, "description": 0.25, "choice": 0.05},
                **usual,
            ),
            steps=4500,
            cache_features=known,
            **_small.SPEAKING,
        ),
    ]


def paper(
    align: Source,
    instruct: Source | None = None,
    scienceqa: Source | None = None,
    *,
    devices: int = 8,
    examples_per_device: int = 4,
) -> list[Stage]:
    """The paper's stages (section 4.2) for a model of `llava_7b`: 595K image–text pairs, one epoch, the
    matrix alone; then 158K instructions, three epochs, or ScienceQA (answer after reasoning), twelve.

    `align` and `instruct` read LLaVA-CC3M-Pretrain-595K's chat.json and llava_instruct_158k.json
    (looksay.data.sources.llava_instruct). For ScienceQA the paper names no batch of its own: 32, as for
    the instructions. Raises InputError where the batch does not divide.
    """
    split: dict[str, Any] = {"devices": devices, "examples_per_device": examples_per_device}
    stages = [
        published(
            "align", align, {"connector": 2e-3}, batch=128, epochs=1, template="plain", **split
        )
    ]
    both = {"connector": 2e-5, "language": 2e-5}
    for name, data, epochs in (("instruct", instruct, 3), ("scienceqa", scienceqa, 12)):
        if data is not None:
            stages.append(
                published(name, data, both, batch=32, epochs=epochs, template="v1", **split)
            )
    return stages


def outline(size: str = "7b") -> Outline:
    """The published model without weights: 224 px, one matrix; sizes 7b and 13b."""
    return published_outline(size, side_px=224, mlp=False)
