"""The command that finds photos by what they show: search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import (
    SEE,
    DbOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    WorkersOption,
    app,
    open_library,
    scan_first,
)
from looksay.errors import InputError, LooksayError, MissingDependency

if TYPE_CHECKING:
    from looksay.api import Library
    from looksay.backends.base import Encoder, LoadOptions
    from looksay.searching import Hit, Searcher

Problems = Sequence[tuple[str, str]]


@app.command(rich_help_panel=SEE)
def search(
    path: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of photos and pages, or one in it.")
    ],
    words: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORDS]",
            help="What the photos should show, as a caption says it.",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            "--like",
            help="Find photos like this one instead. Files of the same bytes are left out; "
            "--duplicates has them.",
        ),
    ] = None,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Group photos that look the same instead.")
    ] = False,
    clipscore: Annotated[
        bool,
        typer.Option("--clipscore", help="Find the alt texts that fit their photos least instead."),
    ] = False,
    least: Annotated[
        float | None,
        typer.Option(
            "--least",
            min=-1,
            max=1,
            help="--duplicates: cosine from which two photos are the same.",
            show_default="0.95",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Dual encoder: hub:OWNER/NAME or local:FOLDER.",
            show_default="the library's last one, or one on this disk",
        ),
    ] = None,
    rerank: Annotated[
        int,
        typer.Option(
            "--rerank", min=0, help="Look at the first so many again, photo and words together."
        ),
    ] = 0,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Show so many.", show_default="10")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with thumbnails to this file.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    concurrency: WorkersOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find photos by words or by a picture. Photos are embedded once; stopped, it goes on where it was."""
    _check(path, words, like, duplicates, clipscore, least, rerank, top, html)
    try:
        from looksay.searching import Searcher
    except ImportError as error:
        raise MissingDependency("Searching", "local", error.name or "numpy") from error
    from looksay.backends.base import LoadOptions

    how = LoadOptions(device=device, dtype=dtype, batch_size=concurrency)
    with open_library(path, db, create=True) as library:
        console.tell_new_catalogue(library)
        prefix = library.prefix(library.path)
        if library.created or not any(library.catalog.targets.all(prefix)):
            scan_first(library, as_json)
        loaded = _loaded(encoder, library, how, as_json)
        searcher = Searcher(library.catalog, loaded, prefix)
        if rerank:
            searcher.matcher()  # before an hour of embedding
        lacking = searcher.lacking()
        problems: Problems = ()
        if lacking:
            with console.progress(f"Embedding with {loaded.name}", lacking, as_json) as tell:
                problems = searcher.embed(lambda: tell(None))
        found: dict[str, Any] = {
            "encoder": loaded.name,
            "fingerprint": loaded.fingerprint,
            "photos": len(searcher.embeddings),
            "embedded": lacking - len(problems),
            "problems": problems,
        }
        if duplicates:
            title = "Photos that look the same"
            groups = _groups(searcher, 0.95 if least is None else least, as_json)
            sections = [[_row(hit, searcher, library) for hit in group] for group in groups]
            found["groups"] = sections
        elif clipscore:
            title = "Alt texts that fit their photos least"
            scored = _clipscores(searcher, library, as_json)
            found["clipscore"] = sum(row["score"] for row in scored) / len(scored) if scored else 0
            found["texts"] = scored[: top or 10]
            sections = [found["texts"]]
        else:
            title = f"Photos like {like}" if like else f"Photos of “{words}”"
            hits = _hits(searcher, words or "", like, top or 10, rerank, as_json)
            found["hits"] = [_row(hit, searcher, library) for hit in hits]
            sections = [found["hits"]]
        if html:
            about = f"{loaded.name}, {console.count(len(searcher.embeddings), 'photo')}"
            _page(html, title, about, sections, library.root)
    _show(found, sections, html, as_json)
    if problems:
        raise typer.Exit(1)


def _check(
    path: Path,
    words: str | None,
    like: Path | None,
    duplicates: bool,
    clipscore: bool,
    least: float | None,
    rerank: int,
    top: int | None,
    html: Path | None,
) -> None:
    """Raise InputError, before anything is loaded, for what cannot be searched for."""
    asked = {"words": words is not None, "--like": like is not None}
    asked |= {"--duplicates": duplicates, "--clipscore": clipscore}
    named = [name for name, used in asked.items() if used]
    if not path.exists() and not named:
        raise InputError(
            f'{path} is not there. Expected a folder of photos first. Type: looksay search . "{path}"'
        )
    if len(named) != 1:
        raise InputError(
            f"Found {' and '.join(named) or 'nothing to look for'}; expected one of words, --like PHOTO, "
            f'--duplicates and --clipscore. Type, for example: looksay search {path} "a red car left of a dog"'
        )
    if words is not None and not words.strip():
        raise InputError("The words are empty. Expected what the photos should show.")
    for option, used, idle, only in (
        ("--rerank", rerank, words is None, "words"),
        ("--least", least is not None, not duplicates, "--duplicates"),
        ("--top", top, duplicates, "all but --duplicates"),
    ):
        if used and idle:
            raise InputError(
                f"{option} is for {only} and does nothing for {named[0]}. Leave it out."
            )
    if like is not None and not like.is_file():
        raise InputError(f"{like} is not there. Expected a picture file.")
    if html and not html.resolve().parent.is_dir():
        raise InputError(
            f"{html.parent} is not there. Make the folder first, or choose another for --html."
        )


