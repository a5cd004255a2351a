"""What waits for review, ready to be shown: rows that are made once and anew only where something has changed.

Whatever says something of a photo (a scan, a model, a person, evidence) marks it as stale; triggers of the catalogue see
to that, whichever program writes. `refresh` makes the rows of stale photos anew, so that opening the queue reads an
index, however many texts there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from looksay.library.catalog import Catalog
from looksay.library.records import Target, Words

Place = tuple[str, str, int]
"""(page, path, occurrence) of a target."""
Rate = Callable[[Target, Words], tuple[float, str]]
"""What gives a text its (risk 0 to 1, level); the library itself knows of none."""
PIECE = 100
"""Photos whose rows one transaction makes: others can write between them."""
ROUNDS = 3
"""Rows made anew may stand elsewhere, and others in their place, which is looked at so often."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the queue. Example: Entry("walk.html", "img/quay.jpg", 0, "en", 7, None, "waiting", "ai",
    "ollama:llava", 31, 0.71, "high")."""

    page: str
    path: str
    occurrence: int
    language: str
    photo_id: int
    lead_id: int | None
    state: str
    """waiting: a model's words that nobody decided on; decided; wordless."""
    words: str
    """State of the words, as in `records.Words`."""
    model: str
    generation_id: int | None
    risk: float
    level: str

    @property
    def place(self) -> Place:
        return self.page, self.path, self.occurrence


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are wanted; "" for all."""

    state: str = "waiting"
    level: str = ""
    model: str = ""
    name: str = ""
    """A part of the path of the photo or of the page, in small letters or large."""
    below: float | None = None
    """Only risks less than this."""


class Queue:
    """The queue of an open catalogue."""

    def __init__(self, catalog: Catalog, default_language: str, rate: Rate) -> None:
        self.catalog, self.default, self.rate = catalog, default_language, rate

    # --- kept up to date --------------------------------------------------------------------------

    def stale(self) -> int:
        """How many photos have rows that are not those of today."""
        found: int = self.catalog.one("SELECT count(*) FROM queue_stale")
        return found

    def refresh(self, limit: int = PIECE) -> int:
        """Make the rows of at most so many stale photos anew; returns of how many."""
        rows = self.catalog.rows("SELECT photo_id FROM queue_stale LIMIT ?", (limit,))
        return self.renew([row["photo_id"] for row in rows])

    def renew(self, photos: Collection[int]) -> int:
        """Make the rows of these photos anew, and of those that share their words."""
        if not photos:
            return 0
        with self.catalog.transaction():
            these = sorted({*photos, *self._followers(photos)})
            targets = self.catalog.targets.of_each(photo for photo in these if photo > 0)
            words = self.catalog.ledger.standing.words(targets, None, self.default)
            entries = map(self._entry, targets, words)
            db, numbers = self.catalog.db, [(photo,) for photo in these]
            db.executemany("DELETE FROM queue WHERE photo_id = ?", numbers)
            db.executemany(
                "INSERT OR REPLACE INTO queue VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_values(entry) for entry in entries if entry],
            )
            db.executemany("DELETE FROM queue_stale WHERE photo_id = ?", numbers)
        return len(photos)

    def outdate(self) -> None:
        """Mark everything as stale: risks are told otherwise from now on."""
        with self.catalog.transaction():
            self.catalog.db.execute(
                "INSERT OR IGNORE INTO queue_stale SELECT DISTINCT photo_id FROM queue"
            )

    def settle(self, name: str, value: str) -> bool:
        """Note what the risks depend on, by name; whether it was something else before."""
        key = f"queue {name}"
        if self.catalog.one("SELECT value FROM meta WHERE key = ?", (key,)) == value:
            return False
        with self.catalog.transaction():
            self.catalog.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        return True

    def _followers(self, photos: Iterable[int]) -> list[int]:
        """The photos that are like these, which lead them."""
        rows = self.catalog.rows(
            "SELECT id FROM photo WHERE lead_id IN (SELECT value FROM json_each(?)) AND id != lead_id",
            (json.dumps(list(photos)),),
        )
        return [row["id"] for row in rows]

    def _entry(self, target: Target, words: Words) -> Entry | None:
        """None for what nobody need look at: a person's words stand on the page, or the words are those of another."""
        risk, level = 0.0, ""
        if words.state in ("ai", "draft"):
            state = "waiting"
            risk, level = self.rate(target, words)
        elif words.own or words.state == "rejected":
            state = "decided"
        elif words.state == "none" and not words.notes:
            state = "wordless"
        else:
            return None
        return Entry(
            target.page,
            target.path,
            target.occurrence,
            words.language,
            target.photo_id,
            target.lead_id,
            state,
            words.state,
            words.model,
            words.generation_id,
            risk,
            level,
        )

    # --- read -------------------------------------------------------------------------------------

    def next(
        self,
        wanted: Filter,
        after: tuple[float, str, str, int] | None = None,
        number: int = 1,
        without: Collection[Place] = (),
    ) -> list[Entry]:
        """The riskiest rows that are wanted, less those `without`; `after` is the (risk, path, page, occurrence) of the
        row that came last. What another program has said of them meanwhile is heard first; where nothing is found, some
        rows that are stale are made first (see `stale` for how many are left). Raises CatalogError where another
        program writes for long."""
        for _ in range(ROUNDS):
            found = self._next(wanted, after, number, without)
            if not found and self.refresh():
                continue
            if not self._stale_of(found):
                return found
            # More than is wanted: who goes through the same texts elsewhere is ahead by many.
            piece = self._next(wanted, after, max(number, PIECE), without)
            self.renew(self._stale_of(piece))
        return self._next(wanted, after, number, without)

    def _stale_of(self, entries: Sequence[Entry]) -> list[int]:
        """The photos of these rows that something was said of since the rows were made."""
        rows = self.catalog.rows(
            "SELECT photo_id FROM queue_stale WHERE photo_id IN (SELECT value FROM json_each(?))",
            (json.dumps([entry.photo_id for entry in entries]),),
        )
        return [row["photo_id"] for row in rows]

    def _next(
        self,
        wanted: Filter,
        after: tuple[float, str, str, int] | None,
        number: int,
        without: Collection[Place],
    ) -> list[Entry]:
        where, values = _where(wanted)
        pieces = [(where, values)]
        if after is not None:
            # One for rows of the same risk and one for the rest: each is a range of the index.
            risk, *rest = after
            pieces = [
                (
                    f"{where} AND risk = ? AND (path, page, occurrence) > (?, ?, ?)",
                    [*values, risk, *rest],
                ),
                (f"{where} AND risk < ?", [*values, risk]),
            ]
        found: list[Entry] = []
        for condition, numbers in pieces:
            rows = self.catalog.rows(
                f"SELECT * FROM queue WHERE {condition} ORDER BY risk DESC, path, page, occurrence LIMIT ?",
                [*numbers, number + len(without)],
            )
            found += [entry for entry in map(_entry, rows) if entry.place not in without]
            if len(found) >= number:
                break
        return found[:number]

    def find(self, place: Place) -> Entry | None:
        """The row of a target."""
        row = self.catalog.row(
            "SELECT * FROM queue WHERE page = ? AND path = ? AND occurrence = ?", place
        )
        return _entry(row) if row else None

    def counts(self) -> list[dict[str, Any]]:
        """How many rows there are of each state, level and model."""
        rows = self.catalog.rows(
            "SELECT state, level, model, count(*) AS n FROM queue GROUP BY state, level, model"
        )
        return [dict(row) for row in rows]

    def count(self, wanted: Filter) -> int:
        where, values = _where(wanted)
        found: int = self.catalog.one(f"SELECT count(*) FROM queue WHERE {where}", values)
        return found

    def sample(self, wanted: Filter, number: int) -> list[Entry]:
        """Rows from all over those wanted, the riskiest among them: each stands for as many as every other."""
        where, values = _where(wanted)
        step = max(1, self.count(wanted) // number)
        rows = self.catalog.rows(
            # The index alone is counted through; whole rows are read of those that are taken.
            "SELECT q.* FROM (SELECT * FROM (SELECT page, path, occurrence, row_number() OVER "
            f"(ORDER BY risk DESC, path, page, occurrence) - 1 AS place_no FROM queue WHERE {where}) "
            "WHERE place_no % ? = 0 LIMIT ?) s JOIN queue q USING (page, path, occurrence) ORDER BY place_no",
            [*values, step, number],
        )
        return [_entry(row) for row in rows]

    def group(self, entry: Entry) -> list[Target]:
        """The other targets of a photo and of its near-duplicates."""
        photos: Iterable[int] = (entry.photo_id,)
        if entry.lead_id is not None:
            photos = [entry.lead_id, *self._followers([entry.lead_id])]
        targets = self.catalog.targets.of_each(photos)
        return [t for t in targets if (t.page, t.path, t.occurrence) != entry.place]


_COLUMNS: Sequence[str] = (
    "page", "path", "occurrence", "language", "photo_id", "lead_id", "state", "words", "model", "generation_id", "risk",
    "level",
)  # fmt: skip


def _where(wanted: Filter) -> tuple[str, list[Any]]:
    where, values = ["state = ?"], list[Any]([wanted.state])
    for column in ("level", "model"):
        if value := getattr(wanted, column):
            where.append(f"{column} = ?")
            values.append(value)
    if wanted.name:
        where.append("instr(lower(path || ' ' || page), ?) > 0")
        values.append(wanted.name.lower())
    if wanted.below is not None:
        where.append("risk < ?")
        values.append(wanted.below)
    return " AND ".join(where), values


def _entry(row: Any) -> Entry:
    return Entry(*(row[column] for column in _COLUMNS))


def _values(entry: Entry) -> list[Any]:
    return [getattr(entry, column) for column in _COLUMNS]
