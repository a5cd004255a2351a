"""The scale: a prior at first, then what the user's own reviews say; its numbers come true."""

from __future__ import annotations

import json
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.describing import calibration
from looksay.describing.calibration import BIAS, ENOUGH, PLENTY, PRIOR, Scale, was_wrong
from looksay.describing.risk import Features
from looksay.evaluation.metrics.risks import auroc, calibration_error

Rows = list[tuple[Features, bool]]


def made(number: int, seed: int = 0) -> Rows:
    """Texts of which two thirds are right by a rule that the prior does not know: its level and slope are other ones,
    and of two features one tells nothing and the other more than it thinks."""
    random, rows = Random(seed), []
    for _ in range(number):
        doubt, sure, counted = random.uniform(0, 3), random.gauss(-0.4, 0.3), random.random() < 0.3
        odds = -3.0 + 0.5 * doubt + 2.5 * counted + 1.5 * max(0.0, -0.2 - sure)
        found = Features(
            claims=5,
            checked=5,
            doubt=doubt,
            least=max(0.0, 1 - doubt),
            confidence=min(sure, 0.0),
            counted=("seven",) * counted,
            hedges=("maybe",) * (random.random() < 0.5),
        )
        rows.append((found, random.random() < 1 / (1 + math.exp(-odds))))
    return rows


def test_before_there_are_enough_reviews_the_prior_ranks() -> None:
    scale = Scale.fitted(made(ENOUGH - 1))
    assert not scale.calibrated
    assert scale.reviews == ENOUGH - 1
    assert (scale.bias, scale.weights, scale.steps) == (BIAS, PRIOR, ())
    assert not scale.risk(Features()).calibrated


@pytest.mark.parametrize(("reviews", "most"), [(ENOUGH, 0.1), (500, 0.05)])
def test_what_it_says_comes_true_after_reviews(reviews: int, most: float) -> None:
    errors = []
    for seed in range(7):
        scale, rest = Scale.fitted(made(reviews, seed)), made(2000, 1000 + seed)
        assert scale.calibrated
        risks = [scale.risk(one).value for one, _ in rest]
        errors.append(calibration_error(risks, [wrong for _, wrong in rest]) or 0.0)
    assert sorted(errors)[3] <= most
    prior = [Scale().risk(one).value for one, _ in rest]
    before = calibration_error(prior, [wrong for _, wrong in rest])
    assert before is not None
    assert before > 2 * sorted(errors)[3], "or there was nothing to learn"


def test_reviews_rank_better_than_the_prior() -> None:
    rest = made(2000, 99)
    wrong = [label for _, label in rest]

    def ranked(scale: Scale) -> float:
        return auroc([scale.risk(one).value for one, _ in rest], wrong) or 0.0

    assert ranked(Scale.fitted(made(500, 7))) > ranked(Scale()) + 0.02


@pytest.mark.parametrize("wrong", [True, False])
def test_reviews_that_all_say_the_same_leave_a_number(wrong: bool) -> None:
    scale = Scale.fitted([(one, wrong) for one, _ in made(PLENTY)])
    risks = [scale.risk(one).value for one, _ in made(50, 3)]
    assert all(0 < risk < 1 for risk in risks)
    assert all((risk > 0.5) is wrong for risk in risks)


def test_the_fit_is_the_lowest_point_of_its_loss() -> None:
    """Held to its own penalised loss in float64: no step in any direction lowers it."""
    rows = made(120, 5)
    numbers, wrong = [one.numbers() for one, _ in rows], [float(label) for _, label in rows]
    bias, weights = calibration._logistic(numbers, wrong)

    def loss(by: float, change: dict[str, float]) -> float:
        # The slope of the prior is free to follow, so what single weights add is counted at its best value.
        total = 0.5 * calibration._HELD["bias"] * (bias + by - BIAS) ** 2
        moved = {name: weights[name] + change.get(name, 0.0) for name in weights}
        for row, label in zip(numbers, wrong, strict=True):
            odds = bias + by + sum(moved[name] * row[name] for name in moved)
            total += math.log1p(math.exp(-abs(odds))) + max(odds, 0.0) - label * odds
        free = [name for name in PRIOR if len({row[name] for row in numbers}) > 1]
        held, slope = calibration._HELD["weight"], calibration._HELD["prior"]
        best = (slope + held * sum(PRIOR[n] * moved[n] for n in free)) / (
            slope + held * sum(PRIOR[n] ** 2 for n in free)
        )
        total += 0.5 * slope * (best - 1) ** 2
        return total + 0.5 * held * sum((moved[n] - best * PRIOR[n]) ** 2 for n in free)

    lowest = loss(0.0, {})
    for name in ("doubt", "unsure", "counted", "hedges"):
        for step in (-0.01, 0.01):
            assert loss(0.0, {name: step}) > lowest
    assert min(loss(-0.01, {}), loss(0.01, {})) > lowest


@settings(max_examples=3)
@given(st.integers(0, 10_000), st.sampled_from([0, ENOUGH, PLENTY]))
def test_more_odds_are_never_less_risk(seed: int, reviews: int) -> None:
    scale = Scale.fitted(made(reviews, seed))
    odds = [x / 4 for x in range(-40, 41)]
    bent = [calibration._bent(scale.steps, x) for x in odds]
    assert bent == sorted(bent)
    assert all(0 <= value <= 1 for value in bent)
    assert bool(scale.steps) is (reviews >= PLENTY)


def test_a_scale_is_plain_data() -> None:
    for reviews in (0, ENOUGH, PLENTY):
        scale = Scale.fitted(made(reviews))
        again = Scale.from_record(json.loads(json.dumps(scale.as_record())))
        assert again == scale
        assert again.risk(made(1)[0][0]) == scale.risk(made(1)[0][0])


@pytest.mark.parametrize(
    ("state", "said", "decided", "wrong"),
    [
        ("reviewed", "Two dogs on a beach.", "Two dogs on a beach.", False),
        ("human", "Two dogs on a beach.", "Two dogs on the beach!", False),
        ("human", "Two dogs on a beach.", "Three boats in a harbour.", True),
        ("human", "2 dogs on a beach.", "3 dogs on a beach.", True),
        ("rejected", "Two dogs on a beach.", "", True),
        ("decorative", "Two dogs on a beach.", "", None),
        ("cleared", "Two dogs on a beach.", "", None),
        ("withdrawn", "Two dogs on a beach.", "", None),
    ],
)
def test_what_a_decision_says_of_a_text(
    state: str, said: str, decided: str, wrong: bool | None
) -> None:
    assert was_wrong(state, said, decided) is wrong
