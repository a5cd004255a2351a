"""The command that says how likely each text is wrong: check."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from looksay.cli import asking, console
from looksay.cli.asking import finish_on_interrupt
from looksay.cli.combined import ExpertsOption, OwnVerifierOption, ReaderOption, VerifierOption
from looksay.cli.options import (
    WORDS,
    CostOption,
    DbOption,
    DeviceOption,
    DtypeOption,
    EstimateOption,
    JsonOption,
    LanguageOption,
    LimitOption,
    PathArgument,
    QuantizeOption,
    RemoteOption,
    TimeoutOption,
    WorkersOption,
    app,
    open_library,
)
from looksay.errors import MissingDependency

if TYPE_CHECKING:
    from looksay.api import Library
    from looksay.describing.assess import Assessed, Assessor, AssessReport

_LEVELS = ("high", "medium", "low")


@app.command(rich_help_panel=WORDS)
def check(
    path: PathArgument = Path(),
    verifier: VerifierOption = None,
    own_verifier: OwnVerifierOption = False,
    expert: ExpertsOption = None,
    reader: ReaderOption = "english",
    estimate: EstimateOption = False,
    language: LanguageOption = None,
    limit: LimitOption = None,
    max_cost: CostOption = None,
    allow_remote: RemoteOption = False,
    concurrency: WorkersOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    timeout: TimeoutOption = 120.0,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """How likely each text of a model is wrong: its claims held to what other models said, to experts, to the file and
    to a verifier (docs/risk.md). --limit counts texts. Stop at any time: typing the same again goes on."""
    from looksay.backends.loading import load as load_backend

    try:
        from looksay.data import readers
        from looksay.experts.loading import load as load_expert
    except ImportError as error:
        raise MissingDependency("looksay check", "facts", error.name or "numpy") from error
    with open_library(path, db) as library:
        # Estimating sends nothing, so a remote model needs no leave here.
        load = asking.library_options(
            library, allow_remote or estimate, concurrency, device, dtype, quantize, False, language
        )
        asked = None
        if verifier:
            with console.loading(verifier, as_json):
                asked = load_backend(verifier, load)
        assessor = library.assessor(
            readers.load(reader, load),
            verifier=asked,
            own_verifier=own_verifier,
            experts=[load_expert(name) for name in expert or ()],
            path=library.path,
            language=language,
            limit=limit,
            max_cost_usd=max_cost,
            timeout_s=timeout,
        )
        planned = assessor.estimate() if verifier else None
        if estimate:
            asking.tell_estimates([planned] if planned else [], as_json, alone=True)
            return
        if planned and planned.requests:
            asking.tell_estimates([planned], as_json, alone=False)
        failed = _run(assessor, library, as_json)
    if failed:
        raise typer.Exit(1)


def _run(assessor: Assessor, library: Library, as_json: bool) -> bool:
    """Assess with a progress bar, and tell what came of it; whether anything failed."""
    many = sum(1 for _ in assessor.tasks())
    assessor.report.present = 0
    with console.progress("Checking", many, as_json) as count_one:

        def tell(event: Assessed) -> None:
            if as_json:
                console.print_json(event, line=True)
            elif event.error:
                console.err.print(f"{escape(event.photo)}: {escape(event.error)}", style="red")
            count_one(assessor.budget.spent_usd or None)

        assessor.on_event = tell
        with finish_on_interrupt(assessor):
            report = assessor.run()
    assessor.levels()
    if as_json:
        console.print_json({"summary": asdict(report)}, line=True)
    else:
        _print(report, assessor, library)
    if report.stopped == "interrupted":
        console.err.print("Interrupted. What was checked is stored; type the same again to go on.")
        raise typer.Exit(130)
    return bool(report.failures) or report.stopped not in ("", "limit", "cost")


def _print(report: AssessReport, assessor: Assessor, library: Library) -> None:
    out, count = console.out, console.count
    out.print(
        f"[bold]Checked[/] {count(report.assessed, 'text')} in {console.duration(report.seconds)}"
        + (f" for {report.cost_usd:.2f} USD" if report.cost_usd else "")
        + (f"; {report.present} were checked already" if report.present else "")
    )
    if not report.levels:
        out.print(
            f"No text of a model waits for review here. Type: looksay describe{_here(library)}"
        )
        return
    if report.wordless:
        out.print(
            f"{report.wordless} say nothing that the reader {escape(assessor.reader.name)} can take apart; texts in other "
            "languages: --reader asked:MODEL"
        )
    if report.alone:
        out.print(
            f"{report.alone} have nothing beside them: add --verifier MODEL or --expert NAME, or have another model "
            "describe the same photos"
        )
    if report.own:
        out.print(
            f"{report.own} were written by {escape(report.verifier)} itself, which was not asked about them"
        )
    if report.unreadable:
        out.print(
            f"{escape(report.verifier)} gave {count(report.unreadable, 'answer')} that cannot be read as one of those "
            "asked for: no evidence"
        )
    console.tell_left(report.failures, report.stopped)
    told = ", ".join(f"{report.levels.get(level, 0)} {level}" for level in _LEVELS)
    how = (
        f"on a scale fitted to {report.reviews} of your reviews"
        if assessor.judge.scale.calibrated
        else f"before there are enough reviews to measure it by ({report.reviews} so far)"
    )
    out.print(f"Risk: {told}; {how}")
    for one in report.riskiest:
        console.say(
            f"  {one.level:6} {one.photo}{f' on {one.page}' if one.page else ''}: {one.text}\n"
        )
        if one.reasons:
            console.say(f"         {'; '.join(one.reasons)}\n")
    out.print(f"Next: looksay review{_here(library)}")


def _here(library: Library) -> str:
    return escape(console.here(library))
