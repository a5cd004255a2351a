"""The catalogue: one SQLite file that knows a library's photos, pages, texts and decisions.

All SQL of the project stands here and in `ledger.py`. This file opens the catalogue and keeps what a
scan saw; `ledger.py` keeps what was said, decided and written.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from looksay.errors import CatalogError
from looksay.library.ledger import Ledger
from looksay.library.migrations import APPLICATION_ID, STEPS
from looksay.library.pages import Context

FILE_NAME = "looksay.db"
_Values = Sequence[Any] | Mapping[str, Any]
_MAGIC = b"SQLite format 3\0"
NEAR_BITS = 3
"""Photos whose difference hashes differ in at most this many of 64 bits are near-duplicates: resizing
and recompressing moved 2 bits at most, different photos differed in 14 or more (docs/design.md)."""


@dataclass(frozen=True, slots=True)
class Place:
    """A photo's file, as the last scan saw it. `fault` says why it cannot be used."""

    path: str
    photo_id: int | None
    sha256: bytes | None
    size_bytes: int
    mtime_ns: int
    fault: str | None = None
    alt: str | None = None
    extended: str | None = None
    alt_from: str | None = None
    sidecar: str | None = None
    sidecar_mtime_ns: int | None = None
    sidecar_sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """What a decoded photo is, files aside."""

    format: str
    width_px: int
    height_px: int
    dhash: int | None


@dataclass(frozen=True, slots=True)
class Placement:
    """One image on one page; `occurrence` counts from 0 how often the page shows that file."""

    page: str
    number: int
    src: str
    path: str | None
    occurrence: int
    alt: str | None
    state: str
    context: Context
    note: str = ""


