"""Figures made of numbers that add up: each sample gives a few, and the figure is a function of their sums.

An accuracy is (right, 1) per sample and the ratio of the sums; F1 is (hits, false alarms, misses); BLEU is
clipped matches and lengths. So intervals, paired differences and tests are one computation for all.
Sources: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; clusters as in Cameron,
Gelbach, Miller, "Bootstrap-based improvements for inference with clustered errors", 2008; the paired test is
approximate randomisation (Noreen, "Computer-intensive methods for testing hypotheses", 1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from looksay.errors import InputError

Array = NDArray[np.float64]

SAMPLES = 1000
"""Resamples of an interval, and swaps of a test, unless told otherwise."""
_CHUNK = 2**22
"""Counts held at once."""


def share(part: float, whole: float) -> float:
    """The first sum over the second, nan where that is 0."""
    return part / whole if whole else math.nan


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a benchmark and what every sample adds to it.

    Example: Measure("accuracy", {"q1": (1.0, 1.0), "q2": (0.0, 1.0)}), whose value is 50 (percent).
    """

    name: str
    rows: Mapping[str, tuple[float, ...]]
    """Sample's id → the numbers that it adds; all of one length."""
    value: Callable[..., float] = share
    """The figure from the k sums; nan where there is nothing to measure."""
    scale: float = 100.0
    """What the field multiplies the value with when it prints it; 100: percent."""
    better: int = 1
    """1: more is better; -1: less is; 0: neither (lengths, shares of yes)."""
    kind: str = ""
    """The type of sample that it is about; empty: all."""
    decided_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Sample's id → the answers that decided it, where it is not the answer of that id: of a question that must be
    right in every order of its options, the orders in which it was not."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A measure's value, scaled as it is printed, with its interval. nan where nothing was measured."""

    value: float
    low: float
    high: float
    samples: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a second model is above a first on the samples that both answered, scaled as printed."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided: how often swapping the models' answers cluster by cluster makes a difference as large."""
    samples: int
    clusters: int


