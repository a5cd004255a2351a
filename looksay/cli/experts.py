"""The command that shows what vision experts find in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import SEE, DeviceOption, JsonOption, app
from looksay.errors import InputError, LooksayError, MissingDependency, UnreadablePhoto, plainly

if TYPE_CHECKING:
    from looksay.experts.base import Expert, Findings

DEFAULT = "ocr"
"""The one expert that needs no model to be named."""


@app.command(rich_help_panel=SEE)
def experts(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE]...", help="Pictures; without one, the experts are listed."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--expert",
            "-e",
            metavar="NAME[:MODEL]",
            help="Which expert to ask; may be given again.",
            show_default=DEFAULT,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--names",
            help="What a detector looks for, or what its classes are called: words with commas, or a file with "
            "one per line.",
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", min=0, max=1, help="Leave out what is less sure than this."),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", help="Draw what was found onto the picture: FILE.png."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder to keep findings in, by picture.")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """What vision experts find in a picture: segments, objects, relations, text."""
    try:
        from looksay.experts.base import Options, merged
        from looksay.experts.loading import load
    except ImportError as error:
        raise MissingDependency("Vision experts", "facts", error.name or "numpy") from error
    if not images:
        _list(as_json)
        return
    if overlay and len(images) > 1:
        raise InputError(f"--overlay draws one picture; {len(images)} were given. Type one.")
    options = Options(_words(classes), min_score, device)
    asked = [load(name, options, cache=cache) for name in names or [DEFAULT]]
    failed = False
    for image in images:
        try:
            found = [(expert, expert.find(image)) for expert in asked]
            together = merged([findings for _, findings in found])
            if as_json:
                console.print_json(_record(image, together), line=True)
            else:
                _show(image if len(images) > 1 else None, found)
            if overlay:
                _draw(image, together, overlay, as_json)
        except UnreadablePhoto as error:
            failed = True
            console.err.print(escape(f"{image} cannot be read: {error}"))
        except LooksayError as error:
            if len(images) == 1:
                raise
            failed = True
            console.err.print(escape(f"{image}: {error}"))
    if not names and not as_json:
        console.out.print("\nOther experts, and what to type: looksay experts")
    if failed:
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    from looksay.experts.loading import listed

    found = list(listed())
    if as_json:
        console.print_json([one._asdict() for one in found])
        return
    for one in found:
        how = f"needs {escape(one.lacking)}" if one.lacking else "[green]here[/]"
        console.out.print(f"[bold]{one.name}[/] {how}")
        if one.about:
            console.out.print(f"    {escape(one.about)}")
    console.out.print("\nTo ask one: looksay experts IMAGE --expert NAME")


def _words(given: str | None) -> tuple[str, ...]:
    """Names with commas, or the lines of a file."""
    if not given:
        return ()
    text, path = given.replace(",", "\n"), Path(given).expanduser()
    try:
        if path.is_file():
            text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"{given} cannot be read: {plainly(error)}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{given} is not UTF-8 text (byte {error.start}).") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _record(image: Path, found: Findings) -> dict[str, Any]:
    """What `precomputed` reads back, from whatever folder."""
    from looksay.experts.records import to_json

    portable = not image.is_absolute() and ".." not in image.parts
    return {"file": image.as_posix() if portable else image.name, **to_json(found)}


def _show(image: Path | None, found: Sequence[tuple[Expert, Findings]]) -> None:
    from looksay.experts import verbalise

    if image:
        console.out.print(f"[bold]{escape(str(image))}[/]")
    for expert, findings in found:
        console.out.print(f"[bold]{escape(expert.name)}[/]")
        told = [verbalise.moai(findings) or "Nothing found."]
        if findings.segments:
            told.append(verbalise.crayon(findings))
        for line in told:
            console.out.print(f"  {escape(line)}")


def _draw(image: Path, found: Findings, path: Path, quiet: bool) -> None:
    from looksay.experts.overlay import drawn, save
    from looksay.images import load_rgb

    save(drawn(load_rgb(image), found), str(path))
    if not quiet:
        console.out.print(f"Drawn: {escape(str(path))}")
