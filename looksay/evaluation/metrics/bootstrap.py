"""Percentile bootstrap intervals, resampling whole clusters (all questions of one scene go together).

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; clustered as in
Cameron, Gelbach, Miller, "Bootstrap-based improvements for inference with clustered errors", 2008.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from looksay.errors import InputError


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio of sums with its interval. `value` is nan where the denominator is 0."""

    value: float
    low: float
    high: float
    n: float
    """The denominator: how many cases stand behind the value."""


def ratio(
    rows: Iterable[tuple[Hashable, float, float]],
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Sum of numerators over sum of denominators, with its interval, from (cluster, numerator, denominator).

    A mean is the ratio whose denominators are 1. Resamples without any case are left out. The same rows
    and seed give the same interval.
    """
    if not 0 < level < 1 or samples < 1:
        raise InputError(
            f"level={level}, samples={samples}: expected a level between 0 and 1 and at least 1 sample."
        )
    sums: dict[Hashable, tuple[float, float]] = {}
    for cluster, top, bottom in rows:
        before = sums.get(cluster, (0.0, 0.0))
        sums[cluster] = (before[0] + top, before[1] + bottom)
    clusters = list(sums.values())
    tops, bottoms = [c[0] for c in clusters], [c[1] for c in clusters]
    total = sum(bottoms)
    if not total:
        return Interval(math.nan, math.nan, math.nan, 0.0)
    value = sum(tops) / total
    draw = random.Random(seed)
    numbers = range(len(clusters))
    values = []
    for _ in range(samples):
        chosen = draw.choices(numbers, k=len(clusters))
        bottom = sum(bottoms[i] for i in chosen)
        if bottom:
            values.append(sum(tops[i] for i in chosen) / bottom)
    values.sort()
    tail = (1 - level) / 2
    return Interval(value, _quantile(values, tail), _quantile(values, 1 - tail), total)


def mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean with its interval; without `clusters` each value stands for itself."""
    names = range(len(values)) if clusters is None else clusters
    rows = [(name, value, 1.0) for name, value in zip(names, values, strict=True)]
    return ratio(rows, samples=samples, level=level, seed=seed)


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return math.nan
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
