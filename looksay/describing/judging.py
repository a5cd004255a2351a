"""How likely the texts of a catalogue are wrong: by their evidence where somebody has looked, by rules alone where nobody
has, on a scale that learns from the reviews."""

from __future__ import annotations

from collections.abc import Iterator

from looksay.describing import risk
from looksay.describing.calibration import Scale, was_wrong
from looksay.describing.claims import Checked, from_records
from looksay.describing.risk import Features, Risk
from looksay.library.catalog import Catalog
from looksay.library.pages import Context
from looksay.library.records import Target, Words

NEWEST = 2000
"""Reviews that the scale is fitted to, the newest: it is fitted when a command begins, so it may not take long."""


class Judge:
    """Tells the risks of an open catalogue's texts; `learn` first, or they are told by the prior."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.scale = Scale()

    def learn(self) -> str:
        """Fit the scale to what people have decided so far; returns a digest of it."""
        self.scale = Scale.fitted(list(self._reviews()))
        return self.scale.digest

    def rate(self, target: Target, words: Words) -> tuple[float, str]:
        """(risk, level), as the queue wants it."""
        found = self.risk(target, words)
        return found.value, found.level

    def risk(self, target: Target, words: Words) -> Risk:
        """The risk of a model's words for a target, and why."""
        return self.scale.risk(self.features(words, target.context))

    def features(self, words: Words, context: Context | None = None) -> Features:
        """What speaks against a model's words, on a page that says `context`."""
        number = words.generation_id
        said = (self.claims(number) if number is not None else None) or ()
        # A claim without a place in the text was left out of it: that others said so is nothing against it.
        told = [one for one in said if one.said.spans]
        sure = None if number is None else self.catalog.assessments.confidence(number)
        return risk.features(words.text, told, confidence=sure, context=context)

    def claims(self, generation_id: int) -> list[Checked] | None:
        """What a generation's words claim, with evidence; None: nobody has looked."""
        found = self.catalog.assessments.newest(generation_id)
        return None if found is None else from_records(found.claims)

    def _reviews(self) -> Iterator[tuple[Features, bool]]:
        for decision, said in self.catalog.ledger.reviews(NEWEST):
            wrong = was_wrong(decision.state, said.text, decision.text)
            if wrong is not None:
                page = self._context(decision.page, decision.path, decision.occurrence)
                yield self.features(said, page), wrong

    def _context(self, page: str, path: str, occurrence: int) -> Context | None:
        """What the page of a decision says, where it still shows the photo."""
        target = self.catalog.targets.find(path, page, occurrence) if page else None
        return target.context if target else None
