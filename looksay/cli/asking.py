"""What commands share that ask models: what it will cost, told before it begins, and how it ends on Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.markup import escape

from looksay.cli import console
from looksay.spending import Estimate

if TYPE_CHECKING:
    from looksay.api import Library
    from looksay.backends.base import LoadOptions


def load_options(allow_remote: bool, estimating: bool, concurrency: int | None) -> LoadOptions:
    """How the models are opened. Estimating sends nothing, so a remote model needs no leave for it."""
    from looksay.backends.base import LoadOptions

    return LoadOptions(allow_remote=allow_remote or estimating, concurrency=concurrency)


def library_options(
    library: Library,
    allow_remote: bool,
    concurrency: int | None,
    device: str,
    dtype: str,
    quantize: str | None,
    trust_remote_code: bool,
    language: str | None,
) -> LoadOptions:
    """How models are opened for the photos of a library. `allow_remote` as typed; the settings may give leave as well."""
    from looksay.backends.base import LoadOptions

    return LoadOptions(
        allow_remote=allow_remote or library.settings.allow_remote,
        concurrency=concurrency,
        batch_size=concurrency,
        device=device,
        dtype=dtype,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
        max_side_px=library.settings.max_side_px,
        language=language or library.settings.language,
    )


def tell_estimates(found: Sequence[Estimate], as_json: bool, *, alone: bool) -> None:
    """Say what is still to be asked: on stderr before it begins, on stdout where that is all (`alone`)."""
    if as_json:
        if alone:
            console.print_json(found)
        return
    for one in found:
        (console.out if alone else console.err).print(estimated(one, "answers came"))
    if alone and not found:
        console.out.print("Nothing is left to be asked.")


def estimated(one: Estimate, known_once: str) -> str:
    """A line with markup; how long it takes is known once the first of something is there ("answers came")."""
    cost = (
        "unknown (no price for this model)" if one.cost_usd is None else f"{one.cost_usd:.2f} USD"
    )
    unknown = f"unknown until the first {known_once}"
    took = unknown if one.seconds is None else console.duration(one.seconds)
    return (
        f"[bold]{escape(one.model)}[/]: {console.count(one.requests, 'request')}, about {one.prompt_tokens} "
        f"prompt and {one.completion_tokens} completion tokens, cost {cost}, time {took}"
    )


def tell_spent(cost_usd: float, stopped: bool) -> None:
    """Say what all answers cost, and, where the budget ended the run, how it goes on."""
    if cost_usd:
        console.out.print(f"Spent on all of it so far: {cost_usd:.2f} USD")
    if stopped:
        console.out.print("Stopped at --max-cost; type the same again to go on.")


class Stoppable(Protocol):
    """A run that ends after the requests in flight once `stop` is set."""

    stop: bool


@contextmanager
def finish_on_interrupt(run: Stoppable) -> Iterator[None]:
    """The first Ctrl-C stops after the requests in flight, the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(*_: object) -> None:
        run.stop = True
        console.err.print("Finishing the requests in flight; Ctrl-C again stops at once.")
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
