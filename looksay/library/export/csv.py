"""CSV that `looksay import` reads back: correct it in a spreadsheet, then import it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from looksay.library import files, tables
from looksay.library.export import Row

COLUMNS = (
    "photo",
    "page",
    "occurrence",
    "text",
    "language",
    "decorative",
    "extended",
    "state",
    "model",
    "current",
    "notes",
)


def write(rows: Iterable[Row], out: Path, root: Path) -> int:
    """Write the rows; returns their number."""
    cells = []
    for row in rows:
        values = {name: str(getattr(row, name)) for name in COLUMNS}
        values |= {"decorative": "true" if row.decorative else "", "notes": "; ".join(row.notes)}
        cells.append(list(values.values()))
    files.write(out, tables.encoded(COLUMNS, cells))
    return len(cells)
