"""Commands that show what there is: scan, status, show, models."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
        console.tell_new_catalogue(library)
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
def status(
    path: PathArgument = Path(),
    kinds: Annotated[
        str | None,
        typer.Option(
            "--list",
            metavar="KINDS",
            help="List the places with alt text of these kinds: missing, empty, decorative, text, "
            "variable; or elsewhere (images that are not in the library), noted (a model's words that "
            "repeat themselves, are long, or were cut off).",
        ),
    ] = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far the library is: counts, models, cost, decisions; or with --list the places themselves."""
    with open_library(path, db) as library:
        if kinds:
            none = True
            for page, image, kind in library.lacking(
                [k.strip() for k in kinds.split(",")], library.path
            ):
                if as_json:
                    console.print_json({"page": page, "image": image, "kind": kind}, line=True)
                else:
                    shown = f"{image} on {page}" if page else image
                    console.out.print(f"{kind}: {escape(shown)}")
                none = False
            if none and not as_json:
                console.out.print("None.")
            return
        found = library.status()
        if as_json:
            console.print_json(found)
            return
        console.print_scan(found.scan, library, and_next=False)
        every = console.count(found.scan.photos, "photo")
        console.out.print(f"Described: {found.described_photos} of {every}")
        for row, kind in zip(found.models, _kinds(found.models), strict=True):
            console.out.print(
                f"  {escape(row['model'])} ({row['language']}{escape(kind)}): {console.count(row['generations'], 'text')}, "
                f"{row['cost_usd']:.2f} USD, {row['seconds']:.1f} s each"
            )
        if found.decisions:
            console.out.print(
                "Decisions: "
                + ", ".join(f"{n} {state}" for state, n in sorted(found.decisions.items()))
            )
        console.next_step(library, found)


def _kinds(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What tells models of one name and language apart: precisions where these differ, else digests, else all that is
    known of them; nothing where there is one."""
    for row in rows:
        name = row["model"], row["language"]
        every = [one["fingerprint"] for one in rows if (one["model"], one["language"]) == name]
        parts = [_parts(one) for one in every]
        ways = [precision for _, precision in parts], [digest for digest, _ in parts]
        shown = next((way for way in ways if all(way) and len(set(way)) == len(way)), every)
        yield f", {shown[every.index(row['fingerprint'])]}" if len(every) > 1 else ""


def _parts(fingerprint: str) -> tuple[str, str]:
    """Digest and precision; empty where it has none."""
    found = re.fullmatch(r"([0-9a-f]{8,})(?:-(.+))?", fingerprint)
    return (found[1][:8], found[2] or "") if found else ("", "")


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
            console.out.print(
                "No model and no person of this catalogue has said anything about it."
            )
        for event in events:
            console.say(f"{event['at'][:16].replace('T', ' ')} UTC  {told(event)}\n")


def told(event: dict[str, Any]) -> str:
    """One event of a photo's history as a sentence; --json has everything."""
    place = f" on {event['page']}" if event.get("page") else ""
    if event["event"] == "generation":
        notes = f" ({', '.join(json.loads(event['notes']))})" if event["notes"] != "[]" else ""
        said = "proposes that it is decoration" if event["decorative"] else f"said: {event['alt']}"
        return f"{event['model']} ({event['language']}) {said}{notes}"
    if event["event"] == "failure":
        return f"{event['model']} failed: {event['error']}"
    if event["event"] == "decision":
        text = f": {event['text']}" if event["text"] else ""
        return f"{event['who']} decided{place}: {event['state']}{text}"
    undone = " (undone since)" if event["change"] == "undone" else ""
    return f"written into {event['file']}{undone}: {event['text']}"


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
    console.out.print(escape(best))
    console.out.print("\nA name to type is provider:model, as in --model ollama:llava:13b.\n")
    for name, get, about in _apart():
        how = f"to get it: {escape(get)}" if get else "[green]here[/]"
        console.out.print(f"[bold]{escape(name)}[/] {how}")
        console.out.print(f"    {escape(about)}")
    for row in sorted(found, key=lambda r: not r.ready):
        preset = row.preset
        if not row.ready and row.get.startswith("withdrawn"):
            continue
        facts = ["in the comparison of 2025"] if preset.compared else []
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
        names = " or ".join(row.ready or preset.backends)
        how = "[green]here[/]" if row.ready else f"to get it: {escape(row.get)}"
        console.out.print(f"[bold]{escape(names)}[/] {how}")
        console.out.print(f"    {escape(preset.title)}: {escape(', '.join(facts))}")
    console.out.print("(?) could not be confirmed at its source.")


def _apart() -> Iterator[tuple[str, str, str]]:
    """(name, how to get it or "" where it is here, what it is) of what no preset has: the two that need no download,
    and an encoder to search with."""
    from looksay.backends import encoders, facts, mini

    extra = 'pip install ".[{}]" in the folder of looksay'
    can_compute = all(importlib.util.find_spec(one) for one in ("torch", "transformers"))
    measures = (
        "Says what it measures: text, colours, light, faces (docs/facts.md). Its words are drafts."
    )
    yield "facts", "" if facts.discover() else extra.format("facts"), measures
    if mini.is_here():
        scenes = "The small model that ships: knows drawn scenes, not photographs (docs/mini.md)."
        yield "mini", "" if can_compute else extra.format("local"), scenes
    finds = "For looksay search --encoder: finds photos by words, writes none."
    there = encoders.on_disk() if can_compute else []
    for name in there or [encoders.PUBLISHED]:
        yield name, "" if there else f"hf download {name.removeprefix('hub:')}", finds
