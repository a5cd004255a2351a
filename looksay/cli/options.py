"""The application, and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from looksay.cli import console

if TYPE_CHECKING:
    from looksay.api import Library

app = typer.Typer(
    name="looksay",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None if console.PLAIN else "rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Alt text for whole photo libraries, with any vision-language model. "
    "The usual order: scan, describe, decide, apply.",
)

SEE, WORDS, WRITE = "See what there is", "Get words", "Decide and write"
TALK, TRAIN, MEASURE = "Talk about images", "Train", "Measure"
PANELS = (SEE, WORDS, WRITE, TALK, MEASURE, TRAIN)
"""In the order of `looksay --help`: first what everybody wants."""

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
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="provider:model, several with commas; see looksay models.",
        show_default="setting `model`, auto",
    ),
]
OneModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="provider:model of one that answers questions; see looksay models.",
        show_default="setting `model`, auto",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most this many requests.")
]
CostOption = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="Stop before this many USD are spent.")
]
EstimateOption = Annotated[
    bool, typer.Option("--estimate", help="Only say what it would take; ask nothing.")
]
BoxesOption = Annotated[
    Path | None,
    typer.Option(
        "--boxes",
        help="COCO's instances of the same pictures.",
        show_default='the file beside DATA with "instances" for "captions" in its name',
    ),
]
DataImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder of the pictures that DATA names.")
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        "--judge",
        help="A model that grades, never one of those compared: provider:model, or sheet:FILE.csv for people.",
    ),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Describe also what has words of a person already.")
]
ContextOption = Annotated[
    bool,
    typer.Option(
        "--context/--no-context",
        help="Tell the model what the page, the folder and the camera say (docs/context.md), or the photo alone.",
    ),
]
HostOption = Annotated[
    str,
    typer.Option("--host", help="Address to listen at. Any but this machine's wants a key."),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="For hub and local models: auto, cpu, cuda or mps.")
]
DtypeOption = Annotated[
    str,
    typer.Option("--dtype", help="For hub and local models: auto, float32, bfloat16 or float16."),
]
QuantizeOption = Annotated[
    str | None, typer.Option("--quantize", help="For hub and local models: int8, int4 or nf4.")
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="For hub models that bring their own code: run it."),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=1, help="Seconds to wait for one answer.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--concurrency", min=1, help="Requests at once, or photos per batch.")
]


def open_library(path: Path, db: Path | None, *, create: bool = False) -> Library:
    from looksay.api import Library

    return Library(path, db=db, create=create)


def scan_first(library: Library, quiet: bool) -> list[tuple[str, str]]:
    """What is on disk now counts, not what was there at the last scan; unchanged files cost next to nothing. What could
    not be read, and why."""
    with console.spinner("Looking for photos", quiet) as tick:
        report = library.scan(
            [library.path],
            progress=lambda done, name: tick(f"Looking for photos: {done} files read, {name}"),
        )
    return list(report.problems)
