"""JSON lines: one object per target, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from looksay.library import files
from looksay.library.export import Row

_FIELDS = tuple(field.name for field in fields(Row))


def write(rows: Iterable[Row], out: Path, root: Path) -> int:
    """Write the rows as UTF-8 JSON lines as they come; returns their number."""
    number = 0
    with files.writing(out) as stream:
        for row in rows:
            record = {name: getattr(row, name) for name in _FIELDS}
            stream.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            number += 1
    return number
