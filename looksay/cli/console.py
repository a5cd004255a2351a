"""What the command line shows: summaries of reports, progress, and what to type next."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from looksay.api import Library, Status
    from looksay.backends.base import Backend
    from looksay.describing.run import DescribeReport
    from looksay.library.apply import ApplyReport
    from looksay.library.scan import ScanReport

PLAIN = bool(os.environ.get("LOOKSAY_PLAIN"))
"""Lines of text only, as a screen reader wants them: no boxes, no colours, nothing redrawn."""
out = Console(highlight=False, soft_wrap=True, no_color=PLAIN)
err = Console(stderr=True, highlight=False, soft_wrap=True, no_color=PLAIN)
_REPORT_S = 15.0
"""How often progress is told where nothing can be redrawn."""


def redraws() -> bool:
    return err.is_terminal and not PLAIN


@contextmanager
def spinner(words: str, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show what is going on; the yielded function says what it is now."""
    told = time.monotonic()

    def tell(now: str) -> None:
        nonlocal told
        if not quiet and time.monotonic() - told > _REPORT_S:
            told = time.monotonic()
            err.print(escape(now))

    if quiet or not redraws():
        yield tell
        return
    with err.status(escape(words)) as shown:
        yield lambda now: shown.update(escape(now))


def loading(name: str, quiet: bool) -> AbstractContextManager[None]:
    """Show that a model loads, which takes seconds."""
    return waiting(f"Loading {name}", quiet)


@contextmanager
def waiting(words: str, quiet: bool) -> Iterator[None]:
    """Show that something takes its time; where nothing can be redrawn, in one line."""
    if not quiet and not redraws():
        err.print(escape(words))
    with spinner(words, quiet):
        yield


@contextmanager
def progress(words: str, total: int, quiet: bool) -> Iterator[Callable[[float | None], None]]:
    """A bar with rate, time left and cost, or (where nothing can be redrawn) a line now and then; the
    yielded function counts one more and takes the cost so far in USD."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[cost]}"),
    )
    done, started = 0, time.monotonic()
    told = started
    with Progress(*columns, console=err, disable=quiet or not redraws()) as bar:
        job = bar.add_task(escape(words), total=total, rate="", cost="")

        def tell(cost_usd: float | None) -> None:
            nonlocal done, told
            done += 1
            now = time.monotonic()
            rate = done / (now - started)
            cost = "" if cost_usd is None else f"{cost_usd:.2f} USD"
            bar.update(job, advance=1, cost=cost, rate=f"{rate * 60:.0f}/min")
            if not quiet and not redraws() and now - told > _REPORT_S:
                told = now
                left = duration(max(0, total - done) / rate)
                err.print(f"{done} of {total}, about {left} left {cost}".rstrip())

        yield tell


def here(library: Library) -> str:
    """The folder as the next command wants it: nothing where the user stands in it."""
    return "" if library.root == Path.cwd() else f" {quoted(library.root)}"


def quoted(path: str | Path) -> str:
    """A path as it is typed: in quotation marks where it holds spaces."""
    return f'"{path}"' if " " in str(path) else str(path)


def tell_new_catalogue(library: Library) -> None:
    """A new catalogue is told, since one in the wrong folder is a trap."""
    if library.created:
        err.print(
            f"Made a new catalogue: {escape(str(library.catalog.path))}. If this folder is a part of a "
            "site, delete that file and scan the site's own folder instead."
        )


def tell_limits(backend: Backend) -> None:
    """A model that knows little is told before its words are read."""
    if backend.profile.knows:
        err.print(escape(f"{backend.name} knows {backend.profile.knows}"))


_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def say(words: str) -> None:
    """A model's words as they come, without the control characters by which text can steer a terminal."""
    sys.stdout.write(words.translate(_CONTROLS))
    sys.stdout.flush()


def print_json(value: Any, *, line: bool = False) -> None:
    def plain(item: Any) -> Any:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        return str(item)

    sys.stdout.write(
        json.dumps(value, default=plain, ensure_ascii=False, indent=None if line else 2) + "\n"
    )
    sys.stdout.flush()


def print_scan(report: ScanReport, library: Library, *, and_next: bool = True) -> None:
    out.print(f"[bold]{escape(str(library.root))}[/]")
    near = f", {report.near_duplicates} near-duplicates" if report.near_duplicates else ""
    out.print(
        f"Photos: {report.photos} ({count(report.files, 'file')}, {count(report.duplicates, 'duplicate')}{near})"
    )
    out.print(
        f"Pages: {report.pages}, with {count(report.placements, 'placement')} of images"
        + (
            f"; {report.elsewhere} of them show images that are not in the library"
            if report.elsewhere
            else ""
        )
    )
    out.print(
        f"Alt text: {report.missing} missing, {report.empty} empty, {report.decorative} decorative, "
        f"{report.described} present"
        + (f", {report.variable} computed by templates" if report.variable else "")
    )
    if report.cleared:
        out.print(
            f"{report.cleared} texts were deleted by hand since they were written; they stay deleted"
        )
    tell_unreadable(report.problems)
    if and_next:
        next_step(library)


