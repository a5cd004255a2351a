"""Which words count for targets, looked up for many at once: a query for each kind of row, however many targets.

The words of one target are those of a list of one, so that a listing of a million and a single look follow one rule.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from looksay.library.decisions import KEPT
from looksay.library.records import TRIAL, Key, Target, Words, folded
from looksay.library.store import Store

PIECE = 500
"""Targets that are looked up at once where there are many."""
_AT = [f"json_extract(t.value, '$[{n}]')" for n in range(7)]
"""A value of the array that a query is given for each target (`->>` is not in every SQLite)."""
T = TypeVar("T")


class _Asked(NamedTuple):
    """A target, and which languages will do: `any`, those of `first` before the others, or only `first`."""

    target: Target
    any: bool
    first: str


class Standing:
    """The words that count in an open catalogue."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def words(
        self, targets: Sequence[Target], language: str | None = None, default: str = "en"
    ) -> list[Words]:
        """The words that count for each target: its own decision; what stands there already; a decision on the photo;
        the reviewed words of its near-duplicate group; the newest generation.

        With `language` only words in that language; without, those in the page's language (or the default) before those
        in any other.
        """
        asked = {
            n: _Asked(target, language is None, target.language(language, default))
            for n, target in enumerate(targets)
        }
        found: dict[int, Words] = {}

        def left() -> dict[int, _Asked]:
            return {n: one for n, one in asked.items() if n not in found}

        own = self._decisions(left())
        found |= {n: decided(r, own=True) for n, r in own.items() if r["state"] != "rejected"}
        texts = {n: a for n, a in left().items() if a.target.source in ("text", "variable")}
        ours = self.ours([one.target for one in texts.values()])
        found |= {
            n: Words("human", target.alt or "", language=first)
            for (n, (target, _, first)), is_ours in zip(texts.items(), ours, strict=True)
            if not is_ours
        }
        found |= {
            n: Words("decorative", language=one.first)
            for n, one in left().items()
            if one.target.source == "decorative"
        }
        photos = {
            n: one._replace(target=Target(one.target.photo_id, one.target.path))
            for n, one in left().items()
            if one.target.page
        }
        general = self._decisions(photos)
        found |= {n: decided(row) for n, row in general.items() if row["state"] != "rejected"}
        following = self.following([one.target for one in left().values()])
        found |= self._shared(
            {n: a for (n, a), follows in zip(left().items(), following, strict=True) if follows}
        )
        after = {n: row["generation_id"] or 0 for n, row in own.items()}
        found |= self._said(left(), after)
        for n, one in left().items():
            found[n] = Words("rejected" if n in own else "none", language=one.first)
        return [found[n] for n in asked]

    def ours(self, targets: Sequence[Target]) -> list[bool]:
        """Whether the text that stands at each target is one that an apply wrote, unchanged since."""
        rows = self._rows(
            f"SELECT t.key AS n, w.text FROM json_each(?) t JOIN written w ON w.page = {_AT[0]} "
            f"AND w.path = {_AT[1]} AND w.occurrence = {_AT[2]} JOIN change c ON c.id = w.change_id "
            "WHERE c.state != 'undone' ORDER BY n, w.id DESC",
            [(one.page, one.path, one.occurrence) for one in targets],
        )
        newest = _first(rows)
        return [
            n in newest and folded(newest[n]["text"]) == folded(target.alt)
            for n, target in enumerate(targets)
        ]

    def following(self, targets: Sequence[Target]) -> list[bool]:
        """Whether the words of each target are those of the photo that leads its group of near-duplicates: that one
        still wants words, or a person has given it some."""
        leads = {t.lead_id for t in targets if t.lead_id is not None and t.lead_id != t.photo_id}
        rows = self._rows(f"SELECT t.value AS n FROM json_each(?) t WHERE {_LEADS}", sorted(leads))
        led = {row["n"] for row in rows}
        return [t.lead_id != t.photo_id and t.lead_id in led for t in targets]

    def having(self, keys: Iterable[Key]) -> set[Key]:
        """Those of the keys that are answered."""
        keys = list(keys)
        rows = self._rows(
            f"SELECT t.key AS n FROM json_each(?) t JOIN generation g ON g.photo_id = {_AT[0]} "
            f"AND g.model_id = {_AT[1]} AND g.prompt_hash = {_AT[2]} AND g.settings_hash = {_AT[3]} "
            f"AND g.language = {_AT[4]} AND g.context_hash = {_AT[5]} AND g.attempt = {_AT[6]}",
            [(*key.asked, key.attempt) for key in keys],
        )
        return {keys[row["n"]] for row in rows}

    def _decisions(self, asked: Mapping[int, _Asked]) -> dict[int, sqlite3.Row]:
        """The decision that counts for exactly each target."""
        rows = self._rows(
            f"SELECT {_AT[5]} AS n, d.* FROM json_each(?) t JOIN decision d ON d.photo_id IN ({_AT[0]}, 0) "
            f"AND d.page = {_AT[1]} AND d.path = {_AT[2]} AND d.occurrence = {_AT[3]} "
            f"WHERE ({_AT[6]} OR d.language = {_AT[4]}) AND {KEPT} "
            f"ORDER BY n, d.language = {_AT[4]} DESC, d.id DESC",
            [
                (t.photo_id, t.page, t.path if t.page else "", t.occurrence, first, n, any_)
                for n, (t, any_, first) in asked.items()
            ],
        )
        return _first(rows)

    def _shared(self, asked: Mapping[int, _Asked]) -> dict[int, Words]:
        """The words of targets that follow the leader of their group."""
        rows = self._rows(
            f"SELECT {_AT[1]} AS n, d.* FROM json_each(?) t JOIN decision d ON d.photo_id = {_AT[0]} "
            f"WHERE ({_AT[3]} OR d.language = {_AT[2]}) AND {_GIVEN} "
            f"ORDER BY n, d.language = {_AT[2]} DESC, d.page = '' DESC, d.id DESC",
            [(t.lead_id, n, first, any_) for n, (t, any_, first) in asked.items()],
        )
        given = _first(rows)
        waits = Words("none", notes=("waits for the review of a near-duplicate",))
        return {n: decided(given[n]) if n in given else waits for n in asked}

    def _said(self, asked: Mapping[int, _Asked], after: Mapping[int, int]) -> dict[int, Words]:
        """The newest generation for each target, less those up to the number `after`."""
        photos = sorted({one.target.photo_id for one in asked.values()})
        contexts = sorted({"", *(one.target.context_hash for one in asked.values())})
        said = defaultdict[tuple[int, str], list[sqlite3.Row]](list)
        for row in self.store.rows(
            f"{SAID} WHERE g.photo_id IN (SELECT value FROM json_each(?)) "
            "AND g.context_hash IN (SELECT value FROM json_each(?))",
            (json.dumps(photos), json.dumps(contexts)),
        ):
            said[row["photo_id"], row["context_hash"]].append(row)
        found = {}
        for n, (target, any_, first) in asked.items():
            here = target.context_hash
            fitting = [
                row
                for context in {here, ""}
                for row in said.get((target.photo_id, context), ())
                if (any_ or row["language"] == first) and row["id"] > after.get(n, 0)
            ]
            if fitting:
                best = min(
                    fitting,
                    key=lambda r: (
                        r["language"] != first,
                        r["draft"],
                        r["context_hash"] != here,
                        -r["id"],
                    ),
                )
                found[n] = as_words(best)
        return found

    def _rows(self, sql: str, values: Sequence[Any]) -> Iterator[sqlite3.Row]:
        """Rows of a query that takes its values as one JSON array."""
        return (
            self.store.rows(sql, (json.dumps(values, ensure_ascii=False),)) if values else iter(())
        )


