"""Boxes and counts read from answers, worked by hand, and what must hold of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looksay.evaluation.metrics import boxes
from looksay.evaluation.metrics.counting import count

SHARE = st.integers(0, 99).map(lambda n: n / 100)


@st.composite
def any_box(draw: st.DrawFn) -> boxes.Box:
    left, top = draw(SHARE), draw(SHARE)
    return left, top, draw(st.floats(left + 0.01, 1)), draw(st.floats(top + 0.01, 1))


@pytest.mark.parametrize(
    ("answer", "strict", "lmms"),
    [
        ("[0.1, 0.2, 0.5, 0.9]", (0.1, 0.2, 0.5, 0.9), (0.1, 0.2, 0.5, 0.9)),
        ("It is at [0,0,1,1].", (0, 0, 1, 1), (0, 0, 1, 1)),
        ("(0.1, 0.2, 0.5, 0.9)", (0.1, 0.2, 0.5, 0.9), None),
        ("0.1, 0.2, 0.5, 0.9", (0.1, 0.2, 0.5, 0.9), None),
        ("[.1, .2, .5, .9]", (0.1, 0.2, 0.5, 0.9), None),
        ("<p>cat</p> {<10><20><50><90>}", (0.1, 0.2, 0.5, 0.9), None),
        ("{<10><20><50><100>}", (0.1, 0.2, 0.5, 1.0), None),
        # The same box twice is one box; two boxes are none.
        ("[0.1, 0.2, 0.5, 0.9], that is [0.1, 0.2, 0.5, 0.9]",) + ((0.1, 0.2, 0.5, 0.9),) * 2,
        ("[0.1, 0.2, 0.5, 0.9] or [0, 0, 1, 1]", None, (0.1, 0.2, 0.5, 0.9)),
        ("[0.5, 0.2, 0.1, 0.9]", None, (0.5, 0.2, 0.1, 0.9)),
        ("[10, 20, 50, 90]", None, (10, 20, 50, 90)),
        ("[-0.1, 0.2, 0.5, 0.9]", None, (-0.1, 0.2, 0.5, 0.9)),
        ("[0.1, 0.2, 0.5]", None, None),
        ("in the upper left corner", None, None),
        ("", None, None),
    ],
)
def test_boxes(answer: str, strict: boxes.Box | None, lmms: boxes.Box | None) -> None:
    assert boxes.parse(answer) == strict
    assert boxes.parse(answer, "lmms-eval") == lmms


def test_overlap_by_hand() -> None:
    assert boxes.overlap((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.5)) == 1
    assert boxes.overlap((0, 0, 0.5, 1), (0.25, 0, 0.75, 1)) == pytest.approx(1 / 3)
    assert boxes.overlap((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)) == 0
    assert boxes.overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0


@given(any_box(), any_box())
def test_overlap_is_symmetric_and_a_share(first: boxes.Box, second: boxes.Box) -> None:
    shared = boxes.overlap(first, second)
    assert 0 <= shared <= 1 + 1e-9
    assert shared == pytest.approx(boxes.overlap(second, first))
    assert boxes.overlap(first, first) == pytest.approx(1)


@given(any_box())
def test_a_box_as_it_is_asked_for_is_read(box: boxes.Box) -> None:
    written = tuple(float(f"{n:.4f}") for n in box)
    said = f"[{', '.join(f'{n:.4f}' for n in box)}]"
    assert boxes.parse(said) == written
    assert boxes.parse(said, "lmms-eval") == written


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("3", 3),
        ("3.", 3),
        ("There are three dice.", 3),
        ("Twelve", 12),
        ("1,200", 1200),
        ("0", 0),
        ("three (3)", 3),
        ("I count 3, so 3.", 3),
        ("3 or 4", None),
        ("3-4", None),
        ("2.5", None),
        ("-3", None),
        ("1,20", None),
        ("some", None),
        ("none", None),
        ("", None),
    ],
)
def test_counts(answer: str, number: int | None) -> None:
    assert count(answer) == number


@given(st.integers(0, 10**9))
def test_a_number_is_read_as_itself(number: int) -> None:
    assert count(str(number)) == count(f"{number:,}") == count(f" {number}. ") == number


@given(st.text(alphabet=st.characters(exclude_categories=["N"]), max_size=20))
def test_text_without_digits_names_no_number_but_words(text: str) -> None:
    said = count(text)
    assert said is None or 0 <= said <= 20
