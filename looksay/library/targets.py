"""What needs words: the images on pages, and the photos that no page shows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

from looksay.library.pages import Context
from looksay.library.records import Target
from looksay.library.store import Store


class Targets:
    """Targets of an open catalogue."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def all(self, prefix: str = "", *, sources: Iterable[str] | None = None) -> Iterator[Target]:
        """Targets whose photo or page lies under `prefix`, photos of a folder together; `sources` keeps
        those of the named kinds ("missing", "empty", …) only."""
        wanted = frozenset(sources) if sources is not None else None
        # In pieces: a long read would keep other processes' writes from this one, and ours from the disk.
        after, rows = ("", "", -2), list[sqlite3.Row]()
        while len(rows) == _PIECE or not after[0]:
            rows = list(self.store.rows(_TARGETS, after))
            if not rows:
                return
            after = (rows[-1]["path"], rows[-1]["page"], rows[-1]["number"])
            for row in rows:
                if _under(prefix, row["path"], row["page"]) and (
                    wanted is None or row["source"] in wanted
                ):
                    yield _target(row)

    def on_pages(self, prefix: str = "") -> list[Target]:
        """Targets on pages that lie under `prefix` or show a photo under it, page by page."""
        rows = self.store.rows(f"SELECT * FROM ({_ON_PAGES}) ORDER BY page, number")
        return [_target(r) for r in rows if _under(prefix, r["path"], r["page"])]

    def of_photos(self, prefix: str = "") -> list[Target]:
        """Photos that want words of their own: no page shows them, or somebody decided on the photo."""
        rows = self.store.rows(
            f"{_ALONE} WHERE l.gone = 0 AND l.photo_id IS NOT NULL AND (l.shown = 0 OR EXISTS "
            "(SELECT 1 FROM decision d WHERE d.photo_id = l.photo_id AND d.page = '' AND NOT EXISTS (SELECT 1 FROM "
            "decision n WHERE n.photo_id = d.photo_id AND n.page = '' AND n.language = d.language AND n.id >= d.id "
            "AND n.state = 'withdrawn'))) ORDER BY l.path"
        )
        return [_target(r) for r in rows if _under(prefix, r["path"])]

    def of_photo(self, photo_id: int) -> list[Target]:
        """Everywhere that one photo needs words."""
        return self.of_each([photo_id])

    def of_each(self, photos: Iterable[int]) -> list[Target]:
        """Everywhere that these photos need words, photo by photo."""
        rows = self.store.rows(
            f"{_SHOWN} FROM place l CROSS JOIN placement m ON m.path = l.path JOIN photo p ON p.id = l.photo_id "
            f"WHERE +l.gone = 0 AND l.photo_id IN {_THESE} UNION ALL {_ALONE} "
            f"WHERE +l.gone = 0 AND +l.shown = 0 AND l.photo_id IN {_THESE} ORDER BY 1, 2, 3, 5",
            (json.dumps(list(photos)),),
        )
        return [_target(r) for r in rows]

    def find(self, path: str, page: str = "", occurrence: int = 0) -> Target | None:
        """The target of a file, on a page or for itself (whether or not pages show it)."""
        if page:
            row = self.store.row(
                f"SELECT * FROM ({_ON_PAGES}) WHERE page = ? AND path = ? AND occurrence = ?",
                (page, path, occurrence),
            )
        else:
            row = self.store.row(f"{_ALONE} WHERE l.path = ? AND l.photo_id IS NOT NULL", (path,))
        return _target(row) if row else None


_PIECE = 500
_NO_CONTEXT = Context()
_THESE = "(SELECT value FROM json_each(?1))"
_SHOWN = """
  SELECT coalesce(l.photo_id, 0) AS photo_id, m.path, m.page, m.occurrence, m.number, m.alt, m.state AS source,
    m.context, p.lead_id"""
_ON_PAGES = f"""{_SHOWN}
  FROM placement m LEFT JOIN place l ON l.path = m.path AND l.gone = 0 LEFT JOIN photo p ON p.id = l.photo_id
  WHERE m.path IS NOT NULL"""
_ALONE = """
  SELECT l.photo_id, l.path, '' AS page, 0 AS occurrence, -1 AS number, l.alt,
    l.state AS source,
    NULL AS context, p.lead_id
  FROM place l JOIN photo p ON p.id = l.photo_id"""
# The plus signs keep SQLite on the primary key, whose order lets both halves be merged without sorting.
_TARGETS = f"""{_ON_PAGES} AND (m.path, m.page, m.number) > (?1, ?2, ?3)
  UNION ALL {_ALONE} WHERE +l.gone = 0 AND +l.shown = 0 AND l.path >= ?1 AND (l.path, '', -1) > (?1, ?2, ?3)
  ORDER BY 2, 3, 5 LIMIT {_PIECE}"""


def _target(row: sqlite3.Row) -> Target:
    # By their numbers: names cost more where there are a million.
    context = Context(**json.loads(row[7])) if row[7] else _NO_CONTEXT
    return Target(row[0], row[1], row[2], row[3], row[4], row[5], row[6], context, row[8])


def _under(prefix: str, *names: str) -> bool:
    if prefix in ("", "."):
        return True
    return any(prefix == name or name.startswith(prefix + "/") for name in names)
