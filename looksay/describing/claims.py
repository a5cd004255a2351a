"""Atomic claims: what a text says, one thing at a time, and what speaks for and against each.

A caption says several things at once, and some of them can be wrong. Taken apart ("there is a dog", "there are three of
them", "the dog is left of the cat") each can be counted over several models, held to what experts found, and asked about
alone, which finds invented details better than asking about the whole (CapMAS, arXiv 2412.15484).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from looksay.texts.claims import Claim, Kind, Reader, Said

__all__ = [
    "REJECTED",
    "SUPPORTED",
    "Checked",
    "Claim",
    "Evidence",
    "How",
    "Kind",
    "Reader",
    "Said",
    "Verdict",
    "as_records",
    "from_records",
]

How = Literal["said", "found", "recorded", "asked"]
"""said: another model's text says so, or says otherwise; found: an expert saw it, or looked for it in vain; recorded:
the file says so (EXIF); asked: a verifier was asked about this claim alone."""
Verdict = Literal["supported", "contested", "rejected", "unchecked"]

SUPPORTED, REJECTED = 2 / 3, 1 / 3
"""Support from which a claim is supported, and below which it is rejected; between them it is contested."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one source says of a claim. Who is silent gives none.

    Example: Evidence("hub:llava-hf/llava-1.5-7b-hf", "said", 1.0, "two small dogs on a sofa").
    """

    source: str
    how: How
    support: float
    """1: it speaks for the claim; 0: against it; between: how likely the source finds it."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A claim with its evidence; `support` is what the evidence comes to, 0 to 1 (None: there is none)."""

    said: Said
    words: str
    evidence: tuple[Evidence, ...] = ()
    support: float | None = None

    @property
    def claim(self) -> Claim:
        return self.said.claim

    @property
    def verdict(self) -> Verdict:
        if self.support is None:
            return "unchecked"
        if self.support >= SUPPORTED:
            return "supported"
        return "contested" if self.support >= REJECTED else "rejected"


def as_records(checked: Iterable[Checked]) -> list[dict[str, Any]]:
    """As the catalogue and the pages have it, JSON in the end; `from_records` reads it back.

    Example: [{"kind": "count", "subject": "dog", "value": "3", "other": "", "spans": [[0, 10]], "words": "three dogs",
    "support": 0.5, "verdict": "contested", "evidence": [{"source": "mini", "how": "said", "support": 0.5, "detail": ""}]}].
    """
    return [
        {
            **asdict(one.claim),
            "spans": [list(span) for span in one.said.spans],
            "words": one.words,
            "support": one.support,
            "verdict": one.verdict,
            "evidence": [asdict(each) for each in one.evidence],
        }
        for one in checked
    ]


def from_records(records: Sequence[Mapping[str, Any]]) -> list[Checked]:
    """What `as_records` wrote."""
    return [
        Checked(
            Said(
                Claim(one["kind"], one["subject"], one["value"], one["other"]),
                tuple((start, end) for start, end in one["spans"]),
            ),
            one["words"],
            tuple(Evidence(**each) for each in one["evidence"]),
            one["support"],
        )
        for one in records
    ]
