"""A person's last look at curated texts: a CSV that is written, corrected in any spreadsheet, and read again.

Example record: p5d3c1a90b7e24f68-3fa9c1d2,photos/harbour.jpg,"Two boats. Two boats.","Two boats.",too short,yes
`keep` is empty until somebody writes yes or no: the rules' verdict counts then. A text that was changed counts as it
stands, and is kept. Rows that somebody decided on are never written over; the key says which picture a row is about
and what `after` held when it was written, so a correction is known as one. Columns of one's own stay.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from looksay.data.curate import Final, Text
from looksay.errors import InputError
from looksay.library import files, tables

COLUMNS = ("key", "image", "before", "after", "verdict", "keep")
PERSON = "a person"
"""Whose rule it is where somebody said no."""
_KEY = re.compile(r"p([0-9a-f]{16})-([0-9a-f]{8})")
"""The letter keeps spreadsheets from taking digits for a number, which they would round."""
_WORDS = {"": None} | dict.fromkeys(("yes", "y", "true", "1", "x"), True)
_WORDS |= dict.fromkeys(("no", "n", "false", "0"), False)


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    picture: str
    after: str
    keep: bool | None
    changed: bool
    """Somebody corrected the text."""
    cells: list[str]

    @property
    def decided(self) -> bool:
        return self.changed or self.keep is not None


def check(path: Path) -> None:
    """Raise InputError, naming the row, where the file is there and cannot be read."""
    _read(path)


def look(path: Path, texts: Sequence[Text]) -> list[Final]:
    """What the rules and the file's decisions come to; the file then has a row for every text.

    Rows of pictures that are not among the texts stay. Raises InputError, naming the row, for what cannot be read:
    nothing that somebody wrote gets lost.
    """
    table, rows = _read(path)
    by_picture = {row.picture: row for row in rows}
    known = {text.digest[:16]: text for text in texts}
    kept = [
        row.cells
        if row.decided or row.picture not in known
        else _cells(table, known[row.picture], row.cells)
        for row in rows
    ]
    new = [text for picture, text in known.items() if picture not in by_picture]
    kept += [_cells(table, text, []) for text in new]
    data = tables.encoded(table.columns, kept, table.delimiter)
    if not path.exists() or path.read_bytes() != data:
        files.save(path, data)
    return [_final(text, by_picture.get(text.digest[:16])) for text in texts]


def _final(text: Text, row: _Row | None) -> Final:
    if row is None or not row.decided:
        return Final(text, text.after, text.broken)
    if row.keep is False or not row.after:
        return Final(text, row.after, (PERSON,), True)
    return Final(text, row.after, (), True)


def _cells(table: tables.Table, text: Text, old: Sequence[str]) -> list[str]:
    """The row of a text that nobody decided on; `old` are its cells so far, of which columns of one's own stay."""
    own = dict(zip(table.columns, old, strict=False))
    verdict = "kept" if not text.broken else "; ".join(text.broken)
    values = own | {
        "key": f"p{text.digest[:16]}-{_digest(text.after)}",
        "image": text.photo.as_posix(),
        "before": text.before,
        "after": text.after,
        "verdict": f"{verdict} ({text.why})" if text.why else verdict,
        "keep": "",
    }
    return [values.get(column, "") for column in table.columns]


def _read(path: Path) -> tuple[tables.Table, list[_Row]]:
    if not path.exists():
        if not path.resolve().parent.is_dir():
            raise InputError(
                f"{path.parent} is not there. Make the folder first, or choose another."
            )
        return tables.Table(list(COLUMNS), [], ","), []
    table = tables.read(path)
    if lacking := [name for name in COLUMNS if table.columns.count(name) != 1]:
        raise InputError(
            f"{path} should have the column {lacking[0]!r} once. Expected {','.join(COLUMNS)}, and others as you like; "
            f"found {','.join(table.columns) or 'nothing'}. Mend it, or name another file: --review FILE.csv"
        )
    rows = [_row(path, table, row) for row in table.rows if any(map(str.strip, row.cells))]
    seen: dict[str, _Row] = {}
    for row in rows:
        if row.picture in seen:
            raise InputError(
                f"{row.where} and {seen[row.picture].where} are about one picture. Leave one of them."
            )
        seen[row.picture] = row
    return table, rows


def _row(path: Path, table: tables.Table, row: tables.Row) -> _Row:
    where, cells, width = f"{path.name}, {row.where}", table.named(row), len(table.columns)
    if any(map(str.strip, row.cells[width:])):
        raise InputError(
            f"{where} has {len(row.cells)} cells, and there are {width} columns. Text with {table.delimiter!r} in it "
            "needs quotation marks around; notes need a column with a name."
        )
    found = _KEY.fullmatch(cells["key"].strip())
    if found is None:
        raise InputError(
            f"{where} has the key {cells['key'][:40]!r}; expected p, 16 digits from 0 to f, - and 8 more, as looksay "
            "wrote it. Put it back, or delete the row: its picture then has a new one."
        )
    said = cells["keep"].strip().lower()
    if said not in _WORDS:
        raise InputError(f"{where}: keep should be yes, no or empty; found {said[:40]!r}.")
    after, keep = cells["after"].strip(), _WORDS[said]
    changed = _digest(after) != found[2]
    if keep and not after:
        raise InputError(
            f"{where}: keep is {said!r}, but its text is empty. Write one into 'after'."
        )
    whole = [*row.cells, *[""] * width][:width]
    return _Row(where, found[1], after, keep, changed, whole)


def _digest(text: str) -> str:
    """Of the words: spreadsheets change white space, and characters that no file can hold."""
    words = text.encode("utf-8", "replace").decode().split()
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:8]
