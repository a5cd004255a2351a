"""What `compare` and `upgrade --check` do once their options are read: ask, judge, grade, tell."""

from __future__ import annotations

import contextlib
import getpass
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from looksay.cli import asking, console
from looksay.cli.asking import finish_on_interrupt
from looksay.errors import InputError, MissingDependency, UnreadablePhoto
from looksay.types import Options

if TYPE_CHECKING:
    from looksay.api import Library
    from looksay.backends.base import Backend
    from looksay.comparing.asking import Asker
    from looksay.comparing.board import Board
    from looksay.describing.run import DescribeReport
    from looksay.experts.base import Expert
    from looksay.spending import Estimate


class Runner:
    """Asks models and judges with progress shown; `failed` once something did."""

    def __init__(
        self,
        library: Library,
        load: Any,
        limit: int | None,
        max_cost: float | None,
        timeout: float,
        as_json: bool,
    ) -> None:
        self.library, self.load, self.as_json = library, load, as_json
        self.limit, self.max_cost, self.timeout = limit, max_cost, timeout
        self.failed, self.spent_usd = False, 0.0

    def backend(self, name: str) -> Backend:
        """The model of that name. Raises LooksayError."""
        from looksay.backends.loading import load

        with console.loading(name, self.as_json):
            return load(name, self.load)

    def ask(
        self,
        board: Board,
        judge: str | None,
        language: str | None,
        estimate: bool,
        models: list[str] | None = None,
    ) -> None:
        """Every model (or `models`) about every photo; a judge that is one of them is refused before anything is
        asked."""
        from looksay.comparing import asking as compared

        if judge in {entrant.model for entrant in board.plan.entrants}:
            raise InputError(
                f"The judge {judge} is one of the models that it would judge. Choose another: --judge MODEL"
            )
        settings = self.library.settings
        compared.run(
            board,
            self.backend,
            models,
            follow=self._estimated if estimate else self._asked,
            options=Options(timeout_s=self.timeout),
            language=language,
            default_language=settings.language,
            target_characters=settings.target_characters,
            max_characters=settings.max_characters,
            context=settings.context,
            remote_context=settings.remote_context,
            limit=self.limit,
            max_cost_usd=self.max_cost,
        )
        if not estimate:
            self.failed |= any(trial.generation_id is None for trial in board.cells.values())

    def _estimated(self, asker: Asker) -> DescribeReport:
        name = asker.board.plan.entrants[asker.number].name
        asking.tell_estimates([replace(asker.estimate(), model=name)], self.as_json, alone=True)
        return asker.report

    def _asked(self, asker: Asker) -> DescribeReport:
        from looksay.comparing import asking as compared

        name = asker.board.plan.entrants[asker.number].name
        planned = asker.estimate()
        if planned.requests:
            console.tell_limits(asker.backend)
        if asker.backend.profile.remote and planned.requests:
            console.err.print(escape(_going(planned, asker.backend)))
        with console.progress(name, planned.requests, self.as_json) as count:
            heard = asker.on_event

            def hear(event: Any) -> None:
                if heard:
                    heard(event)
                count(asker.report.cost_usd if asker.backend.profile.price else None)

            asker.on_event = hear
            with finish_on_interrupt(asker):
                report = compared.ask(asker)
        self.spent_usd += report.cost_usd
        if report.stopped == "interrupted":
            raise typer.Exit(130)
        return report

    def judge(self, board: Board, name: str, estimate: bool) -> None:
        """A judge over everything that was said."""
        from looksay.comparing.judging import Judge

        judge = Judge(
            board,
            self.backend(name),
            limit=self.limit,
            max_cost_usd=self.max_cost and max(0.0, self.max_cost - self.spent_usd),
            timeout_s=self.timeout,
        )
        planned = judge.estimate()
        if estimate:
            asking.tell_estimates([planned], self.as_json, alone=True)
            return
        if judge.backend.profile.remote and planned.requests:
            console.err.print(escape(_going(planned, judge.backend)))
        words = f"{name} judges"
        with console.progress(words, planned.requests, self.as_json) as count:
            judge.on_verdict = count if judge.backend.profile.price else lambda _: count(None)
            with finish_on_interrupt(judge):
                report = judge.run()
        self.failed |= bool(report.failures or report.waiting or report.unreadable)
        for fault in report.failures[:5]:
            console.err.print(escape(fault), style="red")
        if report.waiting:
            console.err.print(escape(report.waiting))
        if report.stopped == "interrupted":
            raise typer.Exit(130)
        if report.stopped in ("limit", "cost"):
            console.err.print("The judge was stopped there; type the same again to go on.")


