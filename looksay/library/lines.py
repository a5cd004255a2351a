"""A file of JSON lines that is only appended to: what costs something to know is written the moment it is known.

A line: {"key": "9f2c…", …}. Resuming is "the key is missing": killing the process loses at most what was in flight.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from looksay.errors import InputError, plainly
from looksay.library import files


class Lines:
    """Read once, then appended to; the last line of a key counts. A line that a kill cut off is cut away.

    One process at a time. Raises InputError where another writes it, or it cannot be written or read; `what` says
    what a line holds ("an answer").
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self._what = path, what
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
                    f"{self.path}, line {number}: no record of {self._what}. Mend or delete that line "
                    "(what it held is then asked again), or choose another --out."
                ) from error
            whole += len(line)
        if whole < self._file.tell():
            self._file.truncate(whole)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._lock.close()

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows.values())

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The line with this key."""
        return self._rows.get(key)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a line; it is on the disk when this returns."""
        self._rows[row["key"]] = row
        # ASCII: a server may cut an answer in the middle of a surrogate pair.
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
