"""CSV for people: what any spreadsheet writes is read, and what is written opens in any and runs nothing there.

Spreadsheets take a cell that begins with one of = + - @ for a formula, and formulas can reach files and addresses
(OWASP, "CSV Injection"). Such a cell is written with ' before it, which goes again when it is read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from looksay.errors import InputError, plainly

_FORMULA = re.compile(r"(?=[=+\-@\t\r＝＋－＠])(?![+-]?[\d.,]+$)")
"""A number is none, whatever its sign."""
_LONGEST = 10_000_000
"""Characters of a cell; the csv module refuses more than 131,072 unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Row:
    """Example: Row(2, 2, ["harbour.jpg", "Two boats at a quay."])."""

    number: int
    """As spreadsheets count; the columns' names are row 1."""
    line: int
    """Of the file, where it begins: texts of several lines make these more."""
    cells: list[str]

    @property
    def where(self) -> str:
        return f"row {self.number} (line {self.line})"


@dataclass(frozen=True, slots=True)
class Table:
    columns: list[str]
    rows: list[Row]
    delimiter: str

    def named(self, row: Row) -> dict[str, str]:
        """Column → cell; cells that are not there are empty, those beyond the columns left out."""
        filled = [*row.cells, *[""] * len(self.columns)]
        return dict(zip(self.columns, filled, strict=False))


def read(path: Path) -> Table:
    """The rows but for empty lines; an empty file has no columns. Raises InputError that names the row at fault."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {plainly(error)}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start}). Save it as CSV UTF-8, then type the same again."
        ) from error
    csv.field_size_limit(_LONGEST)
    # Spreadsheets of many countries write semicolons where others write commas.
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    rows: list[Row] = []
    number, line = 0, 1
    try:
        for number, cells in enumerate(reader, 1):
            if cells:
                rows.append(Row(number, line, [_bare(cell) for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, row {number + 1} (line {line}): not valid CSV ({error})."
        ) from error
    columns = [name.strip() for row in rows[:1] for name in row.cells]
    return Table(columns, rows[1:], delimiter)


def encoded(columns: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = ",") -> bytes:
    """The file that `write` writes."""
    buffer = io.BytesIO()
    write(buffer, columns, rows, delimiter)
    return buffer.getvalue()


def write(
    stream: BinaryIO, columns: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = ","
) -> int:
    """Write rows as they come, as UTF-8 with a byte-order mark, without which Excel reads no Korean; returns their
    number."""
    stream.write(b"\xef\xbb\xbf")
    text = io.TextIOWrapper(stream, "utf-8", "replace", newline="")
    table = csv.writer(text, delimiter=delimiter)
    table.writerow(columns)
    number = 0
    for row in rows:
        table.writerow([_harmless(cell) for cell in row])
        number += 1
    text.detach()  # flushes, and leaves the stream open
    return number


def _harmless(cell: str) -> str:
    if cell[:1].isalnum():  # most of them, and quickly told
        return cell
    return f"'{cell}" if _FORMULA.match(cell.lstrip("'")) else cell


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell.lstrip("'")) else cell
