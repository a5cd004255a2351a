"""Relative score: how a judge rates a model's answers beside reference answers, as LLaVA-Bench does.

Source: Liu et al., "Visual Instruction Tuning", NeurIPS 2023, section 5.1, and LLaVA's
llava/eval/eval_gpt_review*.py and summarize_gpt_review.py.
"""

from __future__ import annotations

import re

from looksay.errors import InputError

LOWEST, HIGHEST = 1.0, 10.0

_NUMBER = r"(\d+(?:\.\d+)?)"
_PAIR = re.compile(rf"\s*{_NUMBER}(?:\s*,\s*|\s+){_NUMBER}\s*")


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