def interval(
    measure: Measure,
    clusters: Mapping[str, str] | None = None,
    *,
    samples: int = SAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The measure's value with its percentile bootstrap interval, resampling whole clusters.

    `clusters`: sample's id → what it shares with others (its image); without, each sample is its own.
    Where every sample is alike the interval has no width, however few they are: read `samples` beside it;
    those that add nothing are not among them.
    Raises InputError for a level or a number of samples that means nothing.
    """
    _check(samples, level)
    ids = sorted(one for one, row in measure.rows.items() if any(row))
    sums = _summed(measure, ids, clusters)
    if not ids:
        return Interval(math.nan, math.nan, math.nan, 0, 0)
    low, high = _tails(_values(measure, _resampled(sums, samples, seed)), level)
    value = float(_values(measure, sums.sum(axis=0, keepdims=True))[0])
    return Interval(value, low, high, len(ids), len(sums))


def difference(
    first: Measure,
    second: Measure,
    clusters: Mapping[str, str] | None = None,
    *,
    samples: int = SAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """`second` minus `first`, paired: both on the same resamples, and tested by swapping their answers.

    Only samples that both have count. Raises InputError where they are different measures.
    """
    _check(samples, level)
    if first.name != second.name or first.scale != second.scale:
        raise InputError(f"{first.name!r} cannot be compared with {second.name!r}.")
    both = first.rows.keys() & second.rows.keys()
    ids = sorted(one for one in both if any(first.rows[one]) or any(second.rows[one]))
    pair = [_summed(measure, ids, clusters) for measure in (first, second)]
    if not ids:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0, 0)

    def apart(before: Array, after: Array) -> Array:
        return _values(second, after) - _values(first, before)

    value = float(apart(*(sums.sum(axis=0, keepdims=True) for sums in pair))[0])
    width = pair[0].shape[1]
    drawn = _resampled(np.hstack(pair), samples, seed)
    low, high = _tails(apart(drawn[:, :width], drawn[:, width:]), level)
    # Swapping a cluster's answers moves its own difference from one sum to the other.
    moved, times = np.unique(pair[1] - pair[0], axis=0, return_counts=True)
    swaps = np.random.default_rng(seed).binomial(times, 0.5, size=(samples, len(times))) @ moved
    swapped = apart(pair[0].sum(axis=0) + swaps, pair[1].sum(axis=0) - swaps)
    # Rounding must not make an equal difference smaller.
    as_large = int((np.abs(swapped) >= abs(value) - 1e-9 * first.scale).sum())
    return Difference(value, low, high, (1 + as_large) / (1 + samples), len(ids), len(pair[0]))


def _check(samples: int, level: float) -> None:
    if not 0 < level < 1 or samples < 1:
        raise InputError(
            f"level={level}, samples={samples}: expected a level between 0 and 1 and at least 1 sample."
        )


def _summed(measure: Measure, ids: list[str], clusters: Mapping[str, str] | None) -> Array:
    """Sums of the measure's numbers by cluster, (C, k), clusters in the order of their first sample."""
    width = len(next(iter(measure.rows.values()))) if measure.rows else 1
    if not ids:
        return np.zeros((0, width))
    rows = np.array([measure.rows[one] for one in ids], dtype=np.float64)
    if clusters is None:
        return rows
    places: dict[str, int] = {}
    where = [places.setdefault(clusters.get(one) or f"\0{one}", len(places)) for one in ids]
    sums = np.zeros((len(places), width))
    np.add.at(sums, where, rows)
    return sums


def _values(measure: Measure, sums: Array) -> Array:
    """The measure's value, scaled, for each row of sums (n, k)."""
    return np.array([measure.value(*row) for row in sums.tolist()]) * measure.scale


def _resampled(sums: Array, samples: int, seed: int) -> Array:
    """Sums (samples, k) over clusters drawn with replacement; the same seed draws the same clusters.

    Clusters with equal sums are the same to a sum, so it is drawn how often each kind of them comes: 100,000
    answers that are right or wrong are two kinds.
    """
    kinds, times = np.unique(sums, axis=0, return_counts=True)
    draw = np.random.default_rng(seed)
    share = times / times.sum()
    size = max(1, _CHUNK // len(kinds))
    found = [
        draw.multinomial(times.sum(), share, size=min(size, samples - start)) @ kinds
        for start in range(0, samples, size)
    ]
    resampled: Array = np.concatenate(found)
    return resampled


def _tails(values: Array, level: float) -> tuple[float, float]:
    there = values[np.isfinite(values)]
    if not there.size:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low, high = np.quantile(there, [tail, 1 - tail])
    return float(low), float(high)


def of_samples(
    name: str, scores: Mapping[str, float | None], kind: str = "", **how: Any
) -> Measure:
    """A mean of per-sample scores (0 to 1 where `scale` stays 100); None adds nothing."""
    rows = {one: (score, 1.0) for one, score in scores.items() if score is not None}
    return Measure(name, rows, kind=kind, **how)


def by_kind(measure: Measure, kinds: Mapping[str, str]) -> list[Measure]:
    """The measure for every kind of sample by itself, kinds in alphabetical order."""
    return by_slices(measure, {one: (kinds.get(one) or "other",) for one in measure.rows})


def by_slices(measure: Measure, slices: Mapping[str, Sequence[str]]) -> list[Measure]:
    """The measure for every slice by itself, in alphabetical order; a sample can be in several, or in none."""
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for one, row in measure.rows.items():
        for name in slices.get(one, ()):
            found.setdefault(name, {})[one] = row
    return [replace(measure, rows=found[name], kind=name) for name in sorted(found)]


def of_verdicts(verdicts: Mapping[str, bool | None], name: str = "accuracy") -> list[Measure]:
    """The share that is right, and beside it the share that could not be read (None), which earns nothing."""
    return [
        of_samples(name, {one: float(bool(said)) for one, said in verdicts.items()}),
        of_samples(
            "unreadable", {one: float(said is None) for one, said in verdicts.items()}, better=-1
        ),
    ]
