"""From what speaks against a text to a number: a prior at first, fitted to the user's own reviews once there are enough.

A review labels a text: accepted as it was, it was right; changed in substance, or rejected, it was wrong. Until there
are `ENOUGH` of them, fixed weights rank the texts and their number means no more than that. From then on a logistic
regression moves the weights, held back by the prior, so that fifty reviews move its level and slope and hundreds each
weight; from `PLENTY` on the result is bent by isotonic regression over scores that did not see the text.
Sources: Platt, "Probabilistic outputs for support vector machines", 1999; Zadrozny and Elkan, "Transforming classifier
scores into accurate multiclass probability estimates", 2002 (pool adjacent violators).
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from looksay.describing import rules
from looksay.describing.risk import Features, Risk, level

ENOUGH, PLENTY = 50, 1000
"""Reviews from which a scale is fitted, and from which it is bent as well."""
PRIOR: Mapping[str, float] = {
    "rejected": 3.0,
    "contested": 1.5,
    "doubt": 0.8,
    "least": 1.5,
    "unsure": 1.0,
    "unchecked": 0.2,
    "claims": 0.3,
    "named": 0.7,
    "read": 0.5,
    "counted": 0.6,
    "hedges": 0.6,
    "near_miss": 0.8,
}
"""Weights before anybody has reviewed anything, in log odds: guesses, which rank and do not measure."""
BIAS = -2.0
_HELD = {"bias": 0.05, "prior": 0.3, "weight": 0.5}
"""How much each is held back: the level hardly, the slope of the prior little, single weights more."""
_FOLDS = 5
_SHOWN = 0.1
"""Log odds from which a feature is told as a reason."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Makes risks of features. Plain data: `as_record` and `from_record`.

    Example: Scale().risk(features) before any review; Scale.fitted(rows).risk(features) with the user's own.
    """

    reviews: int = 0
    """How many labelled texts it has seen."""
    bias: float = BIAS
    weights: Mapping[str, float] = field(default_factory=lambda: dict(PRIOR))
    steps: tuple[tuple[float, float], ...] = ()
    """(log odds, probability), both rising: what the log odds are bent by; () leaves them as they are."""

    @property
    def calibrated(self) -> bool:
        return self.reviews >= ENOUGH

    @classmethod
    def fitted(cls, rows: Sequence[tuple[Features, bool]]) -> Scale:
        """A scale for texts like these. `rows`: (features, whether the text was wrong)."""
        if len(rows) < ENOUGH:
            return cls(reviews=len(rows))
        numbers = [one.numbers() for one, _ in rows]
        wrong = [float(label) for _, label in rows]
        bias, weights = _logistic(numbers, wrong)
        steps: tuple[tuple[float, float], ...] = ()
        if len(rows) >= PLENTY:
            steps = _isotonic(_unseen(numbers, wrong, (bias, weights)), wrong)
        return cls(len(rows), bias, weights, steps)

    def risk(self, features: Features) -> Risk:
        """The risk of a text, and why: what raises it most first."""
        numbers = features.numbers()
        value = _bent(self.steps, _odds(self.bias, self.weights, numbers))
        raised = {name: self.weights.get(name, 0.0) * numbers[name] for name in numbers}
        names = [n for n in sorted(raised, key=lambda n: -raised[n]) if raised[n] >= _SHOWN]
        told = {"rejected", "contested"} & set(names)
        why = tuple(
            (name, features.mentioned(name))
            for name in names
            if not (told and name in ("doubt", "least"))
            and not (name == "least" and "doubt" in names)
        )
        return Risk(value, level(value), why, self.calibrated)

    @property
    def digest(self) -> str:
        """16 hex digits: another where risks are told otherwise."""
        record = json.dumps(self.as_record(), sort_keys=True)
        return hashlib.sha256(record.encode()).hexdigest()[:16]

    def as_record(self) -> dict[str, Any]:
        """JSON in the end."""
        return {
            "reviews": self.reviews,
            "bias": self.bias,
            "weights": dict(self.weights),
            "steps": [list(step) for step in self.steps],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Scale:
        """What `as_record` wrote."""
        steps = tuple((x, y) for x, y in record["steps"])
        return cls(record["reviews"], record["bias"], dict(record["weights"]), steps)


def was_wrong(state: str, said: str, decided: str) -> bool | None:
    """What a decision says of the text that it was about: whether that was wrong (None: nothing). `state` is the
    decision's; `said` the model's text, `decided` the person's."""
    if state == "rejected":
        return True
    if state in ("reviewed", "human") and said and decided:
        return rules.differs_in_substance(said, decided)
    return None


# --- fitting --------------------------------------------------------------------------------------


