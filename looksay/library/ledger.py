"""What was said, decided and written: the append-only half of the catalogue."""

from __future__ import annotations

import getpass
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from looksay.errors import CatalogError
from looksay.library.records import Key, Placement, Target, Words, folded
from looksay.library.store import Store


class _Tongue(NamedTuple):
    """Which languages will do: any, or only `first`."""

    any: bool
    first: str


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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

    def has(self, key: Key) -> bool:
        return (
            self.store.one(
                "SELECT 1 FROM generation WHERE photo_id = ? AND model_id = ? AND prompt_hash = ? AND settings_hash = ? "
                "AND language = ? AND context_hash = ? AND attempt = ?",
                (
                    key.photo_id,
                    key.model_id,
                    key.prompt_hash,
                    key.settings_hash,
                    key.language,
                    key.context_hash,
                    key.attempt,
                ),
            )
            is not None
        )

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
        found: int = self.store.one(
            "SELECT count(*) FROM generation WHERE photo_id = ? AND model_id = ? AND prompt_hash = ? AND "
            "settings_hash = ? AND language = ? AND context_hash = ?",
            (
                key.photo_id,
                key.model_id,
                key.prompt_hash,
                key.settings_hash,
                key.language,
                key.context_hash,
            ),
        )
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
                    key.photo_id,
                    key.model_id,
                    key.prompt_hash,
                    key.settings_hash,
                    key.language,
                    key.context_hash,
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

    def words(self, target: Target, language: str | None = None, default: str = "en") -> Words:
        """The words that count for a target: its own decision; what stands there already; a decision on
        the photo; the reviewed words of its near-duplicate group; the newest generation.

        With `language` only words in that language; without, those in the page's language (or the
        default) before those in any other.
        """
        tongue = _Tongue(language is None, target.language(language, default))
        own = self._decision(target, tongue)
        if own is not None and own["state"] != "rejected":
            return _decided(own, own=True)
        if target.source in ("text", "variable") and not self.is_ours(target):
            return Words("human", target.alt or "", language=tongue.first)
        if target.source == "decorative":
            return Words("decorative", language=tongue.first)
        if target.page:
            general = self._decision(Target(target.photo_id, target.path), tongue)
            if general is not None and general["state"] != "rejected":
                return _decided(general)
        if self.follows(target):
            return self._shared(target, tongue)
        after = own["generation_id"] or 0 if own is not None else 0
        row = self.store.row(
            "SELECT g.*, m.name AS model, m.draft AS draft FROM generation g JOIN model m ON m.id = g.model_id "
            "WHERE g.photo_id = ? AND (? OR g.language = ?) AND g.context_hash IN (?, '') AND g.id > ? "
            "ORDER BY g.language = ? DESC, m.draft, g.context_hash = ? DESC, g.id DESC LIMIT 1",
            (
                target.photo_id,
                *tongue,
                target.context_hash,
                after,
                tongue.first,
                target.context_hash,
            ),
        )
        if row is None:
            return Words("rejected" if own is not None else "none", language=tongue.first)
        return Words(
            "draft" if row["draft"] else "ai",
            row["alt"],
            row["extended"],
            row["language"],
            row["id"],
            row["model"],
            tuple(json.loads(row["notes"])),
            bool(row["decorative"]),
        )

    def _decision(self, target: Target, tongue: _Tongue) -> sqlite3.Row | None:
        path = target.path if target.page else ""
        row: sqlite3.Row | None = self.store.row(
            "SELECT * FROM decision WHERE photo_id IN (?, 0) AND page = ? AND path = ? AND occurrence = ? "
            "AND (? OR language = ?) ORDER BY language = ? DESC, id DESC LIMIT 1",
            (target.photo_id, target.page, path, target.occurrence, *tongue, tongue.first),
        )
        return row

    def follows(self, target: Target) -> bool:
        """Whether the words of a near-duplicate are those of the photo that leads its group: that one
        still wants words, or a person has given it some."""
        if target.lead_id is None or target.lead_id == target.photo_id:
            return False
        return bool(self.store.one(_LEADS, {"lead": target.lead_id}))

    def _shared(self, target: Target, tongue: _Tongue) -> Words:
        row = self.store.row(
            f"SELECT * FROM decision d WHERE photo_id = ? AND (? OR language = ?) AND {_GIVEN} "
            "ORDER BY language = ? DESC, page = '' DESC, id DESC LIMIT 1",
            (target.lead_id, *tongue, tongue.first),
        )
        if row is not None:
            return _decided(row)
        return Words("none", notes=("waits for the review of a near-duplicate",))

    def is_ours(self, target: Target) -> bool:
        """Whether the text that stands there is one that an apply wrote, unchanged since."""
        row = self.store.row(
            "SELECT w.text FROM written w JOIN change c ON c.id = w.change_id "
            "WHERE w.page = ? AND w.path = ? AND w.occurrence = ? AND c.state != 'undone' ORDER BY w.id DESC LIMIT 1",
            (target.page, target.path, target.occurrence),
        )
        return row is not None and folded(row["text"]) == folded(target.alt)

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
        replace_human: bool = False,
    ) -> None:
        """Append a decision. Raises CatalogError where it would put a model's words, or none, in the
        place of a person's and `replace_human` does not say so."""
        standing = self.words(target, language)
        if standing.state == "human" and state in ("reviewed", "rejected") and not replace_human:
            raise CatalogError(
                f"{target.name} has words written by a person: {standing.text!r}. To put others in their "
                "place, add --replace."
            )
        with self.store.transaction():
            self.db.execute(
                "INSERT INTO decision (photo_id, page, path, occurrence, language, state, text, extended, "
                "generation_id, who, at) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (
                    target.photo_id,
                    target.page,
                    target.path if target.page else "",
                    target.occurrence,
                    language,
                    state,
                    text,
                    extended,
                    generation_id,
                    who or _user(),
                    now(),
                ),
            )

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
                "SELECT state, count(*) FROM decision d WHERE NOT EXISTS (SELECT 1 FROM decision n WHERE "
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
            "SELECT count(*) FROM (SELECT DISTINCT photo_id FROM generation)"
        )
        return found


_GIVEN = """state IN ('human', 'reviewed') AND NOT EXISTS (SELECT 1 FROM decision n WHERE n.photo_id = d.photo_id
  AND n.page = d.page AND n.path = d.path AND n.occurrence = d.occurrence AND n.language = d.language AND n.id > d.id)"""
_LEADS = f"""SELECT EXISTS (SELECT 1 FROM decision d WHERE d.photo_id = :lead AND {_GIVEN})
  OR EXISTS (SELECT 1 FROM place l LEFT JOIN placement m ON m.path = l.path WHERE l.photo_id = :lead AND l.gone = 0
    AND (coalesce(m.state, l.state) IN ('missing', 'empty')
      OR EXISTS (SELECT 1 FROM generation g WHERE g.photo_id = :lead))
    AND NOT EXISTS (SELECT 1 FROM decision d WHERE d.photo_id = :lead AND d.state IN ('decorative', 'cleared')))"""
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


def _decided(row: sqlite3.Row, *, own: bool = False) -> Words:
    return replace(
        Words(row["state"], row["text"], row["extended"], row["language"], row["generation_id"]),
        own=own,
    )


def _stands_elsewhere(old: Placement, placements: Sequence[Placement]) -> bool:
    """Whether the page still shows the photo with the old text: another showing came before it."""
    return any(p.path == old.path and folded(p.alt) == folded(old.alt) for p in placements)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no user database, as in some containers
        return "unknown"
