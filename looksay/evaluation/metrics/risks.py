"""How well a risk ranks what is wrong, and how true it is as a number.

`risks`: one for each text, more is riskier; `wrong`: whether that text is wrong. Both in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

BINS = 10


def auroc(risks: Sequence[float], wrong: Sequence[bool]) -> float | None:
    """How often a wrong text has a higher risk than one that is right, ties counting half (the area under the ROC
    curve; Mann and Whitney 1947). None where all are wrong or all right."""
    bad = sum(map(bool, wrong))
    good = len(wrong) - bad
    if not bad or not good:
        return None
    below, won = 0, 0.0
    for _, tied in groupby(sorted(zip(risks, wrong, strict=True)), key=lambda pair: pair[0]):
        labels = [label for _, label in tied]
        hits = sum(map(bool, labels))
        misses = len(labels) - hits
        won += hits * (below + misses / 2)
        below += misses
    return won / (bad * good)


def found_first(
    risks: Sequence[float], wrong: Sequence[bool], share: float
) -> tuple[float, float] | None:
    """(share of the wrong texts that lie among the riskiest `share` of all, the largest share that could): with 4 of 10
    texts wrong, the riskiest 2 hold half of them at best. Of texts with one risk, of which some fall inside, each counts
    by chance. None where nothing is wrong."""
    bad, room = sum(map(bool, wrong)), round(share * len(wrong))
    if not bad:
        return None
    found, left = 0.0, float(room)
    ranked = sorted(zip(risks, wrong, strict=True), key=lambda pair: -pair[0])
    for _, tied in groupby(ranked, key=lambda pair: pair[0]):
        labels = [label for _, label in tied]
        taken = min(left, len(labels))
        found += sum(map(bool, labels)) * taken / len(labels)
        left -= taken
    return found / bad, min(room, bad) / bad


def calibration_error(
    risks: Sequence[float], wrong: Sequence[bool], bins: int = BINS
) -> float | None:
    """How far risks are from how often texts of that risk are wrong, on average: texts in the order of their risk, in
    bins of equal size, the absolute difference of the mean risk and the share of wrong ones, weighed by size (expected
    calibration error; bins of equal size as in Nguyen and O'Connor, "Posterior calibration and exploratory analysis",
    2015). None without texts. A perfect risk has an error as well, by chance: about sqrt(p(1 - p) / size) of a bin."""
    if not risks:
        return None
    ranked = sorted(zip(risks, wrong, strict=True), key=lambda pair: pair[0])
    bins = min(bins, len(ranked))
    cuts = [len(ranked) * n // bins for n in range(bins + 1)]
    total = 0.0
    for start, end in pairwise(cuts):
        risk = sum(r for r, _ in ranked[start:end])
        total += abs(risk - sum(bool(w) for _, w in ranked[start:end]))
    return total / len(ranked)
