"""From the words of a command to a model and its stages: which size, which data, which steps and rates."""

from __future__ import annotations

import math
import os
from dataclasses import replace
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


def made(
    recipe: Any,
    data: str,
    images: Path | None,
    size: str,
    start: str | None,
    chosen: str | None,
    batch: int,
    seed: int,
    dtype: torch.dtype | None = None,
    beta: float | None = None,
) -> tuple[Any, list[Stage]]:
    """The model to begin with, and the stages of the recipe for this data: all, or from a trained model all
    but those that stand for what is downloaded (which are gone on with where they are named). From preference data a
    trained model learns by a stage of its own (`beta`: how strongly it is held to what it was)."""
    _sized(recipe, data, size)
    if data == "scenes" and beta is not None:
        raise InputError(
            "--beta is for preference data, which looksay prefer makes of scenes: looksay prefer -h"
        )
    torch.manual_seed(seed)  # a new connector is the same one in every process, and next time
    if data == "scenes":
        model, stages = recipe.scenes(size, seed)
        if start is not None:
            model = _loaded(start, dtype)
            if chosen is None:
                stages = [s for s in stages if s.name not in ("tower", "language")]
        return model, stages
    source = source_of(data, images, seed)
    pairs = _pairs(source, data, start, beta)
    if size in recipe.PUBLISHED:
        stages = papers(recipe, size, source, batch, beta=beta)
        model = recipe.PUBLISHED[size]() if start is None else _loaded(start, dtype)
    else:
        model, stages = recipe.scenes(size, seed)
        # LLaVA's two stages differ on own data; other families go through those that they have.
        own = getattr(recipe, "own", partial(_published.like, stages, model.parts))
        stages = own(source, fresh=start is None, examples=batch)
        model = model if start is None else _loaded(start, dtype)
        if pairs:
            stages = [_preferring(stages, source, batch, beta, small=True)]
    if pairs and not hasattr(model, "likelihoods"):
        raise InputError(untaught(model))
    return model, stages


def _preferring(
    stages: list[Stage], source: Any, batch: int, beta: float | None, **how: Any
) -> Stage:
    """The stage for preference data: it trains what the last of `stages`, those for single answers, does."""
    return _published.prefer(
        source,
        list(stages[-1].trains),
        examples=batch,
        template=stages[-1].template,
        beta=BETA if beta is None else beta,
        **how,
    )


def paired(source: Any) -> bool:
    """Whether a source holds preference data."""
    return "rejected" in source.example(0).truth


def _pairs(source: Any, data: str, start: str | None, beta: float | None) -> bool:
    """Whether the data are preferences. Raises InputError where nothing is there that could prefer."""
    pairs = paired(source)
    if pairs and start is None:
        raise InputError(
            f"{data} holds pairs of answers, from which a model learns that answers already. Name it: --from FOLDER "
            "(or mini)."
        )
    if beta is not None and not pairs:
        raise InputError(
            f"--beta is for preference data (prompt, chosen, rejected); {data} holds none."
        )
    return pairs


def held_in(precision: str, device: str) -> torch.dtype | None:
    """The dtype of a model to go on from: a run in fp32 wants all of its weights so, frozen ones too, however they
    were saved (mini is in bf16). None: as they were saved."""
    there = None if device == "cpu" else torch.accelerator.current_accelerator()
    found = optim.precision(precision, there or torch.device("cpu"))
    return found if found is torch.float32 else None


def _sized(recipe: Any, data: str, size: str) -> None:
    """Raise InputError or UnknownName for a size that the recipe has not for these data."""
    family = recipe.__name__.rpartition(".")[2]
    published = () if data == "scenes" else recipe.PUBLISHED
    if size in SIZES or size in published:
        return
    if size in recipe.PUBLISHED:
        raise InputError(
            f"On scenes there is no {family} of the published size {size!r}; found --data scenes. "
            f"Type --size {' or --size '.join(sorted(SIZES))}, or name your own data: --data FILE."
        )
    on = " on scenes" if data == "scenes" else ""
    raise UnknownName(f"{family}{on} of the size", size, [*SIZES, *published])


def adapted(stages: list[Stage], lora: bool, qlora: bool) -> list[Stage]:
    """The stages with an adapter where one is asked for."""
    return _published.lora(stages, quantize=qlora) if lora or qlora else stages


def card(data: str, stages: list[Stage], size: str, recipe: Any) -> dict[str, Any]:
    """How a small model wants to be asked for a description: it follows no instructions but those of
    its own data; of scenes a recipe's `CARD` says what differs from other models of scenes. A published
    language model follows any."""
    if data == "scenes":
        return dict(getattr(recipe, "CARD", {}))
    if size in recipe.PUBLISHED:
        return {}
    messages = stages[-1].data.example(0).conversation.messages
    asked = next((m.text for m in messages if m.role == "user" and m.text.strip()), None)
    return {"instructable": False, **({"describe": asked} if asked else {})}


def papers(
    recipe: Any,
    size: str,
    source: Any,
    batch: int,
    devices: int | None = None,
    beta: float | None = None,
) -> list[Stage]:
    """The published stages of a size, on a source of one's own, or that for preference data; processes as torchrun
    started them, unless given."""
    found = devices or int(os.environ.get("WORLD_SIZE", "1"))
    sized = {"size": size} if "size" in signature(recipe.paper).parameters else {}
    stages: list[Stage] = recipe.paper(
        FirstTurns(source), source, devices=found, examples_per_device=batch, **sized
    )
    if paired(source):
        return [_preferring(stages, source, batch, beta, small=False, devices=found)]
    return stages


def source_of(data: str, images: Path | None, seed: int) -> Any:
    """The examples that are named. Raises InputError where there are none."""
    source = open_source(data, images, seed)
    if source.size == 0:
        raise InputError(f"{data} holds no example.")
    return source


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
