"""JSON lines: one object per target, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from looksay.library import files
from looksay.library.export import Row


def write(rows: Iterable[Row], out: Path, root: Path) -> int:
    """Write the rows as UTF-8 JSON lines; returns their number."""
    lines = [json.dumps(asdict(row), ensure_ascii=False) for row in rows]
    files.write(out, "".join(line + "\n" for line in lines).encode())
    return len(lines)
