"""An upgrade with evidence: better only where the interval says so, and nothing changes before the user says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from comparing.compared import grade, library, says
from comparing.test_judging import judge
from describing.test_run import Scripted

import looksay
from looksay.comparing import asking, judging, upgrading
from looksay.comparing.board import Board
from looksay.errors import InputError


def old() -> Scripted:
    return says(lambda stem: f"An old text of {stem}, which says little.", "old")


def new() -> Scripted:
    return says(lambda stem: f"A good new text about photo {stem}.", "new")


def check(found: looksay.Library, model: Scripted, size: int = 40) -> Board:
    board = upgrading.start(found.catalog, model.name, size)
    asking.run(board, lambda name: model, [model.name])
    return board


def states(found: looksay.Library) -> list[tuple[str, str, str]]:
    return [(t.name, w.state, w.text) for t, w in found.targets()]


@pytest.mark.parametrize(
    ("choose", "better", "said"),
    [
        (lambda one, other: "FIRST" if "good" in one else "SECOND", True, "it is better."),
        (
            lambda one, other: "FIRST" if "old" in one else "SECOND",
            False,
            "the texts in use are better",
        ),
        (lambda one, other: "SAME", None, "the data do not say that it is better"),
        (lambda one, other: "FIRST", None, None),
    ],
)
def test_a_judge_decides_where_it_can_be_trusted(
    tmp_path: Path, choose: Callable[[str, str], str], better: bool | None, said: str | None
) -> None:
    with library(tmp_path, 14) as found:
        found.describe(old())
        before = states(found)
        board = check(found, new())
        assert [one.name for one in board.entrants] == ["the texts in use", "new"]
        assert len(board.places) == 14, "the words of a person are in no check"
        assert upgrading.verdict(board).better is None
        judging.Judge(board, judge(choose)).run()
        verdict = upgrading.verdict(board)
        assert verdict.better is better, verdict
        if said:
            assert said in verdict.words
        assert states(found) == before


@pytest.mark.parametrize(
    ("points", "photos", "better"),
    [((1, 3), 14, True), ((3, 1), 14, False), ((2, 2), 14, None), ((1, 3), 6, None)],
)
def test_people_decide(
    tmp_path: Path, points: tuple[int, int], photos: int, better: bool | None
) -> None:
    with library(tmp_path, photos) as found:
        found.describe(old())
        board = check(found, new())
        grade(board, "Kim", lambda place, entrant: points[entrant])
        assert upgrading.verdict(board).better is better


def test_a_check_goes_on_while_the_texts_in_use_are_the_same(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        found.describe(old())
        first = check(found, new(), 4)
        again = new()
        assert check(found, again, 4).comparison.id == first.comparison.id
        assert not again.asked
        found.describe(says(lambda stem: f"A third text of {stem}.", "third"), which="all")
        assert check(found, new(), 4).comparison.id != first.comparison.id


def test_no_judge_judges_what_it_wrote_in_use(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        found.describe(old())
        board = check(found, new())
        for name in ("old", "new"):
            with pytest.raises(InputError, match="would judge"):
                judging.Judge(board, judge(lambda *_: "SAME", name))


def test_where_nothing_is_in_use_there_is_nothing_to_check(tmp_path: Path) -> None:
    with library(tmp_path) as found:
        with pytest.raises(InputError, match="nothing to check"):
            upgrading.start(found.catalog, "new", 40)
        found.describe(new())
        with pytest.raises(InputError, match="No text of another model than new"):
            upgrading.start(found.catalog, "new", 40)
