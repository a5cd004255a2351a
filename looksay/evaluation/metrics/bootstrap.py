"""Percentile bootstrap intervals, resampling whole clusters (all questions of one scene go together).

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; clustered as in
Cameron, Gelbach, Miller, "Bootstrap-based improvements for inference with clustered errors", 2008.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

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
    and seed give the same interval. Where every case is alike (all right, none right) the interval has no
    width, however few they were: read `n` beside it.
    """
    if not 0 < level < 1 or samples < 1:
        raise InputError(
            f"level={level}, samples={samples}: expected a level between 0 and 1 and at least 1 sample."
        )
    sums: dict[Hashable, tuple[float, float]] = {}
    for cluster, top, bottom in rows:
        before = sums.get(cluster, (0.0, 0.0))
        sums[cluster] = (before[0] + top, before[1] + bottom)
    pairs = np.array(list(sums.values()), dtype=np.float64).reshape(-1, 2)
    top, total = (float(column) for column in pairs.sum(axis=0))
    if not total:
        return Interval(math.nan, math.nan, math.nan, 0.0)
    draw = np.random.default_rng(seed)
    drawn = [pairs[draw.integers(len(pairs), size=len(pairs))].sum(axis=0) for _ in range(samples)]
    values = [float(one[0] / one[1]) for one in drawn if one[1]]
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail]) if values else (math.nan, math.nan)
    return Interval(top / total, float(low), float(high), total)


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
