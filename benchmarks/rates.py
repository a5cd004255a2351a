"""Rates with their exact 95 % interval (Clopper and Pearson, 1934), for the measurements beside this file."""

from __future__ import annotations

import math
from collections.abc import Callable


def interval(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate of which `hits` of `n` were seen.

    >>> low, high = interval(0, 396)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.0093)
    >>> [round(end, 4) for end in interval(500, 2000)]
    [0.2312, 0.2696]
    """
    if n == 0:
        return 0.0, 1.0

    def at_most(k: int, p: float) -> float:
        # By logarithms: the number of ways has hundreds of digits where n is in the thousands.
        logs = math.log(p), math.log1p(-p)
        return sum(
            math.exp(_log_ways(n, i) + i * logs[0] + (n - i) * logs[1]) for i in range(k + 1)
        )

    low = 0.0 if hits == 0 else _root(lambda p: at_most(hits - 1, p) - 0.975)
    high = 1.0 if hits == n else _root(lambda p: at_most(hits, p) - 0.025)
    return low, high


def _log_ways(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def words(hits: int, n: int) -> str:
    """ "3 of 400: 0.8 % (95 %: 0.2 to 2.2 %)" """
    low, high = interval(hits, n)
    share = 100 * hits / n if n else 0.0
    return f"{hits} of {n}: {share:.1f} % (95 %: {100 * low:.1f} to {100 * high:.1f} %)"


def _root(falling: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return low
