"""The command that makes a small set of good descriptions: described, mended, judged by rules, looked at by a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from looksay.cli import asking, console
from looksay.cli.options import (
    TRAIN,
    CostOption,
    EstimateOption,
    JsonOption,
    RemoteOption,
    TimeoutOption,
    WorkersOption,
    app,
)
from looksay.errors import InputError


@app.command(rich_help_panel=TRAIN)
def curate(
    images: Annotated[list[Path], typer.Argument(help="Pictures, and folders of pictures.")],
    describer: Annotated[
        str, typer.Option("--describer", help="provider:model that sees and says much.")
    ],
    repairer: Annotated[
        str, typer.Option("--repairer", help="provider:model that mends texts; it need not see.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for every answer and the data.")],
    review: Annotated[
        Path | None,
        typer.Option(
            "--review", help="A CSV for a person's last look; what stands in it already counts."
        ),
    ] = None,
    length: Annotated[
        int, typer.Option("--length", min=0, help="Go on with descriptions of fewer words.")
    ] = 80,
    least: Annotated[
        int, typer.Option("--least", min=1, help="Drop mended texts of fewer words.")
    ] = 40,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many pictures.")
    ] = None,
    max_cost: CostOption = None,
    estimate: EstimateOption = False,
    allow_remote: RemoteOption = False,
    timeout: TimeoutOption = 120.0,
    concurrency: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make good descriptions to train on, as MiniGPT-4's: one model describes, one mends, rules drop what is wrong.
    The same command goes on where it was broken off."""
    from looksay.backends.loading import load
    from looksay.data import curate as curating
    from looksay.data import review as reviewing
    from looksay.spending import Budget

    if review is not None:
        reviewing.check(review)
    files = curating.listed(images, out)[:limit]
    with console.progress("Reading pictures", len(files), as_json) as count_one:
        pictures = curating.opened(files, lambda: count_one(None))
    options = asking.load_options(allow_remote, estimate, concurrency)
    with console.loading(describer, as_json):
        sees = load(describer, options)
    with console.loading(repairer, as_json):
        mends = load(repairer, options)
    rules = curating.Rules(least)
    curator = curating.Curator(out, sees, mends, length, rules, timeout)
    with console.progress("Looking what is left", len(pictures.files), as_json) as count_one:
        to_come = curator.estimate(pictures, lambda: count_one(None))
    asking.tell_estimates(to_come, as_json, alone=estimate)
    if estimate:
        return
    if to_come:
        console.tell_limits(sees)
    if to_come and sees.profile.remote:
        many = console.count(len(pictures.files), "picture")
        console.err.print(escape(f"{many} go to {sees.name}, without EXIF data."))
    priced = sees.profile.price or mends.profile.price
    with console.progress("Curating", len(pictures.files), as_json) as count_one:
        found = curator.run(
            pictures,
            budget=Budget(max_cost),
            seen=lambda spent_usd: count_one(spent_usd if priced else None),
        )
    if found.stopped and not found.texts:
        raise InputError(f"--max-cost {max_cost} is too little for one picture. Nothing was kept.")
    finals = found.ruled if review is None else reviewing.look(review, found.texts)
    kept = sum(not final.broken for final in finals)
    with console.progress("Writing", kept, as_json) as count_one:
        curating.write(found, finals, out, lambda: count_one(None))
    dropped = curating.dropped(finals).most_common()
    if as_json:
        console.print_json(
            {
                "described": len(finals),
                "kept": kept,
                "dropped": dict(dropped),
                "failures": found.failures,
                "cost_usd": found.cost_usd,
                "stopped": "cost" if found.stopped else "",
            }
        )
    else:
        console.out.print(f"{console.count(len(finals), 'text')}: {kept} kept.")
        for rule, count in dropped:
            console.out.print(f"  {count} dropped: {rule}")
        for name, reason in found.failures[:5]:
            console.err.print(f"{escape(name)}: {escape(reason)}", style="red")
        if len(found.failures) > 5:
            console.err.print(f"… and {len(found.failures) - 5} more; {out / curating.REPORT}")
        asking.tell_spent(found.cost_usd, found.stopped)
        console.out.print(escape(f"Kept: {out / curating.DATA}"))
        console.out.print(escape(f"Dropped, each with its reason: {out / curating.REPORT}"))
        if review is not None:
            console.out.print(
                escape(
                    f"Have a last look at {review}; then type the same again: what you changed there counts."
                )
            )
        data = console.quoted(out / curating.DATA)
        console.out.print(escape(f"Next: looksay train minigpt4 --data {data} --plan"))
    if found.failures:
        raise typer.Exit(1)
