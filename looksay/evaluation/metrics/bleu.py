"""BLEU-1 to BLEU-4 of captions, over the whole corpus, as the COCO evaluation prints them.

Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002, with
the closest reference's length (the shorter of two equally close ones). Tokens come from `ptb.tokenize`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import starmap
from operator import add

from looksay.errors import InputError
from looksay.evaluation.metrics.grams import MAX, Gram, Tokens, grams

_TINY, _SMALL = 1e-15, 1e-9
"""What the COCO code adds above and below each fraction, so that nothing is divided by 0. Where no 4-gram
matches, BLEU-4 is therefore not 0 but some millionths more; kept for the last digit's sake."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a caption brings to BLEU. Counts add up: those of a corpus, or of a resample, are the sum."""

    length: int
    """Tokens of the caption."""
    reference: int
    """Tokens of the reference closest in length."""
    correct: tuple[int, ...]
    """Its 1- to 4-grams that some reference has too, each at most as often as there."""
    guessed: tuple[int, ...]
    """All its 1- to 4-grams."""


def counts(candidate: Tokens, references: Sequence[Tokens]) -> Counts:
    """Count what one caption shares with its references. Raises InputError where it has none."""
    if not references:
        raise InputError("A caption has no reference; BLEU needs at least one.")
    length = len(candidate)
    own = grams(candidate)
    most: dict[Gram, int] = {}
    for reference in references:
        for gram, times in grams(reference).items():
            if gram in own and times > most.get(gram, 0):
                most[gram] = times
    correct = [0] * MAX
    for gram, times in most.items():
        correct[len(gram) - 1] += min(times, own[gram])
    return Counts(
        length,
        min((len(reference) for reference in references), key=lambda n: (abs(n - length), n)),
        tuple(correct),
        tuple(max(0, length - n) for n in range(MAX)),
    )


def total(samples: Iterable[Counts]) -> Counts:
    """The counts of many captions together."""
    length = reference = 0
    correct = guessed = (0,) * MAX
    for one in samples:
        length += one.length
        reference += one.reference
        correct = tuple(map(add, correct, one.correct))
        guessed = tuple(map(add, guessed, one.guessed))
    return Counts(length, reference, correct, guessed)


def bleu(counted: Counts) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4, each 0 to 1, from the counts of one caption or of a corpus (`total`).

    The corpus figure is not the mean over captions: resample captions, add up their counts, then call this.

    >>> round(bleu(total([counts("a dog sits here".split(), ["a dog sits there".split()])]))[0], 6)
    0.75
    """
    ratio = (counted.length + _TINY) / (counted.reference + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product = 1.0
    found = []
    for n, (right, all_) in enumerate(zip(counted.correct, counted.guessed, strict=True), 1):
        product *= (right + _TINY) / (all_ + _SMALL)
        found.append(product ** (1 / n) * brevity)
    first, second, third, fourth = found
    return first, second, third, fourth


def per_caption(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> list[Counts]:
    """The counts of each caption. Raises InputError where lengths differ or an image has no reference."""
    if len(candidates) != len(references):
        raise InputError(
            f"{len(candidates)} captions, but references of {len(references)} images. "
            "Expected one list of references per caption."
        )
    return list(starmap(counts, zip(candidates, references, strict=True)))
