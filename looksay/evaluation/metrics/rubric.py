"""Alt texts graded by criteria, and how far two raters agree.

Source of the criteria and grades: D. Buytaert, "Comparing local large language models for alt-text
generation", 2025: two or three key objects, the mood, minus repetition, faults of grammar and invented
details; 0 to 5, turned into F to A. It does not say what each weighs: the weights here are ours. Weighted
kappa: Cohen, "Weighted kappa", Psychological Bulletin, 1968.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from looksay.errors import InputError

LETTERS = "FEDCBA"
"""F is 0, A is 5."""
HIGHEST = len(LETTERS) - 1

OBJECTS_POINTS = 4.0
"""For all key objects; in proportion for some."""
MOOD_POINTS = 1.0
REPETITION_POINTS = 1.0
"""Taken away."""
GRAMMAR_POINTS = 1.0
"""Taken away."""
HALLUCINATION_POINTS = 1.0
"""Taken away for each invented detail."""

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.S | re.I)
"""Many models put JSON into a code fence whatever they are asked; it says nothing, so nothing is guessed."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a rater saw in one alt text.

    Example: Criteria(named=2, objects=3, mood=True, repetition=False, grammar=False, hallucinations=1).
    """

    named: int
    """Key objects that the text names."""
    objects: int
    """Key objects of the picture; the source takes two or three."""
    mood: bool
    """The text conveys the picture's mood."""
    repetition: bool
    grammar: bool
    """The text has a fault of grammar."""
    hallucinations: int
    """Details in the text that are not in the picture."""


def points(criteria: Criteria) -> float:
    """0 to 5: what the text earned, never below 0. Raises InputError for impossible counts.

    >>> points(Criteria(3, 3, mood=True, repetition=False, grammar=False, hallucinations=0))
    5.0
    """
    if not 0 <= criteria.named <= criteria.objects or not criteria.objects:
        raise InputError(
            f"{criteria.named} of {criteria.objects} key objects named: expected at least one key object, "
            "and no more named than there are."
        )
    if criteria.hallucinations < 0:
        raise InputError(f"{criteria.hallucinations} hallucinations: expected 0 or more.")
    earned = OBJECTS_POINTS * criteria.named / criteria.objects + MOOD_POINTS * criteria.mood
    lost = (
        REPETITION_POINTS * criteria.repetition
        + GRAMMAR_POINTS * criteria.grammar
        + HALLUCINATION_POINTS * criteria.hallucinations
    )
    return max(0.0, earned - lost)


def grade(score: float) -> str:
    """The letter of 0 to 5 points, rounded to the nearest, halves up. Raises InputError outside.

    >>> grade(4.5), grade(2.4), grade(0)
    ('A', 'D', 'F')
    """
    if not 0 <= score <= HIGHEST:
        raise InputError(f"{score} points: expected 0 to {HIGHEST}.")
    return LETTERS[math.floor(score + 0.5)]


def points_of(letter: str) -> int:
    """The points of a letter, A to F. Raises InputError for anything else, an empty grade too."""
    if len(letter) != 1 or letter not in LETTERS:
        raise InputError(f"The grade {letter!r}: expected one of A, B, C, D, E, F.")
    return LETTERS.index(letter)


@dataclass(frozen=True, slots=True)
class Grades:
    """Letters of one model. Example: Grades(mean=4.6, n=5, missing=0)."""

    mean: float
    """Points, 0 to 5, over the texts that have a grade; nan where none has."""
    n: int
    missing: int
    """Texts without a grade. They are in no mean."""


def grades(letters: Iterable[str]) -> Grades:
    """The mean of letters; an empty one is missing, not an F."""
    given = list(letters)
    found = [points_of(letter) for letter in given if letter]
    mean = math.fsum(found) / len(found) if found else math.nan
    return Grades(mean, len(found), len(given) - len(found))


def read(reply: str) -> Criteria:
    """The criteria from a judge's reply: one JSON object with the six fields of `Criteria`, no more; a code
    fence may stand around it.

    Raises InputError for prose around it, a missing or further field, and values of another kind.
    """
    wanted = {field.name: bool if field.type == "bool" else int for field in fields(Criteria)}
    fenced = _FENCED.fullmatch(reply)
    try:
        found = json.loads(fenced[1] if fenced else reply)
    except json.JSONDecodeError:
        found = None
    if (
        not isinstance(found, dict)
        or found.keys() != wanted.keys()
        or any(type(found[name]) is not kind for name, kind in wanted.items())
    ):
        form = ", ".join(f'"{name}": {kind.__name__}' for name, kind in wanted.items())
        raise InputError(
            f"The judge wrote {reply[:80]!r}; expected one JSON object and nothing else: {{{form}}}. "
            "Ask the judge again for this text."
        )
    criteria = Criteria(**found)
    points(criteria)
    return criteria


def kappa(
    first: Sequence[int],
    second: Sequence[int],
    *,
    weights: Literal["quadratic", "linear"] = "quadratic",
    levels: int = len(LETTERS),
) -> float | None:
    """Weighted kappa of two raters of the same texts, in levels 0 to `levels` - 1.

    1: they agree; 0: as much as chance would; below: less. A disagreement by d levels weighs d²
    (quadratic) or d (linear). None where chance leaves no disagreement: both give one and the same level
    throughout, or there is no text. Raises InputError for ratings that do not match or are out of range.

    Worked example with the levels 0, 1, 2: the raters give 0 1 2 2 and 0 2 2 2, and so differ once, by one
    level. Chance pairs every rating of the one with every rating of the other: of 16 pairs, 4 differ by 1
    and 5 by 2 levels. Quadratic: 1 - (1/4) / ((4 + 5·4)/16) = 5/6; linear: 1 - (1/4) / ((4 + 5·2)/16) = 5/7.

    >>> round(kappa([0, 1, 2, 2], [0, 2, 2, 2], levels=3), 4)
    0.8333
    """
    if len(first) != len(second):
        raise InputError(f"{len(first)} ratings against {len(second)}: expected the same texts.")
    for rating in (*first, *second):
        if not 0 <= rating < levels:
            raise InputError(f"The rating {rating}: expected 0 to {levels - 1}.")
    power = 2 if weights == "quadratic" else 1
    texts = len(first)
    seen = sum(abs(a - b) ** power for a, b in zip(first, second, strict=True))
    # Levels, not texts squared: 10,000 texts have 100 million pairs.
    often = [[side.count(level) for level in range(levels)] for side in (first, second)]
    expected = sum(
        often[0][a] * often[1][b] * abs(a - b) ** power
        for a in range(levels)
        for b in range(levels)
    )
    return 1 - texts * seen / expected if expected else None
