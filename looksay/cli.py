"""The command line: one verb per job, each a thin layer over `looksay.Library`.

Exit codes: 0 all done; 1 done, but some photos, pages or files failed (the summary names them);
2 nothing was done, and the message says what to type; 130 interrupted.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from looksay.errors import InputError, LooksayError

if TYPE_CHECKING:
    from looksay.api import Library
    from looksay.describe.run import Describer, DescribeReport
    from looksay.library.apply import ApplyReport
    from looksay.library.scan import ScanReport

app = typer.Typer(
    name="looksay",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Alt text for whole photo libraries, with any vision-language model. "
    "The usual order: scan, describe, decide, apply.",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

SEE, WORDS, WRITE = "See what there is", "Get words", "Decide and write"

PathArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of photos and pages, or one file in it.", show_default="the folder you are in"
    ),
]
DbOption = Annotated[
    Path | None,
    typer.Option("--db", help="Catalogue file; by default looksay.db in the folder or above it."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs instead of text.")
]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--language",
        "-l",
        help="Language of the words, such as en, ko, de.",
        show_default="setting `language`, en",
    ),
]
RemoteOption = Annotated[
    bool,
    typer.Option("--allow-remote", help="Let photos leave this machine (without their EXIF data)."),
]


# --- see ------------------------------------------------------------------------------------------


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
    with _library(paths[0], db, create=True) as library:
        with _spinner("Scanning", as_json) as tick:
            report = library.scan(
                paths, progress=lambda done, name: tick(f"Scanning: {done} files read, {name}")
            )
        if as_json:
            _print_json(report)
        else:
            _print_scan(report, library)
    if report.problems:
        raise typer.Exit(1)


@app.command(rich_help_panel=SEE)
def status(path: PathArgument = Path(), db: DbOption = None, as_json: JsonOption = False) -> None:
    """How far the library is: counts, models, cost, decisions."""
    with _library(path, db) as library:
        found = library.status()
        if as_json:
            _print_json(found)
            return
        _print_scan(found.scan, library, next_step=False)
        out.print(f"Described: {found.described_photos} photos")
        for row in found.models:
            out.print(
                f"  {escape(row['model'])} ({row['language']}): {row['generations']} texts, "
                f"{row['cost_usd']:.2f} USD, {row['seconds']:.1f} s each"
            )
        if found.decisions:
            out.print(
                "Decisions: "
                + ", ".join(f"{n} {state}" for state, n in sorted(found.decisions.items()))
            )
        _next(library)


@app.command(rich_help_panel=SEE)
def show(
    photo: Annotated[Path, typer.Argument(help="The photo's file.")],
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything ever said, decided and written about a photo."""
    with _library(photo if photo.exists() else Path(), db) as library:
        events = library.show(photo)
        if as_json:
            _print_json(events)
            return
        if not events:
            out.print("Nothing was said about this photo yet. Type: looksay describe")
        for event in events:
            kind = event.pop("event")
            when = event.pop("at")
            what = ", ".join(f"{k}={v!r}" for k, v in event.items() if v not in ("", "[]"))
            out.print(f"[bold]{when}[/] {kind}: {escape(what)}")


@app.command(rich_help_panel=SEE)
def models(as_json: JsonOption = False) -> None:
    """Models worth knowing, and which of them are there on this machine."""
    from looksay.backends import auto, presets

    with _spinner("Looking for models", as_json):
        found = presets.available()
        try:
            choice = auto.choose()
            best = f"auto would take {choice.name}. {choice.reason}"
        except LooksayError as error:
            best = str(error)
    if as_json:
        _print_json({"models": [asdict(s) for s in found], "auto": best})
        return
    table = Table(
        "model",
        "compared",
        "billions",
        "GB bf16 / 4 bit",
        "licence",
        "USD per million tokens",
        "here / how to get it",
    )
    for row in found:
        preset, mark = row.preset, "?" if row.preset.unconfirmed else ""
        memory = "" if preset.memory_gb is None else "{:g} / {:g}".format(*preset.memory_gb)
        price = (
            ""
            if preset.prompt_usd is None
            else f"{preset.prompt_usd:g} in, {preset.completion_usd:g} out ({preset.price_date}){mark}"
        )
        here = "[green]here:[/] " + escape(", ".join(row.ready)) if row.ready else escape(row.get)
        table.add_row(
            escape(preset.title),
            "yes" if preset.compared else "",
            f"{preset.parameters_b:g}" if preset.parameters_b else "",
            memory,
            escape(preset.licence) + mark,
            price,
            here,
        )
    out.print(table)
    out.print(escape(best))


