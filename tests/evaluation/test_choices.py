"""Multiple choice: letters as VLMEvalKit reads them and as we do, and circular evaluation."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st

from looksay.errors import InputError
from looksay.evaluation.metrics import choices, verdicts

ANIMALS = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}


@pytest.fixture
def golden(shared_data: Path) -> Path:
    folder = shared_data.parent / "golden"
    need((folder / "mcq-extract").is_dir(), "no golden multiple choice")
    return folder


def test_letters_are_those_of_vlmevalkit(golden: Path) -> None:
    cases = json.loads((golden / "mcq-extract" / "given" / "cases.json").read_text("utf-8"))
    for case in cases:
        found = choices.letter(case["prediction"], case["choices"], "vlmevalkit")
        assert found == case["expected"], case


@pytest.mark.parametrize("compat", ["vlmevalkit", "strict"])
def test_circular_accuracy_is_that_of_vlmevalkit(golden: Path, compat: Any) -> None:
    folder = golden / "mcq-circular" / "given"
    rows = json.loads((folder / "rows.json").read_text("utf-8"))
    expected = json.loads((folder / "golden.json").read_text("utf-8"))
    scored = []
    for row in rows:
        letter = choices.letter(row["prediction"], row["options"], compat)
        assert letter == row["parsed"], row
        verdict = None if letter is None else letter == row["answer"]
        scored.append((row["g_index"], row["index"] // 10**6, len(row["options"]), verdict))
    circles = choices.circles(scored)
    assert len(circles) == expected["n_questions"]
    whole = verdicts.tally(circle.verdict for circle in circles.values())
    assert whole.accuracy == expected["circular_acc"]
    assert verdicts.tally(c.first for c in circles.values()).accuracy == expected["vanilla_acc"]


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        (" (B). ", "B"),
        ("**B**", "B"),
        ("B) rabbit", "B"),
        ("B. It hops.", "B"),
        ("The answer is (B).", "B"),
        ("Answer: B", "B"),
        ("I choose option B because it hops", "B"),
        ("The correct answer is **B**. A is wrong.", "B"),
        ("答案是B", "B"),
        ("选B。", "B"),
        ("rabbit", "B"),
        ("Rabbit.", "B"),
        ("The options are A, B, C, D. I choose C.", "C"),
        # What would have to be guessed:
        ("A rabbit", None),
        ("A cat is sitting", None),
        ("a cute teddy bear", None),
        ("A or B", None),
        ("The answer is A or B.", None),
        ("The answer is A rabbit", None),
        ("The answer is B. The answer is C.", None),
        ("C. dog", None),
        ("A: I am not sure.", None),
        ("A: rabbit", None),
        ("**A**: B", None),
        ("A: teddy bear", "A"),
        ("A: Teddy bear, because it sits.", "A"),
        ("A:", "A"),
        ("B: I am sure.", "B"),
        ("A. teddy bear B. rabbit C. cat D. dog", None),
        ("cat and dog", None),
        ("E", None),
        ("The answer is E.", None),
        ("b", None),
        ("none of the above", None),
        ("", None),
    ],
)
def test_the_strict_reading(answer: str, letter: str | None) -> None:
    assert choices.letter(answer, ANIMALS) == letter


def test_two_options_of_one_text_cannot_be_told_apart() -> None:
    assert choices.letter("cat", {"A": "cat", "B": "Cat"}) is None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A rabbit", "A"),
        ("Cannot determine the answer", "Z"),
        ("Failed to obtain answer via API: rabbit", "B"),
        ("B is my answer, and I am sure of it", None),
        ("The answer is b, and I am quite sure of that", "B"),
    ],
)
def test_quirks_of_vlmevalkit(answer: str, letter: str | None) -> None:
    assert choices.letter(answer, ANIMALS, "vlmevalkit") == letter


@given(st.text(max_size=50))
def test_what_is_read_is_an_option(text: str) -> None:
    assert choices.letter(text, ANIMALS) in (None, *ANIMALS)
    assert choices.letter(text, ANIMALS, "vlmevalkit") in (None, "Z", *ANIMALS)


@given(st.integers(1, 8), st.data())
def test_a_shift_takes_the_answer_along(size: int, data: st.DataObject) -> None:
    options = [f"thing {n}" for n in range(size)]
    answer, by = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 20))
    shifted, place = choices.rotated(options, answer, by)
    assert shifted[place] == options[answer]
    assert sorted(shifted) == sorted(options)
    assert {choices.rotated(options, answer, n)[0] for n in range(size)} == {
        tuple(options[n:] + options[:n]) for n in range(size)
    }


def test_credit_asks_for_every_shift() -> None:
    rows = [("q", 0, 2, True), ("q", 1, 2, True), ("r", 0, 2, True), ("r", 1, 2, None)]
    rows += [("s", 0, 2, False), ("s", 1, 2, None)]
    found = choices.circles(rows)
    assert {name: one.verdict for name, one in found.items()} == {"q": True, "r": None, "s": False}
    assert verdicts.tally(one.first for one in found.values()).right == 2


@given(
    st.lists(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=4)), st.randoms()
)
def test_order_changes_no_circle(questions: list[list[bool | None]], draw: random.Random) -> None:
    rows = [
        (name, shift, len(found), verdict)
        for name, found in enumerate(questions)
        for shift, verdict in enumerate(found)
    ]
    circles = choices.circles(draw.sample(rows, len(rows)))
    assert circles == choices.circles(rows)
    assert all(circles[name].verdicts == tuple(found) for name, found in enumerate(questions))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("q", 0, 2, True)], r"has the shifts \[0\]; expected 0 to 1"),
        ([("q", 0, 2, True), ("q", 0, 2, True)], "shift 0 is there twice"),
        ([("q", 0, 2, True), ("q", 1, 3, True)], "2 options, and then 3"),
        ([("q", 0, 1, True), ("q", 1, 1, True)], "expected 0 to 0"),
    ],
)
def test_faults_of_circles_are_told(rows: list[Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        choices.circles(rows)
