"""Yes or no, read from an answer that says so in so many words."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

YesNo = Literal["yes", "no"]

_SENTENCES = re.compile(r"[.!?\n]")
_GOES_ON = (
    "there|it|i|he|she|they|we|you|this|that|these|those|the|an?|is|not|but|because|since|sorry"
)
"""Words before which "no" is an answer without a comma; before others it belongs to a noun (no dogs, no one)."""


def strict(answer: str) -> YesNo | None:
    """The answer where it says yes or no in so many words; None is a failed parse.

    It must open a sentence with the word or say "the answer is …", and nowhere have the other as a word of
    its own: "There is no car", "No idea", "No one can tell", "Yes, but no" and "No, wait, yes" are failures,
    because reading them is guessing.

    >>> strict("Yes, there is no doubt."), strict("**No**"), strict("No dogs, but yes, a cat.")
    ('yes', 'no', None)
    """
    said = _either(answer, "yes", "no", "answer")
    return None if said is None else "yes" if said == "yes" else "no"


def true_false(answer: str) -> bool | None:
    """The same of a statement that is true or false; "the statement is true" counts too.

    >>> true_false("True."), true_false("The sentence is false."), true_false("It is not true.")
    (True, False, None)
    """
    said = _either(answer, "true", "false", "(?:answer|statement|sentence|claim)")
    return None if said is None else said == "true"


def _either(answer: str, first: str, second: str, subject: str) -> str | None:
    opening, stated = _patterns(first, second, subject)
    opened = [opening.match(answer, start) for start in _starts(answer)]
    words = [*(found[1] for found in opened if found), *stated.findall(answer)]
    said = {word.lower() for word in words}
    if len(said) != 1:
        return None
    (found,) = said
    other = second if found == first else first
    return None if _alone(other).search(answer) else found


def _starts(answer: str) -> list[int]:
    return [0, *(mark.end() for mark in _SENTENCES.finditer(answer))]


@cache
def _alone(word: str) -> re.Pattern[str]:
    """The word as an answer: not the first part of another word, a number's sign (No. 5) or a noun's "no"."""
    noun = rf"(?![^\S\n]+(?!(?:{_GOES_ON})\b)\w)(?!\.\s*\d)" if word == "no" else ""
    return re.compile(rf"(?<![^\W_]){word}(?![^\W_])(?![-‐]\w){noun}", re.I)


@cache
def _patterns(first: str, second: str, subject: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The word that opens a sentence; the word after "the answer is"."""
    one = f"({_alone(first).pattern}|{_alone(second).pattern})"
    return (
        re.compile(rf"[\W_]*{one}", re.I),
        re.compile(rf"\b{subject}(?:\s+is|\s*:)[\W_]*{one}", re.I),
    )
