"""Findings kept on disk, so that no expert looks twice at the same picture: one JSON file for each key.

A key is the digest of the picture's bytes, the expert and its fingerprint. Two processes may use one folder:
each writes a file of its own and renames it in one step, and what both find is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from looksay.errors import InputError, plainly
from looksay.experts import records
from looksay.experts.base import Expert, Findings, Namer
from looksay.images import digest
from looksay.keeping import keep

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow


class Cached:
    """An expert whose findings are kept in a folder; an expert itself."""

    def __init__(self, expert: Expert, folder: Path) -> None:
        self._expert, self._folder = expert, folder
        self.name = expert.name
        self.asked = 0
        """Pictures that the expert itself looked at."""

    @property
    def fingerprint(self) -> str:
        return self._expert.fingerprint

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the expert; none where it does not know them."""
        return self._expert.names if isinstance(self._expert, Namer) else ()

    def find(self, source: Path | bytes | Pillow) -> Findings:
        """What the folder holds, or else what the expert finds; a file that is damaged is made anew.

        Raises what the expert raises, and InputError where the folder cannot be written.
        """
        head = {
            "image": _digest(source),
            "expert": self.name.partition(":")[0],
            "fingerprint": self.fingerprint,
        }
        key = hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()
        path = self._folder / key[:2] / f"{key}.json"
        kept = _read(path, head)
        if kept is None:
            kept = self._expert.find(source)
            self.asked += 1
            _write(path, {**head, "findings": records.to_json(kept)})
        return kept


def _digest(source: Path | bytes | Pillow) -> str:
    try:
        return digest(source)
    except OSError as error:
        raise InputError(f"{source!s} cannot be read: {plainly(error)}.") from error


def _read(path: Path, head: dict[str, str]) -> Findings | None:
    with contextlib.suppress(OSError, ValueError, InputError):
        record = json.loads(path.read_text("utf-8"))
        if isinstance(record, dict) and head.items() <= record.items():
            return records.from_json(record.get("findings"), str(path))
    return None


def _write(path: Path, record: dict[str, Any]) -> None:
    try:
        keep(path, json.dumps(record, ensure_ascii=False).encode())
    except OSError as error:
        raise InputError(
            f"Findings cannot be kept in {path.parent.parent}: {plainly(error)}. Choose a folder that can "
            "be written, or leave the cache out."
        ) from error
