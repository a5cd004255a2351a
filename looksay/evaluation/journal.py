"""Answers of one model to one benchmark, a line of JSON each, written the moment they come.

A line: {"key": "9f2c…", "id": "17", "text": "yes", "error": null, "finish_reason": "stop",
"prompt_tokens": 640, "completion_tokens": 1, "seconds": 0.21, "cost_usd": 0.0}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from looksay.backends.base import spelled
from looksay.evaluation.benchmark import Item
from looksay.library.lines import Lines
from looksay.types import Completion, Options


def key(fingerprint: str, item: Item, options: Options) -> str:
    """What an answer depends on: model, item, prompt with its pictures, the choices that there are, and
    options (not the time limit)."""
    how = asdict(options)
    del how["timeout_s"]
    text = json.dumps([fingerprint, item.id, *asked(item), how], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def asked(item: Item) -> list[Any]:
    """What an item asks: its messages, pictures as their digests, and its choices."""
    return [spelled(item.conversation), list(item.choices)]


def data(items: Sequence[Item]) -> str:
    """Digest of what is asked and of what answers are held to: equal where two runs answered the same."""
    total = hashlib.sha256()
    for item in items:
        truth = json.dumps(dict(item.truth), sort_keys=True, default=str)
        total.update(json.dumps([item.id, *asked(item), truth]).encode())
    return total.hexdigest()[:16]


class Journal:
    """The answers of a file (`library.lines.Lines`, which also says what it raises)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = Lines(path, "an answer")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__()

    def get(self, key: str) -> Completion | None:
        """The answer that was given under this key, None where there is none or its call failed."""
        row = self._lines.get(key)
        if row is None or row["error"]:
            return None
        fields = {name: row[name] for name in _KEPT}
        return Completion(index=-1, **fields)

    def add(self, key: str, item: str, completion: Completion) -> None:
        """Append one answer (or failure); it is on the disk when this returns."""
        given = {name: getattr(completion, name) for name in _KEPT}
        self._lines.add({"key": key, "id": item, "error": completion.error, **given})


_KEPT = (
    "text",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "seconds",
    "cost_usd",
    "details",
)