def detector(name: str, device: str) -> Expert:
    """The detector of that name. Raises LooksayError."""
    from looksay.experts.base import Options as Looking
    from looksay.experts.loading import load

    return load(name, Looking(device=device))


def seen(board: Board, expert: Expert) -> dict[int, list[str]]:
    """What a detector finds in each photo: place → classes of COCO; other classes are left out."""
    from looksay.texts.coco_objects import COCO

    # Lists of names write "diningtable" for "dining table".
    known = {word.replace(" ", ""): name for word, name in COCO.classes.items()}
    found: dict[int, list[str]] = {}
    for place, photo in enumerate(board.places):
        try:
            findings = expert.find(board.catalog.root / photo.path)
        except UnreadablePhoto:
            continue
        names = {one.name for one in findings.detections} | {one.name for one in findings.segments}
        classes = {known.get(name.lower().replace(" ", "")) for name in names}
        found[place] = sorted(name for name in classes if name)
    return found


def serve(board: Board, rater: str, port: int) -> None:
    """The grading page, until Ctrl-C; what was graded is then read again."""
    try:
        import uvicorn

        from looksay.web.grading import create_app
    except ImportError as error:
        raise MissingDependency(
            "looksay compare --grade", "serve", error.name or "fastapi"
        ) from error
    from looksay.cli.serve import listening

    if not board.texts:
        raise InputError("There is no text to grade yet: ask models first (--models MODEL,MODEL).")
    bound = listening("127.0.0.1", port)
    application = create_app(
        board.catalog.path.resolve(), board.comparison, rater=rater or getpass.getuser()
    )
    console.err.print(
        f"Grade at http://127.0.0.1:{bound.getsockname()[1]}/ ; Ctrl-C ends it and writes the report."
    )
    config = uvicorn.Config(
        application, log_level="warning", timeout_graceful_shutdown=5, server_header=False
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[bound])
    board.read()


def check_upgrade(
    library: Library,
    runner: Runner,
    to: str,
    size: int,
    judge: str | None,
    language: str | None,
    out: Path,
) -> bool:
    """`looksay upgrade --check`: ask the new model about a sample, have it judged blind, and say what follows. Changes
    no text; returns whether something failed."""
    from looksay.comparing import upgrading

    board = upgrading.start(
        library.catalog,
        to,
        size,
        prefix=library.prefix(library.path),
        language=language,
        default_language=library.settings.language,
    )
    runner.ask(board, judge, language, False, [to])
    if judge and board.texts:
        runner.judge(board, judge, False)
    found, here = upgrading.verdict(board), escape(console.here(library))
    if not runner.as_json:
        console.out.print(escape(found.words))
    tell(board, {}, out, runner.as_json, library, verdict=asdict(found))
    if runner.as_json:
        return runner.failed
    if found.better:
        console.out.print(f"Next: looksay upgrade --to {escape(to)}{here}  (texts of people stay)")
    elif found.better is None and not board.ratings:
        console.out.print("  then type the same again; or have a model judge: --judge MODEL")
    return runner.failed


def tell(
    board: Board,
    found: dict[int, list[str]],
    out: Path,
    as_json: bool,
    library: Library,
    **also: Any,
) -> None:
    """Write the report, and say what stands in it; with --json all of it, and what is `also` known."""
    from looksay.comparing import report
    from looksay.library import files

    record = report.record(board, found)
    files.save(out, report.html(board, record).encode("utf-8", "replace"))
    if as_json:
        console.print_json(record | also)
        return
    for sentence in (*record["conclusions"], *record["printed"]):
        console.out.print(escape(sentence))
    console.out.print(f"The report: {escape(str(out))}")
    if not record["panels"] and board.texts:
        console.out.print(f"Next: looksay compare{escape(console.here(library))} --grade")


def _going(planned: Estimate, backend: Backend) -> str:
    cost = planned.cost_usd
    said = "an unknown cost (no price is known)" if cost is None else f"about {cost:.2f} USD"
    return f"{planned.requests} photos go to {backend.name}, without EXIF data, for {said}."
