"""Bradley-Terry against answers that are known, and the sample against what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from looksay.comparing import sample
from looksay.comparing.ranking import shares, standings, strengths
from looksay.library.records import Target

TRUE = np.array([4.0, 2.0, 1.0, 0.5])


def expected_wins(true: np.ndarray, met: float = 100) -> np.ndarray:
    """Wins (1, E, E) exactly as often as the strengths say."""
    wins = met * true[:, None] / (true[:, None] + true[None, :])
    np.fill_diagonal(wins, 0)
    return wins[None]


def test_strengths_that_made_the_wins_are_found() -> None:
    np.testing.assert_allclose(
        strengths(expected_wins(TRUE))[0], TRUE / np.exp(np.log(TRUE).mean()), rtol=1e-8
    )


def test_of_two_the_ratio_is_that_of_their_wins() -> None:
    found = strengths(np.array([[[0.0, 3.0], [1.0, 0.0]]]))[0]
    assert found[0] / found[1] == pytest.approx(3)


def test_a_published_fit() -> None:
    # American League, Eastern division, 1987: Milwaukee, Detroit, Toronto, New York, Boston, Cleveland, Baltimore; winners
    # in rows. Agresti, "Categorical Data Analysis", 2002, pages 437 and 438, prints the logarithms.
    wins = np.array(
        [
            [0, 7, 9, 7, 7, 9, 11],
            [6, 0, 7, 5, 11, 9, 9],
            [4, 6, 0, 7, 7, 8, 12],
            [6, 8, 6, 0, 6, 7, 10],
            [6, 2, 6, 7, 0, 7, 12],
            [4, 4, 5, 6, 6, 0, 6],
            [2, 4, 1, 3, 1, 7, 0],
        ],
        dtype=float,
    )
    found = strengths(wins[None])[0]
    met = wins + wins.T
    won = (met * found[:, None] / (found[:, None] + found[None, :])).sum(axis=1)
    np.testing.assert_allclose(
        won, wins.sum(axis=1), rtol=1e-8, err_msg="the likelihood's own equations"
    )
    printed = [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0]
    np.testing.assert_allclose(np.log(found / found[6]), printed, atol=0.006)


@given(arrays(float, (4, 4), elements=st.integers(1, 20).map(float)), st.permutations(range(4)))
def test_names_do_not_matter(wins: np.ndarray, order: list[int]) -> None:
    np.fill_diagonal(wins, 0)
    other = wins[order][:, order]
    np.testing.assert_allclose(
        strengths(other[None])[0], strengths(wins[None])[0][order], rtol=1e-6
    )


@given(arrays(float, (3, 3), elements=st.integers(0, 9).map(float)))
def test_with_a_prior_whatever_was_seen_is_finite_and_shares_add_up(wins: np.ndarray) -> None:
    np.fill_diagonal(wins, 0)
    found = strengths(wins[None], 0.5)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert shares(found).sum() == pytest.approx(1.5)  # half of the other two, three times


def test_a_standing_lies_in_its_interval_and_more_photos_make_it_narrower() -> None:
    draw = np.random.default_rng(1)
    true = TRUE[:, None] / (TRUE[:, None] + TRUE[None, :])

    def wins(photos: int) -> np.ndarray:
        upper = np.triu(draw.random((photos, 4, 4)) < true, 1).astype(float)
        return upper + np.triu(1 - upper, 1).transpose(0, 2, 1)

    few, many = standings(wins(12)), standings(wins(300))
    assert all(one is not None and one.low <= one.share <= one.high for one in [*few, *many])
    assert [s.share for s in many if s] == sorted((s.share for s in many if s), reverse=True)
    for one, other in zip(few, many, strict=True):
        assert one is not None
        assert other is not None
        assert other.high - other.low < one.high - one.low


def test_who_was_never_compared_has_no_standing() -> None:
    wins = np.zeros((5, 3, 3))
    assert standings(wins) == [None, None, None]
    wins[:, 0, 2] = 1
    found = standings(wins)
    assert found[1] is None
    assert found[0] is not None
    assert found[2] is not None
    assert found[0].share > 0.5 > found[2].share
    assert found[0].compared == 5


# --- the sample ---------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.tuples(st.text(max_size=2)), st.integers(0, 60), max_size=8),
    st.integers(0, 80),
)
def test_every_stratum_has_one_and_the_rest_goes_by_share(
    sizes: dict[tuple[str, ...], int], places: int
) -> None:
    seats = sample.shares(sizes, places)
    total, there = sum(sizes.values()), [name for name, size in sizes.items() if size]
    assert sum(seats.values()) == min(places, total)
    assert all(0 <= seats[name] <= size for name, size in sizes.items())
    if places >= len(there):
        assert all(seats[name] >= 1 for name in there)
    for one in there:  # nobody has more than somebody larger
        for other in there:
            assert sizes[one] <= sizes[other] or seats[one] >= seats[other]


def targets(count: int) -> list[Target]:
    return [
        Target(n + 1, f"{'big' if n % 10 else 'small'}/{n:04d}.jpg", source="missing")
        for n in range(count)
    ]


def test_the_same_photos_are_drawn_again_and_most_of_them_from_a_library_that_grew() -> None:
    drawn = sample.draw(targets(400), 40)
    assert drawn == sample.draw(reversed(targets(400)), 40)
    assert sum(t.path.startswith("small/") for t in drawn) == 4
    assert drawn != sample.draw(targets(400), 40, seed=1)
    grown = sample.draw(targets(440), 40)
    assert len(set(grown) & set(drawn)) >= 30


def test_no_photo_and_no_group_of_near_duplicates_is_drawn_twice() -> None:
    twice = [Target(1, "a.jpg", page="p.md"), Target(1, "a.jpg", page="q.md")]
    alike = [Target(2, "b.jpg", lead_id=2), Target(3, "c.jpg", lead_id=2), Target(0, "gone.jpg")]
    assert [t.path for t in sample.draw([*twice, *alike], 10)] == ["a.jpg", "b.jpg"]
