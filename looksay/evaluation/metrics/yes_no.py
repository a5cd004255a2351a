"""Yes or no, read from an answer: what POPE, MME and judges of single facts have in common."""

from __future__ import annotations

import re
from typing import Literal

from looksay.evaluation.metrics.vqa import unpunctuated

YesNo = Literal["yes", "no"]

_SENTENCES = re.compile(r"[.!?\n]")
_OPENING = re.compile(r"[\W_]*(yes|no)\b", re.I)
_BOTH = re.compile(r"\b(?:yes\s*(?:and|or|/)\s*no|no\s*(?:and|or|/)\s*yes)\b", re.I)
_STATED = re.compile(r"\banswer(?:\s+is|\s*:)[\W_]*(yes|no)\b", re.I)


def strict(answer: str) -> YesNo | None:
    """The answer where it says yes or no in so many words; None is a failed parse.

    It must open a sentence with the word or say "the answer is …", and nowhere the other: "There is no
    car", "Not really", "Yes and no" and "Yes. No." are failures, because reading them is guessing.

    >>> strict("Yes, there is no doubt."), strict("**No**"), strict("There is no car.")
    ('yes', 'no', None)
    """
    if _BOTH.search(answer):
        return None
    opened = [_OPENING.match(sentence) for sentence in _SENTENCES.split(answer)]
    words = [*(found[1] for found in opened if found), *_STATED.findall(answer)]
    return _only({word.lower() for word in words})


def vlmevalkit(answer: str) -> YesNo | None:
    """As VLMEvalKit without a judge: one of the two words occurs anywhere and the other does not.

    Source: YOrN_Extraction in vlmeval/dataset/utils/yorn.py, with VQA's punctuation rules.
    """
    return _only({"yes", "no"} & set(unpunctuated(answer.lower()).split()))


def _only(said: set[str]) -> YesNo | None:
    if said == {"yes"}:
        return "yes"
    return "no" if said == {"no"} else None
