"""Answers of one model to one benchmark, a line of JSON each, written the moment they come.

A line: {"key": "9f2c…", "id": "17", "text": "yes", "error": null, "finish_reason": "stop",
"prompt_tokens": 640, "completion_tokens": 1, "seconds": 0.21, "cost_usd": 0.0}.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from looksay.backends.base import spelled
from looksay.errors import InputError, plainly
from looksay.evaluation.benchmark import Item
from looksay.library import files
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
    """Read once, then appended to. A line that a kill cut off is cut away; what it held is asked again.

    One process at a time. Raises InputError where another writes it, or it cannot be written or read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, Mapping[str, Any]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = files.lock(path)
            self._file = path.open("a+b")
        except BlockingIOError as error:
            raise InputError(f"{error}. Wait for it, or choose another --out.") from error
        except OSError as error:
            raise InputError(f"{path} cannot be written: {plainly(error)}.") from error
        try:
            self._read()
        except BaseException:
            self.__exit__()
            raise

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                self._rows[row["key"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{self.path}, line {number}: no record of an answer. Mend or delete that line "
                    "(what it held is then asked again), or choose another --out."
                ) from error
            whole += len(line)
        if whole < self._file.tell():
            self._file.truncate(whole)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._lock.close()

    def get(self, key: str) -> Completion | None:
        """The answer that was given under this key, None where there is none or its call failed."""
        row = self._rows.get(key)
        if row is None or row["error"]:
            return None
        fields = {name: row[name] for name in _KEPT}
        return Completion(index=-1, **fields)

    def add(self, key: str, item: str, completion: Completion) -> None:
        """Append one answer (or failure); it is on the disk when this returns."""
        row = {
            "key": key,
            "id": item,
            "error": completion.error,
            **{name: getattr(completion, name) for name in _KEPT},
        }
        self._rows[key] = row
        # ASCII: a server may cut an answer in the middle of a surrogate pair.
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


_KEPT = (
    "text",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "seconds",
    "cost_usd",
    "details",
)
