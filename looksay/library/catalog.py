"""The catalogue: one SQLite file that knows a library's photos, pages, texts and decisions.

All SQL of the project stands in `store.py` (the file itself), here (what a scan saw), `targets.py` (what
needs words), `ledger.py` (what was said and decided), `journal.py` (what was written) and `embeddings.py`
(where photos lie in the space of a dual encoder).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path

from looksay.library.ledger import Ledger
from looksay.library.pages import Context
from looksay.library.records import Picture, Place, Placement
from looksay.library.store import Store
from looksay.library.targets import Targets

FILE_NAME = "looksay.db"
OWN_GALLERY = "looksay gallery"
"""Stands for the encoding of a page that is an exported gallery."""
NEAR_BITS = 3
"""Photos whose difference hashes differ in at most this many of 64 bits are near-duplicates: resizing
and recompressing moved 2 bits at most, different photos differed in 14 or more (docs/design.md)."""


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

    def reread_unless(self, rules: str) -> None:
        """Have the next scan read all pages, and the photos that had a fault, where `rules` (a digest of
        the settings that decide how they are read) are not those of the last scan."""
        if self.one("SELECT value FROM meta WHERE key = 'rules'") == rules:
            return
        with self.transaction():
            self.db.execute("UPDATE page SET mtime_ns = -1")
            self.db.execute("UPDATE place SET mtime_ns = -1 WHERE fault IS NOT NULL")
            self.db.execute("INSERT OR REPLACE INTO meta VALUES ('rules', ?)", (rules,))

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
