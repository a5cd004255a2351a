"""The command that compares models on the user's own photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from looksay.cli import asking, console
from looksay.cli.compared import Runner, detector, seen, serve, tell
from looksay.cli.options import (
    WORDS,
    CostOption,
    DbOption,
    DeviceOption,
    DtypeOption,
    EstimateOption,
    JsonOption,
    JudgeOption,
    LanguageOption,
    LimitOption,
    PathArgument,
    QuantizeOption,
    RemoteOption,
    TimeoutOption,
    TrustOption,
    WorkersOption,
    app,
    open_library,
    scan_first,
)
from looksay.cli.words import model_names
from looksay.errors import InputError, MissingDependency, UnknownName

if TYPE_CHECKING:
    from looksay.api import Library
    from looksay.comparing.board import Board, Prompt

FILE = "compare.html"

ExpertOption = Annotated[
    str | None,
    typer.Option(
        "--expert",
        metavar="NAME[:MODEL]",
        help="A detector of COCO's classes, which tells objects that are not there: detection:FILE.onnx (beside it "
        "FILE.names).",
    ),
]
GradeOption = Annotated[
    bool, typer.Option("--grade", help="Serve the page on which people grade, until Ctrl-C.")
]


@app.command(rich_help_panel=WORDS)
def compare(
    path: PathArgument = Path(),
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            "-m",
            help="provider:model, several with commas. Without it: the comparison that was last worked on.",
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="Photos to compare on, some of every kind.")
    ] = 50,
    prompts: Annotated[
        str,
        typer.Option(
            "--prompts",
            help="How each model is asked, with commas: own (as describe asks it), common (one short request for "
            "all), bare (as own, but told of the photo alone).",
        ),
    ] = "own,common",
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other photos.")] = 0,
    judge: JudgeOption = None,
    expert: ExpertOption = None,
    grade: GradeOption = False,
    rater: Annotated[
        str, typer.Option("--rater", help="With --grade: the name that the page offers.")
    ] = "",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="With --grade: where the page is.")
    ] = 8010,
    published: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="Read a published comparison (JSON beside its photos) instead of asking.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The report.")] = Path(FILE),
    estimate: EstimateOption = False,
    language: LanguageOption = None,
    limit: LimitOption = None,
    max_cost: CostOption = None,
    allow_remote: RemoteOption = False,
    concurrency: WorkersOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    timeout: TimeoutOption = 120.0,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """The same photos through several models, graded blind by people or by a judge; one report. Changes no text of
    the library. Typing the same again asks only what has no answer yet.

    looksay compare site --models ollama:llama3.2-vision,facts --sample 20
    """
    try:
        import numpy  # noqa: F401  (intervals)
    except ImportError as error:
        raise MissingDependency("looksay compare", "evaluate", error.name or "numpy") from error
    if models and published:
        raise InputError("--models asks models and --import reads a file; type one of them.")
    looker = detector(expert, device) if expert else None
    with open_library(path, db, create=True) as library:
        console.tell_new_catalogue(library)
        scan_first(library, as_json)
        leave = allow_remote or estimate  # estimating sends nothing
        load = asking.library_options(
            library, leave, concurrency, device, dtype, quantize, trust_remote_code, language
        )
        runner = Runner(library, load, limit, max_cost, timeout, as_json)
        board = _board(library, models, published, sample, _prompts(prompts), language, seed)
        if models:
            runner.ask(board, judge, language, estimate)
        if judge and not (estimate and not board.texts):
            runner.judge(board, judge, estimate)
        if estimate:
            return
        if grade:
            serve(board, rater, port)
        tell(board, seen(board, looker) if looker else {}, out, as_json, library)
    if runner.failed:
        raise typer.Exit(1)


def _prompts(wanted: str) -> tuple[Prompt, ...]:
    from looksay.comparing.board import PROMPTS

    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in PROMPTS:
            raise UnknownName("prompt", name, PROMPTS)
    return tuple(name for name in PROMPTS if name in names) or ("own",)


def _board(
    library: Library,
    models: str | None,
    published: Path | None,
    sample: int,
    prompts: tuple[Prompt, ...],
    language: str | None,
    seed: int,
) -> Board:
    from looksay.comparing import asking as compared
    from looksay.comparing import board as boards
    from looksay.comparing import published as others

    if published:
        return others.read(library.catalog, published)
    if models:
        plan = compared.plan(
            library.catalog,
            model_names(models, library),
            size=sample,
            prompts=prompts,
            prefix=library.prefix(library.path),
            language=language,
            default_language=library.settings.language,
            seed=seed,
        )
        return boards.begin(library.catalog, plan)
    found = boards.open_newest(library.catalog)
    if found is None:
        raise InputError(
            f"Nothing was compared here yet. Type: looksay compare{console.here(library)} --models MODEL,MODEL"
        )
    return found
