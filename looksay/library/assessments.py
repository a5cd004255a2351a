"""What is known about the words of a generation: its claims with their evidence, as plain records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from looksay.library.decisions import now
from looksay.library.records import Key
from looksay.library.store import Store
from looksay.types import CONFIDENCE


@dataclass(frozen=True, slots=True)
class Assessment:
    """Example: Assessment(12, "3c1f…", [{"kind": "object", "subject": "dog", …}], {"combined": …}, "2026-05-01T…")."""

    generation_id: int
    method: str
    """Digest of all that it depends on: the same is never made twice."""
    claims: list[dict[str, Any]]
    """As `looksay.describing.claims.as_records` has them. What has no places in the text ("spans") was left out of it:
    others said so."""
    features: dict[str, Any]
    at: str


@dataclass(frozen=True, slots=True)
class Said:
    """Example: Said(12, "Two dogs on a beach.", decorative=False)."""

    generation_id: int
    text: str
    decorative: bool


class Assessments:
    """Rows of an open catalogue; only ever appended to."""

    def __init__(self, store: Store) -> None:
        self.store, self.db = store, store.db

    def has(self, generation_id: int, method: str) -> bool:
        return (
            self.store.one(
                "SELECT 1 FROM assessment WHERE generation_id = ? AND method = ?",
                (generation_id, method),
            )
            is not None
        )

    def add(
        self,
        generation_id: int,
        method: str,
        claims: Sequence[Mapping[str, Any]],
        features: Mapping[str, Any],
    ) -> bool:
        """Append one; False where it is there already (another process was faster)."""
        with self.store.transaction():
            cursor = self.db.execute(
                "INSERT OR IGNORE INTO assessment (generation_id, method, claims, features, at) VALUES (?, ?, ?, ?, ?)",
                (
                    generation_id,
                    method,
                    json.dumps(list(claims), ensure_ascii=False),
                    json.dumps(dict(features), ensure_ascii=False),
                    now(),
                ),
            )
        return cursor.rowcount > 0

    def newest(self, generation_id: int) -> Assessment | None:
        """The one that counts."""
        row = self.store.row(
            "SELECT * FROM assessment WHERE generation_id = ? ORDER BY id DESC LIMIT 1",
            (generation_id,),
        )
        if row is None:
            return None
        return Assessment(
            row["generation_id"],
            row["method"],
            json.loads(row["claims"]),
            json.loads(row["features"]),
            row["at"],
        )

    def of_photo(self, photo_id: int, verifier: str) -> Iterator[list[dict[str, Any]]]:
        """The claims of all texts of a photo that a verifier (its fingerprint) was asked about, the oldest first."""
        for row in self.store.rows(
            "SELECT a.claims FROM assessment a JOIN generation g ON g.id = a.generation_id WHERE g.photo_id = ? AND "
            "json_extract(a.features, '$.verifier') = ? ORDER BY a.id",
            (photo_id, verifier),
        ):
            yield json.loads(row["claims"])

    def said(self, key: Key) -> Said | None:
        """What a model said last for the place of a key, however it was asked: its text, whole."""
        row = self.store.row(
            "SELECT id, alt, extended, decorative FROM generation WHERE photo_id = ? AND model_id = ? AND "
            "language = ? AND context_hash = ? ORDER BY id DESC LIMIT 1",
            (key.photo_id, key.model_id, key.language, key.context_hash),
        )
        if row is None:
            return None
        return Said(row["id"], row["extended"] or row["alt"], bool(row["decorative"]))

    def confidence(self, generation_id: int) -> float | None:
        """Mean log-probability (nats) of a generation's tokens, where its backend told it."""
        told = self.store.one("SELECT details FROM generation WHERE id = ?", (generation_id,))
        found = json.loads(told).get(CONFIDENCE) if told else None
        return found if isinstance(found, int | float) else None

    def author(self, generation_id: int) -> tuple[str, str]:
        """(name, fingerprint) of the model that said a generation."""
        row = self.store.row(
            "SELECT m.name, m.fingerprint FROM generation g JOIN model m ON m.id = g.model_id WHERE g.id = ?",
            (generation_id,),
        )
        return ("", "") if row is None else (row["name"], row["fingerprint"])
