"""Yes or no, read from an answer: what POPE, MME and judges of single facts have in common."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from looksay.evaluation.metrics.vqa import unpunctuated

YesNo = Literal["yes", "no"]

_SENTENCES = re.compile(r"[.!?\n]")


def strict(answer: str) -> YesNo | None:
    """The answer where it says yes or no in so many words; None is a failed parse.

    It must open a sentence with the word or say "the answer is …", and nowhere the other: "There is no
    car", "Not really", "Yes and no" and "Yes. No." are failures, because reading them is guessing.

    >>> strict("Yes, there is no doubt."), strict("**No**"), strict("There is no car.")
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
    opening, both, stated = _patterns(first, second, subject)
    if both.search(answer):
        return None
    opened = [opening.match(sentence) for sentence in _SENTENCES.split(answer)]
    words = [*(found[1] for found in opened if found), *stated.findall(answer)]
    said = {word.lower() for word in words}
    return said.pop() if len(said) == 1 else None


@cache
def _patterns(
    first: str, second: str, subject: str
) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """The word that opens a sentence; the two side by side; the word after "the answer is"."""
    one, side = f"({first}|{second})", r"\s*(?:and|or|/)\s*"
    return (
        re.compile(rf"[\W_]*{one}\b", re.I),
        re.compile(rf"\b(?:{first}{side}{second}|{second}{side}{first})\b", re.I),
        re.compile(rf"\b{subject}(?:\s+is|\s*:)[\W_]*{one}\b", re.I),
    )


def vlmevalkit(answer: str) -> YesNo | None:
    """As VLMEvalKit without a judge: one of the two words occurs anywhere and the other does not.

    Source: YOrN_Extraction in vlmeval/dataset/utils/yorn.py, with VQA's punctuation rules.
    """
    said = {"yes", "no"} & set(unpunctuated(answer.lower()).split())
    return None if len(said) != 1 else "yes" if said == {"yes"} else "no"
