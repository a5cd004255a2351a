"""The command that trains: any family, on scenes or on your own data, and the plan of it beforehand."""

from __future__ import annotations

import importlib
import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from looksay import plugins
from looksay.cli import console
from looksay.cli.options import TRAIN, app
from looksay.errors import InputError, MissingDependency, UnknownName

RECIPES = "looksay.training.recipes"


@app.command(rich_help_panel=TRAIN)
def train(
    family: Annotated[
        str,
        typer.Argument(
            help=f"What to train: {', '.join(plugins.names(RECIPES))} (capfilt is a BLIP on captions of which "
            "some are wrong; docs/models.md has a card for each)."
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
            "--size",
            help="tiny, mini (from nothing), or for your own data a published one (docs/models.md).",
        ),
    ] = "mini",
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Go on from a trained model: a folder of looksay train, or mini (llava, llava15).",
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
    beta: Annotated[
        float | None,
        typer.Option(
            "--beta",
            help="Preference data: how strongly the model is held to what it was.",
            show_default="0.1",
        ),
    ] = None,
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
    _check_known(family)
    if not plan and out is None:
        raise InputError(
            "Where should the model go? Add --out FOLDER (or --plan to only estimate)."
        )
    named: dict[str, Any] = {
        "data": data,
        "images": images,
        "size": size,
        "start": start,
        "names": chosen,
        "steps": steps,
        "rates": rates,
        "lora": lora,
        "qlora": qlora,
        "batch": batch,
        "beta": beta,
        "seed": seed,
    }
    if plan or out is None:
        with _preparing(family):
            told = _plan(family, named, device, devices, price, shard)
        console.out.print(escape(told))
        return
    with _preparing(family):
        recipe = _recipe(family, "accelerate", *(["peft"] if lora or qlora else []))
        from looksay.training import asked
        from looksay.training.loop import train as run

        wish = asked.Asked(recipe, **named, dtype=asked.held_in(precision, device))
        model, stages = asked.made(wish)
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
        card={"data": data, "from": start, "size": size, **asked.card(wish, stages)},
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


def _check_known(family: str) -> None:
    """Raise UnknownName for a family without a recipe."""
    known = plugins.names(RECIPES)
    if family not in known:
        # CapFilt is a way to mend data, no family of models; its recipe is BLIP's.
        raise UnknownName("family to train", family, [name for name in known if name != "capfilt"])


def _recipe(family: str, *also: str) -> Any:
    """The family's recipe. Raises MissingDependency where it, or one of the packages in `also`, cannot be imported."""
    try:
        for package in ("torch", "transformers", *also):
            importlib.import_module(package)
        return plugins.load(RECIPES, family, "recipe")
    except ImportError as error:
        raise MissingDependency("Training", "train", error.name or "torch") from error


def _preparing(family: str) -> AbstractContextManager[None]:
    """Say that there is something to wait for: importing torch, a tokenizer from scenes, and the model take
    from seconds to half a minute."""
    words = f"Preparing {family}: its model, tokenizer and data, for up to half a minute …"
    return console.waiting(words, quiet=os.environ.get("RANK", "0") != "0")


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


def _plan(
    family: str, named: dict[str, Any], device: str, devices: int, price: float, shard: bool
) -> str:
    """The plan in words. A published model is an outline here: none of its weights is looked for."""
    recipe = _recipe(family)
    from looksay.training import asked
    from looksay.training import plan as planning

    device = {"auto": "cpu", "cuda": "h100"}.get(device, device)
    if device not in planning.DEVICES:
        raise UnknownName("device in the table of plans", device, planning.DEVICES)
    wish = asked.Asked(recipe, **named)
    frozen_bytes = 4.0
    if wish.published:
        outlined = recipe.outline(wish.size)
        parts, image, tower = outlined.parts, outlined.image_tokens, outlined.tower_tokens
        stages = wish.shaped(asked.papers(wish, wish.source(), devices))
        frozen_bytes = 2.0
    else:
        model, stages = asked.made(wish)
        image = getattr(getattr(model, "prompter", None), "image_tokens", 0)
        parts, tower = model.parts, model.tower.tokens
    lines = planning.plan(
        parts,
        stages,
        device=device,
        devices=devices,
        price_usd_per_hour=price,
        image_tokens=image,
        tower_tokens=tower,
        frozen_bytes=frozen_bytes,
        shard=shard,
    )
    return planning.told(lines, device, devices, price)