def _loaded(named: str | None, library: Library, how: LoadOptions, as_json: bool) -> Encoder:
    from looksay.backends import encoders
    from looksay.library.embeddings import last_encoder

    remembered = None if named else last_encoder(library.catalog)
    name = named or remembered or next(iter(encoders.on_disk()), None)
    if name is None:
        raise InputError(
            "No dual encoder is named, and none is on this disk. Type --encoder with one: "
            f"{encoders.PUBLISHED} (fetched if the hub is in reach), the folder of one (hub:FOLDER), or one "
            "trained here (local:FOLDER; looksay train clip --help)."
        )
    if not named and not remembered:
        console.err.print(escape(f"Encoder: {name}, which is on this disk (another: --encoder)."))
    try:
        with console.spinner(f"Loading {name}", as_json):
            return encoders.load(name, how)
    except LooksayError as error:
        if remembered:
            raise InputError(
                f"{error} This library was searched with {name} last; name another with --encoder."
            ) from error
        raise


def _hits(
    searcher: Searcher, words: str, like: Path | None, top: int, rerank: int, as_json: bool
) -> list[Hit]:
    if like:
        with console.spinner("Searching", as_json):
            return searcher.by_picture(like, top)
    if not rerank:
        with console.spinner("Searching", as_json):
            return searcher.by_words(words, top)
    with console.progress("Looking at them again", rerank, as_json) as tell:
        return searcher.by_words(words, top, rerank, lambda: tell(None))


def _groups(searcher: Searcher, least: float, as_json: bool) -> list[list[Hit]]:
    with console.progress("Comparing", len(searcher.embeddings), as_json) as tell:

        def rows(number: int) -> None:
            for _ in range(number):
                tell(None)

        return searcher.duplicates(least, rows)


def _clipscores(searcher: Searcher, library: Library, as_json: bool) -> list[dict[str, Any]]:
    """Every place with words whose photo has a vector, worst first, with the CLIPScore as
    `looksay score clipscore` prints it: a hundredfold."""
    from looksay.evaluation.metrics.clipscore import PROMPT, clipscore

    places = []
    for target, said in library.targets(library.path):
        position = searcher.embeddings.position_of(target.photo_id) if said.text else None
        if position is not None:
            places.append((position, target, said))
    if not places:
        return []
    with console.progress("Embedding alt texts", len(places), as_json) as tell:
        texts = searcher.embed_texts(
            (PROMPT + said.text for *_, said in places), lambda: tell(None)
        )
    seen = searcher.vectors()[[position for position, *_ in places]]
    rows = [
        {
            "photo": target.path,
            "page": target.page,
            "score": 100 * float(score),
            "alt": said.text,
            "state": said.state,
            "language": said.language or library.settings.language,
        }
        for (_, target, said), score in zip(places, clipscore(seen, texts), strict=True)
    ]
    return sorted(rows, key=lambda row: row["score"])


def _row(hit: Hit, searcher: Searcher, library: Library) -> dict[str, Any]:
    said = searcher.words(hit.paths[0], library.settings.language)
    return {
        "photo": hit.paths[0],
        "paths": hit.paths,
        "score": hit.score,
        "match": hit.match,
        "alt": said.text,
        "state": said.state,
        "language": said.language or library.settings.language,
    }


def _show(
    found: Mapping[str, Any],
    sections: Sequence[Sequence[Mapping[str, Any]]],
    html: Path | None,
    as_json: bool,
) -> None:
    if as_json:
        console.print_json(found)
        return
    for name, reason in found["problems"][:20]:
        console.err.print(f"{escape(name)}: {escape(reason)}", style="yellow")
    if len(found["problems"]) > 20:
        console.err.print(f"… and {len(found['problems']) - 20} more (--json lists all)")
    if "clipscore" in found and found["texts"]:
        console.out.print(f"CLIPScore {found['clipscore']:.1f} on average; the lowest:")
    if not any(sections):
        console.out.print("Nothing was found." if found["photos"] else "There are no photos here.")
    for number, rows in enumerate(sections):
        if number:
            console.out.print()
        for row in rows:
            where = f"{row['photo']} on {row['page']}" if row.get("page") else row["photo"]
            console.out.print(
                f"{_score(row):>7}  [bold]{escape(where)}[/]  {escape(row['alt'])}".rstrip()
            )
            for other in row.get("paths", ())[1:]:
                console.out.print(f"{'copy':>7}  {escape(other)}")
    if html:
        console.out.print(f"With thumbnails: {escape(str(html))}")


def _score(row: Mapping[str, Any]) -> str:
    if "paths" not in row:
        return f"{row['score']:.1f}"
    return f"{row['score']:.3f}" if row["match"] is None else f"{row['match']:+.2f}"


def _page(
    out: Path,
    title: str,
    about: str,
    sections: Iterable[Sequence[Mapping[str, Any]]],
    root: Path,
) -> None:
    from looksay.library.export.html import render, shown

    def entry(row: Mapping[str, Any]) -> dict[str, Any]:
        score = (
            f"CLIPScore {row['score']:.1f}" if "paths" not in row else f"cosine {row['score']:.3f}"
        )
        if row.get("match") is not None:
            score += f", match {row['match']:+.2f}"
        for told in (row.get("page") and f"on {row['page']}", *row.get("paths", ())[1:]):
            score += f" · {told}" if told else ""
        lacks = "Decoration: no words wanted." if row["state"] == "decorative" else "No words yet."
        text = {"text": row["alt"], "language": row["language"], "lacks": lacks}
        return {"photo": row["photo"], "score": score, **text, **shown(row["photo"], out, root)}

    filled = [rows for rows in sections if rows]
    render(
        "search.html",
        out,
        title=title,
        about=about,
        sections=[
            {
                "heading": f"Group {number}" if len(filled) > 1 else "",
                "entries": [entry(row) for row in rows],
            }
            for number, rows in enumerate(filled, 1)
        ],
    )