# --- words ----------------------------------------------------------------------------------------

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="provider:model, several with commas; see looksay models.",
        show_default="setting `model`, auto",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most this many requests.")
]
CostOption = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="Stop before this many USD are spent.")
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Describe also what has words of a person already.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="For hub models: auto, cpu, cuda or mps.")
]
DtypeOption = Annotated[
    str, typer.Option("--dtype", help="For hub models: auto, float32, bfloat16 or float16.")
]
QuantizeOption = Annotated[
    str | None, typer.Option("--quantize", help="For hub models: int8, int4 or nf4.")
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="For hub models that bring their own code: run it."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--concurrency", min=1, help="Requests at once, or photos per batch.")
]


@app.command(rich_help_panel=WORDS)
def describe(
    path: PathArgument = Path(),
    model: ModelOption = None,
    language: LanguageOption = None,
    limit: LimitOption = None,
    max_cost: CostOption = None,
    everything: AllOption = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Ask once more where an answer is stored; the old one is kept."
        ),
    ] = False,
    allow_remote: RemoteOption = False,
    concurrency: WorkersOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a model for what has no words yet. Stop at any time: typing the same again goes on."""
    with _library(path, db, create=True) as library:
        _scan_first(library, path, as_json)
        load = _load_options(
            library, allow_remote, concurrency, device, dtype, quantize, trust_remote_code, language
        )
        failed = False
        for name in _model_names(model, library):
            describer = library.describer(
                name,
                path=path,
                language=language,
                which="all" if everything else "missing",
                again=again,
                limit=limit,
                max_cost_usd=max_cost,
                load_options=load,
            )
            failed |= _run(describer, library, as_json)
    if failed:
        raise typer.Exit(1)


@app.command(rich_help_panel=WORDS)
def estimate(
    path: PathArgument = Path(),
    model: ModelOption = None,
    language: LanguageOption = None,
    limit: LimitOption = None,
    everything: AllOption = False,
    allow_remote: RemoteOption = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Requests, tokens, time and cost of a describe, before it. Sends no photo."""
    with _library(path, db, create=True) as library:
        _scan_first(library, path, as_json)
        # Estimating sends nothing, so a remote model needs no leave here.
        load = _load_options(library, True, None, "auto", "auto", None, False, language)
        found = [
            library.estimate(
                name,
                path=path,
                language=language,
                limit=limit,
                which="all" if everything else "missing",
                load_options=load,
            )
            for name in _model_names(model, library)
        ]
    if as_json:
        _print_json(found)
        return
    for row in found:
        cost = (
            "unknown (no price for this model)"
            if row.cost_usd is None
            else f"{row.cost_usd:.2f} USD"
        )
        seconds = (
            "unknown until the first photos are described"
            if row.seconds is None
            else _duration(row.seconds)
        )
        out.print(
            f"[bold]{escape(row.model)}[/]: {row.requests} requests, about {row.prompt_tokens} prompt and "
            f"{row.completion_tokens} completion tokens, cost {cost}, time {seconds}"
        )
        if row.waiting:
            out.print(
                f"  {row.waiting} near-duplicates are not asked: they share a photo's words once those are reviewed"
            )


