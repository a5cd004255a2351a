"""The commands that measure models: evaluate, and benchmarks, which lists what there is."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from functools import partial
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
from looksay.errors import InputError, LooksayError, MissingDependency, UnknownName

if TYPE_CHECKING:
    from looksay.backends.base import Backend, Encoder, LoadOptions
    from looksay.evaluation.benchmark import Compat, Item
    from looksay.evaluation.run import Result


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
        typer.Option(
            "--judge",
            help="The model that reads answers, where a benchmark wants one; sheet:FILE.csv: people do.",
        ),
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
        int | None,
        typer.Option(
            "--max-tokens",
            min=1,
            help="At most so many tokens per answer.",
            show_default="300, or as the benchmark says",
        ),
    ] = None,
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
    rules = _rules(compat)
    parts = [_read(name, data, limit, as_json) for name in _listed(on, "--on")]
    _check(parts, rules, mode == "likelihood", judge, rerank)
    if max_tokens:
        parts = [
            replace(part, items=[replace(item, max_tokens=max_tokens) for item in part.items])
            for part in parts
        ]
    reader = _loaded(judge, how, as_json) if judge else None
    asking: dict[str, Any] = {
        "options": Options(max_tokens=max_tokens or 300, timeout_s=timeout),
        "likelihood": mode == "likelihood",
        "judge": reader,
    }
    pairs = [(model, part) for model in _listed(models, "the models") for part in parts]
    results: list[Result] = []
    loaded: dict[tuple[str, bool], Any] = {}
    try:
        for model, part in pairs:
            embeds = _embeds(part.benchmark)
            try:
                if (model, embeds) not in loaded:
                    loaded.clear()  # one model at a time is in memory
                    gc.collect()
                    loaded[model, embeds] = (_encoder if embeds else _loaded)(model, how, as_json)
                with console.progress(f"{model} on {part.name}", len(part.items), as_json) as tell:
                    results.append(
                        (embedding if embeds else running).evaluate(
                            loaded[model, embeds],
                            part.name,
                            part.benchmark,
                            part.items,
                            out,
                            compat=rules,
                            whole=part.whole,
                            samples=samples,
                            seed=seed,
                            **({"rerank": rerank} if embeds else asking),
                            **{"on_item" if embeds else "on_answer": partial(tell, None)},
                        )
                    )
            except LooksayError as error:
                if len(pairs) == 1:
                    raise
                results.append(
                    running.failed(model, part.name, rules, part.items, str(error), part.whole)
                )
    finally:  # also what was measured before somebody stopped it
        if results:
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A benchmark, or a part of one, as it is asked."""

    name: str
    benchmark: Any
    items: list[Item]
    whole: int
    """Items that there are without --limit."""


def _check(
    parts: list[_Part], rules: Compat, likelihood: bool, judge: str | None, rerank: bool
) -> None:
    """Raise InputError, before anything is loaded or asked, for what cannot be measured."""
    from looksay.evaluation import run as running

    asked = [part for part in parts if not _embeds(part.benchmark)]
    for part in asked:
        running.check(part.name, part.benchmark, part.items, rules, likelihood, bool(judge))
    for option, used, idle in (
        ("--mode likelihood", likelihood, not asked),
        ("--rerank", rerank, len(asked) == len(parts)),
        ("--judge", judge, not any(hasattr(part.benchmark, "judge") for part in asked)),
    ):
        if used and idle:
            named = ", ".join(part.name for part in parts)
            raise InputError(f"{option} does nothing for {named}. Leave it out.")


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


def _read(name: str, data: Path, limit: int | None, as_json: bool) -> _Part:
    from looksay.data.reading import opened_later
    from looksay.evaluation import benchmark as benchmarks
    from looksay.evaluation import embedding
    from looksay.evaluation.run import limited, missing

    found, variant = benchmarks.load(name)
    folder = data / name.partition("/")[0]
    try:
        with console.spinner(f"Reading {name}", as_json), opened_later() as opened:
            items = benchmarks.checked(found.read(folder, variant), name)
            kept = (embedding.limited if _embeds(found) else limited)(items, limit)
            opened(image for item in kept for image in item.conversation.images)
    except InputError as error:
        lacking = missing(folder, found)
        if not lacking:
            raise
        told = "\n".join(f"  {one}" for one in lacking)
        raise InputError(
            f"{error}\n{found.CARD.title} reads what is not there (a part needs not all of it):\n{told}\n"
            f"It is to be had at {found.CARD.where} ({found.CARD.licence}). Another folder: --data DIR"
        ) from error
    return _Part(name, found, kept, len(items))


def _embeds(benchmark: Any) -> bool:
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