class Met:
    """Which keys of one run came before, however many: they stand in a table of this connection alone."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with store.faults():
            store.db.execute("DROP TABLE IF EXISTS temp.met")
            store.db.execute(
                "CREATE TEMP TABLE met (photo_id INTEGER, language TEXT, context_hash TEXT, attempt INTEGER, "
                "PRIMARY KEY (photo_id, language, context_hash, attempt)) WITHOUT ROWID"
            )

    def new(self, key: Key) -> bool:
        """Whether a key has not come before; from now on it has."""
        with self.store.faults():
            cursor = self.store.db.execute(
                "INSERT OR IGNORE INTO met VALUES (?, ?, ?, ?)",
                (key.photo_id, key.language, key.context_hash, key.attempt),
            )
        return cursor.rowcount > 0


SAID = """SELECT g.id, g.photo_id, g.context_hash, g.language, g.alt, g.extended, g.notes, g.decorative, m.name AS model,
  m.draft FROM generation g JOIN model m ON m.id = g.model_id"""
"""Generations, as `as_words` wants them."""
_GIVEN = """state IN ('human', 'reviewed') AND NOT EXISTS (SELECT 1 FROM decision n WHERE n.photo_id = d.photo_id
  AND n.page = d.page AND n.path = d.path AND n.occurrence = d.occurrence AND n.language = d.language AND n.id > d.id)"""
_LEADS = f"""(EXISTS (SELECT 1 FROM decision d WHERE d.photo_id = t.value AND {_GIVEN})
  OR EXISTS (SELECT 1 FROM place l LEFT JOIN placement m ON m.path = l.path WHERE l.photo_id = t.value AND l.gone = 0
    AND (coalesce(m.state, l.state) IN ('missing', 'empty')
      OR EXISTS (SELECT 1 FROM generation g WHERE g.photo_id = t.value AND substr(g.context_hash, 1, 6) != '{TRIAL}'))
    AND NOT EXISTS (SELECT 1 FROM decision d WHERE d.photo_id = t.value AND d.state IN ('decorative', 'cleared')
      AND {KEPT})))"""


def as_words(row: sqlite3.Row) -> Words:
    """Those of a row of `SAID`."""
    return Words(
        "draft" if row["draft"] else "ai",
        row["alt"],
        row["extended"],
        row["language"],
        row["id"],
        row["model"],
        () if row["notes"] == "[]" else tuple(json.loads(row["notes"])),
        bool(row["decorative"]),
    )


def decided(row: sqlite3.Row, *, own: bool = False) -> Words:
    """Those of a row of `decision`."""
    return Words(
        row["state"], row["text"], row["extended"], row["language"], row["generation_id"], own=own
    )


def pieces(items: Iterable[T], size: int = PIECE) -> Iterator[list[T]]:
    """The items in lists of so many, each drawn when it is wanted."""
    source = iter(items)
    while piece := list(islice(source, size)):
        yield piece


def _first(rows: Iterable[sqlite3.Row]) -> dict[int, sqlite3.Row]:
    """Of each `n` the first row."""
    found: dict[int, sqlite3.Row] = {}
    for row in rows:
        found.setdefault(row["n"], row)
    return found
