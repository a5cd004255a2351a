"""The journal of applies: what was replaced in which file, so that it can be put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from looksay.library.decisions import now
from looksay.library.files import Patch
from looksay.library.records import Target, Words

if TYPE_CHECKING:
    from looksay.library.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Change:
    """One file that an apply replaced. States: prepared → done → undoing → undone; a change that was
    prepared and never carried out goes to undone at once."""

    id: int
    path: str
    kind: str
    created: bool
    before_sha256: bytes | None
    after_sha256: bytes
    patch: Patch
    before_mtime_ns: int | None
    state: str


class Journal:
    """Applies and changes of an open catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.db = catalog, catalog.db

    def begin(self, include_ai: bool) -> int:
        with self.catalog.transaction():
            cursor = self.db.execute(
                "INSERT INTO apply (at, ai) VALUES (?, ?)", (now(), include_ai)
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def prepare(
        self,
        apply_id: int,
        path: str,
        kind: str,
        old: bytes | None,
        new: bytes,
        mtime_ns: int | None,
        words: Iterable[tuple[Target, Words]],
    ) -> Change:
        """Commit what is about to happen to a file. A photo's new digest is recorded as the same photo in
        the same transaction."""
        patch, after = Patch.between(old or b"", new), sha256(new).digest()
        before = sha256(old).digest() if old is not None else None
        with self.catalog.transaction():
            cursor = self.db.execute(
                "INSERT INTO change (apply_id, path, kind, created, before_sha256, after_sha256, offset, before, "
                "after_length, before_mtime_ns, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'prepared')",
                (
                    apply_id,
                    path,
                    kind,
                    old is None,
                    before,
                    after,
                    patch.offset,
                    patch.before,
                    patch.after_length,
                    mtime_ns,
                ),
            )
            change_id = cursor.lastrowid
            assert change_id is not None
            for target, said in words:
                self.db.execute(
                    "INSERT INTO written (change_id, photo_id, page, path, occurrence, language, text, state, "
                    "generation_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        change_id,
                        target.photo_id,
                        target.page,
                        target.path,
                        target.occurrence,
                        said.language,
                        said.text,
                        said.state,
                        said.generation_id,
                    ),
                )
                if kind == "photo":
                    self.catalog.add_digest(after, target.photo_id)
        return Change(
            change_id, path, kind, old is None, before, after, patch, mtime_ns, "prepared"
        )

    def mark(self, change: Change, state: str) -> None:
        """Set a change's state, inside the caller's transaction."""
        self.db.execute("UPDATE change SET state = ? WHERE id = ?", (state, change.id))

    def standing(self) -> list[int]:
        """Applies that were not undone and changed something, newest first."""
        rows = self.catalog.rows(
            "SELECT a.id FROM apply a WHERE a.undone_at IS NULL AND EXISTS (SELECT 1 FROM change c "
            "WHERE c.apply_id = a.id AND c.state IN ('done', 'undoing')) ORDER BY a.id DESC"
        )
        return [row["id"] for row in rows]

    def close(self, apply_id: int) -> None:
        with self.catalog.transaction():
            self.db.execute("UPDATE apply SET undone_at = ? WHERE id = ?", (now(), apply_id))

    def changes(self, apply_id: int) -> list[Change]:
        """What an apply changed and nobody has put back yet, in order."""
        rows = self.catalog.rows(
            "SELECT * FROM change WHERE apply_id = ? AND state IN ('done', 'undoing') ORDER BY id",
            (apply_id,),
        )
        return [_change(r) for r in rows]

    def unsettled(self) -> list[Change]:
        """Changes that a killed apply or undo left half way."""
        return [
            _change(r)
            for r in self.catalog.rows(
                "SELECT * FROM change WHERE state IN ('prepared', 'undoing') ORDER BY id"
            )
        ]

    def photos_of(self, change: Change) -> Iterator[str]:
        for row in list(
            self.catalog.rows("SELECT DISTINCT path FROM written WHERE change_id = ?", (change.id,))
        ):
            yield row["path"]


def _change(row: sqlite3.Row) -> Change:
    return Change(
        row["id"],
        row["path"],
        row["kind"],
        bool(row["created"]),
        row["before_sha256"],
        row["after_sha256"],
        Patch(row["offset"], row["before"], row["after_length"]),
        row["before_mtime_ns"],
        row["state"],
    )
