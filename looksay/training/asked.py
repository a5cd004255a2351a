"""From the words of a command to a model and its stages: which size, which data, which steps and rates."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from looksay.data.dataset import FirstTurns
from looksay.data.opening import open_source
from looksay.errors import InputError, UnknownName
from looksay.models import checkpoint
from looksay.models.preference import BETA
from looksay.training import optim
from looksay.training.recipes import _published
from looksay.training.recipes._small import SIZES
from looksay.training.reference import untaught
from looksay.training.stages import Stage


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command names."""

    recipe: Any
    data: str
    """"scenes", or data of one's own."""
    images: Path | None = None
    size: str = "mini"
    start: str | None = None
    """A trained model to go on from."""
    names: str | None = None
    """Of stages, with commas."""
    steps: str | None = None
    rates: str | None = None
    lora: bool = False
    qlora: bool = False
    batch: int = 16
    """Examples per device."""
    beta: float | None = None
    """How strongly a model that learns from preferences is held to what it was."""
    seed: int = 0
    dtype: torch.dtype | None = None
    """Of a model to go on from; None: as it was saved."""

    @property
    def published(self) -> bool:
        """Whether it is a paper's model, on data of one's own."""
        return self.size in self.recipe.PUBLISHED and self.data != "scenes"

    def source(self) -> Any:
        """The examples. Raises InputError where there are none."""
        source = open_source(self.data, self.images, self.seed)
        if source.size == 0:
            raise InputError(f"{self.data} holds no example.")
        return source

    def shaped(self, stages: list[Stage]) -> list[Stage]:
        """Stages as they are asked for: with an adapter, some of them, longer or shorter, at other rates."""
        adapter = self.lora or self.qlora
        adapted = _published.lora(stages, quantize=self.qlora) if adapter else stages
        return paced(chosen(adapted, self.names, self.steps), self.rates)


def made(asked: Asked) -> tuple[Any, list[Stage]]:
    """The model to begin with, and the stages of the recipe for this data: all, or from a trained model all
    but those that stand for what is downloaded (which are gone on with where they are named). From preference data a
    trained model learns by a stage of its own."""
    recipe = asked.recipe
    _sized(asked)
    if asked.data == "scenes" and asked.beta is not None:
        raise InputError(
            "--beta is for preference data, which looksay prefer makes of scenes: looksay prefer -h"
        )
    torch.manual_seed(asked.seed)  # a new connector is the same one in every process, and next time
    if asked.data == "scenes":
        model, stages = recipe.scenes(asked.size, asked.seed)
        if asked.start is not None:
            model = _loaded(asked.start, asked.dtype)
            if asked.names is None:
                stages = [s for s in stages if s.name not in ("tower", "language")]
        return model, asked.shaped(stages)
    source = asked.source()
    pairs = _pairs(source, asked)
    if asked.published:
        stages = papers(asked, source)
        model = recipe.PUBLISHED[asked.size]() if asked.start is None else None
    else:
        model, stages = recipe.scenes(asked.size, asked.seed)
        # LLaVA's two stages differ on own data; other families go through those that they have.
        own = getattr(recipe, "own", partial(_published.like, stages, model.parts))
        stages = own(source, fresh=asked.start is None, examples=asked.batch)
        if pairs:
            stages = [_preferring(stages, source, asked, small=True)]
    if asked.start is not None:
        model = _loaded(asked.start, asked.dtype)
    if pairs and not hasattr(model, "likelihoods"):
        raise InputError(untaught(model))
    return model, asked.shaped(stages)


def _preferring(stages: list[Stage], source: Any, asked: Asked, **how: Any) -> Stage:
    """The stage for preference data: it trains what the last of `stages`, those for single answers, does."""
    return _published.prefer(
        source,
        list(stages[-1].trains),
        examples=asked.batch,
        template=stages[-1].template,
        beta=BETA if asked.beta is None else asked.beta,
        **how,
    )


def paired(source: Any) -> bool:
    """Whether a source holds preference data."""
    return "rejected" in source.example(0).truth


def _pairs(source: Any, asked: Asked) -> bool:
    """Whether the data are preferences. Raises InputError where nothing is there that could prefer."""
    pairs = paired(source)
    if pairs and asked.start is None:
        raise InputError(
            f"{asked.data} holds pairs of answers, from which a model learns that answers already. Name it: --from FOLDER "
            "(or mini)."
        )
    if asked.beta is not None and not pairs:
        raise InputError(
            f"--beta is for preference data (prompt, chosen, rejected); {asked.data} holds none."
        )
    return pairs


