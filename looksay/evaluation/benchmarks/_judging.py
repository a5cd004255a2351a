"""What judged benchmarks share: every answer's verdict, or an error that names the item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, UnreadableVerdicts
from looksay.evaluation.metrics.minigpt4 import covered

T = TypeVar("T")


def verdicts_of(
    answers: Sequence[Answer], verdicts: Sequence[Answer], read: Callable[[str], T]
) -> dict[str, T]:
    """Item's id → what `read` makes of the judge's reply, in the answers' order.

    Raises InputError where an item has no verdict, UnreadableVerdicts where `read` refuses any.
    """
    said = {verdict.item.id: verdict.text for verdict in verdicts}
    found: dict[str, T] = {}
    faults: dict[str, str] = {}
    for answer in answers:
        name = answer.item.id
        if name not in said:
            raise InputError(
                f"The answer to item {name!r} has no verdict ({len(said)} verdicts for {len(answers)} "
                "answers). A failed judge is no score: run again, only what is missing is asked."
            )
        try:
            found[name] = read(said[name])
        except InputError as error:
            faults[name] = str(error)
    if faults:
        raise UnreadableVerdicts(faults)
    return found


def yes(reply: str) -> bool:
    """A judge's yes or no. Raises InputError where it says neither in so many words, or both."""
    said = covered(reply)
    if said is None:
        raise InputError(
            f"The judge wrote {reply[:80]!r}; expected yes or no. Choose a judge that answers as it is asked."
        )
    return said
