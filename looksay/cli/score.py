"""The command that scores files which exist already: score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import MEASURE, JsonOption, app
from looksay.errors import MissingDependency


@app.command(rich_help_panel=MEASURE)
def score(
    kind: Annotated[
        str | None,
        typer.Argument(help="What to score; without it the kinds are listed.", show_default=False),
    ] = None,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...",
            help="Folder (or files, or several) of answers and truth; without it: what is read.",
            show_default=False,
        ),
    ] = None,
    compat: Annotated[
        str | None,
        typer.Option(
            "--compat",
            help="Whose rules read the answers: official (equal to the official tool, its guesses included), "
            "strict (nothing guessed), lmms-eval, vlmevalkit; where a kind has them.",
            show_default="official",
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Score what is answered, though answers are missing.")
    ] = False,
    intervals: Annotated[
        bool, typer.Option("--intervals/--no-intervals", help="95% intervals by bootstrap.")
    ] = True,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Bootstrap samples of an interval.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    df: Annotated[
        Path | None,
        typer.Option("--df", help="caption: a table of document frequencies for CIDEr."),
    ] = None,
    save_df: Annotated[
        Path | None,
        typer.Option(
            "--save-df", help="caption: write the table of these references to this file."
        ),
    ] = None,
    meteor: Annotated[
        bool, typer.Option("--meteor", help="caption: METEOR as well (extra coco-java, and Java).")
    ] = False,
    spice: Annotated[
        bool, typer.Option("--spice", help="caption: SPICE as well (extra coco-java, and Java).")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=1, help="caption: seconds that METEOR and SPICE may take each."
        ),
    ] = None,
    synonyms: Annotated[
        Path | None,
        typer.Option("--synonyms", help="chair: a list of words for objects, such as the paper's."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="clipscore: a dual encoder, as hub:OWNER/NAME, hub:FOLDER or local:FOLDER.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score answers that are in files already, as the benchmark's official tool does.

    looksay score names the kinds; looksay score KIND says which files it reads.
    """
    try:
        from looksay.evaluation import scoring
    except ImportError as error:
        raise MissingDependency("Scoring", "evaluate", error.name or "numpy") from error
    if kind is None or not paths:
        _about(scoring.names() if kind is None else [kind], as_json)
        return
    also = {
        "df": df,
        "save_df": save_df,
        "meteor": meteor or None,
        "spice": spice or None,
        "timeout": timeout,
        "synonyms": synonyms,
        "encoder": encoder,
    }
    with console.spinner(f"Scoring {kind}", as_json):
        rules, sets = scoring.read(kind, paths, compat, partial, also)
        found = scoring.record(kind, rules, sets, samples=samples if intervals else 0, seed=seed)
    if as_json:
        console.print_json(found)
    else:
        console.out.print(escape(scoring.table(found)))


def _about(kinds: list[str], as_json: bool) -> None:
    from looksay.evaluation import scoring

    loaded = {name: scoring.load(name) for name in kinds}
    if as_json:
        console.print_json(
            {
                name: {"about": one.ABOUT, "reads": one.EXPECTS, "compat": one.COMPAT}
                for name, one in loaded.items()
            }
        )
        return
    for name, one in loaded.items():
        console.out.print(f"[bold]{escape(name)}[/bold]  {escape(one.ABOUT)}")
        for number, line in enumerate(one.EXPECTS):
            console.out.print(escape(f"  {'reads' if not number else '':<8}{line}"))
        console.out.print(escape(f"  {'rules':<8}{', '.join(one.COMPAT)}"))
