"""Boxes as words: one form, read again as the box that it was, whatever box; and pickles that run nothing."""

from __future__ import annotations

import pickle
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from looksay.data import grounding, pickles
from looksay.data.grounding import (
    FIND,
    FORM,
    NAME,
    WAYS,
    Grounded,
    shares,
    talk,
    told,
    turn,
    within,
)
from looksay.data.reading import Place
from looksay.errors import InputError, UnknownName
from looksay.evaluation.benchmarks.refcoco import QUESTION
from looksay.evaluation.metrics.boxes import parse
from looksay.experts.boxes import Box, overlap, readable
from looksay.types import Image

PLACE = Place(Path("boxes.json"), 2, 5, {"id": 7})
SHARE = st.floats(0, 1)
SIZE = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
SIDE = st.one_of(st.integers(-6000, 6000), st.floats(-6000, 6000))


@st.composite
def boxes(draw: Any) -> Box:
    left, right = sorted([draw(SHARE), draw(SHARE)])
    top, bottom = sorted([draw(SHARE), draw(SHARE)])
    assume(left < right and top < bottom)
    return left, top, right, bottom


@given(boxes())
def test_every_box_is_read_again_to_half_a_hundredth(box: Box) -> None:
    found = parse(told(box))
    assert found is not None, told(box)
    assert found == parse(told(box), "lmms-eval")
    for (low, high), (start, end) in (
        ((box[0], box[2]), (found[0], found[2])),
        ((box[1], box[3]), (found[1], found[3])),
    ):
        thin = high - low < 0.01
        assert abs(start - low) <= (0.01 if thin else 0.005) + 1e-12
        assert abs(end - high) <= (0.01 if thin else 0.005) + 1e-12
        assert end - start >= 0.01 - 1e-12


@given(boxes())
def test_told_once_and_told_again_is_the_same(box: Box) -> None:
    found = parse(told(box))
    assert found is not None
    assert told(found) == told(box)
    assert readable(readable(box)) == readable(box)


@given(boxes())
def test_a_box_of_some_size_is_still_found_at_half_an_overlap(box: Box) -> None:
    """What is learned counts as right in the benchmark, from three hundredths of the side on."""
    assume(min(box[2] - box[0], box[3] - box[1]) >= 0.03)
    assert overlap(box, readable(box)) > 0.5


@given(st.tuples(SIDE, SIDE, SIDE, SIDE), SIZE)
def test_pixels_become_shares_of_what_lies_in_the_picture(box: Any, size: tuple[int, int]) -> None:
    x, y, width, height = box
    found = within(PLACE, list(box), size)
    # In pixels, by hand.
    left, right = max(0, x), min(size[0], x + width)
    top, bottom = max(0, y), min(size[1], y + height)
    if found is None:
        assert right - left < 1e-6 or bottom - top < 1e-6
        with pytest.raises(InputError, match=r"entry 3 of 5 \(id 7\): the box .* lies outside"):
            shares(PLACE, list(box), size)
        return
    assert 0 <= found[0] < found[2] <= 1
    assert 0 <= found[1] < found[3] <= 1
    wanted = (left / size[0], top / size[1], right / size[0], bottom / size[1])
    assert found == pytest.approx(wanted, abs=1e-9)
    assert shares(PLACE, list(box), size) == found


@given(boxes(), SIZE)
def test_the_form_does_not_depend_on_the_size_of_the_picture(
    box: Box, size: tuple[int, int]
) -> None:
    wide, high = size
    pixels = [box[0] * wide, box[1] * high, (box[2] - box[0]) * wide, (box[3] - box[1]) * high]
    found = within(PLACE, pixels, size)
    assume(found is not None)  # a side may be lost to rounding
    assert found == pytest.approx(box, abs=1e-9)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0.1, 0.2, 0.5, 0.9), "[0.10, 0.20, 0.50, 0.90]"),
        ((0.0, 0.0, 1.0, 1.0), "[0.00, 0.00, 1.00, 1.00]"),
        ((0.314, 0.999, 0.3141, 1.0), "[0.31, 0.99, 0.32, 1.00]"),
        ((0.0, 0.001, 0.001, 0.002), "[0.00, 0.00, 0.01, 0.01]"),
    ],
)
def test_the_form_by_hand(box: Box, said: str) -> None:
    assert told(box) == said


def test_questions_are_those_of_the_benchmark() -> None:
    one = Grounded("the left cat", (0.1, 0.1, 0.4, 0.9))
    asked, answer = turn(one, "find")
    assert f"{FORM} {asked}" == QUESTION.format(words="the left cat")
    assert answer == "[0.10, 0.10, 0.40, 0.90]"
    assert turn(one, "name") == (NAME.format(box=answer), "the left cat")
    image = Image(b"")
    said = talk(image, [turn(one, way) for way in WAYS])
    assert [m.role for m in said.messages] == ["user", "assistant"] * 2
    # The form is explained once, and the picture shown once.
    assert said.messages[0].parts == (image, f"{FORM} {FIND.format(words='the left cat')}")
    assert said.messages[2].parts == (NAME.format(box=answer),)
    assert talk(image, [("What?", "That.")], form=False).messages[0].parts == (image, "What?")


def test_ways_are_known() -> None:
    assert grounding.ways(["name"]) == ("name",)
    for chosen in (["seek"], []):
        with pytest.raises(UnknownName, match="find, name"):
            grounding.ways(chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("box", "size", "fault"),
    [
        ([1, 2, 3], (10, 10), r"'bbox' should be \[x, y, width, height\] in pixels; found \[1, 2, 3\]"),
        ([1, 2, 3, "4"], (10, 10), "should be"),
        ([1, 2, 3, True], (10, 10), "should be"),
        ([1, 2, 3, None, 4], (10, 10), "should be"),
        ([1, 2, 3, 4], (0, 10), "said to have 0 × 10 px"),
    ],
)  # fmt: skip
def test_what_is_no_box_is_told(box: Any, size: Any, fault: str) -> None:
    with pytest.raises(InputError, match=rf"boxes\.json, entry 3 of 5 \(id 7\): .*{fault}"):
        within(PLACE, box, size)


# -- pickles

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_things_are_read_as_they_are(value: Any, protocol: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.p"
        path.write_bytes(pickle.dumps(value, protocol))
        assert pickles.load(path, "things") == value


class Runs:
    """What a hostile pickle holds."""

    def __init__(self, what: Any, *arguments: Any) -> None:
        self._call = what, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "call",
    [
        (eval, "open('ran', 'w')"),
        (exec, "open('ran', 'w')"),
        (getattr, "a", "upper"),
        (dict, [(1, 2)]),
    ],
)
def test_nothing_in_a_pickle_runs(
    call: Any,
    protocol: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.p").write_bytes(pickle.dumps([Runs(*call)], protocol))
    with pytest.raises(InputError, match=r"a\.p is no pickle of things: it wants .* to be run"):
        pickles.load(tmp_path / "a.p", "things")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "ran").exists()


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_told(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(InputError):
        path = Path(folder) / "a.p"
        path.write_bytes(data)
        pickles.load(path, "things")
