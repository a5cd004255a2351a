"""What is drawn onto a picture can be seen on any ground, and told without colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from looksay.errors import InputError
from looksay.experts.base import Detection, Findings, TextLine, segmented
from looksay.experts.overlay import DARK, LIGHT, MIN_SIDE_PX, drawn, save

GROUNDS = ["white", "black", "yellow", (20, 20, 20), (128, 128, 128)]


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    large = before.resize(after.size, Image.Resampling.LANCZOS)
    return (np.asarray(large) != np.asarray(after)).any(-1)


@pytest.mark.parametrize("ground", GROUNDS)
def test_boxes_stand_out_on_any_ground(ground: object) -> None:
    picture = Image.new("RGB", (400, 300), ground)  # type: ignore[arg-type]
    found = Findings((400, 300), detections=(Detection("dog", (0.25, 0.25, 0.75, 0.75), 0.9),))
    shown = drawn(picture, found)
    assert shown.size == (800, 600)
    marks = changed(picture, shown)
    assert marks[150:446, 200:206].any(axis=1).all()  # the whole left edge
    assert not marks[200:440, 240:560].any()  # and nothing inside
    assert not marks[:, :190].any()
    tag = np.asarray(shown)[150:172, 200:260].reshape(-1, 3)
    assert {DARK, LIGHT} <= set(map(tuple, tag.tolist()))


def test_segments_are_tinted_outlined_and_named_inside() -> None:
    ids = np.zeros((60, 80), np.int32)
    ids[20:40, 10:40] = 2
    picture = Image.new("RGB", (80, 60), (100, 100, 100))
    shown = np.asarray(drawn(picture, segmented(ids, {2: ("sky-other-merged", 1, 1.0)})))
    assert shown.shape == (600, MIN_SIDE_PX, 3)
    red, green, blue = shown[390, 390].tolist()
    assert green > red == blue  # the palette's colour of 2 is green
    assert shown[100, 700].tolist() == [100, 100, 100]
    assert set(map(tuple, shown[198:203, 250].tolist())) >= {DARK, LIGHT}  # the border
    assert (shown[300:320, 240:300] == LIGHT).all(-1).any()  # the tag's letters


def test_text_that_the_font_lacks_is_numbered() -> None:
    picture = Image.new("RGB", (400, 300), "white")
    lines = (TextLine("수영 금지", (0.1, 0.1, 0.5, 0.2)), TextLine("EXIT", (0.1, 0.6, 0.5, 0.7)))
    assert changed(picture, drawn(picture, Findings((400, 300), lines=lines))).any()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_anything_that_is_found_can_be_drawn(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    shares = st.floats(0, 1)
    boxes = st.tuples(st.tuples(shares, shares).map(sorted), st.tuples(shares, shares).map(sorted))
    some = st.lists(boxes.map(lambda b: (b[0][0], b[1][0], b[0][1], b[1][1])), max_size=6)
    found = Findings(
        size,
        detections=tuple(Detection("a\nvery long name " * 9, box) for box in data.draw(some)),
        lines=tuple(TextLine("x" * 300, box) for box in data.draw(some)),
    )
    picture = Image.new("RGB", size, "white")
    assert max(drawn(picture, found).size) == MIN_SIDE_PX
    assert picture.tobytes() == Image.new("RGB", size, "white").tobytes()


def test_findings_of_another_picture_and_paths_that_cannot_be_written_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="of 4 × 3 px, but this one has 5 × 3"):
        drawn(Image.new("RGB", (5, 3)), Findings((4, 3)))
    with pytest.raises(InputError, match=r"ends in \.png"):
        save(Image.new("RGB", (5, 3)), str(tmp_path / "found.xyz"))
    with pytest.raises(InputError, match="cannot be written"):
        save(Image.new("RGB", (5, 3)), str(tmp_path / "none" / "found.png"))
