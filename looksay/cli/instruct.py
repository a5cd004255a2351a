"""The command that has a model without eyes write instructions about pictures of which captions and boxes are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from looksay.cli import asking, console
from looksay.cli.options import (
    TRAIN,
    BoxesOption,
    CostOption,
    DataImagesOption,
    EstimateOption,
    JsonOption,
    TimeoutOption,
    WorkersOption,
    app,
)
from looksay.errors import InputError, MissingDependency


@app.command(rich_help_panel=TRAIN)
def instruct(
    data: Annotated[str, typer.Argument(help="scenes, or a file of COCO's captions.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="provider:model that teaches; it need not see.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for every answer and the data.")],
    boxes: BoxesOption = None,
    images: DataImagesOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="So many conversations.", show_default="one per picture"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other words.")] = 0,
    max_cost: CostOption = None,
    estimate: EstimateOption = False,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote", help="Let captions and boxes go to a model on another machine."
        ),
    ] = False,
    timeout: TimeoutOption = 120.0,
    concurrency: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a model write conversations, descriptions and questions about pictures, as LLaVA's data were made; it is told
    captions and boxes. The same command goes on where it was broken off."""
    from looksay.backends.loading import load
    from looksay.data import contexts as known
    from looksay.data import instruct as teaching
    from looksay.spending import Budget

    try:
        contexts = known.open_contexts(data, boxes, images, seed)
    except ImportError as error:
        raise MissingDependency("Drawing scenes", "facts", error.name or "numpy") from error
    total = limit or contexts.size
    if total is None:
        raise InputError(
            "Scenes have no end. Say how many conversations: --limit 1000. They are 58 : 23 : 77 of each kind."
        )
    options = asking.load_options(allow_remote, estimate, concurrency)
    with console.loading(model, as_json):
        teacher = load(model, options)
    how = replace(teaching.OPTIONS, seed=seed, timeout_s=timeout)
    instructor = teaching.Instructor(out, teacher, contexts, how)
    with console.progress("Looking what is left", total, as_json) as count_one:
        found = instructor.estimate(total, lambda: count_one(None))
    asking.tell_estimates(found, as_json, alone=estimate)
    if estimate:
        return
    priced = teacher.profile.price
    with console.progress("Instructions", total, as_json) as count_one:
        taught = instructor.run(
            total,
            budget=Budget(max_cost),
            seen=lambda spent_usd: count_one(spent_usd if priced else None),
        )
    if taught.stopped and not taught.samples:
        raise InputError(f"--max-cost {max_cost} is too little for one answer of use.")
    with console.progress("Writing", len(taught.samples), as_json) as count_one:
        teaching.save(instructor, taught, lambda: count_one(None))
    if as_json:
        console.print_json(
            {
                "written": taught.counts,
                "wanted": taught.wanted,
                "aside": len(taught.aside),
                "failures": taught.failures,
                "cost_usd": taught.cost_usd,
                "stopped": "cost" if taught.stopped else "",
            }
        )
    else:
        for kind, count in taught.counts.items():
            console.out.print(f"{kind}: {count} of {taught.wanted[kind]}")
        if taught.aside:
            console.out.print(
                escape(
                    f"{len(taught.aside)} set aside, each with its reason: {out / teaching.ASIDE}"
                )
            )
        for name, reason in taught.failures[:5]:
            console.err.print(f"{escape(name)}: {escape(reason)}", style="red")
        asking.tell_spent(taught.cost_usd, taught.stopped)
        console.out.print(escape(f"The data: {out / teaching.DATA}"))
        at = f" --images {console.quoted(contexts.folder)}" if contexts.folder else ""
        console.out.print(
            escape(
                f"Next: looksay train llava15 --data {console.quoted(out / teaching.DATA)}{at} --plan"
            )
        )
    if taught.failures:
        raise typer.Exit(1)
