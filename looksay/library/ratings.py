"""Comparisons in the catalogue: who was compared on which photos, what each said, and what raters thought of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from looksay.library.decisions import now
from looksay.library.ledger import ASKED
from looksay.library.records import Key
from looksay.library.store import Store

_MOST = 500
"""Ids of one question to the catalogue; SQLite takes 999 and more."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Example: Comparison(1, "3f9c…", {"models": ["mini", "facts"], "places": [{"path": "a.jpg", …}]}, "2026-…")."""

    id: int
    token: str
    settings: Mapping[str, Any]
    at: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What one of the compared said to one photo, or `error`: why it said nothing."""

    entrant: int
    place: int
    generation_id: int | None
    error: str
    memory_mb: float | None
    """What this process held at most while it was asked; None: not measured."""
    model: str = ""
    fingerprint: str = ""
    text: str = ""
    decorative: bool = False
    seconds: float = 0.0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Rating:
    """One rater's word on a text (`points`, 0 to 5), or on two side by side (`other_id`: the one shown second).

    Example: Rating("judge:mini 3f9c01ab", 12, 15, "first", None).
    """

    rater: str
    generation_id: int
    other_id: int | None
    verdict: str
    """Of one text: its criteria as JSON. Of two: first, second, same or unreadable."""
    points: float | None


class Ratings:
    """Comparisons, trials and ratings of an open catalogue."""

    def __init__(self, store: Store) -> None:
        self.store, self.db = store, store.db

    def begin(self, token: str, settings: Mapping[str, Any]) -> Comparison:
        """The comparison of that token; `settings` are its own where it is new."""
        with self.store.transaction():
            self.db.execute(
                "INSERT OR IGNORE INTO comparison (token, settings, at) VALUES (?, ?, ?)",
                (token, json.dumps(settings, ensure_ascii=False), now()),
            )
        found = self.find(token)
        assert found is not None
        return found

    def find(self, token: str) -> Comparison | None:
        """The comparison of that token, if it was begun."""
        return _comparison(self.store.row("SELECT * FROM comparison WHERE token = ?", (token,)))

    def newest(self) -> Comparison | None:
        """The comparison that something was last asked for or graded in; else the one begun last."""
        return _comparison(
            self.store.row(
                "SELECT c.* FROM comparison c ORDER BY max(c.at, "
                "coalesce((SELECT max(at) FROM trial t WHERE t.comparison_id = c.id), ''), "
                "coalesce((SELECT max(at) FROM rating r WHERE r.comparison_id = c.id), '')) DESC, c.id DESC LIMIT 1"
            )
        )

    def generation(self, key: Key) -> int | None:
        """The newest answer under a key, whichever attempt it was."""
        found: int | None = self.store.one(
            f"SELECT id FROM generation WHERE {ASKED} ORDER BY attempt DESC LIMIT 1", key.asked
        )
        return found

    def note(
        self,
        comparison: Comparison,
        entrant: int,
        place: int,
        generation_id: int | None,
        error: str = "",
        memory_mb: float | None = None,
    ) -> None:
        """Append what an entrant said to a photo, or why not, unless that is what stands there."""
        standing = self.store.row(
            "SELECT generation_id, error FROM trial WHERE comparison_id = ? AND entrant = ? AND place = ? "
            "ORDER BY id DESC LIMIT 1",
            (comparison.id, entrant, place),
        )
        if standing is not None and tuple(standing) == (generation_id, error):
            return
        with self.store.transaction():
            self.db.execute(
                "INSERT INTO trial (comparison_id, entrant, place, generation_id, error, memory_mb, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (comparison.id, entrant, place, generation_id, error, memory_mb, now()),
            )

    def trials(self, comparison: Comparison) -> list[Trial]:
        """What was said, the newest of each entrant and place. Cost and time are those of all attempts at an answer."""
        rows = self.store.rows(_TRIALS, (comparison.id,))
        return [
            Trial(
                r["entrant"],
                r["place"],
                r["generation_id"],
                r["error"],
                r["memory_mb"],
                r["model"] or "",
                r["fingerprint"] or "",
                r["alt"] or "",
                bool(r["decorative"]),
                (r["milliseconds"] or 0) / 1000,
                r["cost_usd"] or 0.0,
            )
            for r in rows
        ]

    def rate(self, comparison: Comparison, rating: Rating, token: str) -> bool:
        """Append a rating; False where one with this token is there already."""
        with self.store.transaction():
            cursor = self.db.execute(
                "INSERT OR IGNORE INTO rating (comparison_id, rater, generation_id, other_id, verdict, points, token, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    comparison.id,
                    rating.rater,
                    rating.generation_id,
                    rating.other_id,
                    rating.verdict,
                    rating.points,
                    token,
                    now(),
                ),
            )
        return cursor.rowcount > 0

    def of(self, generations: Collection[int]) -> list[Rating]:
        """What was said of these texts in any comparison; of one rater and one text or pair the newest."""
        ids, found = sorted(generations), dict[tuple[str, int, int | None], sqlite3.Row]()
        for start in range(0, len(ids), _MOST):
            part = ids[start : start + _MOST]
            marks = ", ".join("?" * len(part))
            for row in self.store.rows(
                f"SELECT * FROM rating WHERE generation_id IN ({marks}) ORDER BY id", part
            ):
                found[row["rater"], row["generation_id"], row["other_id"]] = row
        return [
            Rating(r["rater"], r["generation_id"], r["other_id"], r["verdict"], r["points"])
            for r in sorted(found.values(), key=lambda r: int(r["id"]))
        ]


# A second request, after an answer that was too long, is paid for too: its attempts of a trial are one answer.
_SPENT = """FROM generation a WHERE a.id = g.id OR (substr(g.context_hash, 1, 6) = 'trial:' AND a.attempt < g.attempt
  AND a.photo_id = g.photo_id AND a.model_id = g.model_id AND a.prompt_hash = g.prompt_hash AND
  a.settings_hash = g.settings_hash AND a.language = g.language AND a.context_hash = g.context_hash)"""
_TRIALS = f"""
SELECT t.*, g.alt, g.decorative, m.name AS model, m.fingerprint,
  (SELECT sum(a.milliseconds) {_SPENT}) AS milliseconds, (SELECT sum(a.cost_usd) {_SPENT}) AS cost_usd
FROM trial t LEFT JOIN generation g ON g.id = t.generation_id LEFT JOIN model m ON m.id = g.model_id
WHERE t.comparison_id = ?1 AND t.id = (SELECT max(n.id) FROM trial n WHERE n.comparison_id = ?1
  AND n.entrant = t.entrant AND n.place = t.place)
ORDER BY t.entrant, t.place"""


def _comparison(row: sqlite3.Row | None) -> Comparison | None:
    if row is None:
        return None
    return Comparison(row["id"], row["token"], json.loads(row["settings"]), row["at"])
