"""Relative score: how a judge rates a model's answers beside reference answers, as LLaVA-Bench does.

Source: Liu et al., "Visual Instruction Tuning", NeurIPS 2023, section 5.1, and LLaVA's
llava/eval/eval_gpt_review*.py and summarize_gpt_review.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from looksay.errors import InputError

LOWEST, HIGHEST = 1.0, 10.0

_NUMBER = r"(\d+(?:\.\d+)?)"
_PAIR = re.compile(rf"\s*{_NUMBER}(?:\s*,\s*|\s+){_NUMBER}\s*")


@dataclass(frozen=True, slots=True)
class Relative:
    """A model beside the reference. Example: Relative(n=80, reference=7.29, candidate=8.8)."""

    n: int
    reference: float
    """Mean rating of the reference answers, 1 to 10, rounded to three decimals as the script does."""
    candidate: float
    """Mean rating of the model's answers, likewise."""

    @property
    def score(self) -> float:
        """What the field prints: candidate over reference in percent, to one decimal; it can pass 100.

        A ratio of means, not the mean of ratios, which is another figure.
        """
        return round(self.candidate / self.reference * 100, 1)


def ratings(review: str) -> tuple[float, float]:
    """A judge's two ratings, reference first, from the first line of what it wrote.

    Raises InputError where that line is anything but two numbers from 1 to 10, with a space or a comma
    between: words around them, another scale, an error message. LLaVA's script turns such a review into
    the ratings -1 and -1, and averages them with the others.

    >>> ratings("8, 7.5\\nThe first answer …")
    (8.0, 7.5)
    """
    line = review.partition("\n")[0]
    found = _PAIR.fullmatch(line)
    pair = (float(found[1]), float(found[2])) if found else None
    if pair is None or not all(LOWEST <= one <= HIGHEST for one in pair):
        raise InputError(
            f"The judge's first line is {line[:80]!r}; expected two numbers from 1 to 10 and nothing else, "
            "the reference answer's first. Ask the judge again for this answer."
        )
    return pair


def relative(pairs: Sequence[tuple[float, float]]) -> Relative:
    """The score of (rating of the reference answer, rating of the model's) pairs.

    Raises InputError where there are none, and where one is no rating: a failed call (-1) is no score, and
    as a low rating of the reference it would raise this one.
    """
    if not pairs:
        raise InputError("There are no ratings; expected at least one pair, reference first.")
    for place, pair in enumerate(pairs, 1):
        if not all(LOWEST <= one <= HIGHEST for one in pair):
            raise InputError(
                f"Ratings {place} are {pair[0]:g} and {pair[1]:g}; expected numbers from 1 to 10. "
                "A call that failed has no rating: ask the judge again."
            )
    means = [round(math.fsum(side) / len(pairs), 3) for side in zip(*pairs, strict=True)]
    return Relative(len(pairs), *means)
