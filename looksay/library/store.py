"""The file under the catalogue: opened, migrated, locked and closed, with faults in plain words."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from looksay.errors import CatalogError
from looksay.library.migrations import APPLICATION_ID, STEPS

_Values = Sequence[Any] | Mapping[str, Any]
_MAGIC = b"SQLite format 3\0"


class Store:
    """An open SQLite file of ours. Use as a context manager; every write is a transaction of its own or
    of `transaction()`. Raises CatalogError where the file is newer, foreign, in use or on a full disk."""

    def __init__(self, path: Path, *, busy_s: float = 5.0) -> None:
        self.path = path
        with contextlib.suppress(OSError), path.open("rb") as stream:
            head = stream.read(len(_MAGIC))
            if head and head != _MAGIC:  # SQLite itself would write over a file of a few bytes
                raise CatalogError(
                    f"The catalogue {path}: the file is damaged or no database. Choose another with --db."
                )
        with self.faults():
            self.db = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
            self.db.row_factory = sqlite3.Row
            try:
                self._open()
            except BaseException:
                self.db.close()
                raise

    def _open(self) -> None:
        version: int = self.db.execute("PRAGMA user_version").fetchone()[0]
        application: int = self.db.execute("PRAGMA application_id").fetchone()[0]
        if version > len(STEPS):
            raise CatalogError(
                f"{self.path} was written by a newer looksay (catalogue version {version}, this program "
                f"knows {len(STEPS)}). Nothing was changed. Get a newer looksay, and in its folder type: pip install ."
            )
        tables = self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION_ID and tables:
            raise CatalogError(
                f"{self.path} is a database of another program. Choose another with --db."
            )
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute("PRAGMA foreign_keys = ON")
        if version < len(STEPS):
            for number in range(version, len(STEPS)):
                self.db.execute("BEGIN IMMEDIATE")
                # Another process may have migrated while this one waited for the lock.
                if self.db.execute("PRAGMA user_version").fetchone()[0] > number:
                    self.db.execute("ROLLBACK")
                    continue
                try:
                    for statement in _statements(STEPS[number]):
                        self.db.execute(statement)
                    self.db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self.db.execute(f"PRAGMA user_version = {number + 1}")
                    self.db.execute("COMMIT")
                except BaseException:
                    self.db.execute("ROLLBACK")
                    raise

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Turn SQLite's faults into errors that a user can act on."""
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            if "locked" in text or "busy" in text:
                reason = (
                    "another process is writing to it. Wait for it to end, then type the same again"
                )
            elif "full" in text or ("I/O" in text and _free_bytes(self.path.parent) < 1_000_000):
                reason = "the disk is full. Make room, then type the same again; what was finished is kept"
            elif "readonly" in text or "unable to open" in text:
                reason = f"it cannot be opened for writing ({text}). Choose another place with --db"
            elif "malformed" in text or "not a database" in text:
                reason = f"the file is damaged or no database ({text}). Choose another with --db"
            elif isinstance(error, sqlite3.OperationalError):  # an I/O error, say
                reason = f"it cannot be read or written ({text}). Choose another place with --db"
            else:
                raise
            raise CatalogError(f"The catalogue {self.path}: {reason}.") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; inside another transaction it is a part of that one."""
        with self.faults():
            if self.db.in_transaction:
                yield
                return
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(
                    sqlite3.Error
                ):  # SQLite has already rolled back on a full disk
                    self.db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: _Values = ()) -> Iterator[sqlite3.Row]:
        """Rows one by one; memory stays flat."""
        with self.faults():
            # Not `yield from`: an abandoned loop would close its cursor, maybe after the catalogue.
            for row in self.db.execute(sql, values):  # noqa: UP028
                yield row

    def row(self, sql: str, values: _Values = ()) -> sqlite3.Row | None:
        """The first row, or None."""
        with self.faults():
            found: sqlite3.Row | None = self.db.execute(sql, values).fetchone()
        return found

    def one(self, sql: str, values: _Values = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.row(sql, values)
        return row[0] if row else None

    @property
    def root(self) -> Path:
        """The library's folder: that of the catalogue, unless `--db` put the catalogue elsewhere."""
        stored = self.one("SELECT value FROM meta WHERE key = 'root'")
        return Path(stored) if stored else self.path.resolve().parent

    def set_root(self, root: Path) -> None:
        if root.resolve() != self.path.resolve().parent:
            with self.transaction():
                self.db.execute(
                    "INSERT OR IGNORE INTO meta VALUES ('root', ?)", (str(root.resolve()),)
                )


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _statements(script: str) -> Iterator[str]:
    """Single statements: `executescript` would commit the open transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
