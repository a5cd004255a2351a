"""Yes or no, read from an answer: what POPE, MME and judges of single facts have in common."""

from __future__ import annotations

from looksay.evaluation.metrics.vqa import unpunctuated
from looksay.texts.yes_no import YesNo, strict, true_false

__all__ = ["YesNo", "strict", "true_false", "vlmevalkit"]


def vlmevalkit(answer: str) -> YesNo | None:
    """As VLMEvalKit without a judge: one of the two words occurs anywhere and the other does not.

    Source: YOrN_Extraction in vlmeval/dataset/utils/yorn.py, with VQA's punctuation rules.
    """
    said = {"yes", "no"} & set(unpunctuated(answer.lower()).split())
    return None if len(said) != 1 else "yes" if said == {"yes"} else "no"
