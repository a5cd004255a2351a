"""The commands that measure models: evaluate, and benchmarks, which lists what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import (
    MEASURE,
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
from looksay.errors import InputError, MissingDependency, UnknownName

if TYPE_CHECKING:
    from looksay.backends.base import Backend, Encoder, LoadOptions
    from looksay.evaluation.benchmark import Benchmark, Embedded, Item


@app.command(rich_help_panel=MEASURE)
def evaluate(
    models: Annotated[
        str, typer.Argument(help="provider:model, several with commas; see looksay models.")
    ],
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="Benchmarks, several with commas, parts as name/part; see looksay benchmarks.",
        ),
    ],
    data: Annotated[
        Path, typer.Option("--data", help="Folder with a folder of official files per benchmark.")
    ] = Path("benchmarks"),
    judge: Annotated[
        str | None,
        typer.Option("--judge", help="The model that reads answers, where a benchmark wants one."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many pictures.")
    ] = None,
    compat: Annotated[
        str,
        typer.Option(
            "--compat",
            help="Whose rules read the answers: strict (nothing guessed), official, lmms-eval, vlmevalkit.",
        ),
    ] = "strict",
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            help="generate, or likelihood: the most likely of the given choices is the answer.",
        ),
    ] = "generate",
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank", help="Retrieval: look at the first candidates again, pair by pair (slow)."
        ),
    ] = False,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="At most so many tokens per answer.")
    ] = 300,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Bootstrap samples of an interval.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for every answer and the report.")
    ] = Path("evaluation"),
    allow_remote: RemoteOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    timeout: TimeoutOption = 120.0,
    concurrency: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask models what benchmarks ask, and score the answers with intervals and paired tests.

    Answers are kept in --out as they come: stopped and started again, only what is missing is asked.
    """
    from looksay.backends.base import LoadOptions
    from looksay.types import Options

    try:
        import matplotlib  # noqa: F401

        from looksay.evaluation import embedding, pages, report
        from looksay.evaluation import run as running
    except ImportError as error:
        raise MissingDependency("Measuring", "evaluate", error.name or "numpy") from error
    if mode not in ("generate", "likelihood"):
        raise UnknownName("mode", mode, ["generate", "likelihood"])
    how = LoadOptions(
        allow_remote=allow_remote,
        concurrency=concurrency,
        device=device,
        dtype=dtype,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )
    chosen = [(name, *_read(name, data, limit)) for name in _listed(on, "--on")]
    reader = _loaded(judge, how, as_json) if judge else None
    shared: dict[str, Any] = {"compat": _rules(compat), "samples": samples, "seed": seed}
    results = []
    for model in _listed(models, "the models"):
        loaded: dict[bool, Any] = {}  # as a dual encoder, and as what answers
        for name, benchmark, items in chosen:
            embeds = _embeds(benchmark)
            if embeds not in loaded:
                loaded[embeds] = (_encoder if embeds else _loaded)(model, how, as_json)
            given: Any = (loaded[embeds], name, benchmark, items, out)
            with console.progress(f"{model} on {name}", len(items), as_json) as tell:

                def count(tell: Callable[[None], None] = tell) -> None:
                    tell(None)

                if embeds:
                    result = embedding.evaluate(*given, rerank=rerank, on_item=count, **shared)
                else:
                    result = running.evaluate(
                        *given,
                        options=Options(max_tokens=max_tokens, timeout_s=timeout),
                        likelihood=mode == "likelihood",
                        judge=reader,
                        on_answer=count,
                        **shared,
                    )
            results.append(result)
    found = report.record(results, samples=samples, seed=seed)
    report.write(found, out)
    pages.write(found, results, out)
    if as_json:
        console.print_json(found)
    else:
        console.out.print(escape(report.table(found)))
        console.out.print(escape(f"\nEvery answer is in {out}; read {out / 'report.html'}."))
    if any(result.failures for result in results):
        raise typer.Exit(1)


def _listed(names: str, what: str) -> list[str]:
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise InputError(f"Nothing is named in {what}; found {names!r}.")
    return list(dict.fromkeys(found))


def _rules(name: str) -> Any:
    from typing import get_args

    from looksay.evaluation.benchmark import Compat

    if name not in get_args(Compat):
        raise UnknownName("set of rules", name, get_args(Compat))
    return name


def _read(name: str, data: Path, limit: int | None) -> tuple[Benchmark, list[Item]]:
    from looksay.evaluation import benchmark as benchmarks
    from looksay.evaluation import embedding
    from looksay.evaluation.run import limited, missing

    found, variant = benchmarks.load(name)
    folder = data / name.partition("/")[0]
    try:
        items = benchmarks.checked(found.read(folder, variant), name)
    except InputError as error:
        lacking = missing(folder, found)
        if not lacking:
            raise
        told = "\n".join(f"  {one}" for one in lacking)
        raise InputError(
            f"{error}\n{found.CARD.title} reads what is not there (a part needs not all of it):\n{told}\n"
            f"It is to be had at {found.CARD.where} ({found.CARD.licence}). Another folder: --data DIR"
        ) from error
    return found, (embedding.limited if _embeds(found) else limited)(items, limit)


def _embeds(benchmark: Benchmark | Embedded) -> bool:
    """Whether it is for dual encoders, which answer nothing."""
    return hasattr(benchmark, "score_embeddings")


def _loaded(model: str, how: LoadOptions, as_json: bool) -> Backend:
    from looksay.backends.loading import load

    with console.spinner(f"Loading {model}", as_json):
        return load(model, how)


def _encoder(model: str, how: LoadOptions, as_json: bool) -> Encoder:
    from looksay.backends import encoders

    with console.spinner(f"Loading {model}", as_json):
        return encoders.load(model, how)


@app.command(rich_help_panel=MEASURE)
def benchmarks(
    name: Annotated[
        str | None,
        typer.Argument(help="One of them: its card in full, and what others print of its figures."),
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a page with one table, for documents.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the benchmarks: what each measures and needs, where to get it, under which licence."""
    from dataclasses import asdict

    try:
        from looksay.evaluation import cards
    except ImportError as error:
        raise MissingDependency("Measuring", "evaluate", error.name or "numpy") from error
    if name is not None:
        if as_markdown:
            raise InputError(f"--markdown prints all benchmarks. Leave {name!r} or --markdown out.")
        _card(name, as_json)
        return
    found = cards.every()
    if as_json:
        console.print_json({name: asdict(one.CARD) for name, one in found.items()})
        return
    if as_markdown:
        typer.echo(cards.markdown(found), nl=False)
        return
    for name, one in found.items():
        head = f"{escape(one.CARD.title)}: {escape(one.CARD.measures)}"
        console.out.print(f"[bold]{escape(name)}[/bold]  {head}")
        for word, told in cards.rows(name, one).items():
            if told:
                console.out.print(escape(f"  {word:<8}{told}"))


def _card(name: str, as_json: bool) -> None:
    from dataclasses import asdict

    from looksay.evaluation import benchmark, cards, published

    if as_json:
        rows = [published.row(one) for one in published.about(name)]
        console.print_json({**asdict(benchmark.load(name)[0].CARD), "published": rows})
        return
    for line in cards.lines(name):
        console.out.print(escape(line))
