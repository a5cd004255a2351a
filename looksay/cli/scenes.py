"""The command that shows or writes scenes: pictures of which everything is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import TRAIN, app
from looksay.errors import InputError, MissingDependency, UnknownName, plainly
from looksay.types import Example

if TYPE_CHECKING:
    from looksay.data.scenes import Scenes

FORMATS = ("coco_captions", "llava_instruct", "vqa", "webdataset")
SHARD = 1000
"""Scenes in one tar file of WebDataset."""


@app.command(rich_help_panel=TRAIN)
def scenes(
    to: Annotated[
        Path | None, typer.Option("--sheet", help="Draw a contact sheet with captions: FILE.png.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, max=100, help="Rows of the sheet.")] = 3,
    columns: Annotated[
        int, typer.Option("--columns", min=1, max=50, help="Scenes in a row of the sheet.")
    ] = 4,
    captions: Annotated[
        bool, typer.Option("--captions/--no-captions", help="Descriptions below the scenes.")
    ] = True,
    write: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            "--write",
            metavar="FORMAT DIR",
            help=f"Write pictures and what is true of them into a folder: {', '.join(FORMATS)}.",
        ),
    ] = None,
    number: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many scenes to write.")
    ] = 100,
    start: Annotated[int, typer.Option("--start", min=0, help="Number of the first scene.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other scenes.")] = 0,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="train, test, pairs (held-out pairs of nouns) or words (held-out words).",
        ),
    ] = "train",
    size_px: Annotated[
        int, typer.Option("--size", help="Width and height in pixels, 96 to 128.")
    ] = 128,
) -> None:
    """Draw small pictures of which everything is known: to look at, or to train on elsewhere."""
    if (to is None) == (write is None):
        raise InputError(
            "Choose one: --sheet FILE.png, or --write FORMAT DIR. See: looksay scenes -h"
        )
    try:
        from looksay.data.scenes import Scenes
    except ImportError as error:
        raise MissingDependency("Drawing scenes", "facts", error.name or "numpy") from error
    world = Scenes(seed, split, size_px)
    if to is not None:
        from looksay.data.scenes.sheet import sheet

        if to.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise InputError(f"{to} is no picture file. Expected .png, .jpg or .webp.")
        chosen = [world.scene(start + i) for i in range(rows * columns)]
        picture = sheet(chosen, columns, None if captions else ())
        try:
            picture.save(to)
        except OSError as error:
            raise InputError(f"{to} cannot be written: {plainly(error)}.") from None
        console.out.print(f"Drew {console.count(rows * columns, 'scene')}: {escape(str(to))}")
    if write is not None:
        form, folder = write
        for path in _write(form, folder, world, range(start, start + number)):
            console.out.print(f"Wrote {escape(str(path))}")


def _write(form: str, folder: Path, world: Scenes, numbers: range) -> list[Path]:
    """Scenes in the format `form`; the files that say what is in the pictures."""
    from looksay.data.sources import coco_captions, llava_instruct, vqa, webdataset
    from looksay.data.sources import scenes as source
    from looksay.data.sources.drawing import Drawn

    if form not in FORMATS:
        raise UnknownName("format for scenes", form, FORMATS)
    kind: source.Kind = "questions" if form == "vqa" else "caption"
    talks = source.SceneTalks(
        Drawn(world), source.MIX if form == "llava_instruct" else {kind: 1.0}, None
    )
    with console.progress("Scenes", len(numbers), False) as count_one:

        def some(chosen: range) -> Iterator[Example]:
            for number in chosen:
                yield talks.example(number)
                count_one(None)

        if form == "webdataset":
            shards = []
            for first in range(0, len(numbers), SHARD):
                path = folder / f"scenes-{first // SHARD:06d}.tar"
                webdataset.write(some(numbers[first : first + SHARD]), path)
                shards.append(path)
            return shards
        if form == "vqa":
            asked, answered = folder / "questions.json", folder / "annotations.json"
            vqa.write(some(numbers), asked, answered)
            return [asked, answered]
        if form == "coco_captions":
            path = folder / "captions.json"
            coco_captions.write(some(numbers), path)
        else:
            path = folder / "conversations.json"
            llava_instruct.write(some(numbers), path)
    return [path]
