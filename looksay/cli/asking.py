"""What commands share that ask models for data: what it will cost, told before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from looksay.cli import console
from looksay.spending import Estimate


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