@app.command(rich_help_panel=WORDS)
def upgrade(
    to: Annotated[str, typer.Option("--to", help="The better model: provider:model.")],
    path: PathArgument = Path(),
    language: LanguageOption = None,
    limit: LimitOption = None,
    max_cost: CostOption = None,
    allow_remote: RemoteOption = False,
    concurrency: WorkersOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe again, with another model, what only models described; words of people stay."""
    with _library(path, db) as library:
        load = _load_options(
            library, allow_remote, concurrency, device, dtype, quantize, trust_remote_code, language
        )
        describer = library.describer(
            to,
            path=path,
            language=language,
            which="ai",
            limit=limit,
            max_cost_usd=max_cost,
            load_options=load,
        )
        failed = _run(describer, library, as_json)
        queue = [(t, w) for t, w in library.targets(path) if "changed in substance" in w.notes]
        if queue and not as_json:
            out.print(f"{len(queue)} texts changed in substance; look at these first:")
            for target, words in queue[:20]:
                out.print(f"  {escape(target.name)}: {escape(words.text)}")
    if failed:
        raise typer.Exit(1)


# --- decide and write -----------------------------------------------------------------------------


@app.command(rich_help_panel=WRITE)
def decide(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photo files; with --all also a folder, or nothing.")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="The model's words are right.")] = False,
    edit: Annotated[
        str | None, typer.Option("--edit", help="These words instead.", metavar="TEXT")
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
        typer.Option("--all", help="With --accept: every model's words that nobody decided on."),
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="With --all: only this model's words.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also in place of words that a person wrote.")
    ] = False,
    language: LanguageOption = None,
    db: DbOption = None,
) -> None:
    """Accept, edit or reject words, or mark decoration."""
    chosen = {
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
    if everything and not accept:
        raise InputError("--all goes with --accept only.")
    if not photos and not everything:
        raise InputError("Name a photo, or add --all to accept everything that nobody decided on.")
    with _library(next((p for p in photos or [] if p.exists()), Path()), db) as library:
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
                )
        out.print(f"Decided on {_count(number, 'place')}. Type: looksay apply --dry-run")


@app.command("import", rich_help_panel=WRITE)
def import_texts(
    file: Annotated[Path, typer.Argument(help="CSV with the header photo,page,occurrence,text.")],
    path: PathArgument = Path(),
    language: LanguageOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take texts that people wrote from a CSV."""
    with _library(path, db) as library:
        report = library.import_csv(file, language=language)
    if as_json:
        _print_json(report)
    else:
        out.print(
            f"Imported {_count(report.imported, 'text')}; {report.unchanged} were decided so already, {report.blank} rows say nothing."
        )
        for line, reason in report.problems:
            err.print(f"  line {line}: {escape(reason)}", style="red")
        if report.imported:
            out.print("Next: looksay apply --dry-run")
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
    with _library(path, db) as library:
        report = library.apply(
            path, dry_run=dry_run, include_ai=include_ai, into_photos=embed, language=language
        )
    _print_apply(report, as_json, "Would write" if dry_run else "Wrote", dry_run)


@app.command(rich_help_panel=WRITE)
def undo(path: PathArgument = Path(), db: DbOption = None, as_json: JsonOption = False) -> None:
    """Put back exactly what the last apply replaced."""
    with _library(path, db) as library:
        report = library.undo()
    _print_apply(report, as_json, "Put back", dry_run=False)


@app.command(rich_help_panel=WRITE)
def export(
    to: Annotated[
        Path,
        typer.Argument(help="File to write; its ending tells the format: .csv, .jsonl or .html."),
    ],
    path: PathArgument = Path(),
    form: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl or html, whatever the ending.")
    ] = None,
    language: LanguageOption = None,
    db: DbOption = None,
) -> None:
    """Write all words to a CSV, JSONL or HTML gallery."""
    with _library(path, db) as library, _spinner("Exporting", False):
        number = library.export(
            form or to.suffix.lstrip(".").lower(), to, path=path, language=language
        )
    out.print(f"Wrote {_count(number, 'entry', 'entries')} to {escape(str(to))}")


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import looksay

        out.print(looksay.__version__)
        raise typer.Exit


# --- running --------------------------------------------------------------------------------------