def held_in(precision: str, device: str) -> torch.dtype | None:
    """The dtype of a model to go on from: a run in fp32 wants all of its weights so, frozen ones too, however they
    were saved (mini is in bf16). None: as they were saved."""
    there = None if device == "cpu" else torch.accelerator.current_accelerator()
    found = optim.precision(precision, there or torch.device("cpu"))
    return found if found is torch.float32 else None


def _sized(asked: Asked) -> None:
    """Raise InputError or UnknownName for a size that the recipe has not for these data."""
    recipe, size = asked.recipe, asked.size
    family = recipe.__name__.rpartition(".")[2]
    if size in SIZES or asked.published:
        return
    if size in recipe.PUBLISHED:
        raise InputError(
            f"On scenes there is no {family} of the published size {size!r}; found --data scenes. "
            f"Type --size {' or --size '.join(sorted(SIZES))}, or name your own data: --data FILE."
        )
    on = " on scenes" if asked.data == "scenes" else ""
    raise UnknownName(
        f"{family}{on} of the size", size, [*SIZES, *([] if on else recipe.PUBLISHED)]
    )


def card(asked: Asked, stages: list[Stage]) -> dict[str, Any]:
    """How a small model wants to be asked for a description: it follows no instructions but those of
    its own data; of scenes a recipe's `CARD` says what differs from other models of scenes. A published
    language model follows any."""
    if asked.data == "scenes":
        return dict(getattr(asked.recipe, "CARD", {}))
    if asked.published:
        return {}
    messages = stages[-1].data.example(0).conversation.messages
    words = next((m.text for m in messages if m.role == "user" and m.text.strip()), None)
    return {"instructable": False, **({"describe": words} if words else {})}


def papers(asked: Asked, source: Any, devices: int | None = None) -> list[Stage]:
    """The published stages of a size, on a source of one's own, or that for preference data; processes as torchrun
    started them, unless given."""
    paper, batch = asked.recipe.paper, asked.batch
    found = devices or int(os.environ.get("WORLD_SIZE", "1"))
    sized = {"size": asked.size} if "size" in signature(paper).parameters else {}
    stages: list[Stage] = paper(
        FirstTurns(source), source, devices=found, examples_per_device=batch, **sized
    )
    if paired(source):
        return [_preferring(stages, source, asked, small=False, devices=found)]
    return stages


def _loaded(start: str, dtype: torch.dtype | None) -> Any:
    folder = checkpoint.SHIPPED if start == "mini" else Path(start.removeprefix("local:"))
    return checkpoint.load(folder, dtype=dtype)


def chosen(stages: list[Stage], names: str | None, steps: str | None) -> list[Stage]:
    """The stages of these names, with these numbers of steps."""
    known = {stage.name: stage for stage in stages}
    if names is not None:
        wanted = [name.strip() for name in names.split(",")]
        for name in wanted:
            if name not in known:
                raise UnknownName("stage of this recipe", name, known)
        stages = [known[name] for name in wanted]
    if steps is None:
        return stages
    if steps.isdecimal() and int(steps) > 0:
        # A gate asks for what the recipe's own steps teach; one number for all stages is a trial.
        return [replace(stage, steps=int(steps), gate=None) for stage in stages]
    counts = {}
    for name, count in _by_name(steps):
        if not count.isdecimal() or int(count) < 1:
            raise InputError(
                f"--steps takes a number, or numbers by stage such as language=5000; found {steps!r}."
            )
        if name not in known:
            raise UnknownName("stage of this recipe", name, known)
        counts[name] = int(count)
    return [replace(stage, steps=counts.get(stage.name, stage.steps)) for stage in stages]


def paced(stages: list[Stage], rates: str | None) -> list[Stage]:
    """The stages with other peak learning rates for some of the parts that they train."""
    if rates is None:
        return stages
    known = {part for stage in stages for part in stage.trains}
    found: dict[str, float] = {}
    for name, rate in _by_name(rates):
        try:
            found[name] = float(rate)
        except ValueError:
            found[name] = math.nan
        if not 0 < found[name] < math.inf:
            raise InputError(
                "--lr takes numbers above 0 by part such as connector=2e-4,language=1e-3; "
                f"found {rates!r}."
            )
        if name not in known:
            raise UnknownName("part that trains here", name, known)
    return [
        replace(stage, trains={name: found.get(name, rate) for name, rate in stage.trains.items()})
        for stage in stages
    ]


def _by_name(asked: str) -> list[tuple[str, str]]:
    """The pairs of name=value,name=value."""
    pairs = [one.strip().partition("=") for one in asked.split(",")]
    return [(name, value) for name, _, value in pairs]
