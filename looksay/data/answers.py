"""Answers of backends in a file: kept the moment they come, and read instead of asking again.

A line: {"key": "9f2c…", "id": "harbour.jpg", "what": "describe", "error": null, "text": "Two boats.",
"finish_reason": "stop", "prompt_tokens": 640, "completion_tokens": 3, "seconds": 0.9, "cost_usd": 0.0, "details": {}}.
"""

from __future__ import annotations

from dataclasses import replace

from looksay.library.lines import Lines
from looksay.types import Completion

_KEPT = (
    "text",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "seconds",
    "cost_usd",
    "details",
)


class Answers:
    """The answers in a file of lines, which may hold lines of other kinds."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def get(self, key: str) -> Completion | None:
        """The answer under this key; None where there is none, or its call failed."""
        row = self._lines.get(key)
        if row is None or row["error"]:
            return None
        return Completion(-1, **{name: row[name] for name in _KEPT})

    def add(self, key: str, name: str, completion: Completion, what: str = "") -> None:
        """Append an answer, or a failure, about what is called `name`; it is on the disk when this returns."""
        head = {"key": key, "id": name, **({"what": what} if what else {})}
        given = {name: getattr(completion, name) for name in _KEPT}
        self._lines.add({**head, "error": completion.error, **given})

    def cost_usd(self) -> float:
        """What all answers in the file cost."""
        costs: list[float] = [row.get("cost_usd", 0.0) for row in self._lines]
        return sum(costs)

    def seconds(self, *what: str) -> float | None:
        """How long one answer to a request of that kind took, on average; None where there is none yet."""
        found = [row["seconds"] for row in self._lines if row.get("what") in what]
        return sum(found) / len(found) if found else None


def as_answer(completion: Completion) -> Completion:
    """What a call brought, where it did not fail: refused, or nothing said, is an answer too, if one of no use."""
    if completion.finish_reason == "error":
        return completion
    text = completion.text or str(completion.details.get("refused", ""))
    return replace(completion, text=text, error=None)
