"""The command that cleans an image–text set: a captioner writes, a filter drops what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import TRAIN, JsonOption, RemoteOption, app
from looksay.errors import InputError, UnknownName


@app.command(rich_help_panel=TRAIN)
def capfilt(
    data: Annotated[
        str, typer.Argument(help="Pictures with texts: scenes, or a file or folder (docs/data.md).")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the texts that are kept.")],
    captioner: Annotated[
        str | None,
        typer.Option(
            "--captioner", help="Any provider:model; without it only judge what is there."
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--filter",
            help="local:DIR (albef, blip, blip2) or hub:NAME (BLIP for retrieval); without it keep all.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder that image names in the data start from."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many pictures.")
    ] = None,
    question: Annotated[
        str | None, typer.Option("--question", help="What the captioner is asked.")
    ] = None,
    top_p: Annotated[
        float, typer.Option("--top-p", min=0, max=1, help="Nucleus that a caption is drawn from.")
    ] = 0.9,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other captions.")] = 0,
    least: Annotated[
        float, typer.Option("--least", help="Log-odds of a match from which a text is kept.")
    ] = 0.0,
    form: Annotated[
        str, typer.Option("--format", help="webdataset or coco_captions.")
    ] = "webdataset",
    allow_remote: RemoteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a caption for each picture and drop every text that a filter rejects (BLIP's CapFilt). The same command
    goes on where it was broken off."""
    from dataclasses import replace

    from looksay.backends.base import LoadOptions
    from looksay.backends.loading import load
    from looksay.data import capfilt as rounds

    if captioner is None and judge is None:
        raise InputError(
            "Nothing to do: name a --captioner, a --filter, or both. See: looksay capfilt -h"
        )
    if form not in rounds.FORMATS:
        raise UnknownName("format", form, rounds.FORMATS)
    options = LoadOptions(allow_remote=allow_remote)
    source = rounds.open_pairs(data, images, seed)
    writer = None if captioner is None else load(captioner, options)
    filter = None if judge is None else rounds.load_filter(judge, options, least)
    size = min(s for s in (source.size, limit) if s) if source.size or limit else 0
    with console.progress("CapFilt", size, as_json) as count_one:
        found = rounds.bootstrap(
            source,
            out,
            captioner=writer,
            filter=filter,
            limit=limit,
            options=replace(rounds.NUCLEUS, top_p=top_p, seed=seed),
            question=question or rounds.QUESTION,
            seen=lambda: count_one(None),
        )
    count = rounds.write(source, found, out, form)
    if as_json:
        counts = {o: {"kept": k, "of": n} for o, (k, n) in found.counts().items()}
        console.print_json({**counts, "failures": found.failures, "written": count})
    else:
        for origin, (kept, of) in found.counts().items():
            console.out.print(f"{origin}: {kept} of {of} texts kept.")
        for name, reason in found.failures[:5]:
            console.out.print(f"{escape(name)} got no caption: {escape(reason)}")
        console.out.print(
            f"{count} texts lie in {escape(str(out))}; every verdict in {escape(str(out / rounds.VERDICTS))}."
        )
    if found.failures:
        raise typer.Exit(1)
