"""The n-grams of a caption, which BLEU and CIDEr both count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

Tokens = Sequence[str]
Gram = tuple[str, ...]

MAX = 4
"""The longest n-gram that captions are compared by, everywhere."""


def grams(tokens: Tokens) -> Counter[Gram]:
    """How often each 1- to 4-gram occurs.

    >>> grams(["a", "dog"])
    Counter({('a',): 1, ('dog',): 1, ('a', 'dog'): 1})
    """
    shifted = [tokens[n:] for n in range(MAX)]
    return Counter(chain.from_iterable(zip(*shifted[: n + 1], strict=False) for n in range(MAX)))
