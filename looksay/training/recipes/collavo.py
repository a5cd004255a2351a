"""CoLLaVO (arXiv 2402.11248): a crayon over a model that talks, in two steps: the crayon alone, then two adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch

from looksay.data.dataset import Mixture, Source
from looksay.data.scenes.finding import NAMES
from looksay.data.sources import scenes as talks
from looksay.data.sources.crayon import Crayon as Instructions
from looksay.errors import UnknownName
from looksay.models.connectors import MLP
from looksay.models.crayon import Crayon
from looksay.models.families.collavo import SKILLS, Collavo, collavo_7b
from looksay.models.small_tower import PLACE_WIDTH
from looksay.training.recipes import _published, _small, llava
from looksay.training.recipes._published import Outline, published
from looksay.training.stages import Adapter, Stage

PUBLISHED = {"7b": collavo_7b}
"""The model of the paper before training, by size."""
Kind = Literal["both", "semantic", "text", "none"]
KINDS: tuple[Kind, ...] = ("both", "semantic", "text", "none")
"""What the crayon tells (the paper's ablation): classes and numbers, classes alone, only the sentence in the text,
nothing at all."""
Adapters = Literal["dual", "one", "talk"]
ADAPTERS: tuple[Adapters, ...] = ("dual", "one", "talk")
"""The second step (the paper's ablation): an adapter for each kind of instructions, one for both kinds, or one that
learns from talks alone."""
LORA = Adapter(rank=64, alpha=64, quantize="nf4")
"""The paper's; its dropout is that of the released code."""
SMALL_LORA = replace(LORA, rank=16, alpha=16, dropout=0.0, quantize=None)
"""That of a small language model on scenes."""


def scenes(
    size: str = "mini",
    seed: int = 0,
    *,
    crayon: Kind = "both",
    adapters: Adapters = "dual",
    experts: float = 0.0,
) -> tuple[Collavo, list[Stage]]:
    """CoLLaVO on scenes over a tower that recognises (already trained where one of that size ships): a language model
    that reads lists, LLaVA's stages between them, then the paper's two steps.

    The panoptic expert is the scene's own truth, a share of `experts` of it wrong. Raises UnknownName for other `crayon` or `adapters`.
    """
    torch.manual_seed(seed)
    tokenizer, tower = _small.tokenizer(), _small.seeing(size)
    model = over(tower, _small.language(size, tokenizer), tokenizer, crayon=crayon)
    before = _small.eyes_first(size, seed)
    after = joining(seed, crayon=crayon, adapters=adapters, experts=experts)
    return model, [*before, _small.language_stage(seed), *after]


def over(tower: Any, language: Any, tokenizer: Any, *, crayon: Kind = "both") -> Collavo:
    """A new connector (LLaVA-1.5's) and crayon between a tower and a language model that are there. Raises
    UnknownName for another kind of crayon."""
    if crayon not in KINDS:
        raise UnknownName("kind of crayon", crayon, KINDS)
    connector = MLP(tower.width, language.width, place=PLACE_WIDTH)
    numbers = {"semantic": 0}.get(crayon, 20)
    drawn = Crayon(language.width, classes=len(NAMES), numbers=numbers)
    return Collavo(
        tower,
        connector,
        language,
        tokenizer,
        crayon=drawn if crayon in ("both", "semantic") else None,
        tells=crayon != "none",
    )


def joining(
    seed: int = 0, *, crayon: Kind = "both", adapters: Adapters = "dual", experts: float = 0.0
) -> list[Stage]:
    """The stages over a tower and a language model that are there: LLaVA's ground, align and instruct, then crayon
    (where there is one) and dual.

    In instruct the language model also reads sentences of findings, without pictures: what it does not know how to
    say, no crayon before it can make it say while it rests.
    """
    found = partial(talks.read, experts=experts, **_small.SHOWN)

    def instructions(number: int, told: bool = False) -> Instructions:
        return Instructions(found(seed + number, mix={"caption": 1.0}), seed, told)

    talk = found(seed + 6, mix={"everything": 0.7, "description": 0.25, "choice": 0.05})
    rests: dict[str, Any] = {
        **{key: _small.SPEAKING[key] for key in ("tokens_per_batch", "max_length", "betas")},
        "cache_features": True,
    }
    draws = {"crayon": 1e-3} if crayon in ("both", "semantic") else {}
    *before, instruct = llava.joining(seed, **_small.SHOWN)
    read = instructions(4, told=True)
    instruct = replace(instruct, data=Mixture([(instruct.data, 0.8), (read, 0.2)], seed))
    first = Stage("crayon", trains=draws, data=instructions(5), steps=1500, **rests)
    dual = Stage(
        "dual",
        trains={**dict.fromkeys(draws, 2e-4), "language": 1e-3},
        data=_taught(instructions(7), talk, adapters, seed),
        steps=1500,
        adapter=_adapter(SMALL_LORA, adapters),
        **rests,
    )
    return [*before, instruct, *([first] if draws else []), dual]


def _adapter(one: Adapter, adapters: Adapters) -> Adapter:
    """Raises UnknownName for another way of teaching."""
    if adapters not in ADAPTERS:
        raise UnknownName("way of teaching the adapters", adapters, ADAPTERS)
    return replace(one, names=SKILLS) if adapters == "dual" else one


def _taught(instructions: Source, talk: Source, adapters: Adapters, seed: int = 0) -> Source:
    """What the second step learns from: both as often as there are of each, or as often as the other."""
    if adapters == "talk":
        return talk
    weights = [float(source.size or 1) for source in (instructions, talk)]
    return Mixture(list(zip((instructions, talk), weights, strict=True)), seed)


def own(data: Source, *, fresh: bool, examples: int = 16) -> list[Stage]:
    """Stages for data of one's own: LLaVA's, and where the first picture comes with findings the two steps."""
    stages = _published.own(data, fresh=fresh, examples=examples)
    images = data.example(0).conversation.images
    if not images or images[0].findings is None:
        return stages
    instructions = Instructions(data)
    common: dict[str, Any] = {"steps": stages[-1].steps, "examples_per_batch": examples}
    rates: Mapping[str, float] = {"crayon": 1e-3}
    return [
        *stages,
        Stage("crayon", rates, instructions, overlong="cut", **common),
        Stage(
            "dual",
            {"crayon": 1e-4, "language": 2e-4},
            _taught(instructions, data, "dual"),
            overlong="cut",
            adapter=_adapter(replace(LORA, quantize=None), "dual"),
            **common,
        ),
    ]


def paper(
    pictures: Source,
    instruct: Source | None = None,
    *,
    devices: int = 8,
    examples_per_device: int = 4,
    adapters: Adapters = "dual",
    quantize: bool = True,
) -> list[Stage]:
    """The paper's two steps, batches of 32, AdamW, cosine: crayon instructions about `pictures` (COCO 2017 with the
    findings of a panoptic expert), from 1e-4 to 1e-6, tables and MLP alone; then with `instruct` (LLaVA's and
    ShareGPT4V's), from 1e-5 to 1e-6, the same and two adapters of rank 64 over weights in 4 bit.

    One epoch each. The paper draws for each step which kind of instructions it takes; here a batch holds both, as
    often as there are of each, and each example teaches its own adapter alone. Warm-up is not told: there is none.
    Raises InputError where a batch does not divide.
    """
    split: dict[str, Any] = {
        "batch": 32,
        "epochs": 1,
        "devices": devices,
        "examples_per_device": examples_per_device,
        "template": None,
    }
    instructions = Instructions(pictures)
    first = published("crayon", instructions, {"crayon": 1e-4}, **split)
    stages = [replace(first, warmup=0.0, floor=0.01)]
    if instruct is not None:
        rates = {"crayon": 1e-5, "language": 1e-5}
        adapter = _adapter(replace(LORA, quantize="nf4" if quantize else None), adapters)
        second = published("dual", instruct, rates, adapter=adapter, **split)
        more = 0 if adapters == "talk" else first.steps
        stages.append(
            replace(
                second,
                data=_taught(instructions, instruct, adapters),
                steps=second.steps + more,
                warmup=0.0,
                floor=0.1,
            )
        )
    return stages


def outline(size: str = "7b") -> Outline:
    """The published model without weights: 490 px, InternLM's geometry. Raises UnknownName for another size."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if size not in PUBLISHED:
        raise UnknownName("published size of collavo", size, PUBLISHED)
    found = _published.outline("7b", side_px=490, mlp=True)
    with torch.device("meta"):
        crayon = Crayon(4096, width=1024)
        # InternLM-7B is a Llama with biases in its attention and 103,168 words.
        language = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=103_168,
                hidden_size=4096,
                intermediate_size=11008,
                num_hidden_layers=32,
                num_attention_heads=32,
                attention_bias=True,
            )
        )
    parts = {**found.parts, "crayon": crayon}
    return replace(found, parts={**parts, "language": language})