def _odds(bias: float, weights: Mapping[str, float], numbers: Mapping[str, float]) -> float:
    return bias + sum(weights.get(name, 0.0) * value for name, value in numbers.items())


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _bent(steps: Sequence[tuple[float, float]], odds: float) -> float:
    """The probability: by the steps, straight between two of them and with the same distance in log odds beyond, so
    that what ranks higher stays higher."""
    if not steps:
        return _sigmoid(odds)
    at = bisect_right(steps, (odds, math.inf))
    if at == 0 or at == len(steps):
        x, y = steps[0] if at == 0 else steps[-1]
        return _sigmoid(math.log(y / (1 - y)) + (odds - x))
    (x0, y0), (x1, y1) = steps[at - 1], steps[at]
    return y0 + (y1 - y0) * (odds - x0) / (x1 - x0)


def _logistic(
    numbers: Sequence[Mapping[str, float]],
    wrong: Sequence[float],
    begin: tuple[float, Mapping[str, float]] = (BIAS, PRIOR),
) -> tuple[float, dict[str, float]]:
    """Bias and weights: level and slope of the prior, and what each feature adds to it, by Newton's method from those
    of `begin` on. What is alike in all texts stays as it was."""
    names = [n for n in PRIOR if len({row[n] for row in numbers}) > 1]
    rows = [[1.0, _odds(0.0, PRIOR, row), *(row[n] for n in names)] for row in numbers]
    centre = [BIAS, 1.0, *(0.0 for _ in names)]
    held = [_HELD["bias"], _HELD["prior"], *(_HELD["weight"] for _ in names)]
    found = [begin[0], 1.0, *(begin[1][n] - PRIOR[n] for n in names)]
    width = len(centre)
    for _ in range(30):
        slope = [h * (f - c) for h, f, c in zip(held, found, centre, strict=True)]
        bend = [[held[i] if i == j else 0.0 for j in range(width)] for i in range(width)]
        for row, label in zip(rows, wrong, strict=True):
            chance = _sigmoid(sum(f * x for f, x in zip(found, row, strict=True)))
            spread = max(chance * (1 - chance), 1e-9)
            for i, x in enumerate(row):
                if x:
                    slope[i] += (chance - label) * x
                    line, scaled = bend[i], spread * x
                    for j in range(i + 1):
                        line[j] += scaled * row[j]
        step = _solved(bend, slope)
        # A step that is too long would swing; the loss is convex, so shorter ones arrive.
        longest = max(map(abs, step))
        found = [
            f - s * min(1.0, 2.0 / longest) if longest else f
            for f, s in zip(found, step, strict=True)
        ]
        if longest < 1e-6:
            break
    weights = {name: weight * found[1] for name, weight in PRIOR.items()}
    for name, more in zip(names, found[2:], strict=True):
        weights[name] += more
    return found[0], weights


def _solved(lower: list[list[float]], right: Sequence[float]) -> list[float]:
    """x of A x = b for a symmetric, positive definite A, of which the lower half is given (Cholesky)."""
    width = len(right)
    root = [[0.0] * width for _ in range(width)]
    for i in range(width):
        for j in range(i + 1):
            rest = lower[i][j] - sum(root[i][k] * root[j][k] for k in range(j))
            root[i][j] = math.sqrt(rest) if i == j else rest / root[j][j]
    half: list[float] = []
    for i in range(width):
        half.append((right[i] - sum(root[i][k] * half[k] for k in range(i))) / root[i][i])
    found = [0.0] * width
    for i in reversed(range(width)):
        rest = half[i] - sum(root[k][i] * found[k] for k in range(i + 1, width))
        found[i] = rest / root[i][i]
    return found


def _unseen(
    numbers: Sequence[Mapping[str, float]],
    wrong: Sequence[float],
    begin: tuple[float, Mapping[str, float]],
) -> list[float]:
    """Each text's log odds by a fit that did not see it."""
    found = [0.0] * len(numbers)
    for fold in range(_FOLDS):
        seen = [i for i in range(len(numbers)) if i % _FOLDS != fold]
        bias, weights = _logistic([numbers[i] for i in seen], [wrong[i] for i in seen], begin)
        for i in range(fold, len(numbers), _FOLDS):
            found[i] = _odds(bias, weights, numbers[i])
    return found


def _isotonic(odds: Sequence[float], wrong: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Steps that rise: neighbours that fall are pooled, each pool stands at its mean log odds with its share of wrong
    texts, one half right and one half wrong added so that no pool is certain. None where all is one pool."""
    pools: list[list[float]] = []  # sum of log odds, sum of wrong, size
    for x, y in sorted(zip(odds, wrong, strict=True)):
        pools.append([x, y, 1.0])
        while len(pools) > 1 and _share(pools[-2]) >= _share(pools[-1]):
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    steps: list[tuple[float, float]] = []
    for total, count, size in pools:
        x, y = total / size, (count + 0.5) / (size + 1)
        if not steps or (x > steps[-1][0] and y > steps[-1][1]):
            steps.append((x, y))
    return tuple(steps) if len(steps) > 1 else ()


def _share(pool: Sequence[float]) -> float:
    return pool[1] / pool[2]
