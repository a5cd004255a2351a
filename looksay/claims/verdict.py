"""The rule by which a claim holds or not: the same for every claim, and stated in docs/claims.md (`RULE`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from looksay.claims.base import LEAST_RECALL, Claim
from looksay.claims.results import Found
from looksay.errors import InputError
from looksay.evaluation import measures
from looksay.evaluation.measures import Difference, Interval, Measure

Word = Literal["holds", "does not hold at this scale", "undecided", "trial"]

RULE = f"""\
Arms are trained with several seeds and asked about the same scenes. Within a seed two arms are compared in pairs, \
answer by answer. Over the seeds the difference is the mean of theirs; its 95 % interval comes from drawing whole \
scenes with replacement, the same scenes within every seed, because a scene that is hard is hard for all of them. \
The interval does not cover how much seeds differ, so the difference of every seed stands beside it.

- **holds**: the interval excludes 0 on the claimed side, and every seed's difference lies on that side;
- **does not hold at this scale**: it excludes 0 on the other side;
- **undecided**: everything else. Also where an arm's captions are blind (they name less than {LEAST_RECALL:.0f} % of \
the objects there, with any seed), since a model that sees nothing only shows what can be guessed; a claim about \
blindness itself says which arm the rule leaves out, and claims of retrieval leave out all, because guessing finds \
nothing. And where an arm could not be trained.

That something costs little, or does not help, is claimed with a margin, so many points, which stands in the claim \
before anything is run. Then -margin stands where 0 does above: such a claim holds if an arm falls behind the one \
before it by less than the margin, by its interval and with every seed.

A claim with more than two arms holds if every step of its order does."""


@dataclass(frozen=True, slots=True)
class Row:
    """One arm, as a mean over the seeds."""

    arm: str
    mean: Interval
    seeds: tuple[float, ...]
    sight: tuple[float, ...]
    """Of every seed; nan where it was not measured."""
    beside: tuple[tuple[float, ...], ...] = ()
    """Of each figure that stands beside, of every seed."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one arm to the next in the claimed order."""

    worse: str
    better: str
    mean: Interval
    """Of the second arm less the first, over the seeds."""
    seeds: tuple[Difference, ...]
    word: Word


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claim."""

    word: Word
    reasons: tuple[str, ...]
    rows: tuple[Row, ...]
    steps: tuple[Step, ...]


def outcome(claim: Claim, found: Found, samples: int = measures.SAMPLES) -> Outcome:
    """Apply the rule. Raises InputError where the results are of another claim than the one that there is."""
    arms = tuple(arm.name for arm in claim.arms)
    said = (found.figure.name, found.figure.kind)
    if found.arms != arms or said != tuple(claim.figure) or found.benchmark != claim.benchmark:
        raise InputError(
            f"The results of {found.claim} compare {', '.join(found.arms)} by {said[0]!r} on "
            f"{found.benchmark}; the claim is now {', '.join(arms)} by {claim.figure.name!r} on "
            f"{claim.benchmark}. Run it again: looksay reproduce {found.claim}"
        )
    seeds = found.whole_seeds
    rows = tuple(_row(found, arm, seeds, samples) for arm in arms) if seeds else ()
    steps = (
        tuple(_step(found, *pair, seeds, samples, claim.margin) for pair in pairwise(arms))
        if seeds
        else ()
    )
    reasons = [*found.faults, *_blind(claim, rows)]
    return Outcome(_word(found, steps, reasons), tuple(reasons), rows, steps)


def step_word(mean: Interval, seeds: Sequence[float], better: int, margin: float = 0.0) -> Word:
    """The rule for one step: `seeds` are the differences, `better` 1 or -1 the side that they should lie on, `margin`
    how far they may lie on the other."""
    low, high = sorted((mean.low * better, mean.high * better))
    if low > -margin and all(one * better > -margin for one in seeds):
        return "holds"
    return "does not hold at this scale" if high < -margin else "undecided"


def _word(found: Found, steps: Sequence[Step], reasons: Sequence[str]) -> Word:
    if found.trial:
        return "trial"
    words = {step.word for step in steps}
    if reasons or not words:
        return "undecided"
    if "does not hold at this scale" in words:
        return "does not hold at this scale"
    return "holds" if words == {"holds"} else "undecided"


def _blind(claim: Claim, rows: Sequence[Row]) -> list[str]:
    """Why the claim cannot be decided, an entry for each arm whose captions are blind."""
    told = []
    for row in rows:
        if claim.sighted is not None and row.arm not in claim.sighted:
            continue
        # A claim whose captions were not measured is not shown to see.
        worst = min((one if math.isfinite(one) else 0.0 for one in row.sight), default=0.0)
        if worst < LEAST_RECALL:
            told.append(
                f"{row.arm} is blind: {claim.sight} {worst:.1f}, less than {LEAST_RECALL:.0f}"
            )
    return told


def _row(found: Found, arm: str, seeds: Sequence[int], samples: int) -> Row:
    own = [found.measure("figure", arm, seed) for seed in seeds]
    sight = [found.measure("sight", arm, seed) for seed in seeds]
    beside = [[found.measure(n, arm, seed) for seed in seeds] for n in range(len(found.beside))]
    mean = weighed([(1 / len(own), one) for one in own])
    return Row(
        arm,
        measures.interval(mean, found.clusters, samples=samples),
        tuple(_value(one) for one in own),
        tuple(_value(one) for one in sight),
        tuple(tuple(_value(one) for one in figure) for figure in beside),
    )


def _step(
    found: Found, worse: str, better: str, seeds: Sequence[int], samples: int, margin: float
) -> Step:
    pairs = [
        (found.measure("figure", worse, seed), found.measure("figure", better, seed))
        for seed in seeds
    ]
    clusters = found.clusters
    each = tuple(measures.difference(*pair, clusters, samples=samples) for pair in pairs)
    share = 1 / len(pairs)
    apart = weighed([one for low, high in pairs for one in ((-share, low), (share, high))])
    mean = measures.interval(apart, clusters, samples=samples)
    word = step_word(mean, [one.value for one in each], found.figure.better, margin)
    return Step(worse, better, mean, each, word)


def weighed(several: Sequence[tuple[float, Measure]]) -> Measure:
    """One measure whose value is the weighed sum of theirs, over the samples that all have.

    A sample's numbers stand side by side, so a resample takes or leaves it with all its arms and seeds.
    """
    first = several[0][1]
    ids = set(first.rows).intersection(*(one.rows for _, one in several))
    rows = {one: tuple(n for _, m in several for n in m.rows[one]) for one in ids}
    width = len(next(iter(first.rows.values()), ()))

    def value(*sums: float) -> float:
        parts = [sums[at : at + width] for at in range(0, len(sums), width)]
        pairs = zip(several, parts, strict=True)
        return sum(weight * one.value(*part) for (weight, one), part in pairs)

    return replace(first, rows=rows, value=value)


def _value(measure: Measure) -> float:
    return measures.interval(measure, samples=1).value
