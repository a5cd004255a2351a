"""A count read from an answer."""

from __future__ import annotations

import re

_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_NUMBERS = re.compile(rf"-?\d[\d.,]*|\b(?:{'|'.join(_WORDS)})\b", re.I)
_WHOLE = re.compile(r"\d+|\d{1,3}(?:,\d{3})+")


def count(answer: str) -> int | None:
    """The one whole number that an answer names, in digits or (to twenty) in words; None is a failed parse.

    Two different numbers, a fraction, a negative number, "some" and "none" are failures: which of them is
    meant, or what number, would be a guess.

    >>> count("There are three dice."), count("1,200"), count("3 or 4"), count("2.5")
    (3, 1200, None, None)
    """
    found = {_value(said.rstrip(".,").lower()) for said in _NUMBERS.findall(answer)}
    return found.pop() if len(found) == 1 else None


def _value(said: str) -> int | None:
    if said in _WORDS:
        return _WORDS.index(said)
    return int(said.replace(",", "")) if _WHOLE.fullmatch(said) else None
