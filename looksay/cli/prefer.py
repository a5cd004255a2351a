"""The command that makes preference data: a model's own captions in pairs, the one with fewer false objects first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    RemoteOption,
    TimeoutOption,
    WorkersOption,
    app,
)
from looksay.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from looksay.data.contexts import Contexts
    from looksay.evaluation.preferring import Preferred, Shown


@app.command(rich_help_panel=TRAIN)
def prefer(
    data: Annotated[
        str,
        typer.Argument(
            help="scenes, a file of COCO's captions, or with --judge any picture or folder of pictures."
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="provider:model whose captions are compared.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for every answer and the data.")],
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            help="provider:model that sees and says what is false; without it CHAIR, by what is known.",
        ),
    ] = None,
    boxes: BoxesOption = None,
    images: DataImagesOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many pictures.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="Captions of each picture.")] = 8,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="How freely captions are drawn.")
    ] = 1.0,
    question: Annotated[
        str | None, typer.Option("--question", help="What the model is asked about each picture.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            min=0,
            max=1,
            help="How much less of what is there the better caption may name (share of it).",
        ),
    ] = 0.0,
    lengths: Annotated[
        float,
        typer.Option(
            "--lengths",
            min=0,
            max=1,
            help="How much longer the one may be than the other (share of the words).",
        ),
    ] = 0.15,
    most: Annotated[
        int, typer.Option("--pairs", min=1, help="At most so many pairs of a picture.")
    ] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other captions.")] = 0,
    max_cost: CostOption = None,
    estimate: EstimateOption = False,
    allow_remote: RemoteOption = False,
    timeout: TimeoutOption = 120.0,
    concurrency: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make preference data from a model's own captions: of each picture a better and a worse one, by CHAIR or by a
    judge. The same command goes on where it was broken off."""
    try:
        from looksay.evaluation import preferring
        from looksay.evaluation.metrics.preference import Rule
    except ImportError as error:
        raise MissingDependency("Comparing captions", "evaluate", error.name or "numpy") from error
    from looksay.backends.loading import load
    from looksay.data.contexts import open_contexts
    from looksay.spending import Budget

    pictures: Callable[[], Iterator[Shown]]
    contexts: Contexts | None = None
    if data == "scenes" or data.endswith(".json"):
        contexts = open_contexts(data, boxes, images, seed)
        total = min(contexts.size or limit or 0, limit or contexts.size or 0)
        pictures = partial(preferring.known, contexts, total)
    elif judge is not None:
        files = _files(data, out, limit, as_json)
        total, pictures = len(files), partial(preferring.unknown, files)
    else:
        raise InputError(
            f"Nothing is known of the pictures in {data}, so somebody has to look: --judge MODEL. Without a judge name "
            "scenes, or a file of COCO's captions."
        )
    if not total:
        raise InputError("Scenes have no end. Say how many pictures: --limit 1000.")
    options = asking.load_options(allow_remote, estimate, concurrency)
    with console.loading(model, as_json):
        writer = load(model, options)
    backends = [writer]
    ruler: preferring.Ruler
    if judge is not None:
        with console.loading(judge, as_json):
            backends.append(load(judge, options))
        ruler = preferring.Judge(backends[-1], timeout)
    else:
        assert contexts is not None
        ruler = preferring.Chair(contexts)
    how = replace(preferring.SAMPLED, temperature=temperature, seed=seed, timeout_s=timeout)
    words = question or preferring.usual(data)
    rule = Rule(tolerance, lengths, most)
    preferrer = preferring.Preferrer(out, writer, ruler, words, samples, how, rule)
    with console.progress("Looking what is left", total, as_json) as count_one:
        to_come = preferrer.estimate(pictures(), lambda: count_one(None))
    asking.tell_estimates(to_come, as_json, alone=estimate)
    if estimate:
        return
    if to_come:
        console.tell_limits(writer)
    priced = any(one.profile.price for one in backends)
    remote = [one.name for one in backends if one.profile.remote]
    if to_come and remote:
        many = console.count(total, "picture")
        console.err.print(escape(f"{many} go to {' and '.join(remote)}, without EXIF data."))
    with console.progress("Comparing captions", total, as_json) as count_one:
        preferred = preferrer.run(
            pictures(),
            budget=Budget(max_cost),
            seen=lambda spent_usd: count_one(spent_usd if priced else None),
        )
    if preferred.stopped and not preferred.looked:
        raise InputError(f"--max-cost {max_cost} is too little for one picture. Nothing was kept.")
    with console.progress("Writing", len(preferred.pairs), as_json) as count_one:
        preferring.write(preferrer, preferred, lambda: count_one(None))
    if as_json:
        console.print_json(
            {
                "pictures": preferred.pictures,
                "pairs": len(preferred.pairs),
                **preferred.sides,
                "aside": preferred.aside,
                "failures": preferred.failures,
                "cost_usd": preferred.cost_usd,
                "stopped": "cost" if preferred.stopped else "",
            }
        )
    else:
        own = model == "mini" or model.startswith("local:")
        _tell(preferred, out, model if own else "FOLDER")
    if preferred.failures:
        raise typer.Exit(1)


def _files(data: str, out: Path, limit: int | None, as_json: bool) -> dict[str, Path]:
    """The pictures of a file or folder that can be read."""
    from looksay.data import curate

    listed = curate.listed([Path(data)], out)[:limit]
    with console.progress("Reading pictures", len(listed), as_json) as count_one:
        found = curate.opened(listed, lambda: count_one(None))
    for name, reason in found.failures:
        console.err.print(f"{escape(name)}: {escape(reason)}", style="red")
    return found.files


def _tell(preferred: Preferred, out: Path, start: str) -> None:
    from looksay.evaluation import preferring

    pairs = console.count(len(preferred.pairs), "pair")
    console.out.print(f"{console.count(preferred.pictures, 'picture')}: {pairs}.")
    for side, mean in preferred.sides.items():
        console.out.print(
            f"  {side}: {mean['false objects']:.2f} false objects, {mean['recall']:.0%} of what is there, "
            f"{mean['words']:.1f} words"
        )
    for reason, count in preferred.aside.items():
        console.out.print(f"  {count} set aside: {escape(reason)}")
    for name, fault in preferred.failures[:5]:
        console.err.print(f"{escape(name)}: {escape(fault)}", style="red")
    asking.tell_spent(preferred.cost_usd, preferred.stopped)
    console.out.print(escape(f"The data: {out / preferring.DATA}"))
    console.out.print(escape(f"What gave no pair, and why: {out / preferring.REPORT}"))
    data = console.quoted(out / preferring.DATA)
    console.out.print(escape(f"Next: looksay train llava --data {data} --from {start} --plan"))
