"""Reviewing: decisions of people who look at the same texts at the same time, sent by clients that may send twice.

A ruling says which decision its reviewer saw. Where somebody has decided since, it is not taken, and the reviewer is
told what stands there now, so nobody's words go under unseen. What came under a token that is known is not taken
again. One transaction takes a ruling: what has been answered is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from looksay.errors import CatalogError, InputError
from looksay.library.catalog import Catalog
from looksay.library.deciding import STATES
from looksay.library.decisions import Decisions, now
from looksay.library.records import FINAL, Decision, Target, Words

AT_ONCE = 200
"""Decisions that one transaction takes of many."""


class Overtaken(CatalogError):
    """Somebody has decided on the same target since the reviewer saw it; `by` is what they decided."""

    def __init__(self, by: Decision) -> None:
        super().__init__(f"{by.who} has decided on this meanwhile: {by.state} {by.text!r}".strip())
        self.by = by


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a reviewer wants done with a target.

    Example: Ruling("3f2a…", "edit", "ana", saw=0, text="Two boats at a quay.", generation_id=12, seconds=8.5).
    """

    token: str
    """Made by the client, another for each ruling."""
    verb: str
    """accept, edit, reject, decorative or clear."""
    who: str
    saw: int = 0
    """The number of the newest decision on the target that the reviewer was shown; 0: there was none."""
    text: str = ""
    extended: str = ""
    generation_id: int | None = None
    """The words that were shown: what is accepted, rejected, or was edited."""
    seconds: float | None = None


class Reviewer:
    """Takes rulings on the targets of an open catalogue."""

    def __init__(self, catalog: Catalog, default_language: str) -> None:
        self.catalog, self.default = catalog, default_language
        self.decisions = Decisions(catalog)

    def rule(self, target: Target, ruling: Ruling, others: Sequence[Target] = ()) -> list[Decision]:
        """Take a ruling, also for `others` (its near-duplicates) on which no person has decided; the decisions that it
        came to. Raises Overtaken, and InputError for what cannot be decided so."""
        with self.catalog.transaction():
            if known := self.decisions.sent(ruling.token):
                return known
            last = self.decisions.last(target)
            if last is not None and last.id != ruling.saw:
                raise Overtaken(last)
            state, words = self._wanted(target, ruling)
            others = self._undecided(others)  # before they follow the first
            self._decide(target, state, words, ruling, ruling.token)
            for n, other in enumerate(others, 1):
                if ruling.verb == "reject":
                    own = self._words(other)
                    if own.generation_id is None:
                        continue
                    words = replace(words, generation_id=own.generation_id, language=own.language)
                self._decide(
                    other, state, words, replace(ruling, seconds=None), f"{ruling.token}/{n}"
                )
        return self.decisions.sent(ruling.token)

    def accept_many(self, shown: Sequence[tuple[Target, int | None]], token: str, who: str) -> int:
        """Accept the words of targets as they were shown (target, generation), `AT_ONCE` at most in one call; returns
        how many: not those that other words have taken the place of, or that somebody has decided on."""
        with self.catalog.transaction():
            number = len(self.decisions.sent(token))
            accepted = 0
            for target, generation in shown[:AT_ONCE]:
                words = self._words(target)
                if words.state in FINAL or words.generation_id != generation or generation is None:
                    continue
                accepted += 1
                state = "decorative" if words.decorative_proposed else "reviewed"
                ruling = Ruling(token, "accept", who, generation_id=generation)
                self._decide(target, state, words, ruling, f"{token}/{number + accepted}")
        return accepted

    def undo(self, taken: str, token: str, who: str) -> tuple[list[Decision], int]:
        """Take back what came under the token `taken`, the newest first, `AT_ONCE` at most in one call: what was decided
        before stands again. Returns (the decisions that do it, how many are left for another call).

        Raises InputError where nothing came under it, and Overtaken where it was one decision and somebody has decided
        since; of many, those are left as they are.
        """
        with self.catalog.transaction():
            rows = self.decisions.sent(taken)
            if not rows:
                raise InputError("There is nothing to take back.")
            number = len(self.decisions.sent(token))
            if number and len(rows) == 1:
                return self.decisions.sent(token), 0
            standing = [(row, self.decisions.after(row)) for row in reversed(rows)]
            since = standing[0][1]
            if len(rows) == 1 and since is not None:
                raise Overtaken(since)
            left = [row for row, after in standing if after is None]
            for row in left[:AT_ONCE]:
                number += 1
                self._restore(row, token if len(rows) == 1 else f"{token}/{number}", who)
        return self.decisions.sent(token), max(0, len(left) - AT_ONCE)

    def _restore(self, row: Decision, token: str, who: str) -> None:
        before = self.decisions.before(row)
        if before is None or before.state == "withdrawn":
            before = replace(row, state="withdrawn", text="", extended="", generation_id=None)
        self.decisions.append(replace(before, who=who, at=now(), token=token, seconds=None))

    def _wanted(self, target: Target, ruling: Ruling) -> tuple[str, Words]:
        """The state that a ruling asks for, and the words with it."""
        if ruling.verb not in STATES:
            raise InputError(f"There is no decision {ruling.verb!r}. Known: {', '.join(STATES)}.")
        standing = self._words(target)
        shown = None
        if ruling.generation_id is not None:
            shown = self.catalog.ledger.said(ruling.generation_id)
            if shown is None:
                raise InputError(f"No model said what is number {ruling.generation_id}.")
        language = shown.language if shown else standing.language
        words = Words("none", language=language, generation_id=ruling.generation_id)
        if standing.state == "human" and not standing.own and ruling.verb != "edit":
            raise InputError(
                f"{target.name} has words written by a person: {standing.text!r}. Others can only be written."
            )
        if ruling.verb == "edit":
            if not ruling.text.strip():
                raise InputError(
                    "The text is empty. For decoration there is a decision of its own."
                )
            if shown and (ruling.text, ruling.extended) == (shown.text, shown.extended):
                return "reviewed", shown
            return "human", replace(words, text=ruling.text.strip(), extended=ruling.extended)
        if ruling.verb in ("accept", "reject") and shown is None:
            raise InputError(f"{target.name} has no words of a model to {ruling.verb}.")
        if ruling.verb == "accept" and shown is not None:
            return ("decorative", words) if shown.decorative_proposed else ("reviewed", shown)
        return STATES[ruling.verb], words

    def _decide(self, target: Target, state: str, words: Words, ruling: Ruling, token: str) -> None:
        plain = state in ("human", "reviewed")
        self.catalog.ledger.decide(
            target,
            state,
            text=words.text if plain else "",
            extended=words.extended if plain else "",
            language=words.language,
            generation_id=words.generation_id,
            who=ruling.who,
            token=token,
            seconds=ruling.seconds,
            replace_human=True,
        )

    def _undecided(self, targets: Sequence[Target]) -> list[Target]:
        return [t for t in targets if self._words(t).state in ("ai", "draft", "none")]

    def _words(self, target: Target) -> Words:
        return self.catalog.ledger.words(target, None, self.default)
