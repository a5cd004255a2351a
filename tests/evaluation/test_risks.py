"""Figures of risks, held to their definitions counted out."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.evaluation.metrics.risks import auroc, calibration_error, found_first

LABELLED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=30
)


@given(LABELLED)
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool]]) -> None:
    risks, wrong = [r for r, _ in rows], [w for _, w in rows]
    pairs = list(product([r for r, w in rows if w], [r for r, w in rows if not w]))
    if not pairs:
        assert auroc(risks, wrong) is None
        return
    won = sum(1.0 if bad > good else 0.5 if bad == good else 0.0 for bad, good in pairs)
    assert auroc(risks, wrong) == pytest.approx(won / len(pairs), abs=1e-12)


def test_the_riskiest_hold_at_most_what_fits_in() -> None:
    risks = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    wrong = [True, False, True, True, True, *[False] * 5]
    assert found_first(risks, wrong, 0.2) == (0.25, 0.5)
    assert found_first(risks, wrong, 1.0) == (1.0, 1.0)
    assert found_first(risks, [False] * 10, 0.2) is None


@given(LABELLED, st.floats(0, 1))
def test_texts_of_one_risk_are_found_by_chance(
    rows: list[tuple[float, bool]], share: float
) -> None:
    wrong = [w for _, w in rows]
    found = found_first([0.5] * len(rows), wrong, share)
    if found is not None:
        assert found[0] == pytest.approx(round(share * len(rows)) / len(rows))
        assert found[0] <= found[1] + 1e-12


def test_a_calibration_error_is_how_far_bins_are_off() -> None:
    risks = [0.1] * 10 + [0.9] * 10
    wrong = [True] * 3 + [False] * 7 + [True] * 9 + [False]
    assert calibration_error(risks, wrong, bins=2) == pytest.approx((0.2 + 0.0) / 2)
    assert calibration_error([], []) is None


@given(LABELLED)
def test_a_calibration_error_is_between_0_and_1(rows: list[tuple[float, bool]]) -> None:
    error = calibration_error([r for r, _ in rows], [w for _, w in rows])
    assert error is not None
    assert 0 <= error <= 1
    assert not math.isnan(error)