class Catalog:
    """An open catalogue. Use as a context manager; every write is a transaction of its own or of
    `transaction()`. Raises CatalogError where the file is newer, foreign, in use or on a full disk."""

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
                f"knows {len(STEPS)}). Nothing was changed. Type: pip install --upgrade looksay"
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

    def __enter__(self) -> Catalog:
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

    # --- the root ---------------------------------------------------------------------------------

    @cached_property
    def ledger(self) -> Ledger:
        """What was said, decided and written."""
        return Ledger(self)

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

    def reread_unless(self, rules: str) -> None:
        """Have the next scan read all pages, and the photos that had a fault, where `rules` (a digest of
        the settings that decide how they are read) are not those of the last scan."""
        if self.one("SELECT value FROM meta WHERE key = 'rules'") == rules:
            return
        with self.transaction():
            self.db.execute("UPDATE page SET mtime_ns = -1")
            self.db.execute("UPDATE place SET mtime_ns = -1 WHERE fault IS NOT NULL")
            self.db.execute("INSERT OR REPLACE INTO meta VALUES ('rules', ?)", (rules,))

    # --- what a scan saw --------------------------------------------------------------------------

    def places_in(self, folder: str) -> dict[str, sqlite3.Row]:
        """Known files directly in `folder` (relative, "" for the root), by path."""
        low, high = _inside(folder)
        found = self.rows(
            "SELECT * FROM place WHERE path >= ? AND path < ? AND gone = 0", (low, high)
        )
        return {r["path"]: r for r in found if "/" not in r["path"][len(low) :]}

    def pages_in(self, folder: str) -> dict[str, sqlite3.Row]:
        low, high = _inside(folder)
        found = self.rows("SELECT * FROM page WHERE path >= ? AND path < ?", (low, high))
        return {r["path"]: r for r in found if "/" not in r["path"][len(low) :]}

    def photo_of(self, sha256: bytes) -> int | None:
        found: int | None = self.one("SELECT photo_id FROM digest WHERE sha256 = ?", (sha256,))
        return found

    def add_photo(self, picture: Picture, sha256: bytes, lead: int | None = None) -> int:
        """Record a photo not seen before, in the near-duplicate group of photo `lead` if it has one."""
        cursor = self.db.execute(
            "INSERT INTO photo (format, width_px, height_px, dhash, lead_id) VALUES (?, ?, ?, ?, ?)",
            (picture.format, picture.width_px, picture.height_px, picture.dhash, lead),
        )
        photo_id = cursor.lastrowid
        assert photo_id is not None
        self.add_digest(sha256, photo_id)
        if picture.dhash is not None:
            self.db.executemany(
                "INSERT INTO band VALUES (?, ?, ?)",
                [(n, bits, photo_id) for n, bits in enumerate(_bands(picture.dhash))],
            )
        if lead is not None:
            self.db.execute(
                "UPDATE photo SET lead_id = id WHERE id = ? AND lead_id IS NULL", (lead,)
            )
        return photo_id

    def add_digest(self, sha256: bytes, photo_id: int) -> None:
        self.db.execute("INSERT OR IGNORE INTO digest VALUES (?, ?)", (sha256, photo_id))

    def near(self, picture: Picture) -> list[int]:
        """Leaders of the groups of photos within NEAR_BITS of `picture` and of about the same shape,
        oldest first. With four bands of 16 bits, photos that differ in at most 3 bits agree in a band."""
        if picture.dhash is None:
            return []
        shape, leads = picture.width_px / picture.height_px, dict[int, None]()
        for number, bits in enumerate(_bands(picture.dhash)):
            for row in self.db.execute(
                "SELECT p.* FROM band b JOIN photo p ON p.id = b.photo_id "
                "WHERE b.number = ? AND b.bits = ? ORDER BY b.photo_id LIMIT 64",
                (number, bits),
            ):
                different = ((row["dhash"] ^ picture.dhash) & (2**64 - 1)).bit_count()
                same_shape = abs(row["width_px"] / row["height_px"] / shape - 1) < 0.03
                if different <= NEAR_BITS and same_shape:
                    leads[row["lead_id"] or row["id"]] = None
        return list(leads)

    def put_place(self, place: Place) -> None:
        columns = asdict(place)
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        updates = ", ".join(f"{n} = excluded.{n}" for n in columns if n != "path")
        self.db.execute(
            f"INSERT INTO place ({names}) VALUES ({marks}) ON CONFLICT DO UPDATE SET {updates}, gone = 0",
            list(columns.values()),
        )

    def put_page(
        self,
        path: str,
        sha256: bytes | None,
        size: int,
        mtime_ns: int,
        encoding: str,
        title: str,
        fault: str | None,
        placements: Iterable[Placement],
    ) -> None:
        """Record a page and everything that it shows, in place of what was known of it."""
        self.db.execute("DELETE FROM placement WHERE page = ?", (path,))
        self.db.execute(
            "INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?, ?, ?, ?)",
            (path, sha256, size, mtime_ns, encoding, title, fault),
        )
        self.db.executemany(
            "INSERT INTO placement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    p.page,
                    p.number,
                    p.src,
                    p.path,
                    p.occurrence,
                    p.alt,
                    p.state,
                    p.note,
                    json.dumps(asdict(p.context), ensure_ascii=False),
                    p.context.digest,
                )
                for p in placements
            ],
        )

    def forget_gone(self, prefix: str, seen: set[str], untouchable: Sequence[str]) -> int:
        """Mark files under `prefix` that a scan did not see as gone (their history stays), and drop
        pages that are no longer there. Folders that could not be listed are left as they were."""
        low, high = _inside(prefix)
        skip = tuple(_inside(f)[0] for f in untouchable)
        gone = 0
        for table in ("place", "page"):
            paths = [
                r["path"]
                for r in self.rows(
                    f"SELECT path FROM {table} WHERE path >= ? AND path < ?"
                    + (" AND gone = 0" if table == "place" else ""),
                    (low, high),
                )
            ]
            inside = prefix.startswith("..")
            missing = [
                (p,)
                for p in paths
                if p not in seen
                and p.startswith("../") == inside
                and not p.startswith(skip or ("\0",))
            ]
            gone += len(missing)
            if table == "place":
                self.db.executemany("UPDATE place SET gone = 1 WHERE path = ?", missing)
            else:
                self.db.executemany("DELETE FROM placement WHERE page = ?", missing)
                self.db.executemany("DELETE FROM page WHERE path = ?", missing)
        return gone

    def mark_shown(self) -> None:
        """Note which files some page shows: those need words there, the others for themselves."""
        self.db.execute(
            "UPDATE place SET shown = 1 - shown WHERE shown != EXISTS (SELECT 1 FROM placement WHERE placement.path = place.path)"
        )

    def pages_to_resolve(self) -> list[str]:
        """Pages whose images have come or gone since the page was read."""
        return [
            r["page"]
            for r in self.rows(
                "SELECT DISTINCT m.page FROM placement m LEFT JOIN place l ON l.path = m.path AND l.gone = 0 "
                "WHERE m.path IS NOT NULL AND (l.path IS NULL) != (m.note = 'no such file in the library')"
            )
        ]

    def place(self, path: str) -> Place | None:
        """What the last scan saw of a photo's file."""
        for row in self.rows("SELECT * FROM place WHERE path = ?", (path,)):
            return Place(*(row[f.name] for f in fields(Place)))
        return None

    def page_digest(self, page: str) -> bytes | None:
        found: bytes | None = self.one("SELECT sha256 FROM page WHERE path = ?", (page,))
        return found

    def path_of(self, photo_id: int) -> str | None:
        """A file that holds the photo now."""
        found: str | None = self.one(
            "SELECT path FROM place WHERE photo_id = ? AND gone = 0 ORDER BY path LIMIT 1",
            (photo_id,),
        )
        return found

    def faults_found(self) -> list[tuple[str, str]]:
        """(path, reason) of the photos and pages that could not be read."""
        return [
            (r[0], r[1])
            for r in self.rows(
                "SELECT path, fault FROM place WHERE +gone = 0 AND fault IS NOT NULL UNION ALL "
                "SELECT path, fault FROM page WHERE fault IS NOT NULL ORDER BY 1"
            )
        ]

    def counts(self) -> dict[str, int]:
        """The library in numbers, as `ScanReport` names them."""
        files: Counter[str] = Counter()
        alone: Counter[str] = Counter()
        for row in self.rows(
            "SELECT shown, state, count(*) AS n FROM place WHERE gone = 0 GROUP BY shown, state"
        ):
            files[row["state"]] += row["n"]
            alone[row["state"]] += 0 if row["shown"] else row["n"]
        states: Counter[str] = Counter(
            {r[0]: r[1] for r in self.rows("SELECT state, count(*) FROM placement GROUP BY state")}
        )
        return {
            "files": files.total() - files["fault"],
            "photos": self.one(
                "SELECT count(*) FROM (SELECT DISTINCT photo_id FROM place WHERE photo_id IS NOT NULL AND +gone = 0)"
            ),
            "near_duplicates": self.one(
                "SELECT count(*) FROM photo p WHERE lead_id != id AND EXISTS "
                "(SELECT 1 FROM place l WHERE l.photo_id = p.id AND l.gone = 0)"
            ),
            "pages": self.one("SELECT count(*) FROM page"),
            "placements": states.total(),
            "elsewhere": self.one(
                "SELECT count(*) FROM placement m LEFT JOIN place l ON l.path = m.path AND l.gone = 0 WHERE l.path IS NULL"
            ),
            "missing": states["missing"] + alone["missing"],
            "empty": states["empty"] + alone["empty"],
            "decorative": states["decorative"],
            "described": states["text"] + alone["text"],
            "variable": states["variable"],
        }

    def has_place(self, path: str) -> bool:
        return self.one("SELECT 1 FROM place WHERE path = ? AND gone = 0", (path,)) is not None

    def placements_on(self, page: str) -> list[Placement]:
        return [
            placement_of(r)
            for r in self.rows("SELECT * FROM placement WHERE page = ? ORDER BY number", (page,))
        ]

    def placements_of(self, path: str) -> list[Placement]:
        return [
            placement_of(r)
            for r in self.rows(
                "SELECT * FROM placement WHERE path = ? ORDER BY page, number", (path,)
            )
        ]


def placement_of(row: sqlite3.Row) -> Placement:
    return Placement(
        row["page"],
        row["number"],
        row["src"],
        row["path"],
        row["occurrence"],
        row["alt"],
        row["state"],
        Context(**json.loads(row["context"])),
        row["note"] or "",
    )


def find(start: Path) -> Path | None:
    """The catalogue of `start` or of the nearest folder above it, as git finds its own."""
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
    return None


def relative(root: Path, path: Path) -> str:
    """A path as the catalogue writes it: relative to the root (with `..` where it is beside the root),
    with forward slashes; absolute only where there is no relative way (another drive)."""
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:
        return path.as_posix()


def _inside(folder: str) -> tuple[str, str]:
    """The range of paths below `folder`."""
    if folder in ("", "."):
        return "", "\U0010ffff"
    return folder + "/", folder + "0"  # "0" follows "/" in every encoding that SQLite sorts by


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _bands(dhash: int) -> list[int]:
    return [(dhash >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]


def _statements(script: str) -> Iterator[str]:
    """Single statements: `executescript` would commit the open transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
