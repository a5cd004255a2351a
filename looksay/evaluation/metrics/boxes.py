"""Boxes that answers name, and how far they overlap the right one.

A box is (left, top, right, bottom) in shares of the picture's width and height, 0 to 1, from its upper left
corner. Sources: the form "[0.1, 0.2, 0.5, 0.9]" is that of Shikra, LLaVA-1.5 and lmms-eval
(tasks/refcoco/utils_rec.py); "{<10><20><50><90>}" in hundredths is MiniGPT-v2's (eval_scripts/eval_ref.py).
"""

from __future__ import annotations

import re
from typing import Literal

from looksay.experts.boxes import Box, overlap

__all__ = ["Box", "Compat", "overlap", "parse"]

Compat = Literal["strict", "lmms-eval"]
"""Whose reading of an answer; strict is ours."""

_NUMBER = r"\s*(-?\d+(?:\.\d+)?|-?\.\d+)\s*"
_FOUR = ",".join([_NUMBER] * 4)
_BRACKETED = re.compile(rf"\[{_FOUR}\]|\({_FOUR}\)")
_BARE = re.compile(rf"{_FOUR}\.?")
_HUNDREDTHS = re.compile(r"\{\s*" + r"\s*".join([r"<(\d{1,3})>"] * 4) + r"\s*\}")
_LMMS_EVAL = re.compile(r"\[" + ",".join([r"\s*(-?\d+(?:\.\d+)?)"] * 4) + r"\s*\]")


def parse(answer: str, compat: Compat = "strict") -> Box | None:
    """The box that an answer names; None is a failed parse.

    strict: one box and no other, in brackets or alone, its numbers from 0 to 1, its sides longer than 0;
    braces with angle brackets are hundredths. lmms-eval: the first four numbers in square brackets,
    whatever they are; where there are none it scores the box 0, 0, 0, 0, which overlaps nothing.

    >>> parse("It is at [0.1, 0.2, 0.5, 0.9]."), parse("{<10><20><50><90>}")
    ((0.1, 0.2, 0.5, 0.9), (0.1, 0.2, 0.5, 0.9))
    >>> parse("[10, 20, 50, 90]"), parse("[10, 20, 50, 90]", "lmms-eval")
    (None, (10.0, 20.0, 50.0, 90.0))
    """
    if compat == "lmms-eval":
        first = _LMMS_EVAL.search(answer)
        return _box(first.groups()) if first else None
    found = {_box(match.groups()) for match in _BRACKETED.finditer(answer)}
    found |= {_box(match.groups(), 100.0) for match in _HUNDREDTHS.finditer(answer)}
    bare = _BARE.fullmatch(answer.strip())
    if bare:
        found.add(_box(bare.groups()))
    return found.pop() if len(found) == 1 and all(map(_inside, found)) else None


def _box(numbers: tuple[str | None, ...], unit: float = 1.0) -> Box:
    left, top, right, bottom = (float(one) / unit for one in numbers if one is not None)
    return left, top, right, bottom


def _inside(box: Box) -> bool:
    left, top, right, bottom = box
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1
