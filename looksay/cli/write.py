"""Commands that decide and write: decide, import, apply, undo, export."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import (
    WRITE,
    DbOption,
    JsonOption,
    LanguageOption,
    PathArgument,
    app,
    open_library,
)
from looksay.errors import InputError, MissingDependency
from looksay.library.records import FINAL

if TYPE_CHECKING:
    from looksay.api import Library

_LINES = 5
"""Decided texts that are printed."""


@app.command(rich_help_panel=WRITE)
def decide(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photo files; with --all also a folder, or nothing.")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="The model's words are right.")] = False,
    edit: Annotated[
        str | None,
        typer.Option(
            "--edit",
            help="These words instead; with --page also in place of a person's.",
            metavar="TEXT",
        ),
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="The model's words are wrong.")] = False,
    decorative: Annotated[
        bool, typer.Option("--decorative", help="Decoration: no words wanted.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="No words, and never a model's.")] = False,
    page: Annotated[
        Path | None, typer.Option("--page", help="Only where this page shows the photo.")
    ] = None,
    occurrence: Annotated[
        int | None,
        typer.Option("--occurrence", min=0, help="Which time that page shows it, from 0."),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="With --accept: every model's words that nobody decided on; drafts only with --model.",
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="With --accept: this model's words, drafts too."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also in place of words that a person wrote.")
    ] = False,
    language: LanguageOption = None,
    db: DbOption = None,
) -> None:
    """Accept, edit or reject words, or mark decoration."""
    options = {
        "accept": accept,
        "edit": edit is not None,
        "reject": reject,
        "decorative": decorative,
        "clear": clear,
    }
    wanted = [name for name, on in options.items() if on]
    if len(wanted) != 1:
        raise InputError(
            "Choose one of --accept, --edit TEXT, --reject, --decorative, --clear. Type: looksay decide --help"
        )
    if model and not accept:
        raise InputError("--model goes with --accept: it says whose words are right.")
    if everything and not accept:
        raise InputError("--all goes with --accept only.")
    if not photos and not everything:
        raise InputError("Name a photo, or add --all to accept everything that nobody decided on.")
    folder = next((p for p in photos or [] if p.is_dir()), None)
    if folder and not everything:
        raise InputError(
            f"{folder} is a folder. To accept all in it, add --all: looksay decide {folder} --all --accept"
        )
    with open_library(next((p for p in photos or [] if p.exists()), Path()), db) as library:
        number = 0
        chosen: list[Path | None] = [*(photos or [])] or [None]
        for photo in chosen:
            if everything:
                number += library.accept_all(photo, model=model, language=language)
            elif photo:
                number += library.decide(
                    photo,
                    wanted[0],
                    edit or "",
                    page=page.as_posix() if page else "",
                    occurrence=occurrence,
                    language=language,
                    replace=replace,
                    model=model,
                )
        place = escape(console.here(library))
        if not number:
            console.out.print(f"Decided on nothing: {_waiting(library)}.")
            return
        if not everything:
            _tell_words(library, [photo for photo in chosen if photo])
        console.out.print(
            f"Decided on {console.count(number, 'place')}. Next: looksay apply --dry-run{place}"
        )


def _waiting(library: Library) -> str:
    """Whose words wait for a decision."""
    waits = Counter(words.model for _, words in library.targets() if words.state in ("ai", "draft"))
    told = ", ".join(f"{console.count(n, 'text')} of {model}" for model, n in waits.items())
    return escape(
        f"{told} wait; to accept drafts name their model: --all --model NAME"
        if told
        else "no words of a model wait here"
    )


def _tell_words(library: Library, photos: list[Path]) -> None:
    """What stands decided of these photos now, a line for each place, some of them."""
    told = [
        f"{target.name}: {words.text or words.state}"
        for photo in photos
        for target, words in library.targets(photo)
        if words.state in FINAL
    ]
    for line in told[:_LINES]:
        console.say(f"  {line}\n")
    if len(told) > _LINES:
        console.out.print(f"  and {len(told) - _LINES} more")


@app.command("import", rich_help_panel=WRITE)
def import_texts(
    file: Annotated[Path, typer.Argument(help="CSV with the header photo,page,occurrence,text.")],
    path: PathArgument = Path(),
    language: LanguageOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take texts that people wrote from a CSV."""
    with open_library(path, db) as library:
        report = library.import_csv(file, language=language)
        place = escape(console.here(library))
    if as_json:
        console.print_json(report)
    else:
        console.out.print(
            f"Imported {console.count(report.imported, 'text')}; {report.unchanged} were decided so already, {report.blank} rows say nothing."
        )
        for line, reason in report.problems:
            console.err.print(f"  line {line}: {escape(reason)}", style="red")
        if report.imported:
            console.out.print(f"Next: looksay apply --dry-run{place}")
    if report.problems:
        raise typer.Exit(1)


@app.command(rich_help_panel=WRITE)
def apply(
    path: PathArgument = Path(),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the changes as a diff; write nothing.")
    ] = False,
    include_ai: Annotated[
        bool, typer.Option("--include-ai", help="Write also models' words that nobody reviewed.")
    ] = False,
    embed: Annotated[
        bool, typer.Option("--embed", help="Into the photo instead of a sidecar (needs ExifTool).")
    ] = False,
    language: LanguageOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the words into pages and XMP sidecars. `looksay undo` takes it back."""
    with open_library(path, db) as library:
        place = console.here(library)
        report = library.apply(
            library.path,
            dry_run=dry_run,
            include_ai=include_ai,
            into_photos=embed,
            language=language,
        )
    console.print_apply(report, as_json, "Would write" if dry_run else "Wrote", dry_run, place)
    if report.refused:
        raise typer.Exit(1)


@app.command(rich_help_panel=WRITE)
def undo(path: PathArgument = Path(), db: DbOption = None, as_json: JsonOption = False) -> None:
    """Put back exactly what the last apply replaced."""
    with open_library(path, db) as library:
        report = library.undo()
    console.print_apply(report, as_json, "Put back", dry_run=False)
    if report.refused:
        raise typer.Exit(1)


@app.command(rich_help_panel=WRITE)
def export(
    what: Annotated[
        Path,
        typer.Argument(
            help="File to write all words to; its ending tells the format: .csv, .jsonl or .html. "
            "With --to, the folder of a trained model."
        ),
    ],
    path: PathArgument = Path(),
    form: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl or html, whatever the ending.")
    ] = None,
    language: LanguageOption = None,
    db: DbOption = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Export a trained model for other programs: transformers."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --to: the folder to write.")
    ] = None,
) -> None:
    """Write all words to a CSV, JSONL or HTML gallery; or a trained model for other programs."""
    if to is not None or out is not None:
        _export_model(what, to, out)
        return
    with open_library(path, db) as library, console.spinner("Exporting", False):
        number = library.export(
            form or what.suffix.lstrip(".").lower(), what, path=library.path, language=language
        )
    console.out.print(f"Wrote {console.count(number, 'entry', 'entries')} to {escape(str(what))}")


def _export_model(folder: Path, to: str | None, out: Path | None) -> None:
    if to != "transformers" or out is None:
        raise InputError(
            "Expected --to transformers and --out: looksay export runs/llava --to transformers --out DIR"
        )
    try:
        from looksay.models.export import export
    except ImportError as error:
        raise MissingDependency("Exporting a model", "local", error.name or "torch") from error
    with console.spinner("Exporting", False):
        export(folder, out)
    console.out.print(
        f'Wrote {escape(str(out))}. Next: looksay ask IMAGE "QUESTION" --model hub:{escape(str(out))}'
    )