def next_step(library: Library, found: Status | None = None) -> None:
    """What to type next, from what the library lacks."""
    place, found = escape(here(library)), found or library.status()
    if not found.scan.files + found.scan.pages:
        out.print("No photos or pages were found here.")
    elif found.scan.missing + found.scan.empty and not found.described_photos:
        out.print(f"To see them: looksay status --list missing,empty{place}")
        out.print(f"Next: looksay describe{place}")
    elif found.undecided_since_apply:
        out.print(f"Next: looksay apply --dry-run{place}")
    elif found.decisions:
        out.print(f"What was decided is written; looksay undo{place} takes it back.")
    elif found.described_photos:
        review_step(library)
    else:
        out.print("Every photo has alt text.")


def tell_unreadable(problems: Sequence[tuple[str, str]]) -> None:
    """Which photos and pages a scan could not read, and why."""
    if not problems:
        return
    out.print(f"Unreadable: {len(problems)}")
    for name, reason in problems[:20]:
        err.print(f"  {escape(name)}: {escape(reason)}", style="yellow")
    if len(problems) > 20:
        err.print(f"  … and {len(problems) - 20} more (looksay scan --json lists all)")


def review_step(library: Library) -> None:
    """What to type next where a model's words wait for a person."""
    place = escape(here(library))
    out.print(f"Next: looksay review{place}")
    out.print(
        f"  shows them in the browser; or correct them in a spreadsheet: looksay export texts.csv{place}"
    )


_BOUNDS = {"limit": "--limit", "cost": "--max-cost"}


def print_describe(report: DescribeReport, as_json: bool) -> None:
    if as_json:
        print_json({"summary": asdict(report)}, line=True)
        return
    out.print(
        f"[bold]{escape(report.model)}[/]: described {report.described} in {duration(report.seconds)}"
        + (f" for {report.cost_usd:.2f} USD" if report.cost_usd else "")
        + (f"; {report.present} were there already" if report.present else "")
    )
    if report.waiting:
        out.print(
            f"{report.waiting} near-duplicates wait: they share a photo's words once those are reviewed"
        )
    if report.unavailable:
        out.print(f"{report.unavailable} places show files that are not there or cannot be read")
    if report.foreign:
        out.print(
            f"{report.foreign} want words in a language that {escape(report.model)} does not write; "
            "for others type: looksay models"
        )
    tell_left(report.failures, report.stopped)


def tell_left(failures: Sequence[tuple[str, str]], stopped: str) -> None:
    """Say what a run leaves for the next: what failed, and why it ended early."""
    if failures:
        out.print(f"[red]{len(failures)} failed[/] (typing the same again tries them again):")
        for name, reason in failures[:20]:
            out.print(f"  {escape(name)}: {escape(reason)}")
    if stopped in _BOUNDS:
        out.print(f"Stopped at {_BOUNDS[stopped]}; type the same again to go on.")
    elif stopped and stopped != "interrupted":
        out.print(f"[red]Stopped: {escape(stopped)}[/]")


def print_apply(
    report: ApplyReport, as_json: bool, verb: str, dry_run: bool, place: str = ""
) -> None:
    if as_json:
        print_json(report)
    else:
        if report.diff:
            sys.stdout.write(report.diff)
        words = f", {count(report.texts, 'text')}" if report.texts else ""
        out.print(f"{verb} {count(len(report.files), 'file')}{words}.")
        if report.left_ai:
            out.print(
                f"{count(report.left_ai, 'text')} of models that nobody reviewed left out: "
                f"looksay decide --accept --all{escape(place)}, or --include-ai"
            )
        if report.left_drafts:
            drafts = ", ".join(f"{n} of {model}" for model, n in report.left_drafts.items())
            out.print(
                f"Drafts left out ({escape(drafts)}): they are written only once accepted. To read them: "
                f"looksay review{escape(place)}"
            )
        for name, reason in report.refused:
            err.print(f"  {escape(name)}: {escape(reason)}", style="red")
        if dry_run and report.files:
            out.print(
                f"Nothing was written. Next: looksay apply{escape(place)} (looksay undo takes it back)"
            )


def count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
