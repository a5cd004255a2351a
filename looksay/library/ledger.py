"""What was said, decided and written: the append-only half of the catalogue."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from looksay.errors import CatalogError
from looksay.library.decisions import KEPT, Decisions, now, user
from looksay.library.records import TRIAL, Decision, Key, Placement, Target, Words, folded
from looksay.library.standing import SAID, Standing, as_words, pieces
from looksay.library.store import Store

ASKED = "photo_id = ? AND model_id = ? AND prompt_hash = ? AND settings_hash = ? AND language = ? AND context_hash = ?"
"""A generation of a key, whichever attempt; the values are `Key.asked`."""


class Ledger:
    """Generations and decisions of an open catalogue, and the words that follow from them."""

    def __init__(self, store: Store) -> None:
        self.store, self.db = store, store.db

    def model_id(self, name: str, fingerprint: str, draft: bool) -> int:
        with self.store.transaction():
            self.db.execute(
                "INSERT OR IGNORE INTO model (name, fingerprint, draft) VALUES (?, ?, ?)",
                (name, fingerprint, draft),
            )
        found: int = self.store.one(
            "SELECT id FROM model WHERE name = ? AND fingerprint = ?", (name, fingerprint)
        )
        return found

    def note_prompt(self, hash_: str, text: str) -> None:
        with self.store.transaction():
            self.db.execute("INSERT OR IGNORE INTO prompt VALUES (?, ?)", (hash_, text))

    def prompt(self, hash_: str) -> str:
        """The text that was noted under a hash; "" where none was."""
        found: str | None = self.store.one("SELECT text FROM prompt WHERE hash = ?", (hash_,))
        return found or ""

    def has(self, key: Key) -> bool:
        return key in self.standing.having([key])

    def said_by_model(self, photo_id: int, text: str) -> int | None:
        """The newest generation that gave a photo exactly this alt text, if there is one."""
        found: int | None = self.store.one(
            "SELECT max(id) FROM generation WHERE photo_id = ? AND alt = ?", (photo_id, text)
        )
        return found

    def last_fingerprint(self, model: str) -> str:
        """The fingerprint under which a model answered last; "" if it never did."""
        found: str | None = self.store.one(
            "SELECT fingerprint FROM model WHERE name = ? ORDER BY id DESC LIMIT 1", (model,)
        )
        return found or ""

    def attempts(self, key: Key) -> int:
        found: int = self.store.one(f"SELECT count(*) FROM generation WHERE {ASKED}", key.asked)
        return found

    def add_generation(
        self,
        key: Key,
        *,
        raw: str,
        alt: str,
        extended: str,
        decorative: bool,
        notes: Iterable[str],
        prompt_tokens: int | None,
        completion_tokens: int | None,
        cost_usd: float,
        seconds: float,
        details: Mapping[str, Any],
    ) -> bool:
        """Append one answer; False where the key is there already (another process was faster)."""
        with self.store.transaction():
            cursor = self.db.execute(
                "INSERT OR IGNORE INTO generation (photo_id, model_id, prompt_hash, settings_hash, language, "
                "context_hash, attempt, raw, alt, extended, decorative, notes, prompt_tokens, completion_tokens, "
                "cost_usd, milliseconds, details, at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    *key.asked,
                    key.attempt,
                    raw,
                    alt,
                    extended,
                    decorative,
                    json.dumps(list(notes), ensure_ascii=False),
                    prompt_tokens,
                    completion_tokens,
                    cost_usd,
                    round(seconds * 1000),
                    json.dumps(dict(details)) if details else None,
                    now(),
                ),
            )
        return cursor.rowcount > 0

    def add_failure(self, photo_id: int, model_id: int, context_hash: str, error: str) -> None:
        with self.store.transaction():
            self.db.execute(
                "INSERT INTO failure (photo_id, model_id, context_hash, error, at) VALUES (?, ?, ?, ?, ?)",
                (photo_id, model_id, context_hash, error, now()),
            )

    @cached_property
    def standing(self) -> Standing:
        """Which words count for targets, many looked up at once."""
        return Standing(self.store)

    def words(self, target: Target, language: str | None = None, default: str = "en") -> Words:
        """The words that count for a target, as `Standing.words` has them."""
        return self.standing.words([target], language, default)[0]

    def words_of(
        self, targets: Iterable[Target], language: str | None = None, default: str = "en"
    ) -> Iterator[tuple[Target, Words]]:
        """Targets with the words that count for them, in their order, looked up piece by piece as they are drawn."""
        for piece in pieces(targets):
            yield from zip(piece, self.standing.words(piece, language, default), strict=True)

    def follows(self, target: Target) -> bool:
        """Whether the words of a near-duplicate are those of the photo that leads its group."""
        return self.standing.following([target])[0]

    def is_ours(self, target: Target) -> bool:
        """Whether the text that stands there is one that an apply wrote, unchanged since."""
        return self.standing.ours([target])[0]

    def decide(
        self,
        target: Target,
        state: str,
        *,
        text: str = "",
        extended: str = "",
        language: str,
        generation_id: int | None = None,
        who: str | None = None,
        token: str | None = None,
        seconds: float | None = None,
        replace_human: bool = False,
    ) -> int:
        """Append a decision; returns its number. Raises CatalogError where it would put a model's words, or
        none, in the place of a person's and `replace_human` does not say so."""
        standing = self.words(target, language)
        if standing.state == "human" and state in ("reviewed", "rejected") and not replace_human:
            raise CatalogError(
                f"{target.name} has words written by a person: {standing.text!r}. To put others in their "
                "place, add --replace."
            )
        return Decisions(self.store).append(
            Decision(
                0,
                target.photo_id,
                target.page,
                target.path if target.page else "",
                target.occurrence,
                language,
                state,
                text,
                extended,
                generation_id,
                who or user(),
                now(),
                token,
                seconds,
            )
        )

    def said(self, generation_id: int) -> Words | None:
        """A generation's words."""
        for row in self.store.rows(f"{SAID} WHERE g.id = ?", (generation_id,)):
            return as_words(row)
        return None

    def candidates(self, target: Target, language: str) -> list[Words]:
        """What each model said last for a target in a language, the newest first."""
        rows = self.store.rows(
            f"{SAID} WHERE g.photo_id = ? AND g.language = ? AND g.context_hash IN (?, '') "
            "ORDER BY g.context_hash = ? DESC, g.id DESC",
            (target.photo_id, language, target.context_hash, target.context_hash),
        )
        newest: dict[str, Words] = {}
        for row in rows:
            newest.setdefault(row["model"], as_words(row))
        return sorted(newest.values(), key=lambda words: -(words.generation_id or 0))

    def reviews(self, number: int) -> Iterator[tuple[Decision, Words]]:
        """The newest decisions that say something of a model's words, with those words: of one target and one
        generation the last, and none that was withdrawn."""
        rows = self.store.rows(
            f"SELECT * FROM decision d WHERE generation_id IS NOT NULL AND state IN ('human', 'reviewed', 'rejected') "
            f"AND {KEPT} AND NOT EXISTS (SELECT 1 FROM decision n WHERE n.photo_id = d.photo_id AND n.page = d.page "
            "AND n.path = d.path AND n.occurrence = d.occurrence AND n.id > d.id AND n.generation_id = d.generation_id) "
            "ORDER BY id DESC LIMIT ?",
            (number,),
        )
        for row in list(rows):
            said = self.said(row["generation_id"])
            if said is not None:
                yield Decision(**dict(row)), said

    def note_edits(
        self, page: str, known: Sequence[Placement], placements: Sequence[Placement]
    ) -> int:
        """What a person changed on a page since it was read is a decision, newer than those before: a
        text of ours that was deleted stays deleted, and one that was rewritten is theirs. Called before
        the page's new placements replace the known ones, inside the caller's transaction; returns the
        number of deletions."""
        standing = {(p.path, p.occurrence): p for p in known}
        deleted = 0
        for new in placements:
            old = standing.get((new.path, new.occurrence))
            if old is None or new.path is None or folded(old.alt) == folded(new.alt):
                continue
            place = (page, new.path, new.occurrence)
            ours = self.store.row(
                "SELECT w.photo_id, w.language, w.text FROM written w JOIN change c ON c.id = w.change_id WHERE "
                "w.page = ? AND w.path = ? AND w.occurrence = ? AND c.state = 'done' ORDER BY w.id DESC LIMIT 1",
                place,
            )
            if ours is not None and folded(ours["text"]) != folded(old.alt):
                ours = None
            if folded(new.alt):
                said = ours or self.store.row(
                    "SELECT photo_id, language FROM decision WHERE page = ? AND path = ? AND occurrence = ? "
                    "ORDER BY id DESC LIMIT 1",
                    place,
                )
                if said is not None:
                    self._note_edit(said, place, "human", new.alt or "")
            elif ours is not None and not _stands_elsewhere(old, placements):
                self._note_edit(ours, place, "cleared", "")
                deleted += 1
        return deleted

    def _note_edit(
        self, said: sqlite3.Row, place: tuple[str, str, int], state: str, text: str
    ) -> None:
        self.db.execute(
            "INSERT INTO decision (photo_id, page, path, occurrence, language, state, text, extended, "
            "generation_id, who, at) VALUES (?, ?, ?, ?, ?, ?, ?, '', NULL, 'page edited', ?)",
            (said["photo_id"], *place, said["language"], state, text, now()),
        )

    def history(self, photo_id: int) -> list[dict[str, Any]]:
        """Everything ever said, decided and written about a photo, oldest first."""
        events = [
            {"event": kind, **{k: v for k, v in dict(row).items() if v is not None}}
            for kind, sql in _HISTORY.items()
            for row in self.store.rows(sql, (photo_id,))
        ]
        return sorted(events, key=lambda e: (e["at"], e["event"] != "generation"))

    def tallies(self) -> list[dict[str, Any]]:
        """Per model and language: generations, cost in USD, mean seconds."""
        return [
            dict(r)
            for r in self.store.rows(
                "SELECT m.name AS model, m.fingerprint, m.draft, t.language, t.generations, t.cost_usd, "
                "t.milliseconds / 1000.0 / t.generations AS seconds FROM tally t JOIN model m ON m.id = t.model_id "
                "ORDER BY t.generations DESC"
            )
        ]

    def decision_counts(self) -> dict[str, int]:
        return {
            r[0]: r[1]
            for r in self.store.rows(
                "SELECT state, count(*) FROM decision d WHERE state != 'withdrawn' AND NOT EXISTS (SELECT 1 FROM decision n WHERE "
                "n.photo_id = d.photo_id AND n.page = d.page AND n.path = d.path AND n.occurrence = d.occurrence "
                "AND n.language = d.language AND n.id > d.id) GROUP BY state"
            )
        }

    def decided_since_apply(self) -> bool:
        """Whether something was decided after the last apply that stands."""
        return bool(
            self.store.one(
                "SELECT EXISTS (SELECT 1 FROM decision WHERE at > coalesce((SELECT max(at) FROM apply "
                "WHERE undone_at IS NULL), ''))"
            )
        )

    def described_photos(self) -> int:
        found: int = self.store.one(
            "SELECT count(*) FROM (SELECT DISTINCT photo_id FROM generation WHERE substr(context_hash, 1, 6) != ?)",
            (TRIAL,),
        )
        return found


_HISTORY = {
    "generation": "SELECT g.at, m.name AS model, m.fingerprint, g.language, g.raw, g.alt, g.extended, g.decorative, "
    "g.notes, g.cost_usd, g.milliseconds, g.prompt_hash, g.context_hash, g.attempt, g.id FROM generation g "
    "JOIN model m ON m.id = g.model_id WHERE g.photo_id = ?",
    "failure": "SELECT f.at, m.name AS model, f.error FROM failure f JOIN model m ON m.id = f.model_id WHERE f.photo_id = ?",
    "decision": "SELECT at, state, page, path, occurrence, language, text, extended, generation_id, who FROM decision "
    "WHERE photo_id = ?",
    "written": "SELECT a.at, c.path AS file, c.kind, c.state AS change, w.page, w.path, w.occurrence, w.text, w.state, "
    "a.undone_at FROM written w JOIN change c ON c.id = w.change_id JOIN apply a ON a.id = c.apply_id WHERE w.photo_id = ?",
}


def _stands_elsewhere(old: Placement, placements: Sequence[Placement]) -> bool:
    """Whether the page still shows the photo with the old text: another showing came before it."""
    return any(p.path == old.path and folded(p.alt) == folded(old.alt) for p in placements)
