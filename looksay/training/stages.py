"""A stage says what trains, with which objectives, data, learning rates and steps; a recipe is a list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from looksay.data.dataset import Source
from looksay.errors import LooksayError


class TrainingError(LooksayError):
    """A run that cannot go on: its loss is no number, or a stage has not learned what the next needs."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA on a part (peft): every linear layer of it whose name is in `targets`."""

    part: str = "language"
    rank: int = 128
    alpha: int = 256
    dropout: float = 0.05
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    quantize: Literal["nf4"] | None = None
    """nf4: the frozen weights below the adapter are held in 4 bit (QLoRA)."""
    names: tuple[str, ...] = ("default",)
    """Several: adapters beside each other on the same layers, all of them at work; which of them an example
    teaches, the family says (CoLLaVO: "image", "talk")."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a recipe. What `trains` does not name is frozen, and in evaluation mode."""

    name: str
    trains: Mapping[str, float]
    """Peak learning rate by part of the model ("connector": 2e-3)."""
    data: Source
    steps: int
    objectives: tuple[str, ...] = ("lm",)
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of an objective in the sum; 1 where none is named."""
    template: str | None = None
    """Prompt template of the examples; None: the model's own chat template."""
    tokens_per_batch: int = 4096
    """Budget of a packed batch of one device (rows × length): at most this many ids."""
    max_length: int = 2048
    """Ids of one example, and of one packed row."""
    overlong: Literal["error", "cut"] = "error"
    """A longer example: an error that names it, or the end of its text is cut off (never an image)."""
    pack: bool = True
    examples_per_batch: int | None = None
    """Where given, a batch holds exactly this many examples, whatever their length."""
    accumulate: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: for the matrices of stacked layers; a small model from nothing needs a third of the examples."""
    schedule: Literal["cosine", "constant", "linear"] = "cosine"
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises from 0."""
    floor: float = 0.0
    """Share of the peak learning rate at the end of a cosine."""
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    checkpoint_activations: bool = False
    adapter: Adapter | None = None
    cache_features: bool = False
    """Keep the frozen tower's features by image (for data that repeats)."""
    gate: Callable[[Any], None] | None = None
    """Called with the model after the stage; raises TrainingError where the next would build on sand."""
