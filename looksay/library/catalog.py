"""The catalogue: one SQLite file that knows a library's photos, pages, texts and decisions.

All SQL of the project stands in `store.py` (the file itself), here (what a scan saw), `targets.py` (what
needs words), `ledger.py` (what was said and decided), `standing.py` (which words follow), `assessments.py` (what is known about it), `ratings.py` (what was compared and how it was graded), `journal.py` (what
was written) and `embeddings.py` (where photos lie in the space of a dual encoder).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Literal

from looksay.library.assessments import Assessments
from looksay.library.ledger import Ledger
from looksay.library.pages import Context
from looksay.library.ratings import Ratings
from looksay.library.records import Picture, Place, Placement
from looksay.library.store import Store
from looksay.library.targets import Targets

FILE_NAME = "looksay.db"
OWN_GALLERY = "looksay gallery"
"""Stands for the encoding of a page that is an exported gallery."""
NEAR_BITS = 3
"""Photos whose difference hashes differ in at most this many of 64 bits are near-duplicates: resizing
and recompressing moved 2 bits at most, different photos differed in 14 or more (docs/design.md)."""


PIECE = 500
"""Rows that are read at once."""
_KNOWN: dict[Literal["place", "page"], tuple[str, str]] = {
    "place": ("path, sha256, size_bytes, mtime_ns, sidecar_mtime_ns", "+gone = 0"),
    "page": ("path, sha256, size_bytes, mtime_ns", "true"),
}
"""What a scan wants to know of a file, and which of them were there."""


class Catalog(Store):
    """An open catalogue: what a scan saw, and by `targets` and `ledger` everything else."""

    @cached_property
    def targets(self) -> Targets:
        """What needs words."""
        return Targets(self)

    @cached_property
    def ledger(self) -> Ledger:
        """What was said, decided and written."""
        return Ledger(self)

    @cached_property
    def assessments(self) -> Assessments:
        """What is known about the words of generations."""
        return Assessments(self)

    @cached_property
    def ratings(self) -> Ratings:
        """What was compared, and how it was graded."""
        return Ratings(self)

    def reread_unless(self, rules: str) -> None:
        """Have the next scan read all pages, and the photos that had a fault, where `rules` (a digest of
        the settings that decide how they are read) are not those of the last scan."""
        if self.one("SELECT value FROM meta WHERE key = 'rules'") == rules:
            return
        with self.transaction():
            self.db.execute("UPDATE page SET mtime_ns = -1")
            self.db.execute("UPDATE place SET mtime_ns = -1 WHERE fault IS NOT NULL")
            self.db.execute("INSERT OR REPLACE INTO meta VALUES ('rules', ?)", (rules,))

    def known_in(
        self, table: Literal["place", "page"], folder: str, first: str = ""
    ) -> Iterator[sqlite3.Row]:
        """Known files directly in `folder` (relative, "." for the root) in the order of their paths, from `first` on; of
        each folder in it that holds known files one of them, whose others are passed over without being read."""
        low, high = _inside(folder)
        after, number = first or low, 1
        columns, there = _KNOWN[table]
        while True:
            # In pieces: a long read would keep other processes' writes from this one.
            rows = list(
                self.rows(
                    f"SELECT {columns} FROM {table} WHERE path >= ? AND path < ? AND {there} ORDER BY path LIMIT ?",
                    (after, high, number),
                )
            )
            for row in rows:
                yield row
                end = row["path"].find("/", len(low))
                if end >= 0:
                    after, number = row["path"][:end] + "0", 1  # "0" follows "/"
                    break
                after = row["path"] + "\0"
            else:
                if len(rows) < number:
                    return
                number = min(2 * number, PIECE)

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

    def expect_all(self) -> None:
        """A scan begins, which notes here what it misses."""
        with self.faults():
            self.db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS missing (path TEXT PRIMARY KEY) WITHOUT ROWID"
            )
            self.db.execute("DELETE FROM missing")

    def note_missing(self, paths: Iterable[str]) -> None:
        """Known files that a scan did not meet where it was."""
        with self.faults():
            self.db.executemany("INSERT OR IGNORE INTO missing VALUES (?)", ((p,) for p in paths))

    def note_missing_in(self, folder: str, listed: Collection[str]) -> None:
        """All known files below a folder, but those in folders that were `listed`."""
        for table, (_, there) in _KNOWN.items():
            rows = self.rows(
                f"SELECT path FROM {table} WHERE path >= ? AND path < ? AND {there}",
                _inside(folder),
            )
            self.note_missing(
                r["path"] for r in rows if (r["path"].rpartition("/")[0] or ".") not in listed
            )

    def unnote_missing(self, paths: Iterable[str], folders: Iterable[str]) -> None:
        """These files were met after all, and of what lies below these folders nobody knows."""
        with self.faults():
            self.db.executemany("DELETE FROM missing WHERE path = ?", ((p,) for p in paths))
            self.db.executemany(
                "DELETE FROM missing WHERE path >= ? AND path < ?", map(_inside, folders)
            )

    def is_missing(self, path: str) -> bool:
        return self.one("SELECT 1 FROM missing WHERE path = ?", (path,)) is not None

    def forget_gone(self, prefix: str) -> int:
        """Mark files under `prefix` that were noted as missing as gone (their history stays), and drop pages that are no
        longer there; returns how many."""
        wanted = "path >= ? AND path < ? AND (substr(path, 1, 3) = '../') = ?"
        values = (*_inside(prefix), prefix.startswith(".."))
        missing = f"IN (SELECT path FROM missing WHERE {wanted})"
        gone = self.db.execute(
            f"UPDATE place SET gone = 1 WHERE +gone = 0 AND path {missing}", values
        ).rowcount
        self.db.execute(f"DELETE FROM placement WHERE page {missing}", values)
        gone += self.db.execute(f"DELETE FROM page WHERE path {missing}", values).rowcount
        return gone

    def mark_shown(self) -> None:
        """Note which files some page shows: those need words there, the others for themselves."""
        self.db.execute(
            "UPDATE place SET shown = 1 WHERE +shown = 0 AND path IN (SELECT path FROM placement)"
        )
        self.db.execute(
            "UPDATE place SET shown = 0 WHERE gone IN (0, 1) AND shown = 1 AND NOT EXISTS "
            "(SELECT 1 FROM placement WHERE placement.path = place.path)"
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

    def file_of(self, sha256: bytes) -> str | None:
        """A file that held exactly these bytes when it was scanned last."""
        found: str | None = self.one(
            "SELECT l.path FROM digest d JOIN place l ON l.photo_id = d.photo_id AND l.sha256 = d.sha256 "
            "WHERE d.sha256 = ? AND l.gone = 0 ORDER BY l.path LIMIT 1",
            (sha256,),
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
            "pages": self.one("SELECT count(*) FROM page WHERE encoding IS NOT ?", (OWN_GALLERY,)),
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

    def elsewhere(self) -> list[tuple[str, str, str]]:
        """(page, image as written, why) of the images on pages that are no files of the library."""
        return [
            (r["page"], r["src"], r["note"] or "cannot be read")
            for r in self.rows(
                "SELECT m.page, m.src, m.note FROM placement m LEFT JOIN place l ON l.path = m.path AND l.gone = 0 "
                "WHERE l.path IS NULL ORDER BY m.page, m.number"
            )
        ]

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


def _bands(dhash: int) -> list[int]:
    return [(dhash >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
