"""Where photos lie in the space of a dual encoder: vectors kept in the catalogue, in bytes (no numpy here).

The key of a vector is the photo (whatever digests its file has had) and the encoder's fingerprint; what is to
be embedded is what has no vector. A large library's vectors are also laid out in one file beside the catalogue,
which is mapped into memory to search it; it is made from the catalogue, and may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from looksay.errors import InputError
from looksay.library.store import Store

_PIECE = 500
_BYTES = 4
"""Of a float32."""
_WRITTEN = 2**24
"""Bytes written to the file at once. The system keeps in large pieces what came in large pieces: a first look at
every vector of a file that was written 8 kB at a time took twice as long."""


class Found(NamedTuple):
    """A photo that is there, and all files that hold it (relative to the root), in order."""

    photo_id: int
    paths: tuple[str, ...]


class Embeddings:
    """The vectors of one encoder in an open catalogue."""

    def __init__(self, store: Store, fingerprint: str, name: str) -> None:
        self.store, self.fingerprint, self.name = store, fingerprint, name

    @property
    def _encoder(self) -> tuple[int, int, str]:
        """id, width and token; id 0 where nothing has been embedded yet."""
        row = self.store.row(
            "SELECT id, width, token FROM encoder WHERE fingerprint = ?", (self.fingerprint,)
        )
        return (row["id"], row["width"], row["token"]) if row else (0, 0, "")

    @property
    def width(self) -> int:
        """Numbers in a vector; 0 where nothing has been embedded yet."""
        return self._encoder[1]

    def __len__(self) -> int:
        found: int = self.store.one(
            "SELECT coalesce(max(position) + 1, 0) FROM embedding WHERE encoder_id = ?",
            (self._encoder[0],),
        )
        return found

    def lacking(self, prefix: str = "") -> int:
        """How many photos under `prefix` have no vector yet."""
        if len(self) == self.store.one("SELECT count(*) FROM photo"):
            return 0  # the usual case: of a million, the count below takes a second
        found: int = self.store.one(
            f"SELECT count(DISTINCT p.photo_id) {_LACKING}",
            {"encoder": self._encoder[0], "after": 0, "prefix": prefix},
        )
        return found

    def missing(self, prefix: str = "") -> Iterator[tuple[int, str]]:
        """(photo, path) of those, one by one, in the order in which they were first seen."""
        after = 0
        while True:
            # In pieces, as in targets.py; what is added meanwhile has been passed already.
            rows = list(
                self.store.rows(
                    f"SELECT p.photo_id, min(p.path) AS path {_LACKING} GROUP BY p.photo_id "
                    f"ORDER BY p.photo_id LIMIT {_PIECE}",
                    {"encoder": self._encoder[0], "after": after, "prefix": prefix},
                )
            )
            for row in rows:
                yield row["photo_id"], row["path"]
            if len(rows) < _PIECE:
                return
            after = rows[-1]["photo_id"]

    def add(self, vectors: Mapping[int, bytes]) -> int:
        """Append vectors by photo, all or none; returns how many were new (another process may have been
        faster). Raises InputError where their length is not that of the encoder's other vectors."""
        if not vectors:
            return 0
        width = len(next(iter(vectors.values()))) // _BYTES
        with self.store.transaction():
            self.store.db.execute(
                "INSERT INTO encoder (fingerprint, name, width, token) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (fingerprint) DO UPDATE SET name = excluded.name",
                (self.fingerprint, self.name, width, secrets.token_hex(4)),
            )
            encoder, expected, _ = self._encoder
            if wrong := [one for one in vectors.values() if len(one) != expected * _BYTES]:
                raise InputError(
                    f"{self.name} gave a vector of {len(wrong[0]) // _BYTES} numbers; its others have {expected}."
                )
            first = position = len(self)
            for photo_id, vector in vectors.items():
                cursor = self.store.db.execute(
                    "INSERT OR IGNORE INTO embedding VALUES (?, ?, ?, ?)",
                    (encoder, position, photo_id, vector),
                )
                position += cursor.rowcount
        return position - first

    def read(self, start: int = 0) -> Iterator[bytes]:
        """The vectors from position `start` on, in order."""
        for row in self.store.rows(
            "SELECT vector FROM embedding WHERE encoder_id = ? AND position >= ? ORDER BY position",
            (self._encoder[0], start),
        ):
            yield row["vector"]

    def found(self, positions: Sequence[int] | None, prefix: str = "") -> dict[int, Found]:
        """What lies at these positions (None: at all), by position, where a file of it is under `prefix`."""
        wanted = (
            "" if positions is None else " AND e.position IN (SELECT value FROM json_each(:at))"
        )
        rows = self.store.rows(
            f"SELECT e.position, e.photo_id, ({_PATHS}) AS paths FROM embedding e "
            f"WHERE e.encoder_id = :encoder{wanted} ORDER BY e.position",
            {
                "encoder": self._encoder[0],
                "prefix": prefix,
                "at": json.dumps([int(one) for one in positions or ()]),
            },
        )
        paths = ((row, json.loads(row["paths"])) for row in rows)
        return {row["position"]: Found(row["photo_id"], tuple(some)) for row, some in paths if some}

    def position_of(self, photo_id: int) -> int | None:
        found: int | None = self.store.one(
            "SELECT position FROM embedding WHERE encoder_id = ? AND photo_id = ?",
            (self._encoder[0], photo_id),
        )
        return found

    def file(self) -> tuple[Path, int]:
        """The file that holds the vectors one after the other, and how many; only what is new is written.
        Raises OSError where it cannot be written."""
        _, width, token = self._encoder
        path = self.store.path.with_name(f"{self.store.path.name}-vectors-{token}")
        size = width * _BYTES
        if self._kept(path, size) < len(self):
            with self.store.transaction():  # one process at a time
                kept, count = self._kept(path, size), len(self)
                whole = path if kept else path.with_name(f"{path.name}.partial")
                with whole.open("r+b" if kept else "wb", buffering=_WRITTEN) as stream:
                    stream.seek(kept * size)
                    for vector in self.read(kept):
                        stream.write(vector)
                    stream.truncate()
                    stream.flush()
                    os.fsync(stream.fileno())
                if not kept:
                    whole.replace(path)
            return path, count
        return path, len(self)

    def _kept(self, path: Path, size: int) -> int:
        """How many vectors the file holds; 0 where they are not those of this catalogue (which was put back
        to an earlier copy, say)."""
        try:
            count = min(path.stat().st_size // size, len(self))
            with path.open("rb") as stream:
                stream.seek((count - 1) * size)
                last = stream.read(size)
        except (OSError, ValueError, ZeroDivisionError):
            return 0
        return count if last == next(self.read(count - 1), None) else 0


def last_encoder(store: Store) -> str | None:
    """The name of the encoder that came last into the catalogue, if there is one."""
    found: str | None = store.one("SELECT name FROM encoder ORDER BY id DESC LIMIT 1")
    return found


_UNDER = (
    "p.gone = 0 AND (:prefix IN ('', '.') OR p.path = :prefix OR "
    "(p.path >= :prefix || '/' AND p.path < :prefix || '0'))"
)
_LACKING = f"""FROM place p WHERE p.photo_id > :after AND {_UNDER} AND NOT EXISTS
  (SELECT 1 FROM embedding e WHERE e.encoder_id = :encoder AND e.photo_id = p.photo_id)"""
_PATHS = f"""SELECT json_group_array(path) FROM
  (SELECT p.path FROM place p WHERE p.photo_id = e.photo_id AND {_UNDER} ORDER BY p.path)"""
