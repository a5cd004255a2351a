"""The reviewers' desk: what the review page asks for, read from the catalogue and written to it by one thread."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from looksay.describing.calibration import Scale
from looksay.describing.claims import as_records
from looksay.describing.judging import Judge
from looksay.errors import CatalogError, InputError
from looksay.library.catalog import Catalog
from looksay.library.queue import PIECE, Entry, Filter, Place, Queue
from looksay.library.records import Decision, Target, Words
from looksay.library.reviewing import Reviewer, Ruling
from looksay.settings import Settings

HELD_S = 120.0
"""A text that somebody looks at is shown to nobody else for so long."""
SAMPLE = 12
REVIEWS_BETWEEN = 25
"""The scale of risks is another only after so many more reviews, for it moves the whole queue."""

Item = dict[str, Any]


class Gone(InputError):
    """What was to be decided on is not in the library any more."""


class Desk:
    """An open catalogue with its queue. All methods belong to the thread that made it."""

    def __init__(self, db: Path, settings: Settings) -> None:
        self.catalog = Catalog(db)
        self.root = self.catalog.root
        self.language = settings.language
        self.judge = Judge(self.catalog)
        self.queue = Queue(self.catalog, settings.language, self.judge.rate)
        self.reviewer = Reviewer(self.catalog, settings.language)
        self._held: dict[Place, tuple[str, float]] = {}
        self._left = 0
        self._learn()

    def close(self) -> None:
        self.catalog.close()

    def keep_up(self) -> int:
        """Bring a piece of the queue up to date; returns how many photos are left, counted anew when none should be and
        where somebody else has brought them up to date."""
        done = self.queue.refresh(PIECE)
        self._left = self._left - done if 0 < done < self._left else self.queue.stale()
        return self._left

    def _learn(self) -> None:
        """Have the queue told anew where the risks are others by now."""
        self.judge.learn()
        scale = self.judge.scale
        fitted = scale.reviews // REVIEWS_BETWEEN if scale.calibrated else 0
        if self.queue.settle("risk", f"{self.language} {Scale().digest} {fitted}"):
            self.queue.outdate()

    # --- what there is ----------------------------------------------------------------------------

    def next(
        self, wanted: Filter, after: tuple[float, str, str, int] | None, number: int, reader: str
    ) -> dict[str, Any]:
        """The next texts for a reader; where there is none, of how many photos it is not known yet."""
        now = time.monotonic()
        self._held = {p: held for p, held in self._held.items() if held[1] > now}
        others = [place for place, (who, _) in self._held.items() if who != reader]
        try:
            entries = self.queue.next(wanted, after, number, others)
        except CatalogError:  # another process is writing: the page asks again
            return {"items": [], "stale": 1}
        for entry in entries:
            self._held[entry.place] = (reader, now + HELD_S)
        items = [item for entry in entries if (item := self._item(entry))]
        return {"items": items, "stale": 0 if items else self.queue.stale()}

    def leave(self, reader: str) -> None:
        """A reader is gone: what they looked at is shown to others at once."""
        self._held = {place: held for place, held in self._held.items() if held[0] != reader}

    def item(self, place: Place, reader: str) -> Item:
        """One text. Raises Gone."""
        target = self._target(place)
        self._held[place] = (reader, time.monotonic() + HELD_S)
        entry = self.queue.find(place)
        if entry is None:
            words = self.catalog.ledger.words(target, None, self.language)
            entry = Entry(
                *place, words.language, target.photo_id, target.lead_id, "decided", words.state, "", None, 0.0, ""
            )  # fmt: skip
        found = self._item(entry)
        assert found is not None  # its target is there
        return found

    def progress(self, who: str) -> dict[str, Any]:
        """How much there is, how much is done, and how fast this person is."""
        counts = self.queue.counts()
        number, mean_s = self.reviewer.decisions.pace(who)
        return {
            "counts": counts,
            "stale": self.queue.stale(),
            "pace": {"decisions": number, "seconds": round(mean_s, 2)},
            "calibrated": self.judge.scale.calibrated,
            "reviews": self.judge.scale.reviews,
        }

    def _item(self, entry: Entry) -> Item | None:
        target = self._find(entry.place)
        place = self.catalog.place(entry.path)
        if target is None or place is None:
            return None  # a scan has just taken it away
        words = self.catalog.ledger.words(target, None, self.language)
        last = self.reviewer.decisions.last(target)
        said = self.catalog.ledger.candidates(target, words.language)
        group = self.queue.group(entry)
        return {
            "page": target.page,
            "path": target.path,
            "occurrence": target.occurrence,
            "cursor": [entry.risk, entry.path, entry.page, entry.occurrence],
            "state": entry.state,
            "photo": place.sha256.hex() if place.sha256 else "",
            "gone": not (self.root / target.path).is_file(),
            "standing": target.alt or "",
            "context": {k: v for k, v in asdict(target.context).items() if v and k != "language"},
            "words": self._said(target, words),
            "candidates": [self._said(target, one) for one in said],
            "saw": last.id if last else 0,
            "decided": decided(last) if last and last.state != "withdrawn" else None,
            "group": sorted({one.name for one in group}),
        }

    def _said(self, target: Target, words: Words) -> dict[str, Any]:
        risk = self.judge.risk(target, words) if words.state in ("ai", "draft") else None
        claims = self.judge.claims(words.generation_id) if words.generation_id else None
        return {
            "state": words.state,
            "text": words.text,
            "extended": words.extended,
            "language": words.language,
            "generation": words.generation_id,
            "model": words.model,
            "notes": words.notes,
            "decorative": words.decorative_proposed or words.state == "decorative",
            "claims": None if claims is None else as_records(claims),
            "risk": risk and asdict(risk) | {"reasons": risk.reasons},
        }

    def photo(self, sha256: str) -> Path | None:
        """A file that holds the photo of this digest, as the last scan saw it."""
        path = self.catalog.file_of(bytes.fromhex(sha256))
        return self.root / path if path else None

    # --- what is decided --------------------------------------------------------------------------

    def decide(self, place: Place, ruling: Ruling, group: bool) -> dict[str, Any]:
        """Take a ruling. Raises Gone, Overtaken, InputError."""
        target = self._target(place)
        entry = self.queue.find(place)
        others = self.queue.group(entry) if group and entry else []
        rows = self.reviewer.rule(target, ruling, others)
        self.queue.renew({row.photo_id for row in rows})
        return {"decisions": len(rows), "saw": rows[0].id, "decided": decided(rows[0])}

    def undo(self, taken: str, token: str, who: str) -> dict[str, Any]:
        """Take back what came under a token. Raises Overtaken, InputError."""
        rows, left = self.reviewer.undo(taken, token, who)
        self.queue.renew({row.photo_id for row in rows})
        return {"decisions": len(rows), "left": left}

    def sample(self, wanted: Filter) -> dict[str, Any]:
        """What accepting all that is wanted would accept: how many, and some from all over it to look at."""
        entries = self.queue.sample(wanted, SAMPLE)
        return {
            "count": self.queue.count(wanted),
            "items": [item for entry in entries if (item := self._item(entry))],
        }

    def accept(self, wanted: Filter, token: str, who: str) -> dict[str, Any]:
        """Accept a piece of all that is wanted; `left` says whether to ask again."""
        entries = self.queue.next(wanted, number=PIECE)
        found = [(self._find(entry.place), entry.generation_id) for entry in entries]
        there = [(target, generation) for target, generation in found if target is not None]
        accepted = self.reviewer.accept_many(there, token, who)
        self.queue.renew({entry.photo_id for entry in entries})
        # What could not be accepted stays in the queue; asked again, it would be all there is.
        return {"accepted": accepted, "left": self.queue.count(wanted) if accepted else 0}

    def _find(self, place: Place) -> Target | None:
        page, path, occurrence = place
        target = self.catalog.targets.find(path, page, occurrence)
        there = target is not None and target.photo_id and self.catalog.has_place(path)
        return target if there else None

    def _target(self, place: Place) -> Target:
        target = self._find(place)
        if target is None:
            page, path, _ = place
            where = f"{path} on {page}" if page else path
            raise Gone(f"{where} is not in the library any more.")
        return target


def decided(decision: Decision) -> Mapping[str, Any]:
    """A decision as the page has it."""
    keys = ("id", "who", "at", "state", "text", "extended")
    return {key: getattr(decision, key) for key in keys}


def dumped(record: Any) -> bytes:
    """JSON as it is sent."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
