"""Colours, light and shape: plain words that anyone who looks would agree with."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from conftest import need
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor, ImageDraw


@pytest.fixture(autouse=True)
def _extra():
    need(find_spec("cv2"), 'OpenCV is not installed: pip install ".[facts]"')


# CSS colour names whose plain name nobody disputes.
PLAIN = {
    "red": "red crimson firebrick darkred",
    "orange": "orange darkorange",
    "yellow": "yellow gold",
    "green": "green forestgreen limegreen seagreen darkgreen olivedrab",
    "turquoise": "turquoise darkturquoise lightseagreen",
    "blue": "blue navy royalblue steelblue skyblue dodgerblue midnightblue",
    "purple": "purple indigo darkviolet rebeccapurple",
    "pink": "pink hotpink lightpink deeppink",
    "brown": "saddlebrown sienna",
    "beige": "tan wheat",
    "black": "black",
    "grey": "gray darkgray dimgray silver",
    "white": "white snow whitesmoke ivory",
}


@pytest.mark.parametrize(
    ("plain", "css"), [(p, css) for p, names in PLAIN.items() for css in names.split()]
)
def test_colours_have_their_plain_names(plain, css):
    from looksay.experts.appearance import measure

    assert measure(Image.new("RGB", (40, 30), css)).colours == {plain: 1.0}


def test_shares_and_main_colours():
    from looksay.experts.appearance import measure

    image = Image.new("RGB", (300, 200), "royalblue")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 100, 300, 200), fill="forestgreen")
    draw.rectangle((0, 190, 300, 200), fill="white")
    looks = measure(image)
    assert looks.main_colours() == ["blue", "green"]
    assert looks.colours["blue"] == pytest.approx(0.5, abs=0.02)
    assert looks.colours["green"] == pytest.approx(0.45, abs=0.02)
    assert looks.tone == "colour"
    draw.rectangle((0, 0, 300, 120), fill="white")
    assert measure(image).main_colours() == [], "mostly white: no colour covers most of it"


@pytest.mark.parametrize(
    ("size", "word"),
    [
        ((300, 200), "landscape"),
        ((200, 300), "portrait"),
        ((200, 210), "square"),
        ((900, 300), "panorama"),
        ((1, 1), "square"),
    ],
)
def test_shapes(size, word):
    from looksay.experts.appearance import shape

    assert shape(*size) == word


@pytest.mark.parametrize(("grey", "word"), [(10, "dark"), (120, "normal"), (240, "bright")])
def test_light(grey, word):
    from looksay.experts.appearance import measure

    assert measure(Image.new("RGB", (50, 50), (grey,) * 3)).light == word


def test_tone_tells_grey_from_brown_from_coloured():
    from looksay.experts.appearance import measure

    ramp = Image.linear_gradient("L")
    assert measure(ramp.convert("RGB")).tone == "black-and-white"
    sepia = Image.merge(
        "RGB", (ramp, ramp.point(lambda v: v * 0.9), ramp.point(lambda v: v * 0.72))
    )
    assert measure(sepia).tone == "muted"
    half_blue = ramp.convert("RGB")
    ImageDraw.Draw(half_blue).rectangle((0, 0, 255, 100), fill="steelblue")
    assert measure(half_blue).tone == "colour"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(ImageColor.colormap)), min_size=1, max_size=12),
    st.integers(1, 80),
)
def test_shares_add_up_and_the_same_picture_gets_the_same_words(names, width):
    from looksay.experts.appearance import measure

    image = Image.new("RGB", (width, 12 * len(names)))
    for i, name in enumerate(names):
        ImageDraw.Draw(image).rectangle((0, 12 * i, width, 12 * i + 11), fill=name)
    looks = measure(image)
    assert sum(looks.colours.values()) == pytest.approx(1)
    assert looks == measure(image)
    assert (
        sum(looks.colours[name] for name in looks.main_colours()) >= 0.55
        or not looks.main_colours()
    )
