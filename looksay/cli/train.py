"""The command that trains: any family, on scenes or on your own data, and the plan of it beforehand."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import TRAIN, app
from looksay.errors import InputError, MissingDependency, UnknownName

if TYPE_CHECKING:
    from looksay.training.stages import Stage

RECIPES = "looksay.training.recipes"


@app.command(rich_help_panel=TRAIN)
def train(
    family: Annotated[
        str,
        typer.Argument(
            help="What to train: clip, albef, blip, blip2, flamingo, simvlm, pali, llava, llava15."
        ),
    ],
    data: Annotated[
        str, typer.Option("--data", help="scenes, or a file or folder of your own (docs/data.md).")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the result, used as local:DIR.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder that image names in the data start from."),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            "--size", help="tiny, mini (from nothing), or a published one (docs/models.md)."
        ),
    ] = "mini",
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="Go on from a trained model: a folder of looksay train, or mini."
        ),
    ] = None,
    chosen: Annotated[
        str | None, typer.Option("--stages", help="Only these stages, with commas.")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option("--steps", help="Steps of each stage, or of some: language=5000,align=300."),
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(
            "--lr",
            help="Peak learning rates of parts: connector=2e-4,language=1e-3 (docs/training.md).",
        ),
    ] = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Train an adapter of the language model only.")
    ] = False,
    qlora: Annotated[
        bool, typer.Option("--qlora", help="The same over weights held in 4 bit.")
    ] = False,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="Examples per device at once (own data).")
    ] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another run.")] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over, whatever lies in the folder.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            "--device", help="auto, cpu, cuda or mps; with --plan a name such as a100-80gb."
        ),
    ] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="auto, bf16 or fp32.")] = "auto",
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the layers first: faster steps, later start.")
    ] = False,
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            help="Under torchrun: each process holds a share of the model (FSDP), not all of it.",
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that prepare examples.")
    ] = 0,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="Folder that keeps what the frozen tower sees in each of your pictures.",
        ),
    ] = None,
    save_every: Annotated[
        int, typer.Option("--save-every", min=1, help="Steps between two states to resume from.")
    ] = 500,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would train, hold and cost.")
    ] = False,
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="With --plan: how many devices.")
    ] = 1,
    price: Annotated[
        float, typer.Option("--price", min=0, help="With --plan: USD per hour and device.")
    ] = 0.0,
) -> None:
    """Train a model on scenes or on your own data. The same command goes on where it was broken off."""
    from looksay import plugins

    try:
        recipe = plugins.load(RECIPES, family, "recipe")
    except ImportError as error:
        raise MissingDependency("Training", "train", error.name or "torch") from error
    if plan:
        _plan(
            recipe,
            data,
            images,
            size,
            start,
            chosen,
            steps,
            lora,
            qlora,
            batch,
            device,
            devices,
            price,
            shard,
        )
        return
    if out is None:
        raise InputError(
            "Where should the model go? Add --out FOLDER (or --plan to only estimate)."
        )
    try:
        from looksay.training.loop import train as run
    except ImportError as error:
        raise MissingDependency("Training", "train", str(error.name)) from error
    model, stages = _made(recipe, data, images, size, start, chosen, batch, seed)
    stages = _paced(_chosen(_adapted(stages, lora, qlora), chosen, steps), rates)
    if stages[-1].data.size is not None and os.environ.get("RANK", "0") == "0":
        _whole(data, stages[-1].data)
    if features is not None:
        stages = [replace(s, cache_features="tower" not in s.trains) for s in stages]
    run(
        model,
        stages,
        out,
        seed=seed,
        resume=not fresh,
        device=device,
        precision=precision,
        compile=compile,
        shard=shard,
        workers=workers,
        save_every=save_every,
        features=features,
        card={"data": data, "from": start, "size": size, **_asked(data, stages, size, recipe)},
    )
    if os.environ.get("RANK", "0") != "0":
        return  # torchrun's first process speaks for all
    console.out.print(
        f"The model lies in {escape(str(out))}; its curve in {escape(str(out / 'curve.svg'))}."
    )
    there = f"local:{escape(str(out))}"
    if hasattr(model, "answer"):
        console.out.print(f'Next: looksay ask IMAGE "What is there?" --model {there}')
    else:
        console.out.print(f'Next: looksay search FOLDER "a dog" --encoder {there}')


def _made(
    recipe: Any,
    data: str,
    images: Path | None,
    size: str,
    start: str | None,
    chosen: str | None,
    batch: int,
    seed: int,
) -> tuple[Any, list[Stage]]:
    """The model to begin with, and the stages of the recipe for this data: all, or from a trained model all
    but those that stand for what is downloaded (which are gone on with where they are named)."""
    import torch

    from looksay.training.recipes import _published

    torch.manual_seed(seed)  # a new connector is the same one in every process, and next time
    if data == "scenes":
        model, stages = recipe.scenes(size, seed)
        if start is not None:
            model = _loaded(start)
            if chosen is None:
                stages = [s for s in stages if s.name not in ("tower", "language")]
        return model, stages
    source = _source(data, images, seed)
    if size in recipe.PUBLISHED:
        stages = _papers(recipe, size, source, batch)
        model = recipe.PUBLISHED[size]() if start is None else _loaded(start)
    else:
        model, stages = recipe.scenes(size, seed)
        # LLaVA's two stages differ on own data; other families go through those that they have.
        own = getattr(recipe, "own", partial(_published.like, stages, model.parts))
        stages = own(source, fresh=start is None, examples=batch)
        model = model if start is None else _loaded(start)
    return model, stages


def _adapted(stages: list[Stage], lora: bool, qlora: bool) -> list[Stage]:
    from looksay.training.recipes import _published

    return _published.lora(stages, quantize=qlora) if lora or qlora else stages


def _asked(data: str, stages: list[Stage], size: str, recipe: Any) -> dict[str, Any]:
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


def _papers(
    recipe: Any, size: str, source: Any, batch: int, devices: int | None = None
) -> list[Stage]:
    from inspect import signature

    from looksay.data.dataset import FirstTurns

    found = devices or int(os.environ.get("WORLD_SIZE", "1"))
    sized = {"size": size} if "size" in signature(recipe.paper).parameters else {}
    stages: list[Stage] = recipe.paper(
        FirstTurns(source), source, devices=found, examples_per_device=batch, **sized
    )
    return stages


def _source(data: str, images: Path | None, seed: int) -> Any:
    from looksay.data.opening import open_source

    source = open_source(data, images, seed)
    if source.size == 0:
        raise InputError(f"{data} holds no example.")
    return source


def _whole(data: str, source: Any) -> None:
    """Raise InputError, with the first faults, where examples cannot be used: better now than hours in."""
    from looksay.data.dataset import problems

    with console.progress("Checking the data", source.size, False) as count_one:
        faults = list(problems(source, seen=lambda: count_one(None)))
    if faults:
        told = "\n".join(faults[:10])
        more = f"\nand {len(faults) - 10} more" if len(faults) > 10 else ""
        raise InputError(
            f"{len(faults)} of the {source.size} examples of {data} cannot be used:\n{told}{more}\n"
            "Mend them, or leave them out."
        )


def _loaded(start: str) -> Any:
    from importlib.resources import files

    from looksay.models import checkpoint

    folder = (
        Path(str(files("looksay"))) / "mini"
        if start == "mini"
        else Path(start.removeprefix("local:"))
    )
    return checkpoint.load(folder)


def _chosen(stages: list[Stage], names: str | None, steps: str | None) -> list[Stage]:
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


def _paced(stages: list[Stage], rates: str | None) -> list[Stage]:
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


def _plan(
    recipe: Any,
    data: str,
    images: Path | None,
    size: str,
    start: str | None,
    chosen: str | None,
    steps: str | None,
    lora: bool,
    qlora: bool,
    batch: int,
    device: str,
    devices: int,
    price: float,
    shard: bool,
) -> None:
    """Print the plan. A published model is an outline here: none of its weights is looked for."""
    try:
        from looksay.training import plan as planning
    except ImportError as error:
        raise MissingDependency("Planning a training", "train", str(error.name)) from error
    device = {"auto": "cpu", "cuda": "h100"}.get(device, device)
    if device not in planning.DEVICES:
        raise UnknownName("device in the table of plans", device, planning.DEVICES)
    frozen_bytes = 4.0
    if size in recipe.PUBLISHED and data != "scenes":
        outlined = recipe.outline(size)
        parts, image, tower = outlined.parts, outlined.image_tokens, outlined.tower_tokens
        stages = _papers(recipe, size, _source(data, images, 0), batch, devices)
        frozen_bytes = 2.0
    else:
        model, stages = _made(recipe, data, images, size, start, chosen, batch, 0)
        image = getattr(getattr(model, "prompter", None), "image_tokens", 0)
        parts, tower = model.parts, model.tower.tokens
    lines = planning.plan(
        parts,
        _chosen(_adapted(stages, lora, qlora), chosen, steps),
        device=device,
        devices=devices,
        price_usd_per_hour=price,
        image_tokens=image,
        tower_tokens=tower,
        frozen_bytes=frozen_bytes,
        shard=shard,
    )
    console.out.print(escape(planning.told(lines, device, devices, price)))