def main() -> None:
    """The `looksay` command: users see no traceback for their own mistakes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        app()
    except LooksayError as error:
        err.print(escape(str(error)), style="red")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        err.print("Interrupted; what was finished is kept.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None


def _library(path: Path, db: Path | None, *, create: bool = False) -> Library:
    from looksay.api import Library

    return Library(path, db=db, create=create)


def _scan_first(library: Library, path: Path, quiet: bool) -> None:
    """What is on disk now counts, not what was there at the last scan; unchanged files cost next to nothing."""
    with _spinner("Looking for photos", quiet) as tick:
        library.scan(
            [path],
            progress=lambda done, name: tick(f"Looking for photos: {done} files read, {name}"),
        )


def _model_names(model: str | None, library: Library) -> list[str]:
    names = [n.strip() for n in (model or library.settings.model).split(",") if n.strip()]
    if not names:
        raise InputError("--model is empty. Expected provider:model; type: looksay models")
    found = []
    for name in names:
        if name == "auto":
            from looksay.backends import auto

            choice = auto.choose()
            err.print(escape(f"Model: {choice.name}. {choice.reason}"))
            name = choice.name
        found.append(name)
    return found


def _load_options(
    library: Library,
    allow_remote: bool,
    concurrency: int | None,
    device: str,
    dtype: str,
    quantize: str | None,
    trust_remote_code: bool,
    language: str | None,
) -> Any:
    from looksay.backends.base import LoadOptions

    return LoadOptions(
        allow_remote=allow_remote or library.settings.allow_remote,
        concurrency=concurrency,
        batch_size=concurrency,
        device=device,
        dtype=dtype,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
        max_side_px=library.settings.max_side_px,
        language=language or library.settings.language,
    )


def _run(describer: Describer, library: Library, as_json: bool) -> bool:
    """Run with a progress bar; Ctrl-C finishes what is in flight. Returns whether anything failed."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    profile = describer.backend.profile
    total = describer.estimate().requests
    describer.report.waiting = describer.report.present = describer.report.unavailable = 0
    if profile.remote and total:
        cost = describer.estimate().cost_usd
        describer.report.waiting = describer.report.present = describer.report.unavailable = 0
        said = "an unknown cost (no price is known)" if cost is None else f"about {cost:.2f} USD"
        err.print(
            f"{total} photos go to {escape(describer.backend.name)}, without EXIF data, for {said}."
        )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[cost]}"),
    )
    with Progress(*columns, console=err, disable=as_json or not err.is_terminal) as bar:
        job = bar.add_task(escape(describer.backend.name), total=total, rate="", cost="")

        def tell(event: Any) -> None:
            if as_json:
                _print_json(event, line=True)
            elif event.error:
                err.print(f"{escape(event.photo)}: {escape(event.error)}", style="red")
            speed = bar.tasks[0].speed
            bar.update(
                job,
                advance=1,
                cost=f"{describer.report.cost_usd:.2f} USD" if profile.price else "",
                rate=f"{speed * 60:.0f}/min" if speed else "",
            )

        describer.on_event = tell
        with _finish_on_interrupt(describer):
            report = describer.run()
    _print_describe(report, as_json)
    if report.stopped == "interrupted":
        err.print(
            "Interrupted. Everything that was answered is stored; type the same again to go on."
        )
        raise typer.Exit(130)
    return bool(report.failures) or report.stopped not in ("", "limit", "cost")


