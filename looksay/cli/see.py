"""Commands that show what there is: scan, status, show, models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import SEE, DbOption, JsonOption, PathArgument, app, open_library
from looksay.errors import LooksayError

if TYPE_CHECKING:
    pass


@app.command(rich_help_panel=SEE)
def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Folders of photos and pages; the catalogue goes into the first."),
    ],
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find photos and pages, and what alt text they have."""
    with open_library(paths[0], db, create=True) as library:
        with console.spinner("Scanning", as_json) as tick:
            report = library.scan(
                paths, progress=lambda done, name: tick(f"Scanning: {done} files read, {name}")
            )
        if as_json:
            console.print_json(report)
        else:
            console.print_scan(report, library)
    if report.problems:
        raise typer.Exit(1)


@app.command(rich_help_panel=SEE)
def status(path: PathArgument = Path(), db: DbOption = None, as_json: JsonOption = False) -> None:
    """How far the library is: counts, models, cost, decisions."""
    with open_library(path, db) as library:
        found = library.status()
        if as_json:
            console.print_json(found)
            return
        console.print_scan(found.scan, library, and_next=False)
        console.out.print(f"Described: {found.described_photos} photos")
        for row in found.models:
            console.out.print(
                f"  {escape(row['model'])} ({row['language']}): {row['generations']} texts, "
                f"{row['cost_usd']:.2f} USD, {row['seconds']:.1f} s each"
            )
        if found.decisions:
            console.out.print(
                "Decisions: "
                + ", ".join(f"{n} {state}" for state, n in sorted(found.decisions.items()))
            )
        console.next_step(library, found)


@app.command(rich_help_panel=SEE)
def show(
    photo: Annotated[Path, typer.Argument(help="The photo's file.")],
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything ever said, decided and written about a photo."""
    with open_library(photo if photo.exists() else Path(), db) as library:
        events = library.show(photo)
        if as_json:
            console.print_json(events)
            return
        if not events:
            console.out.print("Nothing was said about this photo yet. Type: looksay describe")
        for event in events:
            kind = event.pop("event")
            when = event.pop("at")
            what = ", ".join(f"{k}={v!r}" for k, v in event.items() if v not in ("", "[]"))
            console.out.print(f"[bold]{when}[/] {kind}: {escape(what)}")


@app.command(rich_help_panel=SEE)
def models(as_json: JsonOption = False) -> None:
    """Models worth knowing, and which of them are there on this machine."""
    from looksay.backends import auto

    with console.spinner("Looking for models", as_json):
        found = auto.available()
        try:
            choice = auto.choose()
            best = f"auto would take {choice.name}. {choice.reason}"
        except LooksayError as error:
            best = str(error)
    if as_json:
        console.print_json({"models": [asdict(s) for s in found], "auto": best})
        return
    for row in found:
        preset = row.preset
        facts = ["compared in 2025"] if preset.compared else []
        if preset.parameters_b:
            facts.append(f"{preset.parameters_b:g} billion parameters")
        if preset.memory_gb:
            facts.append("{:g} GB in bf16, {:g} in 4 bit".format(*preset.memory_gb))
        if preset.prompt_usd is not None:
            facts.append(
                f"{preset.prompt_usd:g} USD in, {preset.completion_usd:g} out per million tokens"
                f" ({preset.price_date})"
            )
        facts.append(preset.licence + (" (?)" if preset.unconfirmed else ""))
        console.out.print(f"[bold]{escape(preset.title)}[/]: {escape(', '.join(facts))}")
        here = f"[green]here:[/] {escape(', '.join(row.ready))}"
        console.out.print("    " + (here if row.ready else f"to get it: {escape(row.get)}"))
    console.out.print("(?) could not be confirmed at its source.")
    console.out.print(escape(best))
