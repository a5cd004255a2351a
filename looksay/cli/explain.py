"""The command that says why a photo has its words: explain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from looksay.cli import console
from looksay.cli.options import SEE, DbOption, JsonOption, LanguageOption, app, open_library
from looksay.cli.see import told as told_event
from looksay.errors import InputError

if TYPE_CHECKING:
    from looksay.describing.explaining import Explanation, Saying, Spot


@app.command(rich_help_panel=SEE)
def explain(
    photo: Annotated[Path, typer.Argument(help="The photo's file.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with the photo to this file.")
    ] = None,
    language: LanguageOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why a photo has its words: what they claim, what speaks for and against it, the risk, who said and decided what."""
    from looksay.describing import explaining

    if html and not html.resolve().parent.is_dir():
        raise InputError(
            f"{html.parent} is not there. Make the folder first, or choose another for --html."
        )
    with open_library(photo if photo.exists() else Path(), db) as library:
        made = library.explain(photo, language)
        if html:
            _page(made, html, library.root)
        if as_json:
            console.print_json(explaining.as_record(made))
            return
        console.say("\n".join(_lines(made)) + "\n")
        if html:
            console.say(f"\nAs a page: {html}\n")


def _lines(made: Explanation) -> Iterator[str]:
    from looksay.describing import explaining

    yield made.photo
    for spot in made.spots:
        yield ""
        yield from _spot(spot)
    if made.told:
        yield f"\nModels on this machine are told: {', '.join(made.told)}; others: {', '.join(made.told_remote) or 'nothing'}"
        for kind, value in explaining.known(made.about):
            yield f"  {kind}: {value}"
    if made.sayings or made.failed:
        yield "\nWhat each model said"
    for saying in made.sayings:
        for_ = f" [{'; '.join(saying.counts_for)}]" if saying.counts_for else ""
        yield f"  {_who(saying)}{for_}: {_text(saying)}"
        if not saying.counts_for:
            yield f"    risk: {_risk(saying)}"
            yield from _claims(saying, "    ")
    for model, reason in made.failed:
        yield f"  {model} failed: {reason}"
    if made.earlier:
        yield f"  {console.count(made.earlier, 'earlier text')} of the same models in the history"
    if made.history:
        yield "\nHistory"
    for event in made.history:
        yield f"  {event['at'][:16].replace('T', ' ')} UTC  {told_event(dict(event))}"
    yield "\nNot known"
    yield from (f"  {sentence}" for sentence in made.lacking)


def _spot(spot: Spot) -> Iterator[str]:
    from looksay.describing import explaining

    yield explaining.where(spot.page, spot.occurrence).capitalize()
    if spot.words.state not in ("none", "cleared", "decorative"):
        yield f"  {spot.words.text}"
    if spot.words.extended:
        yield f"  {spot.words.extended}"
    notes = f" ({', '.join(spot.words.notes)})" if spot.words.notes else ""
    model = f", {spot.saying.model}" if spot.saying else ""
    yield f"  State: {explaining.STATES[spot.words.state]}{model}{notes}"
    if spot.decided:
        yield f"  Decided by {spot.decided['who']}, {spot.decided['at'][:10]}"
    if (spot.standing or "") != spot.words.text:
        yield f"  In the file now: {spot.standing or 'nothing'}"
    if spot.saying:
        yield f"  Risk: {_risk(spot.saying)}"
        yield from _claims(spot.saying, "  ")
    for name, value in spot.context.items():
        yield f"  The page's {name}: {value}"


def _claims(saying: Saying, indent: str) -> Iterator[str]:
    from looksay.describing import explaining

    for one in saying.checked or ():
        out = "" if one.said.spans else " (left out of the text)"
        yield f"{indent}{one.verdict}: {one.words}{out}"
        for evidence in one.evidence:
            yield f"{indent}  {explaining.told(evidence)}"


def _risk(saying: Saying) -> str:
    from looksay.describing import explaining

    return explaining.risk_in_words(saying)


def _who(saying: Saying) -> str:
    from looksay.describing import explaining

    return f"{saying.model} ({saying.language}, {explaining.origin(saying)})"


def _text(saying: Saying) -> str:
    notes = f" ({', '.join(saying.notes)})" if saying.notes else ""
    return f"{'(proposed as decoration)' if saying.decorative else saying.text}{notes}"


def _page(made: Explanation, out: Path, root: Path) -> None:
    from looksay.describing import explaining
    from looksay.library.export.html import render, shown

    render(
        "explain.html",
        out,
        made=made,
        states=explaining.STATES,
        told=explaining.told,
        marked=explaining.marked,
        where=explaining.where,
        known=explaining.known,
        origin=explaining.origin,
        risk=explaining.risk_in_words,
        event=lambda one: told_event(dict(one)),
        **shown(made.photo, out, root),
    )
