"""Figures that add up: intervals, paired differences and tests are right where the answer is known."""

from __future__ import annotations

import math
import random

import pytest

from looksay.errors import InputError
from looksay.evaluation.measures import (
    Measure,
    by_kind,
    difference,
    interval,
    of_samples,
    of_verdicts,
)


def flips(n: int, p: float, seed: int) -> dict[str, float | None]:
    draw = random.Random(seed)
    return {str(i): float(draw.random() < p) for i in range(n)}


def test_a_mean_and_its_interval_are_those_of_the_textbook() -> None:
    found = interval(of_samples("accuracy", flips(400, 0.7, 1)))
    share = found.value / 100
    error = math.sqrt(share * (1 - share) / 400)
    assert found.low == pytest.approx(100 * (share - 1.96 * error), abs=0.7)
    assert found.high == pytest.approx(100 * (share + 1.96 * error), abs=0.7)
    assert (found.samples, found.clusters) == (400, 400)


def test_samples_of_one_image_do_not_count_as_so_many() -> None:
    rows = {f"{i}-{turn}": value for i, value in flips(100, 0.5, 2).items() for turn in range(10)}
    alone = interval(of_samples("accuracy", rows))
    together = interval(of_samples("accuracy", rows), {one: one.split("-")[0] for one in rows})
    assert together.value == alone.value
    wider = (together.high - together.low) / (alone.high - alone.low)
    assert wider == pytest.approx(math.sqrt(10), rel=0.15)
    assert (together.samples, together.clusters) == (1000, 100)


def test_coverage_of_the_interval_is_what_it_says() -> None:
    inside = 0
    for seed in range(100):
        found = interval(of_samples("", flips(80, 0.4, seed)), samples=300, seed=seed)
        inside += found.low <= 40 <= found.high
    assert 88 <= inside <= 100


def test_permuting_samples_changes_nothing() -> None:
    rows = flips(300, 0.6, 3)
    shuffled = dict(random.Random(0).sample(list(rows.items()), len(rows)))
    clusters = {one: str(int(one) // 3) for one in rows}
    assert interval(of_samples("", rows), clusters) == interval(of_samples("", shuffled), clusters)


def test_any_function_of_the_sums_has_an_interval() -> None:
    def f1(hits: float, wrong: float, missed: float) -> float:
        whole = 2 * hits + wrong + missed
        return 2 * hits / whole if whole else math.nan

    rows = {str(i): (1.0, 0.0, 0.0) if i % 2 else (0.0, 1.0, 0.0) for i in range(100)}
    found = interval(Measure("F1", rows, f1))
    assert found.value == pytest.approx(100 * 2 * 50 / 150)
    assert found.low < found.value < found.high


def test_nothing_measured_is_no_number() -> None:
    assert math.isnan(interval(of_samples("", {})).value)
    assert math.isnan(interval(of_samples("", {"a": None})).value)


def test_a_paired_difference_is_narrower_than_two_intervals_apart() -> None:
    first = flips(500, 0.5, 4)
    better = {one: 1.0 if int(one) % 10 == 0 else value for one, value in first.items()}
    found = difference(of_samples("", first), of_samples("", better))
    apart = interval(of_samples("", better)).value - interval(of_samples("", first)).value
    assert found.value == pytest.approx(apart)
    assert 0 < found.low < found.value < found.high < 10
    assert found.p < 0.01


def test_equal_models_are_not_told_apart() -> None:
    low = sum(
        difference(
            of_samples("", flips(60, 0.5, seed)),
            of_samples("", flips(60, 0.5, 1000 + seed)),
            samples=200,
        ).p
        < 0.05
        for seed in range(100)
    )
    assert low <= 11  # 5 expected
    same = of_samples("", flips(50, 0.5, 5))
    assert difference(same, same).p == 1.0


def test_only_samples_that_both_answered_are_compared() -> None:
    found = difference(of_samples("", {"a": 1.0, "b": 0.0}), of_samples("", {"b": 1.0, "c": 0.0}))
    assert (found.value, found.samples) == (100.0, 1)
    assert math.isnan(difference(of_samples("", {"a": 1.0}), of_samples("", {"b": 1.0})).value)


def test_different_measures_are_refused() -> None:
    with pytest.raises(InputError, match="'recall' cannot be compared"):
        difference(of_samples("recall", {"a": 1.0}), of_samples("precision", {"a": 1.0}))
    with pytest.raises(InputError, match="level=2"):
        interval(of_samples("", {"a": 1.0}), level=2)


def test_an_unreadable_answer_earns_nothing_and_is_counted() -> None:
    right, unreadable = of_verdicts({"a": True, "b": False, "c": None, "d": True})
    assert (interval(right).value, interval(unreadable).value) == (50.0, 25.0)


def test_figures_by_kind() -> None:
    parts = by_kind(of_samples("", {"a": 1.0, "b": 0.0, "c": 1.0}), {"a": "x", "b": "y", "c": "x"})
    assert [(p.kind, interval(p).value) for p in parts] == [("x", 100.0), ("y", 0.0)]
