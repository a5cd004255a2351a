"""Faces: found where there is one, never reported where there is none."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finder():
    need(find_spec("cv2"), 'OpenCV is not installed: pip install ".[facts]"')
    from looksay.experts.faces import Finder

    return Finder()


def drawn_face(size: int, canvas: tuple[int, int], at: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", canvas, (238, 240, 242))
    draw = ImageDraw.Draw(image)
    x, y = at

    def oval(left, top, right, bottom, colour):
        draw.ellipse(
            (x + left * size, y + top * size, x + right * size, y + bottom * size), fill=colour
        )

    oval(0, -0.05, 1, 1.2, (214, 176, 150))
    hair = (x - 0.03 * size, y - 0.1 * size, x + 1.03 * size, y + 0.75 * size)
    draw.pieslice(hair, 180, 360, fill=(60, 44, 36))
    oval(0.08, 0.12, 0.92, 0.7, (214, 176, 150))
    for middle in (0.3, 0.7):
        oval(middle - 0.13, 0.36, middle + 0.13, 0.56, (170, 130, 110))
        oval(middle - 0.1, 0.42, middle + 0.1, 0.53, (240, 240, 240))
        oval(middle - 0.05, 0.42, middle + 0.05, 0.53, (40, 30, 30))
        left, right = x + (middle - 0.14) * size, x + (middle + 0.14) * size
        draw.rectangle((left, y + 0.33 * size, right, y + 0.37 * size), fill=(50, 38, 32))
    nose = [
        (x + 0.5 * size, y + 0.5 * size),
        (x + 0.42 * size, y + 0.76 * size),
        (x + 0.58 * size, y + 0.76 * size),
    ]
    draw.polygon(nose, fill=(190, 148, 124))
    oval(0.34, 0.86, 0.66, 0.96, (150, 70, 70))
    return image.filter(ImageFilter.GaussianBlur(size / 90))


@pytest.mark.parametrize(
    ("size", "canvas", "at"),
    [(120, (480, 360), (120, 70)), (200, (480, 360), (120, 70)), (600, (1600, 1200), (400, 200))],
)
def test_finds_a_face_and_says_where(finder, size, canvas, at):
    (face,) = finder.find(drawn_face(size, canvas, at))
    truth = (at[0], at[1], size, round(1.1 * size))
    from looksay.experts.faces import MIN_WEIGHT, overlap

    assert overlap(face.box, truth) > 0.5
    assert face.weight >= MIN_WEIGHT


def test_a_face_upside_down_or_tiny_is_not_reported(finder):
    assert finder.find(drawn_face(200, (480, 360), (120, 70)).rotate(180)) == []
    assert finder.find(drawn_face(14, (480, 360), (120, 70))) == []


@pytest.mark.parametrize("size", [(1, 1), (10, 4000), (640, 480)])
def test_no_face_on_a_plain_ground(finder, size):
    assert finder.find(Image.new("RGB", size, "#c0a090")) == []


def test_no_face_in_the_example_pictures(finder):
    for path in sorted((ROOT / "examples/site/images").iterdir()):
        with Image.open(path) as image:
            assert finder.find(image.convert("RGB")) == [], path.name


def test_at_most_one_per_cent_of_pictures_without_a_face_have_one_reported(finder, shared_data):
    from looksay.images import load_rgb

    with (ROOT / "benchmarks/labels.csv").open(encoding="utf-8") as file:
        paths = [shared_data / row["image"] for row in csv.DictReader(file) if row["face"] == "no"]
    paths = [path for path in paths if path.suffix != ".svg"][::3]
    assert len(paths) > 80
    assert [path.name for path in paths if finder.find(load_rgb(path, max_side_px=1280))] == []


boxes = st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(1, 50)] * 2)


@given(boxes, boxes)
def test_overlap_is_a_share_and_symmetric(a, b):
    from looksay.experts.faces import overlap

    assert 0 <= overlap(a, b) <= 1
    assert overlap(a, b) == overlap(b, a)
    assert overlap(a, a) == 1
