"""Decisions: what a person may put in the place of what."""

from __future__ import annotations

from looksay.errors import InputError
from looksay.library.catalog import Catalog
from looksay.library.records import Target, Words

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
        model: str | None = None,
    ) -> str:
        """Decide on one target; returns "" or why it was not decided. Words of a person are replaced only
        with `replace`, or by an edit of exactly this target (`explicit`). `model`: whose words are accepted, where it is
        not those that count now. Raises InputError for a verb that nobody knows."""
        if verb not in STATES:
            raise InputError(f"There is no decision {verb!r}. Known: {', '.join(STATES)}.")
        words = self.catalog.ledger.words(target, self.language, self.default)
        state = STATES[verb]
        if words.state == "human" and not replace and not (explicit and verb == "edit"):
            return (
                f"{target.name} has words written by a person: {words.text!r}. To put others in their "
                "place, add --replace."
            )
        if verb == "accept" and model is not None and words.state in ("ai", "draft"):
            said = self._candidates(target, words)
            if model not in said:
                others = f" Others did: {', '.join(said)}." if said else ""
                return f"{model} said nothing of {target.name}.{others}"
            words = said[model]
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

    def _candidates(self, target: Target, words: Words) -> dict[str, Words]:
        language = words.language or target.language(self.language, self.default)
        return {one.model: one for one in self.catalog.ledger.candidates(target, language)}

    def accept_all(self, prefix: str, model: str | None) -> int:
        """Accept the words of all models but drafts where nobody decided, or those of one model, drafts too and
        whether or not another has spoken since; returns how many."""
        accepted = 0
        with self.catalog.transaction():
            targets = self.catalog.targets.all(prefix)
            for target, words in self.catalog.ledger.words_of(targets, self.language, self.default):
                if words.state == "ai" or (words.state == "draft" and model is not None):
                    accepted += not self.decide(target, "accept", model=model)
        return accepted
