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
    """Write the rows as they come; returns their number."""
    with files.writing(out) as stream:
        return tables.write(stream, COLUMNS, map(_cells, rows))


def _cells(row: Row) -> list[str]:
    values = {name: str(getattr(row, name)) for name in COLUMNS}
    values |= {"decorative": "true" if row.decorative else "", "notes": "; ".join(row.notes)}
    return list(values.values())
