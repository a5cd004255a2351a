"""The command that measures models: evaluate scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import (
    TRAIN,
    DeviceOption,
    DtypeOption,
    JsonOption,
    QuantizeOption,
    RemoteOption,
    TimeoutOption,
    TrustOption,
    WorkersOption,
    app,
)
from looksay.errors import InputError, MissingDependency, plainly

evaluate = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None if console.PLAIN else "rich",
    help="Measure how much of what a model says is true.",
)
app.add_typer(evaluate, name="evaluate", rich_help_panel=TRAIN)


@evaluate.callback()
def _top() -> None:
    """Keeps `scenes` a command of its own while it is the only one."""


@evaluate.command()
def scenes(
    model: Annotated[
        str, typer.Option("--model", "-m", help="provider:model; see looksay models.")
    ],
    number: Annotated[int, typer.Option("--scenes", min=1, help="How many scenes.")] = 1000,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="test, pairs (held-out pairs of nouns), words (held-out words) or train.",
        ),
    ] = "test",
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other scenes.")] = 1000,
    size_px: Annotated[
        int, typer.Option("--size", help="Width and height in pixels, 96 to 128.")
    ] = 128,
    groups: Annotated[
        int,
        typer.Option("--groups", min=1, help="Only scenes of at least so many groups of objects."),
    ] = 1,
    brief: Annotated[
        bool, typer.Option("--brief/--no-brief", help="Ask for short captions too (CIDEr-D).")
    ] = True,
    blank: Annotated[
        bool, typer.Option("--blank", help="Ask the questions about a grey picture as well.")
    ] = False,
    hint: Annotated[
        str, typer.Option("--hint", help='Put after each question: "Answer with one word."')
    ] = "",
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="At most so many tokens per answer.")
    ] = 300,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the report to this JSON file.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="Write every answer to this JSONL file.")
    ] = None,
    allow_remote: RemoteOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    timeout: TimeoutOption = 120.0,
    concurrency: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a model about scenes, pictures of which everything is known, and score what it says."""
    from looksay.backends.base import LoadOptions
    from looksay.backends.loading import load
    from looksay.types import Options

    try:
        from looksay.evaluation.scenes import evaluate as run
    except ImportError as error:
        raise MissingDependency("Measuring on scenes", "facts", error.name or "numpy") from error
    for file in (out, answers):
        if file and not file.resolve().parent.is_dir():
            raise InputError(
                f"{file.parent} is not there. Make the folder first, or choose another."
            )
    with console.spinner("Loading the model", as_json):
        backend = load(
            model,
            LoadOptions(
                allow_remote=allow_remote,
                concurrency=concurrency,
                device=device,
                dtype=dtype,
                quantize=quantize,
                trust_remote_code=trust_remote_code,
            ),
        )
    with console.spinner("Asking", as_json) as tell:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            tell(f"Asking: {done} answers")

        report = run(
            backend,
            split,
            number,
            seed,
            size_px=size_px,
            groups=groups,
            brief=brief,
            blank=blank,
            hint=hint,
            options=Options(max_tokens=max_tokens, timeout_s=timeout),
            answers=answers,
            on_answer=count,
        )
    if out:
        try:
            out.write_text(
                json.dumps(report.record(), indent=2, ensure_ascii=False) + "\n", "utf-8"
            )
        except OSError as error:
            raise InputError(f"{out} cannot be written: {plainly(error)}.") from None
    if as_json:
        console.print_json(report.record())
    else:
        console.out.print(escape(report.table()))
    if report.failed:
        raise typer.Exit(1)
