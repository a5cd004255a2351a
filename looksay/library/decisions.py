"""The rows of `decision`: what people said, only ever appended to."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import UTC, datetime

from looksay.library.records import Decision, Target
from looksay.library.store import Store

KEPT = """NOT EXISTS (SELECT 1 FROM decision n WHERE n.photo_id = d.photo_id AND n.page = d.page AND n.path = d.path
  AND n.occurrence = d.occurrence AND n.language = d.language AND n.id >= d.id AND n.state = 'withdrawn')"""
"""Of a row `d` of `decision`: it is not withdrawn."""
_SAME = "SELECT * FROM decision WHERE photo_id = ? AND page = ? AND path = ? AND occurrence = ?"


class Decisions:
    """Decisions of an open catalogue, one by one. Which words follow from them, the ledger says."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def append(self, decision: Decision) -> int:
        """Append a decision under a number of its own, which is returned, whatever stands there."""
        row = asdict(decision)
        del row["id"]
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        with self.store.transaction():
            cursor = self.store.db.execute(
                f"INSERT INTO decision ({names}) VALUES ({marks})", list(row.values())
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def last(self, target: Target) -> Decision | None:
        """The newest decision about exactly this target, one that was withdrawn included."""
        path = target.path if target.page else ""
        place = (target.photo_id, target.page, path, target.occurrence)
        return self._first(f"{_SAME} ORDER BY id DESC LIMIT 1", place)

    def before(self, one: Decision) -> Decision | None:
        """What was decided about the same target in the same language before."""
        return self._first(
            f"{_SAME} AND language = ? AND id < ? ORDER BY id DESC LIMIT 1",
            (*_place(one), one.language, one.id),
        )

    def after(self, one: Decision) -> Decision | None:
        """The newest decision about the same target, in whichever language, if it is not this one."""
        return self._first(f"{_SAME} AND id > ? ORDER BY id DESC LIMIT 1", (*_place(one), one.id))

    def sent(self, token: str) -> list[Decision]:
        """The decisions that came under a client's token: one, or as many as it was about (`TOKEN/1`, …), in their
        order."""
        rows = self.store.rows(
            "SELECT * FROM decision WHERE token = ? OR (token > ? AND token < ?) ORDER BY id",
            (token, token + "/", token + "0"),  # "0" follows "/"
        )
        return [Decision(**dict(row)) for row in rows]

    def pace(self, who: str, last: int = 50) -> tuple[int, float]:
        """(how many of somebody's `last` decisions say how long they took, the seconds that one took on average)."""
        row = self.store.row(
            "SELECT count(*) AS n, avg(seconds) AS mean FROM (SELECT seconds FROM decision WHERE who = ? "
            "AND seconds IS NOT NULL ORDER BY id DESC LIMIT ?)",
            (who, last),
        )
        return (0, 0.0) if row is None else (row["n"], row["mean"] or 0.0)

    def _first(self, sql: str, values: tuple[str | int, ...]) -> Decision | None:
        row = self.store.row(sql, values)
        return None if row is None else Decision(**dict(row))


def _place(one: Decision) -> tuple[int, str, str, int]:
    return one.photo_id, one.page, one.path, one.occurrence


def now() -> str:
    """The time as the catalogue has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def user() -> str:
    """Who is at this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no user database, as in some containers
        return "unknown"
