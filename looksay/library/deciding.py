"""Decisions: what a person may put in the place of what."""

from __future__ import annotations

from looksay.errors import InputError
from looksay.library.catalog import Catalog
from looksay.library.records import Target

STATES = {
    "accept": "reviewed",
    "edit": "human",
    "reject": "rejected",
    "decorative": "decorative",
    "clear": "cleared",
}
"""What a verb makes of a target."""


class Decider:
    """Takes decisions in one language (None: each target's own)."""

    def __init__(self, catalog: Catalog, language: str | None, default: str) -> None:
        self.catalog, self.language, self.default = catalog, language, default

    def decide(
        self,
        target: Target,
        verb: str,
        text: str = "",
        extended: str = "",
        *,
        replace: bool = False,
        explicit: bool = False,
    ) -> str:
        """Decide on one target; returns "" or why it was not decided. Words of a person are replaced only
        with `replace`, or by an edit of exactly this target (`explicit`). Raises InputError for a verb
        that nobody knows."""
        if verb not in STATES:
            raise InputError(f"There is no decision {verb!r}. Known: {', '.join(STATES)}.")
        words = self.catalog.ledger.words(target, self.language, self.default)
        state = STATES[verb]
        if words.state == "human" and not replace and not (explicit and verb == "edit"):
            return (
                f"{target.name} has words written by a person: {words.text!r}. To put others in their "
                "place, add --replace."
            )
        if verb in ("accept", "reject") and words.state not in ("ai", "draft"):
            return f"{target.name} has no words of a model to {verb} (state: {words.state}). Type: looksay describe"
        if verb == "edit" and not text.strip():
            return "The text is empty. For decoration type: looksay decide PHOTO --decorative"
        if verb == "accept":
            text, extended = words.text, words.extended
            state = "decorative" if words.decorative_proposed else state
        elif verb != "edit":
            text = extended = ""
        self.catalog.ledger.decide(
            target,
            state,
            text=text,
            extended=extended,
            language=words.language or target.language(self.language, self.default),
            generation_id=words.generation_id,
            replace_human=True,
        )
        return ""

    def accept_all(self, prefix: str, model: str | None) -> int:
        """Accept the words of one model, or of all but drafts, that nobody decided on; returns how many."""
        accepted = 0
        with self.catalog.transaction():
            for target in self.catalog.targets.all(prefix):
                words = self.catalog.ledger.words(target, self.language, self.default)
                wanted = words.state == "ai" if model is None else words.model == model
                if words.state in ("ai", "draft") and wanted:
                    accepted += not self.decide(target, "accept")
        return accepted
