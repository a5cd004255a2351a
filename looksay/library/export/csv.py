"""CSV that `looksay import` reads back: correct it in a spreadsheet, then import it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from looksay.library import files
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
    """Write the rows as UTF-8 with a byte-order mark (Excel reads no other Korean); returns their number."""
    buffer, count = io.StringIO(newline=""), 0
    table = csv.writer(buffer)
    table.writerow(COLUMNS)
    for row in rows:
        values = {n: getattr(row, n) for n in COLUMNS}
        values |= {"decorative": "true" if row.decorative else "", "notes": "; ".join(row.notes)}
        table.writerow(values.values())
        count += 1
    files.write(out, b"\xef\xbb\xbf" + buffer.getvalue().encode())
    return count