@contextmanager
def _finish_on_interrupt(describer: Describer) -> Iterator[None]:
    """The first Ctrl-C stops after the requests in flight, the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(*_: object) -> None:
        describer.stop = True
        err.print("Finishing the requests in flight; Ctrl-C again stops at once.")
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _spinner(words: str, quiet: bool) -> Iterator[Callable[[str], None]]:
    if quiet or not err.is_terminal:
        yield lambda _: None
        return
    with err.status(words) as shown:
        yield lambda now: shown.update(escape(now))


# --- printing -------------------------------------------------------------------------------------


def _print_json(value: Any, *, line: bool = False) -> None:
    def plain(item: Any) -> Any:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        return str(item)

    sys.stdout.write(
        json.dumps(value, default=plain, ensure_ascii=False, indent=None if line else 2) + "\n"
    )
    sys.stdout.flush()


def _print_scan(report: ScanReport, library: Library, *, next_step: bool = True) -> None:
    out.print(f"[bold]{escape(str(library.root))}[/]")
    near = f", {report.near_duplicates} near-duplicates" if report.near_duplicates else ""
    out.print(
        f"Photos: {report.photos} ({_count(report.files, 'file')}, {_count(report.duplicates, 'duplicate')}{near})"
    )
    out.print(
        f"Pages: {report.pages}, with {_count(report.placements, 'placement')} of images"
        + (
            f"; {report.elsewhere} of them show images that are not in the library"
            if report.elsewhere
            else ""
        )
    )
    out.print(
        f"Alt text: {report.missing} missing, {report.empty} empty, {report.decorative} decorative, "
        f"{report.described} present"
        + (f", {report.variable} computed by templates" if report.variable else "")
    )
    if report.cleared:
        out.print(
            f"{report.cleared} texts were deleted by hand since they were written; they stay deleted"
        )
    if report.problems:
        out.print(f"Unreadable: {len(report.problems)}")
        for name, reason in report.problems[:20]:
            err.print(f"  {escape(name)}: {escape(reason)}", style="yellow")
        if len(report.problems) > 20:
            err.print(f"  … and {len(report.problems) - 20} more (--json lists all)")
    if next_step:
        _next(library)


def _next(library: Library) -> None:
    """What to type next, from what the library lacks."""
    here = "" if library.root == Path.cwd() else f" {library.root}"
    found = library.status()
    if found.scan.missing + found.scan.empty and not found.described_photos:
        out.print(f"Next: looksay describe{escape(here)}")
    elif found.described_photos and not found.decisions:
        out.print(
            f"Next: looksay export texts.csv{escape(here)} (correct it, then looksay import), or looksay decide --help"
        )
    elif found.decisions:
        out.print(f"Next: looksay apply --dry-run{escape(here)}")
    else:
        out.print("Every photo has alt text.")


def _print_describe(report: DescribeReport, as_json: bool) -> None:
    if as_json:
        _print_json({"summary": asdict(report)}, line=True)
        return
    out.print(
        f"[bold]{escape(report.model)}[/]: described {report.described} in {_duration(report.seconds)}"
        + (f" for {report.cost_usd:.2f} USD" if report.cost_usd else "")
        + (f"; {report.present} were there already" if report.present else "")
    )
    if report.waiting:
        out.print(
            f"{report.waiting} near-duplicates wait: they share a photo's words once those are reviewed"
        )
    if report.unavailable:
        out.print(f"{report.unavailable} places show files that are not there or cannot be read")
    if report.failures:
        out.print(
            f"[red]{len(report.failures)} failed[/] (typing the same again tries them again):"
        )
        for name, reason in report.failures[:20]:
            out.print(f"  {escape(name)}: {escape(reason)}")
    if report.stopped == "limit":
        out.print("Stopped at --limit.")
    elif report.stopped == "cost":
        out.print("Stopped at --max-cost.")
    elif report.stopped and report.stopped != "interrupted":
        out.print(f"[red]Stopped: {escape(report.stopped)}[/]")


def _print_apply(report: ApplyReport, as_json: bool, verb: str, dry_run: bool) -> None:
    if as_json:
        _print_json(report)
    else:
        if report.diff:
            sys.stdout.write(report.diff)
        words = f", {_count(report.texts, 'text')}" if report.texts else ""
        out.print(f"{verb} {_count(len(report.files), 'file')}{words}.")
        if report.left_ai:
            out.print(
                f"{_count(report.left_ai, 'text')} of models that nobody reviewed were left out: looksay decide, or --include-ai"
            )
        if report.left_drafts:
            out.print(
                f"{_count(report.left_drafts, 'draft')} were left out: drafts are written only once accepted (looksay decide --accept)"
            )
        for name, reason in report.refused:
            err.print(f"  {escape(name)}: {escape(reason)}", style="red")
        if dry_run and report.files:
            out.print(
                "Nothing was written. Without --dry-run it will be; looksay undo takes it back."
            )
    if report.refused:
        raise typer.Exit(1)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
