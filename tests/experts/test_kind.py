"""The kind of a picture: named by measurable signs, and not at all when unsure."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

EXAMPLES = Path(__file__).parents[2] / "examples/site/images"


@pytest.fixture(autouse=True)
def _extra():
    need(find_spec("cv2"), 'OpenCV is not installed: pip install ".[facts]"')


def line(text: str, left: float, top: float, height: float = 24):
    from looksay.experts.ocr import Line

    width = 0.55 * height * len(text)
    return Line(text, 0.99, (round(left), round(top), round(width), round(height)), "", "rapidocr")


@given(
    start=st.integers(0, 5000),
    step=st.sampled_from([1, 2, 5, 10, 25, 50, 100, 1000]),
    count=st.integers(4, 9),
    gap_px=st.integers(30, 80),
    unit=st.sampled_from(["", "%", "k"]),
)
def test_evenly_spaced_numbers_are_an_axis_whatever_their_order(start, step, count, gap_px, unit):
    from looksay.experts.kind import has_axis

    ticks = []
    for i in range(count):
        text = f"{start + step * i}{unit}"
        ticks.append(line(text, 100 - 0.55 * 24 * len(text), 700 - gap_px * i))
    random.Random(1).shuffle(ticks)
    assert has_axis([line("Passengers", 300, 20), *ticks])
    upside_down = [line(t.text, t.box[0], 800 - t.box[1]) for t in ticks]
    assert not has_axis(upside_down), "a numbered list runs downwards"


def test_years_along_the_bottom_are_an_axis_and_page_numbers_are_not():
    from looksay.experts.kind import has_axis

    assert has_axis([line(str(1990 + 5 * i), 100 + 120 * i, 500) for i in range(5)])
    assert not has_axis([line(str(1 + i), 100 + 40 * i, 500) for i in range(6)])
    assert not has_axis(
        [line(text, 100 + 120 * i, 500) for i, text in enumerate(("12", "500", "7", "93"))]
    )


def test_an_interface_needs_labels_and_a_layout():
    from looksay.experts.kind import is_interface

    page = [line("https://example.org/login", 60, 10)] + [
        line(text, 40, 60 + 40 * i)
        for i, text in enumerate(("Sign in", "Username", "Password", "Forgot it?"))
    ]
    assert is_interface(page, (900, 600))
    assert not is_interface(page[:1], (900, 600)), "an address on a poster"
    letter = [line(f"Dear reader number {i}", 40, 60 + 40 * i) for i in range(8)]
    assert not is_interface(letter, (900, 600))


def noise(size=(300, 200), seed=1):
    grey = Image.frombytes("L", size, random.Random(seed).randbytes(size[0] * size[1]))
    return Image.merge("RGB", (grey, grey.transpose(Image.Transpose.ROTATE_180), grey)).resize(
        (600, 400)
    )


def test_a_camera_settles_it_and_grey_pictures_are_not_called_photos():
    from looksay.experts.kind import decide

    with Image.open(EXAMPLES / "bay-evening.jpg") as image:
        bay = image.convert("RGB")
    assert decide(bay, [], coloured=True).name == "photo"
    assert decide(bay.convert("L").convert("RGB"), [], coloured=False).name == ""
    assert decide(bay.convert("L").convert("RGB"), [], coloured=False, camera=True).name == "photo"


def test_much_readable_text_makes_a_photo_unsure():
    from looksay.experts.kind import decide

    with Image.open(EXAMPLES / "bay-evening.jpg") as image:
        lines = [line(f"Chapter {i} of the guide", 40, 40 * i) for i in range(8)]
        assert decide(image.convert("RGB"), lines, coloured=True).name == ""


def test_a_logo_is_compact_and_strong_in_colour():
    from looksay.experts.kind import decide, is_logo

    with Image.open(EXAMPLES / "logo.png") as image:
        assert decide(image.convert("RGB"), [], coloured=True).name == "logo"
    sketch = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(sketch).line((60, 40, 340, 260, 200, 20, 60, 240), fill="black", width=4)
    assert not is_logo(sketch)
    assert decide(sketch, [], coloured=False).name == "graphic"


def test_noise_is_not_named_with_confidence():
    from looksay.experts.kind import decide

    kind = decide(noise(), [], coloured=False)
    assert (kind.name, kind.why) == ("", "unsure")


def test_an_even_ground_is_a_graphic():
    from looksay.experts.kind import decide

    kind = decide(Image.new("RGB", (50, 50), "teal"), [], coloured=True)
    assert (kind.name, kind.natural) == ("graphic", False)
