"""What a text claims, one thing at a time, and what takes texts apart and puts them together.

Who describes, who makes data and who measures want it, and these three may not import each other. What speaks for a claim
stands in `looksay.describing.claims`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["object", "count", "attribute", "relation", "text"]


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One thing that a text says. Equal claims say the same, in whichever words.

    Example: Claim("object", "dog"), Claim("count", "dog", "3"), Claim("attribute", "dog", "small"),
    Claim("relation", "dog", "left of", "cat"), Claim("text", "sign", "HELLO").
    """

    kind: Kind
    subject: str
    """What it is about, in the singular."""
    value: str = ""
    other: str = ""
    """The second thing of a relation."""


@dataclass(frozen=True, slots=True)
class Said:
    """A claim and where a text says it: (start, end) in characters, end excluded, one or more."""

    claim: Claim
    spans: tuple[tuple[int, int], ...]


class Reader(Protocol):
    """Takes texts apart."""

    @property
    def name(self) -> str:
        """With its version: part of every key."""

    def read(self, text: str) -> list[Said]:
        """What the text claims, each claim once, in the order in which it is said."""

    def kind(self, noun: str) -> str:
        """What a thing is one of, so that another may call it that: "dog" for "puppy"; the noun itself where it is
        called nothing else."""

    def words(self, claim: Claim) -> str:
        """The claim in words: "three dogs", "a dog left of a cat"."""

    def question(self, claim: Claim) -> str:
        """What to ask about the claim alone."""

    def answers(self, claim: Claim) -> tuple[str, ...]:
        """What can be answered to that, first what is answered if the claim is true: ("yes", "no")."""

    def compose(self, claims: Sequence[Claim]) -> str:
        """Sentences that say these claims and nothing else, the first things first; "" where there are none. What
        `read` finds in them is these claims, and the objects of which they speak."""
