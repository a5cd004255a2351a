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
from looksay.data.answers import Answers
from looksay.evaluation.benchmark import Item
from looksay.library.lines import Lines
from looksay.types import Options


def key(fingerprint: str, item: Item, options: Options) -> str:
    """What an answer depends on: model, item, prompt with its pictures, the choices that there are, and
    options (not the time limit)."""
    how = asdict(options)
    del how["timeout_s"]
    text = json.dumps([fingerprint, item.id, *asked(item), how], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def asked(item: Item) -> list[Any]:
    """What an item asks: its messages, pictures as their digests, its choices, and what was found in the pictures where
    they carry that."""
    found = [image.findings for image in item.conversation.images]
    told = [[None if one is None else one.digest for one in found]] if any(found) else []
    return [spelled(item.conversation), list(item.choices), *told]


def data(items: Sequence[Item]) -> str:
    """Digest of what is asked and of what answers are held to: equal where two runs answered the same."""
    total = hashlib.sha256()
    for item in items:
        truth = json.dumps(dict(item.truth), sort_keys=True, default=str)
        total.update(json.dumps([item.id, *asked(item), truth]).encode())
    return total.hexdigest()[:16]


class Journal(Answers):
    """The answers of a file (`library.lines.Lines`, which also says what it raises)."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, Lines(path, "an answer")
        super().__init__(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()
