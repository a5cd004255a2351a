"""MathVista: an extracted answer brought into the form of its question, and held to the truth as a string.

Source: Lu et al., "MathVista: Evaluating Mathematical Reasoning of Foundation Models in Visual Contexts",
ICLR 2024, and evaluation/calculate_score.py of its repository. Extraction itself is a language model's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from looksay.errors import InputError
from looksay.evaluation.metrics.verdicts import Verdict

Compat = Literal["official", "strict"]
"""Whose reading of an extraction; strict is ours."""

_IN_BRACKETS = re.compile(r"\(([a-zA-Z])\)")


def normalize(
    extraction: str,
    *,
    answer_type: str,
    choices: Sequence[str] | None = None,
    precision: int | None = None,
    compat: Compat = "official",
) -> str | None:
    """An extraction in the form of its question; None is a failed parse.

    With `choices` (multiple choice): the text of the choice that "(B)" or "B" stands for. official: anything
    else, the empty string too, becomes the choice nearest by edit distance, the first of equally near
    ones; strict: it must be a choice's text, letter case aside. Without: by `answer_type`, "integer" cuts
    decimals off, "float" rounds to `precision` digits, "list" and "text" stay.
    Raises InputError for another type.

    >>> normalize("(b) about 70", answer_type="text", choices=["145", "70"])
    '70'
    >>> normalize("3.99", answer_type="integer"), normalize("four", answer_type="integer")
    ('3', None)
    """
    if choices:
        return _chosen(extraction.strip(), choices, compat)
    if answer_type in ("list", "text"):
        return extraction
    if answer_type not in ("integer", "float"):
        raise InputError(
            f"answer_type {answer_type!r}: expected integer, float, list or text, as in MathVista's files."
        )
    try:
        number = float(extraction)
        # round(x, None) is an integer: what the tool does where a float has no precision.
        return str(int(number) if answer_type == "integer" else round(number, precision))
    except (ValueError, OverflowError):
        return None


def verdict(prediction: str | None, answer: str) -> Verdict:
    """Whether a normalised prediction is the answer, character by character; None where there is none."""
    return None if prediction is None else prediction == answer


def _chosen(said: str, choices: Sequence[str], compat: Compat) -> str | None:
    bracketed = _IN_BRACKETS.search(said)
    name = bracketed[1].upper() if bracketed else said
    place = ord(name) - ord("A") if len(name) == 1 else -1
    if 0 <= place < len(choices):
        return choices[place]
    if compat == "strict":
        return next((text for text in choices if text.casefold() == name.casefold()), None)
    return min(choices, key=lambda text: edits(name, text))


def edits(first: str, second: str) -> int:
    """Levenshtein distance: how many characters to insert, take away or replace.

    >>> edits("kitten", "sitting")
    3
    """
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
