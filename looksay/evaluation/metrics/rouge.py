"""ROUGE-L of captions: how much of the longest common subsequence with a reference there is.

Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3, as the COCO
evaluation computes it: F with beta 1.2, and the best precision and the best recall are taken over the
references separately (a quirk: they may come from different references). Tokens come from `ptb.tokenize`.
The usual ROUGE packages compute something else; their figures are not comparable.
"""

from __future__ import annotations

from collections.abc import Sequence

from looksay.errors import InputError
from looksay.evaluation.metrics.grams import Tokens

_BETA = 1.2


def common(one: Tokens, other: Tokens) -> int:
    """Length of the longest common subsequence, in tokens.

    Bit-parallel, one step per token of `other`. Source: Hyyrö, "Bit-parallel LCS-length computation
    revisited", 2004.

    >>> common("a dog sits on a mat".split(), "the dog on the mat".split())
    3
    """
    places: dict[str, int] = {}
    for number, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << number
    every = (1 << len(one)) - 1
    row = every
    for token in other:
        here = row & places.get(token, 0)
        row = (row + here) | (row - here)
    return len(one) - (row & every).bit_count()


def rouge_l(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """ROUGE-L of one caption, 0 to 1; a corpus figure is the mean. Raises InputError without reference.

    An empty caption scores 0, also against an empty reference, where the COCO code gives 1.

    >>> rouge_l("a dog sits".split(), ["a dog sits".split(), "a cat".split()])
    1.0
    """
    if not references:
        raise InputError("A caption has no reference; ROUGE-L needs at least one.")
    shared = [common(reference, candidate) for reference in references]
    if not any(shared):
        return 0.0
    precision = max(shared) / len(candidate)
    recall = max(n / len(r) for n, r in zip(shared, references, strict=True) if r)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
