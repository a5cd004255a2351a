"""Texts that people wrote, from a CSV: `photo,page,occurrence,text` and optional `language,decorative`.

`photo` and `page` are paths relative to the library's root, `page` is empty for the photo itself, and
`occurrence` counts from 0 how often that page shows that photo. Example record:
`assets/harbour.jpg,posts/walk.md,0,"Two boats at a quay, one red, one blue.",en,`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from looksay.errors import InputError
from looksay.library import tables
from looksay.library.catalog import Catalog
from looksay.library.records import Target

REQUIRED = ("photo", "page", "occurrence", "text")
OPTIONAL = ("language", "decorative", "extended", "state")
"""`state` as `looksay export` writes it: a row with a model's words is left alone unless its text or its
state was changed ("reviewed" accepts it)."""
IGNORED = ("model", "current", "notes")
"""What `looksay export` adds for the reader."""
_TRUE, _FALSE = frozenset({"1", "true", "yes", "y", "x"}), frozenset({"", "0", "false", "no", "n"})


@dataclass(slots=True)
class ImportReport:
    """`imported` counts decisions; `unchanged` rows say what is decided already; `blank` ones nothing."""

    imported: int = 0
    unchanged: int = 0
    blank: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    """(line of the file, reason)."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    photo: str
    page: str
    occurrence: int
    text: str
    extended: str
    language: str
    decorative: bool
    state: str


def read_into(
    catalog: Catalog, path: Path, language: str | None, default: str = "en"
) -> ImportReport:
    """Take the texts of a CSV as words of a person. Good rows are taken in one transaction, bad ones are
    told with their line. Raises InputError for a file that is no such CSV."""
    report = ImportReport()
    rows = list(_rows(path, language or "", report))
    with catalog.transaction():
        for row in rows:
            _take(catalog, row, report, default)
    report.problems.sort()
    return report


def _take(catalog: Catalog, row: _Row, report: ImportReport, default: str) -> None:
    target = _target(catalog, row)
    if target is None:
        shown = f"{row.page} does not show {row.photo} (occurrence {row.occurrence})"
        missing = f"there is no photo {row.photo} in the library"
        report.problems.append((row.line, shown if row.page else missing))
        return
    if not row.text.strip() and not row.decorative:
        report.blank += 1
        return
    language = target.language(row.language or None, default)
    standing = catalog.ledger.words(target, language)
    said = ("", "") if row.decorative else (row.text, row.extended)
    same = said == (standing.text, standing.extended)
    # What a model ever said of the photo stays a model's words, however old the export is.
    generation = catalog.ledger.said_by_model(target.photo_id, row.text) if row.state else None
    if generation is not None and row.state in ("ai", "draft"):
        report.unchanged += 1
        return
    if row.decorative:
        state = "decorative"
    else:
        state = "reviewed" if row.state == "reviewed" and generation is not None else "human"
    # An exported row that nobody touched decides nothing: only what a person changed is a person's.
    if (
        (standing.own or row.state)
        and same
        and (state == standing.state or row.state == standing.state)
    ):
        report.unchanged += 1
        return
    if state == "reviewed" and standing.state == "human":
        reason = f"a person's words stand there since the export: {standing.text!r}"
        report.problems.append((row.line, reason))
        return
    catalog.ledger.decide(
        target,
        state,
        text=said[0],
        extended=said[1],
        language=language,
        generation_id=generation if state == "reviewed" else None,
    )
    report.imported += 1


def _target(catalog: Catalog, row: _Row) -> Target | None:
    found = catalog.targets.find(row.photo, row.page, row.occurrence)
    if found is None and row.page:
        # The page may name the file in another way than by its path: as the page writes it.
        same = [
            p
            for p in catalog.placements_on(row.page)
            if p.src.lstrip("./") == row.photo.lstrip("./")
        ]
        match = same[row.occurrence] if row.occurrence < len(same) else None
        if match and match.path:
            found = catalog.targets.find(match.path, match.page, match.occurrence)
    return found


def _rows(path: Path, language: str, report: ImportReport) -> Iterator[_Row]:
    table = tables.read(path)
    header = table.columns
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in (*REQUIRED, *OPTIONAL, *IGNORED)]
    if missing or unknown:
        what = (
            f"lacks {', '.join(missing)}"
            if missing
            else f"has unknown columns: {', '.join(unknown)}"
        )
        raise InputError(
            f"{path} {what}. Expected the header photo,page,occurrence,text and optional "
            f"{','.join(OPTIONAL)}; found {','.join(header) or 'nothing'}."
        )
    for row in table.rows:
        found = _row(table.named(row), row, len(header), language, report)
        if found is not None:
            yield found


def _row(
    values: dict[str, str], row: tables.Row, columns: int, language: str, report: ImportReport
) -> _Row | None:
    line = row.line
    occurrence, decorative = (
        values["occurrence"].strip() or "0",
        values.get("decorative", "").strip().lower(),
    )
    if len(row.cells) > columns:
        report.problems.append((line, "more fields than the header has"))
    elif not occurrence.isdecimal() or len(occurrence) > 9:
        report.problems.append((line, f"occurrence should be 0, 1, 2 …; found {occurrence!r}"))
    elif decorative not in _TRUE | _FALSE:
        report.problems.append(
            (line, f"decorative should be true, false or empty; found {decorative!r}")
        )
    else:
        return _Row(
            line,
            _path(values["photo"]),
            _path(values["page"]),
            int(occurrence),
            values["text"],
            values.get("extended", ""),
            values.get("language", "").strip() or language,
            decorative in _TRUE,
            values.get("state", "").strip(),
        )
    return None


def _path(text: str) -> str:
    return text.strip().replace("\\", "/").removeprefix("./")
